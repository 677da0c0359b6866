//! The mux WebSocket `GET /api/ws/mux`.
//!
//! A connection is a set of cursors and one pump, not a queue: it reads the sessions' shared rings at the speed of its own socket
//! ([`follower`]), writes in batches ([`pump`]), and takes commands in order without ever waiting for one ([`reader`], [`commands`]).
//!
//! Promises: exactly one response for each command, `id` echoed; every event once, in order, `seq` contiguous outside replay brackets; a
//! frame that cannot be read costs its own error and nothing else; a client that does not read costs a bounded amount and delays nobody.
//!
//! Never: serves a request that was not authenticated before the upgrade, passes a command that `authorize` has not seen ([`policy`]),
//! or holds events for a client.

pub(crate) mod actors;
mod channels;
pub(crate) mod commands;
mod connection;
pub(crate) mod follower;
pub(crate) mod outbox;
mod pieces;
pub(crate) mod policy;
pub(crate) mod pump;
pub(crate) mod rate;
pub(crate) mod reader;
pub(crate) mod socket;
mod upgrade;

use crate::state::AppState;
use axum::Router;
use axum::routing::get;

pub use commands::{MAX_ANSWER_BYTES, MAX_ATTACHED, MAX_IN_FLIGHT, MAX_IN_FLIGHT_BYTES};
pub use connection::KIND as CONNECTION;
pub use outbox::{OUTBOX_BYTES, OUTBOX_FRAMES};
pub use pieces::PIECE;
pub use pump::{BATCH_BYTES, BATCH_FRAMES};
pub use rate::{BURST_FRAMES, FRAME_BYTES, FRAMES_PER_SECOND};

/// Routes below `/api`. Every request that reaches them passed the upgrade policy: it carries `Extension<Principal>`.
pub fn routes() -> Router<AppState> {
    Router::new().route("/ws/mux", get(upgrade::upgrade))
}
