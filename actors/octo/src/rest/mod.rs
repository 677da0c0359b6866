//! REST below `/api`.
//!
//! One table ([`table`]) says method, path, policy and handler of every route; the router is built from it and from nothing else, and a
//! test compares it with the OpenAPI document. A policy is enforced before the handler is reached ([`guard`]); handlers reach objects
//! through `authorize`. An object of another user is "not found". Errors are `{error, code, details?}` ([`error`]), also for paths,
//! methods and bodies that are wrong.

mod account;
mod actors;
mod admin;
mod chat;
mod error;
mod extract;
mod features;
mod guard;
mod harnesses;
mod health;
mod login;
mod metrics;
mod openapi;
mod permissions;
mod search;
mod session;
mod table;

pub use error::ApiError;
pub use guard::Policy;
pub use openapi::document;
pub use table::{Route, acp, metrics, router, table};
