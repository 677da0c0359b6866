//! The path of an event: from the agent's output to each socket, with a time for each hop.
//!
//! Each process reads its machine's monotonic clock, which is the same for all processes of one machine and has nothing to do with that of another one.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// A runner looks at a session's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathOpened {
    pub path: u64,
    /// The boot of the kernel whose clock the runner reads: times of two processes that name the same one can be compared.
    pub boot_id: String,
}

/// What a runner sees of events on their way; times are nanoseconds of its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunnerHop {
    /// Events `from` to `to` were made of output of the agent that was read at `read`. Of others there is no such hop.
    Made { from: u64, to: u64, read: u64, translated: u64 },
    /// Events `from` to `to` are in the journal.
    Committed { from: u64, to: u64, at: u64 },
    /// The event was given to the one who writes to the link.
    Sent { seq: u64, at: u64 },
}

/// What a runner has seen since it was asked last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunnerHops {
    pub hops: Vec<RunnerHop>,
    /// Hops that were lost since then, because nobody asked in time.
    #[serde(default)]
    pub dropped: u64,
}

/// How an event came to one connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SocketPath {
    /// Its number among the connections of its user.
    pub connection: String,
    /// Microseconds from the session's ring until the connection took it.
    #[ts(type = "number")]
    pub taken_us: u64,
    /// Microseconds from there until the socket had it.
    #[ts(type = "number")]
    pub written_us: u64,
}

/// One event's path. Every time is microseconds since the hop before it; absent where that hop is not known, or was read from another clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct EventPath {
    #[ts(type = "number")]
    pub seq: u64,
    pub event: String,
    /// From the agent's output, as it was read, to the event; absent for events of octo's own making.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub translated_us: Option<u64>,
    /// To the journal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub committed_us: Option<u64>,
    /// To the link's writer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub sent_us: Option<u64>,
    /// Over the link, into octo; absent when the runner is on another machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub received_us: Option<u64>,
    /// Into the session's ring, where every connection finds it.
    #[ts(type = "number")]
    pub queued_us: u64,
    /// The first connections that wrote it, at most [`MAX_SOCKETS`].
    pub sockets: Vec<SocketPath>,
    /// Those that are not among them.
    #[serde(default)]
    #[ts(type = "number")]
    pub more_sockets: u64,
    /// From the first hop that is known to the last socket; absent when the runner is on another machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub total_us: Option<u64>,
}

/// Sockets of one event that are told one by one.
pub const MAX_SOCKETS: usize = 16;

/// One line of an answer with paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
pub enum PathLine {
    /// From now on events are looked at.
    Begun {
        user: String,
        session: String,
        /// Runner and octo read the same clock. If not, what lies between them is not told.
        one_clock: bool,
    },
    Event(EventPath),
    /// So many hops were lost until now, in both processes together: the paths of some events are missing, or parts of them.
    Dropped(#[ts(type = "number")] u64),
    /// Nothing happened for a while; the answer goes on.
    Quiet,
}
