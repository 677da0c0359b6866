//! The log behind every live stream: mailboxes carry control, logs carry data.
//!
//! One writer appends frames and never waits; any number of readers keep a position each and read when the head
//! moves. What a reader has not read costs nothing: behind the ring's tail it is told so, and catches up from the
//! journal. Promises: inside the ring the sequenced frames have no gap and no double; count and bytes are bounded; one that
//! nothing happens in holds next to nothing.

use std::collections::VecDeque;
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::Instant;

/// One frame, ready for the wire; clones share its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number in the journal, from 1; 0 for an ephemeral frame, which the journal does not have.
    pub seq: u64,
    /// Whether a connection flushes at once for it (permission requests, terminal echo).
    pub urgent: bool,
    /// What goes over the wire.
    pub bytes: Bytes,
}

/// How much a log keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogLimits {
    /// Frames.
    pub max_frames: usize,
    /// Bytes of all frames together. A frame larger than this passes through without staying.
    pub max_bytes: usize,
}

/// What a read gives. Positions count frames since the log began; they are not sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    /// The frames from the position on, in order; none when there is nothing new.
    Frames {
        /// The frames.
        frames: Vec<Frame>,
        /// Where to read on.
        next: u64,
    },
    /// Frames from that position on have been evicted, or the log was reset: read the journal up to at least
    /// `last_evicted_seq`, then rejoin through [`EventLog::position_after_seq`].
    Behind {
        /// The ring holds every sequenced frame after this one; `None` when it holds none and knows of none.
        last_evicted_seq: Option<u64>,
        /// Position of the oldest frame held.
        base: u64,
    },
}

/// A ring of frames with one writer and many readers.
pub struct EventLog {
    ring: RwLock<Ring>,
    head: watch::Sender<u64>,
    limits: LogLimits,
}

struct Entry {
    frame: Frame,
    /// The last sequence number up to and including this entry.
    upto: u64,
}

struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// Position of the first entry.
    base: u64,
    /// Every sequenced frame after this one, up to `last`, is in the ring. `None` until a sequence number is known.
    floor: Option<u64>,
    /// The last sequence number appended.
    last: Option<u64>,
    /// How it was when it was last looked whether anything happens.
    look: Option<Look>,
}

/// One look at a ring.
#[derive(Clone, Copy)]
struct Look {
    head: u64,
    last: Option<u64>,
    /// Since when `last` has been what it is.
    since: Instant,
}

impl EventLog {
    /// An empty log that knows no sequence number yet: the first sequenced frame sets it.
    #[must_use]
    pub fn new(limits: LogLimits) -> Self {
        Self::with(limits, None)
    }

    /// An empty log that continues after `last_seq` (0 for a journal that is empty): readers who have read that far
    /// can join at once.
    #[must_use]
    pub fn following(limits: LogLimits, last_seq: u64) -> Self {
        Self::with(limits, Some(last_seq))
    }

    fn with(limits: LogLimits, seq: Option<u64>) -> Self {
        let ring = Ring { entries: VecDeque::new(), bytes: 0, base: 0, floor: seq, last: seq, look: None };
        Self { ring: RwLock::new(ring), head: watch::Sender::new(0), limits }
    }

    /// Appends one frame. For the log's single writer; never waits for readers.
    ///
    /// A sequenced frame that does not follow [`EventLog::last_seq`] resets the log first.
    pub fn append(&self, frame: Frame) {
        let head = {
            let mut ring = self.write();
            ring.push(frame, self.limits);
            ring.head()
        };
        self.notify(head);
    }

    /// Appends frames in order, with one notification of the head.
    pub fn append_all(&self, frames: impl IntoIterator<Item = Frame>) {
        // Whatever work the iterator does happens before readers are kept out.
        let frames: Vec<Frame> = frames.into_iter().collect();
        if frames.is_empty() {
            return;
        }
        let head = {
            let mut ring = self.write();
            for frame in frames {
                ring.push(frame, self.limits);
            }
            ring.head()
        };
        self.notify(head);
    }

    /// Drops everything and forgets the sequence (an epoch began, the source lost its place): every reader, even one
    /// at the head, is told that it is behind.
    pub fn reset(&self) {
        self.reset_with(None);
    }

    /// As [`EventLog::reset`], continuing after `last_seq`.
    pub fn reset_following(&self, last_seq: u64) {
        self.reset_with(Some(last_seq));
    }

    /// Gives memory back where nothing happens; to be called now and then. Once no sequenced frame has come for `quiet`, frames that were there at the call before are
    /// evicted, as by the limits: who has read them notices nothing, who has not reads the journal. What is shown and never journalled (a heartbeat, say) goes on coming,
    /// and would fill the ring of an idle session to its limits otherwise.
    pub fn rest(&self, quiet: Duration) {
        let now = Instant::now();
        let mut ring = self.write();
        let before = ring.look;
        let since = before.filter(|look| look.last == ring.last).map_or(now, |look| look.since);
        ring.look = Some(Look { head: ring.head(), last: ring.last, since });
        if let Some(look) = before.filter(|_| now - since >= quiet) {
            while ring.base < look.head && ring.evict() {}
            let held = ring.entries.len();
            ring.entries.shrink_to(held);
        }
    }

    /// Frames held, and their bytes.
    #[must_use]
    pub fn held(&self) -> (usize, usize) {
        let ring = self.read_lock();
        (ring.entries.len(), ring.bytes)
    }

    fn reset_with(&self, seq: Option<u64>) {
        let head = {
            let mut ring = self.write();
            ring.reset(seq);
            ring.head()
        };
        self.notify(head);
    }

    fn notify(&self, head: u64) {
        self.head.send_if_modified(|shown| {
            let moved = *shown < head;
            *shown = head.max(*shown);
            moved
        });
    }

    /// The position after the last frame.
    #[must_use]
    pub fn head(&self) -> u64 {
        self.read_lock().head()
    }

    /// The head as it moves. Ends when the log is dropped.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
    }

    /// The position from which every later frame follows `seq` with no gap; `None` when frames after `seq` have been
    /// evicted, or the log has not seen `seq` yet.
    #[must_use]
    pub fn position_after_seq(&self, seq: u64) -> Option<u64> {
        let ring = self.read_lock();
        let (floor, last) = (ring.floor?, ring.last?);
        if seq < floor || seq > last {
            return None;
        }
        if seq == floor {
            return Some(ring.base);
        }
        let index = ring.entries.partition_point(|entry| entry.upto < seq);
        Some(ring.base + index as u64 + 1)
    }

    /// The last sequence number appended.
    #[must_use]
    pub fn last_seq(&self) -> Option<u64> {
        self.read_lock().last
    }

    /// The oldest sequence number held; `None` when no sequenced frame is.
    #[must_use]
    pub fn base_seq(&self) -> Option<u64> {
        let ring = self.read_lock();
        let (floor, last) = (ring.floor?, ring.last?);
        (floor < last).then_some(floor + 1)
    }

    /// Frames from `from` on: at most `max_frames`, and at most `max_bytes` unless the first frame alone is larger.
    #[must_use]
    pub fn read(&self, from: u64, max_frames: usize, max_bytes: usize) -> Read {
        let ring = self.read_lock();
        if from < ring.base {
            return Read::Behind { last_evicted_seq: ring.floor, base: ring.base };
        }
        let skip = usize::try_from(from - ring.base).unwrap_or(usize::MAX).min(ring.entries.len());
        let available = ring.entries.len() - skip;
        let mut frames = Vec::with_capacity(available.min(max_frames));
        let mut bytes = 0usize;
        for entry in ring.entries.range(skip..).take(max_frames) {
            bytes = bytes.saturating_add(entry.frame.bytes.len());
            if bytes > max_bytes && !frames.is_empty() {
                break;
            }
            frames.push(entry.frame.clone());
        }
        let next = ring.base + (skip + frames.len()) as u64;
        Read::Frames { frames, next }
    }

    /// No code panics while it holds the lock, and the ring is whole between statements.
    fn read_lock(&self) -> RwLockReadGuard<'_, Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn head(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    fn push(&mut self, frame: Frame, limits: LogLimits) {
        if frame.seq != 0 {
            match self.last {
                Some(last) if last.checked_add(1) == Some(frame.seq) => {}
                Some(_) => self.reset(Some(frame.seq - 1)),
                None => self.floor = Some(frame.seq - 1),
            }
            self.last = Some(frame.seq);
        }
        self.bytes = self.bytes.saturating_add(frame.bytes.len());
        self.entries.push_back(Entry { upto: self.last.unwrap_or(0), frame });
        while (self.entries.len() > limits.max_frames || self.bytes > limits.max_bytes) && self.evict() {}
    }

    /// Lets go of the oldest frame; false when there is none.
    fn evict(&mut self) -> bool {
        let Some(evicted) = self.entries.pop_front() else { return false };
        self.base += 1;
        self.bytes -= evicted.frame.bytes.len();
        if evicted.frame.seq != 0 {
            self.floor = Some(evicted.frame.seq);
        }
        true
    }

    /// One position is skipped, so that a reader at the head is behind like any other.
    fn reset(&mut self, seq: Option<u64>) {
        self.base = self.head() + 1;
        self.entries = VecDeque::new();
        self.bytes = 0;
        self.floor = seq;
        self.last = seq;
    }
}
