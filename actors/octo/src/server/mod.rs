//! HTTP: the router of an instance with everything around it, and the listener.

mod host;
mod listener;
mod router;

pub use listener::{BindError, Listener, MAX_CONNECTIONS};
pub use router::router;
