//! The agent's process: what is launched, and the actor that owns it.
//!
//! Owns: the launch plan ([`Plan`]), the process with its three pipes ([`AgentProcess`]), the end of what it wrote to stderr, its vital
//! signs, and how all of it comes to rest and goes on in another program ([`Hold`], [`Adopted`]).
//!
//! Promises: everything starts through its [`Host`], which in the daemon is `octo_sandbox::Launcher`; stdout is read only as fast as the session takes it, stderr is always drained, stdin has
//! a bounded queue; of one session there is one agent at a time, whatever becomes of this runner ([`lease`]); the session hears of the end once, after everything that was written before it; the whole tree is gone then.
//!
//! Never: understands what an agent says, or decides what follows from its end: that is the session's, and the policy on [`AGENT`].

mod claude_home;
mod held;
mod host;
mod kinds;
mod lease;
mod pi_home;
mod plan;
mod process;
mod rest;
mod vitals;

pub use held::{Adopted, Held, Hold, Placed};
pub use host::{Control, Host, HostError, Pipe, Running, Tree};
pub use kinds::AgentKind;
pub use lease::{LeaseError, forget as forget_lease};
pub use plan::{Plan, PlanError, translator};
pub use process::{AgentMsg, AgentProcess, AgentStart, STDIN_QUEUE, STOP_PATIENCE};
pub use vitals::{Vitals, companions};

use octo_actors::{Backoff, Kind};
use octo_harness::ExitReport;
use std::time::Duration;
use tokio::sync::mpsc;

/// Restarted after a crash, at most three times in a minute; then it stays down until the next prompt.
pub const AGENT: Kind = Kind::transient("agent")
    .intensity(3, Duration::from_secs(60))
    .degrade()
    .backoff(Backoff::new(Duration::from_millis(250), Duration::from_secs(10)))
    .stop_within(Duration::from_secs(12));

/// What a session hears of its agent's process.
#[derive(Debug)]
pub enum News {
    /// It runs.
    Up {
        /// Counts the processes of this session.
        incarnation: u64,
        pid: u32,
        stdin: mpsc::Sender<bytes::Bytes>,
    },
    /// It could not be started.
    NotStarted { incarnation: u64, error: String },
    /// It has ended, and its tree with it.
    Gone {
        incarnation: u64,
        report: ExitReport,
        /// Its supervisor starts another one, unless this was once too often.
        again: bool,
    },
    /// It was started too often: it stays down.
    Degraded { error: String },
}
