//! Actors: rows, snapshots, traces.

use crate::mux::system::ActorRow;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// A part of the tree, across octo and its runners.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Actors {
    /// In order of path.
    pub rows: Vec<ActorRow>,
    /// When they were read, Unix milliseconds: two answers give a rate.
    pub at: i64,
    /// Trees that should be among them and are not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// A runner's tree that is not shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct LeftOut {
    /// Where it would stand.
    pub path: String,
    /// Why it does not.
    pub reason: String,
}

/// An actor as it stands, and as it described itself last.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Inspection {
    pub row: ActorRow,
    /// What the actor said of itself last; null before the first time.
    #[ts(type = "unknown")]
    pub snapshot: Value,
    /// Milliseconds since then; absent before the first time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub age_ms: Option<u64>,
    /// Whether who asks may restart it; told by `/api/actors/inspect`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub may_restart: Option<bool>,
}

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Ok,
    /// The handler returned an error.
    Failed,
    Panicked,
    /// The actor was ended inside it.
    Killed,
}

/// One message that an actor has handled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct Traced {
    /// Whose message.
    pub path: String,
    /// Its name, as the actor names it.
    pub message: String,
    /// Microseconds in the mailbox; absent for one sent before anybody traced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub queued_us: Option<u64>,
    /// Microseconds in the handler.
    #[ts(type = "number")]
    pub handled_us: u64,
    pub outcome: Outcome,
}

/// What a trace has caught since it was asked last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceBatch {
    pub messages: Vec<Traced>,
    /// Messages lost so far, because the trace was not read fast enough.
    pub dropped: u64,
}

/// One line of a trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum TraceLine {
    Message(Traced),
    /// So many were lost until now, in all sources together.
    Dropped(#[ts(type = "number")] u64),
    /// A part of the tree is not traced any more, or never was.
    Lost(LeftOut),
    /// Nothing happened for a while; the trace goes on.
    Quiet,
}
