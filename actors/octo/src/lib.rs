//! The control plane of octo: accounts, HTTP, the mux WebSocket, sessions, fan-out, its own store.
//!
//! It owns accounts, tokens, settings and the keys that sessions use at octo-eavs. It promises that `authorize` is the only door
//! ([`auth`]), that every route declares its policy ([`rest`]), that whatever matters is on the disk before it is acknowledged
//! ([`store`]), and that no process of a user's ends because octo does ([`launch`]).
//!
//! It never spawns an agent, never opens a path of a workspace, and has no global state: two instances in one process work.
//! It brings no runtime, signal handler, tracing subscriber or panic hook of its own; the binary does.

pub mod acp;
pub mod agents;
pub mod audit;
pub mod auth;
pub mod builder;
pub mod config;
pub mod door;
pub mod eavs;
mod embed;
pub mod figures;
mod kinds;
pub mod launch;
pub mod link;
pub mod mux;
pub mod paths;
pub mod rest;
pub mod server;
pub mod sessions;
pub mod state;
pub mod store;
pub mod telemetry;
pub mod users;
pub mod web;

pub use builder::{BuildError, Builder, Octo};
pub use config::Config;
pub use embed::{EmbeddedUser, From, NewSession, Session};
pub use kinds::kinds;

/// Version of this build.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
