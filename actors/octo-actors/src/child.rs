//! One child of a supervisor: how to make it, where it is in its life, what its kind allows.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use ractor::ActorCell;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::actor::{Actor, Failure};
use crate::address::Slot;
use crate::incarnation::{self, Birth, Factory, Token};
use crate::row::Row;
use crate::supervise::{RestartError, StopError, Stopped};
use crate::{Intensity, Restart};

/// How to make one more incarnation of a child, with its types erased.
pub(crate) trait Spec: Send + Sync {
    fn launch(&self, token: Arc<Token>, supervisor: ActorCell) -> Launch<'_>;
    /// From now on, senders are told that it is gone.
    fn clear(&self);
}

pub(crate) type Launch<'a> = Pin<Box<dyn Future<Output = Result<ActorCell, Failure>> + Send + 'a>>;

pub(crate) struct Recipe<A: Actor> {
    pub slot: Arc<Slot<A::Msg>>,
    pub factory: Factory<A>,
}

impl<A: Actor> Spec for Recipe<A> {
    fn launch(&self, token: Arc<Token>, supervisor: ActorCell) -> Launch<'_> {
        let birth = Birth { slot: Arc::clone(&self.slot), factory: Arc::clone(&self.factory), token };
        Box::pin(incarnation::spawn::<A>(birth, supervisor))
    }

    fn clear(&self) {
        self.slot.current.store(None);
    }
}

pub(crate) enum Phase {
    /// An incarnation lives, or has ended and is not gone yet.
    Alive(ActorCell),
    /// Asked to stop; `again` starts a fresh incarnation afterwards.
    Stopping { cell: ActorCell, again: bool },
    /// In back-off.
    Waiting,
    /// Beyond its intensity.
    Degraded,
}

pub(crate) enum Exit {
    Normal,
    Failed(String),
}

/// What a supervisor keeps of one child, over all its incarnations.
pub(crate) struct Child {
    pub recipe: Box<dyn Spec>,
    pub row: Arc<Row>,
    pub phase: Phase,
    /// Counts incarnations, so that a late timer never hits the next one.
    pub generation: u64,
    /// Order of first start.
    pub order: u64,
    pub born: Instant,
    pub exit: Option<Exit>,
    /// The deadline of its stop has passed.
    pub overdue: bool,
    /// It was killed at that deadline.
    pub killed: bool,
    /// It was ended because it was inside one message for too long.
    pub stuck: Option<String>,
    /// Restarts inside the intensity's period.
    pub recent: VecDeque<Instant>,
    /// Steps of back-off taken.
    pub step: u32,
    pub stop_replies: Vec<oneshot::Sender<Result<Stopped, StopError>>>,
    pub restart_replies: Vec<oneshot::Sender<Result<(), RestartError>>>,
}

impl Child {
    /// One that has its place and no incarnation yet.
    pub fn new(recipe: Box<dyn Spec>, row: Arc<Row>, order: u64) -> Self {
        Self {
            recipe,
            row,
            phase: Phase::Waiting,
            generation: 0,
            order,
            born: Instant::now(),
            exit: None,
            overdue: false,
            killed: false,
            stuck: None,
            recent: VecDeque::new(),
            step: 0,
            stop_replies: Vec::new(),
            restart_replies: Vec::new(),
        }
    }

    /// Whether its kind starts it again after such an end.
    pub fn restarts_after(&self, exit: &Exit) -> bool {
        match self.row.kind.restart {
            Restart::Permanent => true,
            Restart::Transient => matches!(exit, Exit::Failed(_)),
            Restart::Temporary => false,
        }
    }

    /// Counts one more restart; true when that is beyond the intensity.
    pub fn exceeds(&mut self, intensity: Intensity, now: Instant) -> bool {
        if intensity.max == u32::MAX {
            return false;
        }
        while self.recent.front().is_some_and(|at| now - *at > intensity.period) {
            self.recent.pop_front();
        }
        if self.recent.len() >= intensity.max as usize {
            return true;
        }
        self.recent.push_back(now);
        false
    }
}
