//! octo's one launcher: everything that runs with a user's identity (agent, terminal, tool, git) starts here.
//!
//! Owns: the description of a sandboxed process ([`LaunchSpec`]), starting it ([`Launcher::spawn`]), the **life line** to
//! it ([`Sandboxed`]), its hand-over to the program that replaces the holder in place ([`Standing`], [`Successor`]), and, in the binary `octo-sandbox`, what happens on the other side: the mounts, the namespaces, the
//! limits, pid 1 with its loopback relay.
//!
//! Promises:
//! - The child gets exactly the given environment, the descriptors 0, 1 and 2, and nothing else of the caller's.
//! - Nothing secret is in a command line: the description travels in a sealed memory file.
//! - The whole tree ends, however deep it forked and whatever sessions it made, when the program exits, when
//!   [`Sandboxed::kill_tree`] is called, when the [`Sandboxed`] is dropped, and when the process holding it dies.
//! - A tree that uses more memory or has more processes than it may is ended, and says so. A lease is given back when the tree is gone.
//! - Fail closed: without working isolation nothing starts, unless [`Launcher::allow_without_bwrap`] asked for it by name.
//!
//! Never: `pre_exec` (it would fork the whole caller), a parent-death signal (it follows threads, not processes), a
//! global or a lock (descriptors are handed over through the life line, so a concurrent spawn cannot inherit them).
//!
//! ```text
//! runner ── Launcher::spawn ──▶ octo-sandbox run ──exec──▶ bwrap ──▶ octo-sandbox init (pid 1) ──▶ program
//!    └───────────────── life line: one Unix socket pair, EOF ends the namespace ───────┘
//! ```

mod cli;
mod descriptor;
mod error;
mod handover;
mod inside;
mod launcher;
mod lifeline;
mod message;
mod mounts;
mod sandboxed;
mod seatbelt;
mod signals;
mod spec;
mod successor;

pub use cli::program;
pub use descriptor::{sealed, set_close_on_exec};
pub use error::LaunchError;
pub use handover::Standing;
pub use launcher::{Isolation, Launcher, SandboxInfo};
pub use nix::unistd::Pid;
pub use sandboxed::{AgentReader, AgentWriter, Controller, Exit, Sandboxed, Started};
pub use signals::{Heard, Signals, hold_replacement, hold_signals};
pub use spec::{Bind, Excess, LaunchSpec, Limits, Network, Profile, RELAY_PORT_PLACEHOLDER, Relay, Resource, Signal, Stdio};
pub use successor::{Successor, SuccessorError};
