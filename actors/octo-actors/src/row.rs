//! One actor's row: what the directory knows of it without asking it.

use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::census::Tally;
use crate::inspect::SnapshotCell;
use crate::supervise::Supervisor;
use crate::{ActorPath, Kind};

/// Longest kept error or trouble, in bytes.
pub const MAX_ERROR: usize = 2048;

/// Longest name of a remote kind or message, in bytes.
pub const MAX_NAME: usize = 64;

/// Where an actor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    /// Inside `start`.
    Starting,
    /// Handling messages or waiting for one.
    Running,
    /// Running, but for longer than its kind's `stuck_after` inside one message.
    Stuck,
    /// Between two incarnations: the old one is going, or the back-off runs.
    Restarting,
    /// Beyond its intensity: down until a person restarts it.
    Degraded,
    /// Asked to stop.
    Stopping,
    /// Ended for good.
    Stopped,
}

impl ActorState {
    /// As it is written in JSON and in labels.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Stuck => "stuck",
            Self::Restarting => "restarting",
            Self::Degraded => "degraded",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
        }
    }
}

/// What the directory says of one actor, local or remote. Stable JSON: it travels over the runner link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActorRow {
    /// Where it lives.
    pub path: ActorPath,
    /// The name of its kind.
    pub kind: String,
    /// Where it is in its life.
    pub state: ActorState,
    /// Restarts since it was first started.
    pub restarts: u32,
    /// Messages waiting in its mailbox.
    pub mailbox: u64,
    /// Messages that may wait.
    pub mailbox_limit: u64,
    /// Messages handled, over all incarnations.
    pub processed: u64,
    /// Why it last failed.
    pub last_error: Option<String>,
    /// Start of the current incarnation, milliseconds since the Unix epoch.
    pub started_at_ms: u64,
    /// How long it has been inside the current message, milliseconds; `None` when it is idle.
    pub busy_ms: Option<u64>,
    /// The message it is inside of.
    pub busy_with: Option<String>,
    /// What is wrong with it as it saw it itself when its last snapshot was taken; `None` also when it does not run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Whether it lives in another process, below a mounted path.
    #[serde(default)]
    pub remote: bool,
}

impl ActorRow {
    /// With its texts cut to their limits.
    pub(crate) fn clipped(mut self) -> Self {
        clip(&mut self.kind, MAX_NAME);
        if let Some(error) = &mut self.last_error {
            clip(error, MAX_ERROR);
        }
        if let Some(trouble) = &mut self.trouble {
            clip(trouble, MAX_ERROR);
        }
        if let Some(message) = &mut self.busy_with {
            clip(message, MAX_NAME);
        }
        self
    }
}

/// Cuts `text` to at most `limit` bytes, between characters.
fn clip(text: &mut String, limit: usize) {
    text.truncate(text.floor_char_boundary(limit));
}

struct Busy {
    since: Instant,
    message: &'static str,
}

/// The live side of a row, shared by the actor, its addresses, its supervisor and the directory.
pub(crate) struct Row {
    pub path: ActorPath,
    pub kind: Kind,
    /// What happens to actors of its kind.
    pub tally: Arc<Tally>,
    pub depth: AtomicUsize,
    pub processed: AtomicU64,
    pub restarts: AtomicU32,
    pub started_at_ms: AtomicU64,
    pub state: watch::Sender<ActorState>,
    pub snapshot: SnapshotCell,
    /// Who starts and stops it.
    pub supervisor: Supervisor,
    /// By when a stop under way must be over.
    pub stop_by: Mutex<Option<Instant>>,
    busy: Mutex<Option<Busy>>,
    last_error: Mutex<Option<Arc<str>>>,
}

impl Row {
    pub fn new(path: ActorPath, kind: Kind, tally: Arc<Tally>, supervisor: Supervisor) -> Arc<Self> {
        Arc::new(Self {
            path,
            kind,
            tally,
            depth: AtomicUsize::new(0),
            processed: AtomicU64::new(0),
            restarts: AtomicU32::new(0),
            started_at_ms: AtomicU64::new(now_ms()),
            state: watch::Sender::new(ActorState::Starting),
            snapshot: SnapshotCell::default(),
            supervisor,
            stop_by: Mutex::new(None),
            busy: Mutex::new(None),
            last_error: Mutex::new(None),
        })
    }

    pub fn set_state(&self, state: ActorState) {
        self.state.send_replace(state);
    }

    pub fn enter(&self, message: &'static str, since: Instant) {
        *lock(&self.busy) = Some(Busy { since, message });
    }

    pub fn leave(&self) {
        *lock(&self.busy) = None;
    }

    /// The message that it has been inside of for longer than its kind allows, and for how long.
    pub fn overstayed(&self) -> Option<(&'static str, Duration)> {
        let after = self.kind.restart_stuck?;
        lock(&self.busy).as_ref().map(|busy| (busy.message, busy.since.elapsed())).filter(|(_, spent)| *spent > after)
    }

    pub fn fail(&self, error: &str) {
        let end = error.floor_char_boundary(MAX_ERROR);
        *lock(&self.last_error) = error.get(..end).map(Arc::from);
    }

    pub fn last_error(&self) -> Option<Arc<str>> {
        lock(&self.last_error).clone()
    }

    /// Its state as it is shown: `Stuck` is computed, the actor is not asked.
    pub fn state_now(&self) -> ActorState {
        self.state_after(lock(&self.busy).as_ref().map(|busy| busy.since.elapsed()))
    }

    fn state_after(&self, busy: Option<Duration>) -> ActorState {
        match *self.state.borrow() {
            ActorState::Running | ActorState::Starting if busy.is_some_and(|spent| spent > self.kind.stuck_after) => ActorState::Stuck,
            state => state,
        }
    }

    /// What to show now.
    pub fn view(&self) -> ActorRow {
        let busy = lock(&self.busy).as_ref().map(|b| (b.since.elapsed(), b.message));
        let state = self.state_after(busy.map(|(spent, _)| spent));
        let runs = matches!(state, ActorState::Running | ActorState::Stuck);
        ActorRow {
            path: self.path.clone(),
            kind: self.kind.name.to_owned(),
            state,
            restarts: self.restarts.load(Relaxed),
            mailbox: self.depth.load(Relaxed) as u64,
            mailbox_limit: self.kind.mailbox as u64,
            processed: self.processed.load(Relaxed),
            last_error: self.last_error().map(|e| e.as_ref().to_owned()),
            started_at_ms: self.started_at_ms.load(Relaxed),
            busy_ms: busy.map(|(spent, _)| millis(spent)),
            busy_with: busy.map(|(_, message)| message.to_owned()),
            trouble: runs.then(|| self.snapshot.trouble()).flatten(),
            remote: false,
        }
    }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

pub(crate) fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

/// No code of ours panics while it holds one of these locks, and the data is whole between statements.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
