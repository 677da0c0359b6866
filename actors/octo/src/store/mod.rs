//! What the control plane owns, on disk: accounts, revoked tokens, settings, the keys of sessions, the secret that signs tokens.
//!
//! Whatever matters is flushed before it is acknowledged: sled buffers in user space, and a plain kill would lose the rest. The store
//! carries a schema version: an older one is migrated with a backup, a newer one is refused with a sentence.
//! Only this module and octo-eavs name sled.

mod account;
mod error;
mod open;
mod schema;
mod transfer;
mod trees;

pub use account::Account;
pub use error::StoreError;
pub use schema::SCHEMA_VERSION;
pub use trees::{Provisioned, Store};
