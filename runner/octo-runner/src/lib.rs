//! octo's per-user daemon: it keeps a user's sessions, their journal and history, and runs their agents.
//!
//! - [`link`]: the Unix socket on which the control plane reaches it.
//! - [`session`]: an actor for each session: inputs, turns, questions, commands.
//! - [`journal`]: the storage; journal and history are the same rows.
//! - [`agent`]: the agent's process; [`agents`]: where agents are found.
//! - [`ask`]: whether an agent starts, without all of that.
//! - [`permissions`]: what becomes of the tool calls that agents ask for.
//! - [`upgrade`]: another program in place of this one.
//! - [`history`]: queries; [`retention`]: what is kept for how long; [`idle`]: who may sleep; [`runner`]: all of it together.
//!
//! Promises: what anybody sees is in the journal first; a kill at any moment loses nothing that was seen and leaves no process behind; an upgrade is noticed
//! by no agent; one session
//! or one slow reader delays no other.
//!
//! Never: speaks HTTP, decides who may do what (the control plane has), or starts a process but through `octo-sandbox`.

pub mod agent;
pub mod agents;
pub mod ask;
pub mod clock;
pub mod figures;
pub mod history;
pub mod idle;
pub mod journal;
pub mod kill_point;
mod kinds;
pub mod link;
pub mod options;
pub mod permissions;
pub mod retention;
pub mod runner;
pub mod session;
pub mod shared;
pub mod trace;
mod trouble;
pub mod upgrade;

pub use kinds::kinds;
