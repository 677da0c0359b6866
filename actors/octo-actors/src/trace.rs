//! A bounded, lossy tap of messages: what an actor handled, how long it waited, how long it took, how it ended.
//!
//! Nobody listening costs one atomic load a message. A listener that does not keep up loses messages, never slows
//! an actor, and is told how many it lost.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use crate::ActorPath;

/// Messages one tap holds for its reader.
pub const TRACE_BUFFER: usize = 1024;
/// Taps one system serves at a time.
pub const MAX_TAPS: usize = 64;

/// How handling a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Handled.
    Ok,
    /// The handler returned an error.
    Failed,
    /// The handler panicked.
    Panicked,
    /// The actor was killed inside it.
    Killed,
}

/// One handled message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traced {
    /// Whose message.
    pub path: ActorPath,
    /// Its name, as the actor names it.
    pub message: String,
    /// Time in the mailbox, microseconds. `None` for messages sent before anybody traced.
    pub queued_us: Option<u64>,
    /// Time in the handler, microseconds.
    pub handled_us: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// Why no tap was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_TAPS} traces are already running; end one first")]
pub struct TooManyTaps;

struct Tap {
    prefix: ActorPath,
    queue: mpsc::Sender<Traced>,
    dropped: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Taps {
    open: AtomicUsize,
    taps: ArcSwap<Vec<Arc<Tap>>>,
}

impl Taps {
    pub fn listening(&self) -> bool {
        self.open.load(Ordering::Relaxed) != 0
    }

    pub fn offer(&self, path: &ActorPath, message: &str, queued_us: Option<u64>, handled_us: u64, outcome: Outcome) {
        for tap in self.taps.load().iter().filter(|tap| path.is_under(&tap.prefix)) {
            match tap.queue.try_reserve() {
                Ok(slot) => slot.send(Traced { path: path.clone(), message: message.to_owned(), queued_us, handled_us, outcome }),
                Err(_) => {
                    tap.dropped.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    pub fn open(self: &Arc<Self>, prefix: ActorPath) -> Result<Trace, TooManyTaps> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= MAX_TAPS {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(TooManyTaps);
        }
        let (queue, reader) = mpsc::channel(TRACE_BUFFER);
        let tap = Arc::new(Tap { prefix, queue, dropped: AtomicU64::new(0) });
        self.taps.rcu(|taps| taps.iter().cloned().chain([Arc::clone(&tap)]).collect::<Vec<_>>());
        Ok(Trace { reader, tap, taps: Arc::downgrade(self) })
    }
}

/// A running trace; dropping it ends it.
pub struct Trace {
    reader: mpsc::Receiver<Traced>,
    tap: Arc<Tap>,
    taps: Weak<Taps>,
}

impl Trace {
    /// The next message. Waits for ever when nothing happens.
    pub async fn next(&mut self) -> Option<Traced> {
        self.reader.recv().await
    }

    /// The next message if one is there.
    pub fn try_next(&mut self) -> Option<Traced> {
        self.reader.try_recv().ok()
    }

    /// Messages this trace has lost so far because it was not read fast enough.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.tap.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        if let Some(taps) = self.taps.upgrade() {
            taps.taps.rcu(|all| all.iter().filter(|t| !Arc::ptr_eq(t, &self.tap)).cloned().collect::<Vec<_>>());
            taps.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
