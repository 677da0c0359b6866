//! A session's ring of events, as subscriptions read it.

use bytes::{BufMut, Bytes, BytesMut};
use octo_actors::{EventLog, Frame, Listeners, LogLimits};
use octo_protocol::admin::RunnerHop;
use octo_protocol::{Epoch, EventKind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use tokio_util::sync::CancellationToken;

/// Events that a session keeps in memory for its subscriptions; what is older they read from the journal.
const RING: LogLimits = LogLimits { max_frames: 2048, max_bytes: 2 * 1024 * 1024 };
/// Bytes before the payload of a packed event.
const HEADER: usize = 9;

/// An event as the ring holds it: time, kind and payload in one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed(Bytes);

impl Packed {
    /// Packs an event; `payload` is the JSON that everybody will see.
    #[must_use]
    pub fn new(ts: i64, kind: EventKind, payload: &[u8]) -> Self {
        let mut bytes = BytesMut::with_capacity(HEADER + payload.len());
        bytes.put_i64(ts);
        bytes.put_u8(code_of(kind));
        bytes.put_slice(payload);
        Self(bytes.freeze())
    }

    /// Takes a frame of the ring apart.
    #[must_use]
    pub fn of(frame: &Frame) -> Self {
        Self(frame.bytes.clone())
    }

    /// Unix milliseconds.
    #[must_use]
    pub fn ts(&self) -> i64 {
        self.0.get(..8).and_then(|b| b.try_into().ok()).map_or(0, i64::from_be_bytes)
    }

    /// What it means to journal and link.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        kind_of(i64::from(self.0.get(8).copied().unwrap_or_default()))
    }

    /// The JSON.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        self.0.get(HEADER..).unwrap_or_default()
    }

    pub(super) fn frame(&self, seq: u64) -> Frame {
        Frame { seq, urgent: self.kind() == EventKind::Urgent, bytes: self.0.clone() }
    }
}

/// The kind as the journal stores it. Never renumber.
pub(super) fn code_of(kind: EventKind) -> u8 {
    match kind {
        EventKind::Delta => 0,
        EventKind::Normal => 1,
        EventKind::Durable => 2,
        EventKind::Urgent => 3,
        EventKind::Ephemeral => 4,
    }
}

pub(super) fn kind_of(code: i64) -> EventKind {
    match code {
        0 => EventKind::Delta,
        2 => EventKind::Durable,
        3 => EventKind::Urgent,
        4 => EventKind::Ephemeral,
        _ => EventKind::Normal,
    }
}

/// What subscriptions of one session share. The journal's writer appends; nobody else.
pub struct SessionLog {
    /// Committed events.
    pub ring: EventLog,
    /// The epoch that their numbers are of.
    pub epoch: Epoch,
    /// The life in the journal.
    pub life: i64,
    /// Cancelled when the session was deleted.
    pub gone: CancellationToken,
    /// Those who look at the events on their way.
    pub watchers: Arc<Listeners<RunnerHop>>,
    /// Events up to this `seq` are not kept any more, except messages. Raised before they are removed.
    floor: AtomicU64,
}

impl SessionLog {
    /// The log of a life whose newest event is `head`.
    #[must_use]
    pub fn new(epoch: Epoch, life: i64, head: u64) -> Self {
        Self::with_ring(epoch, life, head, RING)
    }

    /// As [`SessionLog::new`], with another ring.
    #[must_use]
    pub fn with_ring(epoch: Epoch, life: i64, head: u64, limits: LogLimits) -> Self {
        Self {
            ring: EventLog::following(limits, head),
            epoch,
            life,
            gone: CancellationToken::new(),
            watchers: Arc::default(),
            floor: AtomicU64::new(0),
        }
    }

    /// The same, whose events up to `floor` are not kept any more.
    #[must_use]
    pub fn with_floor(self, floor: u64) -> Self {
        self.raise_floor(floor);
        self
    }

    /// Events up to this `seq` are not kept any more: whoever stands before it has to be told. Look after reading, never before: what was read is
    /// complete when the cursor it was read from is not below.
    #[must_use]
    pub fn floor(&self) -> u64 {
        self.floor.load(SeqCst)
    }

    /// Events up to `floor` are about to be removed.
    pub fn raise_floor(&self, floor: u64) {
        self.floor.fetch_max(floor, SeqCst);
    }

    /// Lets go of what the ring holds: whoever comes next reads the journal.
    pub fn rest(&self) {
        self.ring.reset_following(self.head());
    }

    /// The newest committed `seq`.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.ring.last_seq().unwrap_or_default()
    }
}
