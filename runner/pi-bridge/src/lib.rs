//! pi-bridge: one small server in front of any agent that octo knows, for containers and VMs. For Claude Code it is the HTTP server mode that it does not have.
//!
//! - [`options`]: what it is started with; [`token`]: who may use it; [`provision`]: where the agent's models come from.
//! - [`bridge`]: the runner inside it, whose journal and agent processes are octo-runner's; [`door`]: commands; [`follower`]: events.
//! - [`http`]: the routes; [`listener`]: connections and their limits.
//! - [`connect`]: the other end, which octo-runner starts for an agent with `transport = "bridge"`.
//!
//! Promises: every event has `(epoch, seq)` and is in the journal before anyone sees it, so that whoever comes back with a cursor gets the rest, each event
//! once, whatever was killed meanwhile; a reader that takes nothing costs a cursor; nobody gets past the door without the token.
//!
//! Never: starts a process but through octo-runner, which does so through octo-sandbox; takes a token from a command line or a URL, or gives one to the agent.

pub mod bridge;
pub mod connect;
pub mod door;
pub mod follower;
pub mod http;
pub mod listener;
pub mod options;
pub mod provision;
pub mod token;

pub use bridge::Bridge;
pub use options::Serve;
