//! Who asks, and whether they may.
//!
//! [`Authenticator`] turns a request into a [`Principal`]; [`authorize`] is the only door to any object, for REST, the WebSocket
//! upgrade, every mux command and every subscription alike.

mod authenticator;
mod authorize;
mod principal;

pub use authenticator::{AuthError, Authenticator, Ended, Live, Surface};
pub use authorize::{Action, Denied, Object, authorize};
pub use principal::{InvalidUserId, MAX_USER_ID_BYTES, Principal, Role, TokenId, UserId};
