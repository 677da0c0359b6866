//! HTTP: the router of an instance with everything around it, and the listener.
//!
//! Promises: nobody takes every place ([`Limits`]), who asks for nothing keeps none, and without descriptors octo says so and goes on.

mod admin;
mod connection;
mod descriptors;
mod host;
mod listener;
mod movement;
mod places;
mod refusal;
mod router;
mod socket;

pub use admin::{AdminSocket, AdminSocketError};
pub use connection::{HEAD_DEADLINE, IDLE_FOR};
pub use descriptors::{raise_limit, room};
pub use listener::{BindError, Listener};
pub(crate) use movement::Movement;
pub use movement::{SLOW_FOR, STILL_FOR};
pub(crate) use places::network;
pub use places::{Full, Limits, PER_ADDRESS, Place};
pub use router::router;
pub use socket::UNSENT_BYTES;
