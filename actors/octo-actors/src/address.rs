//! Typed handles to actors, with a bounded mailbox.
//!
//! ractor's mailboxes are unbounded; the address counts what waits in one and refuses beyond the kind's limit.
//! An address outlives restarts: it points to whatever incarnation is current.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use ractor::ActorRef;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::row::Row;
use crate::{ActorPath, ActorState, Directory};

/// Why a message was not delivered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// As many messages wait as its kind allows. Nothing was delivered; try again later or shed load.
    #[error("{path} is busy: {limit} messages already wait for it")]
    Busy {
        /// The actor.
        path: ActorPath,
        /// Messages that may wait.
        limit: usize,
    },
    /// No incarnation is alive: it has ended, or is between two incarnations. Nothing was delivered.
    #[error("{path} is not running")]
    Gone {
        /// The actor.
        path: ActorPath,
    },
}

/// Why a question got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// As [`SendError::Busy`]: the question was not delivered.
    #[error("{path} is busy: {limit} messages already wait for it")]
    Busy {
        /// The actor.
        path: ActorPath,
        /// Messages that may wait.
        limit: usize,
    },
    /// It is not running, or ended (or dropped the reply) before it answered. Whether it acted is unknown.
    #[error("{path} is not running, or ended before it answered")]
    Gone {
        /// The actor.
        path: ActorPath,
    },
    /// No answer within the deadline. Whether it acted, or will, is unknown.
    #[error("{path} did not answer within {deadline:?}")]
    Timeout {
        /// The actor.
        path: ActorPath,
        /// How long the asker waited.
        deadline: Duration,
    },
    /// The actor answered with a refusal.
    #[error("{0}")]
    Refused(String),
}

impl From<SendError> for AskError {
    fn from(error: SendError) -> Self {
        match error {
            SendError::Busy { path, limit } => Self::Busy { path, limit },
            SendError::Gone { path } => Self::Gone { path },
        }
    }
}

/// Why [`Address::ready`] gave up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadyError {
    /// It ended for good or is degraded.
    #[error("{path} did not start: {error}")]
    Failed {
        /// The actor.
        path: ActorPath,
        /// Why it last failed.
        error: String,
    },
    /// Still starting or restarting at the deadline.
    #[error("{path} is not running after {deadline:?}; last error: {error}")]
    Timeout {
        /// The actor.
        path: ActorPath,
        /// How long the caller waited.
        deadline: Duration,
        /// Why it last failed, or `none`.
        error: String,
    },
}

/// Where the answer to an [`Address::ask`] goes. Dropping it unanswered gives the asker `Gone`.
pub struct Reply<T>(oneshot::Sender<Result<T, String>>);

impl<T> Reply<T> {
    /// Answers.
    pub fn send(self, answer: T) {
        let _ = self.0.send(Ok(answer));
    }

    /// Refuses, with a sentence for whoever asked.
    pub fn refuse(self, why: impl fmt::Display) {
        let _ = self.0.send(Err(why.to_string()));
    }

    /// Answers or refuses.
    pub fn respond<E: fmt::Display>(self, result: Result<T, E>) {
        let _ = self.0.send(result.map_err(|e| e.to_string()));
    }

    /// Whether the asker still waits. Look before work that only the asker wants.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        !self.0.is_closed()
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// What travels in a ractor mailbox.
pub(crate) enum Envelope<M> {
    Message {
        message: M,
        /// When it was sent, if somebody traces.
        sent: Option<Instant>,
        waiting: Waiting,
    },
    /// An owned task panicked: so does its owner.
    TaskPanicked(String),
    /// A snapshot is due.
    Snapshot,
}

/// One message's place in the mailbox; given back on drop, so also when an incarnation ends with messages unread.
pub(crate) struct Waiting(Arc<Row>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.depth.fetch_sub(1, Relaxed);
    }
}

pub(crate) struct Slot<M> {
    pub current: ArcSwapOption<ActorRef<Envelope<M>>>,
    pub row: Arc<Row>,
    pub directory: Directory,
}

/// A handle to an actor that takes messages `M`. Cheap to clone, survives restarts of the actor.
///
/// It does not survive the end of the actor: when the actor's parent restarts, its children are new actors, and the
/// old addresses stay `Gone`. So whoever outlives the parent asks it again.
pub struct Address<M>(pub(crate) Arc<Slot<M>>);

impl<M> Clone for Address<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M> fmt::Debug for Address<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({})", self.0.row.path)
    }
}

impl<M: Send + 'static> Address<M> {
    /// Where the actor lives.
    #[must_use]
    pub fn path(&self) -> &ActorPath {
        &self.0.row.path
    }

    /// Puts a message into the actor's mailbox; never waits. Messages of one sender are handled in order.
    ///
    /// Delivered is not handled: an incarnation that ends takes its unread messages with it.
    ///
    /// # Errors
    /// [`SendError`]; nothing was delivered then.
    pub fn tell(&self, message: M) -> Result<(), SendError> {
        let row = &self.0.row;
        let limit = row.kind.mailbox;
        let waiting = Waiting(Arc::clone(row));
        if row.depth.fetch_add(1, AcqRel) >= limit {
            drop(waiting);
            row.tally.busy.fetch_add(1, Relaxed);
            return Err(SendError::Busy { path: row.path.clone(), limit });
        }
        self.deliver(message, waiting)
    }

    /// As [`Address::tell`], but beyond the limit: for what is bounded elsewhere (results of owned tasks).
    pub(crate) fn tell_owned(&self, message: M) -> Result<(), SendError> {
        self.0.row.depth.fetch_add(1, AcqRel);
        self.deliver(message, Waiting(Arc::clone(&self.0.row)))
    }

    fn deliver(&self, message: M, waiting: Waiting) -> Result<(), SendError> {
        let sent = self.0.directory.taps().listening().then(Instant::now);
        self.post(Envelope::Message { message, sent, waiting })
    }

    pub(crate) fn post(&self, envelope: Envelope<M>) -> Result<(), SendError> {
        let sent = self.0.current.load().as_ref().is_some_and(|actor| actor.send_message(envelope).is_ok());
        if sent { Ok(()) } else { Err(SendError::Gone { path: self.0.row.path.clone() }) }
    }

    /// Asks and waits for the answer: `address.ask(|reply| Msg::Total(reply), Duration::from_secs(1)).await`.
    ///
    /// Never ask up the tree from inside a handler: two actors that ask each other wait for both deadlines.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn ask<T: Send + 'static>(&self, question: impl FnOnce(Reply<T>) -> M, deadline: Duration) -> Result<T, AskError> {
        let (reply, answer) = oneshot::channel();
        self.tell(question(Reply(reply)))?;
        match tokio::time::timeout(deadline, answer).await {
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(why))) => Err(AskError::Refused(why)),
            Ok(Err(_)) => Err(AskError::Gone { path: self.path().clone() }),
            Err(_) => Err(AskError::Timeout { path: self.path().clone(), deadline }),
        }
    }

    /// Where the actor is in its life; `Stuck` included.
    #[must_use]
    pub fn state(&self) -> ActorState {
        self.0.row.view().state
    }

    /// Messages waiting.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.0.row.depth.load(Relaxed)
    }

    /// Waits until it runs (its `start` has returned).
    ///
    /// # Errors
    /// When it ended or is degraded instead, or the deadline passed.
    pub async fn ready(&self, deadline: Duration) -> Result<(), ReadyError> {
        let settled = |s: &ActorState| matches!(s, ActorState::Running | ActorState::Degraded | ActorState::Stopped);
        let state = self.wait_for(settled);
        let error = || self.0.row.last_error().map_or_else(|| "none".to_owned(), |e| e.as_ref().to_owned());
        match tokio::time::timeout(deadline, state).await {
            Ok(ActorState::Running) => Ok(()),
            Ok(_) => Err(ReadyError::Failed { path: self.path().clone(), error: error() }),
            Err(_) => Err(ReadyError::Timeout { path: self.path().clone(), deadline, error: error() }),
        }
    }

    /// Waits until the actor has ended for good. A restart does not end this.
    pub async fn closed(&self) {
        self.wait_for(|s| *s == ActorState::Stopped).await;
    }

    async fn wait_for(&self, wanted: impl FnMut(&ActorState) -> bool) -> ActorState {
        let mut states = self.0.row.state.subscribe();
        // The sender lives in the row we hold, so the wait cannot fail.
        states.wait_for(wanted).await.map_or(ActorState::Stopped, |s| *s)
    }
}
