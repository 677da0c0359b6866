//! How far the sessions of a round are, as its clients see it: what the steps of a plan are counted by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// A step whose events do not come for so long is taken anyway.
const STALL: Duration = Duration::from_millis(1500);

#[derive(Debug, Default, Clone, Copy)]
struct Standing {
    seq: u64,
    busy: bool,
}

/// Shared by the clients, who write, and the player, who waits.
#[derive(Debug, Clone, Default)]
pub struct Board {
    standings: Arc<Mutex<HashMap<String, Standing>>>,
    moved: Arc<Notify>,
}

impl Board {
    fn with<T>(&self, look: impl FnOnce(&mut HashMap<String, Standing>) -> T) -> T {
        look(&mut self.standings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Something was sent to `session`: events will come.
    pub fn asked(&self, session: &str) {
        self.with(|all| all.entry(session.to_owned()).or_default().busy = true);
    }

    /// A client saw `session` up to `seq`; `rests` with its turn over.
    pub fn saw(&self, session: &str, seq: u64, rests: bool) {
        self.with(|all| {
            let standing = all.entry(session.to_owned()).or_default();
            if seq > standing.seq {
                standing.seq = seq;
                standing.busy &= !rests;
            }
        });
        self.moved.notify_one();
    }

    fn total(&self) -> (u64, bool) {
        self.with(|all| (all.values().map(|standing| standing.seq).sum(), all.values().any(|standing| standing.busy)))
    }

    /// Waits for `events` more, or until no more will come. Whether they came.
    pub async fn wait(&self, events: u64) -> bool {
        let goal = self.total().0 + events;
        loop {
            let (total, busy) = self.total();
            if total >= goal || !busy {
                return total >= goal;
            }
            if tokio::time::timeout(STALL, self.moved.notified()).await.is_err() {
                return false;
            }
        }
    }
}
