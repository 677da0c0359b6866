//! octo's side of octo-eavs: a key for each session, which providers there are, and handing it the providers' keys.
//!
//! The key of a session is made here and kept in octo's store, so that the same session always has the same one; octo-eavs has its hash.
//! A key that was to be revoked while octo-eavs was away is revoked later ([`service`]).

mod catalog;
mod client;
mod service;
mod transport;

pub use catalog::{Catalog, EavsModel, EavsProvider};
pub use client::{EavsClient, EavsError, ModelDefaults};
pub use service::{EavsService, SERVICE, SERVICES};
