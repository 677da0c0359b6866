//! Supervisors: start children, hear how they end, start them again as their kind says.
//!
//! A supervisor is a ractor actor of its own, beside the actor that owns the children and linked to it: it works
//! while the owner is inside a message, and dies with it. This file is the handle; `nursery.rs` is the actor.

use std::sync::Arc;
use std::time::Duration;

use ractor::{ActorCell, ActorRef};
use tokio::sync::{oneshot, watch};

use crate::actor::Actor;
use crate::address::{Address, Slot};
use crate::child::Recipe;
use crate::incarnation::{Factory, Token};
use crate::nursery::{Command, Nursery, Roots};
use crate::path::PathError;
use crate::row::Row;
use crate::{ActorPath, Directory, Kind};

/// Children one supervisor may have.
pub const MAX_CHILDREN: usize = 65_536;
/// How long a killed actor may take to be gone before the caller is told that it lingers.
pub const KILL_GRACE: Duration = Duration::from_secs(5);

/// Why a child was not started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// Something lives there already.
    #[error("{0} already exists")]
    Exists(ActorPath),
    /// The supervisor has ended or is stopping its children.
    #[error("{0} is not taking children: it has ended or is stopping")]
    Gone(ActorPath),
    /// [`MAX_CHILDREN`] reached.
    #[error("{0} has {MAX_CHILDREN} children, its limit")]
    Full(ActorPath),
    /// The name makes no path.
    #[error(transparent)]
    Name(#[from] PathError),
}

/// How a stop went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Its `stopping` ran and its children were stopped in time.
    Gracefully,
    /// It was killed at the deadline.
    Killed,
}

/// Why a stop failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// Nobody lives there.
    #[error("there is no actor at {0}")]
    NotFound(ActorPath),
    /// Killed, and still not gone: it blocks its thread.
    #[error("{0} was killed but is not gone: it blocks its thread")]
    Lingers(ActorPath),
}

/// Why a restart failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RestartError {
    /// Nobody lives there.
    #[error("there is no actor at {0}")]
    NotFound(ActorPath),
    /// Killed, and still not gone: it blocks its thread.
    #[error("{0} was killed but is not gone: it blocks its thread; it restarts when it is")]
    Lingers(ActorPath),
}

/// A step in an actor's life, for the system's hook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Who.
    pub path: ActorPath,
    /// The name of its kind.
    pub kind: &'static str,
    /// What happened.
    pub what: Lifecycle,
}

/// What happened to an actor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lifecycle {
    /// An incarnation's `start` has returned.
    Started,
    /// An incarnation failed; the next one comes after this wait.
    Restarting {
        /// Why it failed, or `ended` for a permanent actor that ended normally.
        error: String,
        /// The wait.
        after: Duration,
    },
    /// It exceeded its intensity and stays down.
    Degraded {
        /// Why it last failed.
        error: String,
    },
    /// It exceeded its intensity; its supervisor fails.
    Escalated {
        /// Why it last failed.
        error: String,
    },
    /// It ended for good. `error` when it failed.
    Ended {
        /// Why it failed, if it did.
        error: Option<String>,
    },
}

/// A handle to a supervisor of children. Cheap to clone.
///
/// The handle of a group survives the group's restarts.
#[derive(Clone)]
pub struct Supervisor {
    nursery: watch::Receiver<Option<ActorRef<Command>>>,
    path: ActorPath,
    directory: Directory,
}

impl Supervisor {
    /// The supervisor of the children of the actor `owner`, living at `path`.
    pub(crate) fn spawn_below(path: ActorPath, directory: Directory, owner: ActorCell, token: Arc<Token>) -> Self {
        let roots = Roots { path: path.clone(), directory: directory.clone(), token: Some(token), failed: None };
        Self { nursery: watch::channel(Some(Nursery::spawn(roots, Some(owner)))).1, path, directory }
    }

    /// The supervisor at the root; `failed` is told when it has failed.
    pub(crate) fn spawn_root(directory: Directory, failed: watch::Sender<Option<String>>) -> Self {
        let path = ActorPath::root();
        let roots = Roots { path: path.clone(), directory: directory.clone(), token: None, failed: Some(failed) };
        Self { nursery: watch::channel(Some(Nursery::spawn(roots, None))).1, path, directory }
    }

    /// Where its children live.
    #[must_use]
    pub fn path(&self) -> &ActorPath {
        &self.path
    }

    /// Starts a child at `name` (one or several segments) below this supervisor. `factory` makes the arguments of
    /// each incarnation. Returns once the child has its place; its `start` runs in its own task, and messages sent
    /// meanwhile wait for it ([`Address::ready`] waits for the start itself).
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn start_child<A: Actor>(
        &self,
        kind: Kind,
        name: &str,
        factory: impl Fn() -> A::Args + Send + Sync + 'static,
    ) -> Result<Address<A::Msg>, StartError> {
        let row = Row::new(self.path.join(name)?, kind, self.directory.tallies().of(kind.name), self.clone());
        let slot = Arc::new(Slot { current: arc_swap::ArcSwapOption::empty(), row: Arc::clone(&row), directory: self.directory.clone() });
        let factory: Factory<A> = Arc::new(factory);
        let recipe = Box::new(Recipe::<A> { slot: Arc::clone(&slot), factory });
        self.command(|reply| Command::Start { recipe, row, reply }).await.unwrap_or_else(|| self.gone())?;
        Ok(Address(slot))
    }

    /// Starts a child that only supervises: a branch of the tree with its own intensity. `plant` starts the children
    /// of each incarnation of the branch; it is called again when the branch restarts.
    ///
    /// # Errors
    /// [`StartError`]. A failing `plant` fails the branch, as its kind says.
    pub async fn start_group<F, P>(&self, kind: Kind, name: &str, plant: P) -> Result<Supervisor, StartError>
    where
        P: Fn(Supervisor) -> F + Send + Sync + 'static,
        F: Future<Output = Result<(), crate::Failure>> + Send + 'static,
    {
        crate::group::start(self, kind, name, plant).await
    }

    /// Stops the child at `name` for good, whatever its policy: gracefully, killed after `within`.
    ///
    /// # Errors
    /// When there is none, or it does not end.
    pub async fn stop_child(&self, name: &str, within: Duration) -> Result<Stopped, StopError> {
        let Ok(path) = self.path.join(name) else {
            return Err(StopError::NotFound(self.path.clone()));
        };
        self.stop_path(path, within).await
    }

    /// Stops all children: those of one kind together, kinds in reverse order of their first start. Killed after
    /// `within`. New children are refused while this runs.
    pub async fn stop_all(&self, within: Duration) {
        let all = self.command(|reply| Command::StopAll { within, reply });
        let _ = tokio::time::timeout(within.saturating_add(KILL_GRACE), all).await;
    }

    pub(crate) async fn stop_path(&self, path: ActorPath, within: Duration) -> Result<Stopped, StopError> {
        let stop = self.command(|reply| Command::Stop { path: path.clone(), within, reply });
        match tokio::time::timeout(within.saturating_add(KILL_GRACE), stop).await {
            Ok(Some(stopped)) => stopped,
            Ok(None) => Err(StopError::NotFound(path)),
            Err(_) => Err(StopError::Lingers(path)),
        }
    }

    pub(crate) async fn restart_path(&self, path: ActorPath, within: Duration) -> Result<(), RestartError> {
        let restart = self.command(|reply| Command::Restart { path: path.clone(), reply });
        match tokio::time::timeout(within.saturating_add(KILL_GRACE), restart).await {
            Ok(Some(restarted)) => restarted,
            Ok(None) => Err(RestartError::NotFound(path)),
            Err(_) => Err(RestartError::Lingers(path)),
        }
    }

    /// The same system, another nursery.
    pub(crate) fn at(&self, path: ActorPath, nursery: watch::Receiver<Option<ActorRef<Command>>>) -> Self {
        Self { nursery, path, directory: self.directory.clone() }
    }

    pub(crate) fn nursery(&self) -> Option<ActorRef<Command>> {
        self.nursery.borrow().clone()
    }

    pub(crate) fn end(&self) {
        if let Some(nursery) = self.nursery() {
            nursery.stop(None);
        }
    }

    pub(crate) fn kill(&self) {
        if let Some(nursery) = self.nursery() {
            nursery.kill();
        }
    }

    fn gone<T>(&self) -> Result<T, StartError> {
        Err(StartError::Gone(self.path.clone()))
    }

    /// `None` when the supervisor has ended.
    async fn command<T>(&self, command: impl FnOnce(oneshot::Sender<T>) -> Command) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.nursery()?.send_message(command(reply)).ok()?;
        answer.await.ok()
    }
}
