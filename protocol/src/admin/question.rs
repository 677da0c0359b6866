//! What octo asks a runner on behalf of an operator: the JSON of [`crate::link::RequestBody::Admin`].

use crate::ids::SessionId;
use crate::mux::system::ActorRow;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A trace that nobody has asked for so long is over.
pub const TRACE_LAPSES_AFTER: Duration = Duration::from_secs(15);

/// A question. Paths are those of the runner's own tree. One that the runner does not know is answered `unsupported`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum RunnerQuestion {
    /// → [`Found`] of [`super::Inspection`].
    Inspect { path: String },
    /// Restarts the actor; that does not count toward its intensity → [`Found`] of its [`ActorRow`] before.
    Restart { path: String },
    /// Begins a trace of the actor and all below it → [`TraceOpened`]. It lapses after [`TRACE_LAPSES_AFTER`].
    TraceOpen { path: String },
    /// Waits up to `wait_ms` for messages → [`super::TraceBatch`].
    TraceNext { trace: u64, wait_ms: u32 },
    /// → null.
    TraceClose { trace: u64 },
    /// Reads the whole journal and checks it → [`super::JournalReport`].
    VerifyJournal,
    /// What is wrong with the runner beside what its actors show → a list of [`super::Trouble`], named by what they are about: `journal`, `descriptors`.
    Trouble,
    /// Waits up to `wait_ms` for finished spans of traces that are sampled, and takes them → [`crate::trace::SpanBatch`].
    Spans { wait_ms: u32 },
    /// Begins to look at the session's events on their way → [`super::PathOpened`]. It lapses after [`TRACE_LAPSES_AFTER`].
    PathOpen { session: SessionId },
    /// Waits up to `wait_ms` for hops → [`super::RunnerHops`].
    PathNext { path: u64, wait_ms: u32 },
    /// → null.
    PathClose { path: u64 },
    /// What the runner has counted → array of [`crate::metrics::Sample`].
    Metrics,
}

/// A trace has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceOpened {
    pub trace: u64,
}

/// What became of looking for an actor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Found<T> {
    Here(T),
    /// It has ended for good; its last row.
    Ended(Box<ActorRow>),
    /// There is none, and none is remembered.
    Unknown,
    /// It is the root, of which there is nothing to inspect, and which nobody can restart.
    Root,
}
