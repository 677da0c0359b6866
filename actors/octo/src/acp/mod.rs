//! octo as an agent of the Agent Client Protocol (ACP), version 1: editors and the official SDKs use octo's sessions, agents and permissions.
//!
//! The translation is a state machine without I/O ([`Machine`]): JSON-RPC messages in, canonical commands out; frames of the mux in, updates and questions
//! out. It runs in two places. In the server, for `/acp` over a WebSocket ([`socket`]) and over HTTP ([`http`]), it sits on the same commands, policies, followers and
//! pump as a socket of the mux ([`serving`]). In `octo acp`, for editors that start their agent as a program, it sits in that program, on a mux
//! WebSocket ([`remote`]): so what it knows of its client outlives a restart of octo, and each session goes on after the last event that the client was told.
//!
//! Promises: each request of a client is answered once; each event is told once, over reconnections of `octo acp` too; a client that does not read costs a
//! cursor and not a queue; what octo cannot do for a client is refused with a sentence.
//!
//! Never: lets a request through that the mux would not let through, passes on what it does not understand, or uses files and terminals of the client: an
//! agent acts in its sandbox.

mod answers;
mod connection;
mod content;
mod driver;
mod http;
mod machine;
mod methods;
mod options;
mod prompts;
mod questions;
pub mod remote;
mod rpc;
mod serving;
mod session;
mod socket;
mod streams;
#[cfg(test)]
mod tests;
mod tools;
mod transcript;

use crate::state::AppState;
use ::http::HeaderName;
use axum::Router;
use axum::routing::get;

pub use connection::KIND as CONNECTION;
pub use driver::{Back, Ends, drive};
pub use http::Connections;
pub use machine::{Act, MAX_QUESTIONS, MAX_REQUESTS, MAX_SESSIONS, Machine};
pub use methods::PROTOCOL_VERSION;
pub use prompts::MAX_PROMPTS;
pub use rpc::MAX_MESSAGE_BYTES;
pub use streams::{MAX_BUFFERED_BYTES, MAX_STREAMS};

/// Names a connection over HTTP.
pub const CONNECTION_ID: HeaderName = HeaderName::from_static("acp-connection-id");
/// Names the session that a request over HTTP is about.
pub const SESSION_ID: HeaderName = HeaderName::from_static("acp-session-id");

/// `/acp`. Every request that reaches it passed the policy: it carries `Extension<Principal>`.
pub fn routes() -> Router<AppState> {
    Router::new().route("/acp", get(socket::get).post(http::post).delete(http::delete))
}
