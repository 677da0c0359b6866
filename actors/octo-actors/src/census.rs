//! The actors of one system, counted by kind: kinds are constants of the program, so there are few of them, however many actors there are.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use crate::row::Row;
use crate::supervise::Lifecycle;
use crate::{ActorPath, ActorState, Directory};

/// What has happened to actors of one kind since the system began.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    restarts: AtomicU64,
    given_up: AtomicU64,
    pub busy: AtomicU64,
}

impl Tally {
    pub fn note(&self, what: &Lifecycle) {
        let count = match what {
            Lifecycle::Restarting { .. } => &self.restarts,
            Lifecycle::Degraded { .. } | Lifecycle::Escalated { .. } => &self.given_up,
            Lifecycle::Started | Lifecycle::Ended { .. } => return,
        };
        count.fetch_add(1, Relaxed);
    }
}

/// The tallies of one system.
#[derive(Default)]
pub(crate) struct Tallies(RwLock<BTreeMap<&'static str, Arc<Tally>>>);

impl Tallies {
    /// That of a kind, made when it is the first of its kind.
    pub fn of(&self, kind: &'static str) -> Arc<Tally> {
        if let Some(tally) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(kind) {
            return Arc::clone(tally);
        }
        Arc::clone(self.0.write().unwrap_or_else(PoisonError::into_inner).entry(kind).or_default())
    }
}

/// Actors of one kind.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct KindCensus {
    /// The name of the kind.
    pub kind: &'static str,
    /// How many there are in each state, by its word. Whoever has ended is in none.
    pub states: Vec<(&'static str, u64)>,
    /// Messages that wait, in all their mailboxes.
    pub waiting: u64,
    /// Messages that wait in the fullest one.
    pub waiting_max: u64,
    /// How full the fullest one is: 1 is its limit.
    pub fill_max: f64,
    /// Incarnations that failed and were followed by another.
    pub restarts: u64,
    /// Actors that exceeded their intensity.
    pub given_up: u64,
    /// Messages that were refused because a mailbox was full.
    pub busy: u64,
}

/// The states that a census counts.
const STATES: [ActorState; 6] =
    [ActorState::Starting, ActorState::Running, ActorState::Stuck, ActorState::Restarting, ActorState::Degraded, ActorState::Stopping];

impl KindCensus {
    fn new(kind: &'static str, tally: &Tally) -> Self {
        Self {
            kind,
            states: STATES.map(|state| (state.word(), 0)).to_vec(),
            restarts: tally.restarts.load(Relaxed),
            given_up: tally.given_up.load(Relaxed),
            busy: tally.busy.load(Relaxed),
            ..Self::default()
        }
    }

    fn count(&mut self, row: &Row) {
        let state = row.state_now().word();
        if let Some((_, count)) = self.states.iter_mut().find(|(known, _)| *known == state) {
            *count += 1;
        }
        let (waiting, limit) = (row.depth.load(Relaxed) as u64, row.kind.mailbox as u64);
        self.waiting += waiting;
        self.waiting_max = self.waiting_max.max(waiting);
        self.fill_max = self.fill_max.max(waiting as f64 / limit.max(1) as f64);
    }
}

impl Directory {
    /// The actors of this system by kind, mounted ones not included. Asks nobody; a kind that once had an actor stays.
    #[must_use]
    pub fn census(&self) -> Vec<KindCensus> {
        let tallies: Vec<_> = self
            .tallies()
            .0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(kind, tally)| (*kind, Arc::clone(tally)))
            .collect();
        let mut kinds: BTreeMap<&str, KindCensus> = tallies.iter().map(|(kind, tally)| (*kind, KindCensus::new(kind, tally))).collect();
        for row in self.local_rows(&ActorPath::root()) {
            if let Some(census) = kinds.get_mut(row.kind.name) {
                census.count(&row);
            }
        }
        kinds.into_values().collect()
    }
}
