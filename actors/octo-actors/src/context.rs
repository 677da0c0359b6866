//! What an actor can do from inside: know itself, own children and tasks, stop.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::Poll;
use std::time::Duration;

use ractor::ActorCell;
use tokio::task::{AbortHandle, JoinSet};

use crate::address::Envelope;
use crate::incarnation::Token;
use crate::row::lock;
use crate::supervise::Supervisor;
use crate::{ActorPath, Address, Directory, SendError};

/// Tasks one actor may own at a time.
pub const MAX_TASKS: usize = 4096;

/// An actor's view of itself, for one incarnation.
pub struct Ctx<M> {
    address: Address<M>,
    cell: ActorCell,
    token: Arc<Token>,
    tasks: Mutex<JoinSet<()>>,
    children: OnceLock<Supervisor>,
}

/// A handle to an owned task. Dropping it changes nothing; the task ends with its actor at the latest.
#[derive(Debug)]
pub struct Task(AbortHandle);

impl Task {
    /// Ends the task at its next await.
    pub fn abort(&self) {
        self.0.abort();
    }

    /// Whether it has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

impl<M: Send + 'static> Ctx<M> {
    pub(crate) fn new(address: Address<M>, cell: ActorCell, token: Arc<Token>) -> Self {
        Self { address, cell, token, tasks: Mutex::default(), children: OnceLock::new() }
    }

    /// Where this actor lives.
    #[must_use]
    pub fn path(&self) -> &ActorPath {
        self.address.path()
    }

    /// Its own address.
    #[must_use]
    pub fn address(&self) -> &Address<M> {
        &self.address
    }

    /// The directory of its system.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.address.0.directory
    }

    /// The supervisor of this actor's children. They end with this incarnation, and the next one starts only when
    /// they are gone. Supervising goes on while the actor itself is inside a message.
    pub fn children(&self) -> &Supervisor {
        self.children.get_or_init(|| {
            Supervisor::spawn_below(self.path().clone(), self.directory().clone(), self.cell.clone(), Arc::clone(&self.token))
        })
    }

    pub(crate) fn children_if_any(&self) -> Option<&Supervisor> {
        self.children.get()
    }

    /// Ends this actor normally once the current message is handled: graceful, with [`crate::Actor::stopping`].
    /// Only a permanent kind starts again.
    pub fn stop(&self) {
        self.cell.stop(None);
    }

    /// Starts long work that this actor owns: aborted when the incarnation ends; its output comes back as a message
    /// (beyond the mailbox's limit, since tasks are limited themselves). A panic in it fails the actor.
    ///
    /// # Errors
    /// `Busy` when the actor already owns [`MAX_TASKS`].
    pub fn spawn_task(&self, work: impl Future<Output = M> + Send + 'static) -> Result<Task, SendError> {
        let address = self.address.clone();
        let work = Box::pin(work);
        self.spawn_quiet(async move {
            let message = work.await;
            let _ = address.tell_owned(message);
        })
    }

    /// As [`Ctx::spawn_task`], for work that has nothing to report.
    ///
    /// # Errors
    /// `Busy` when the actor already owns [`MAX_TASKS`].
    pub fn spawn_quiet(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<Task, SendError> {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        if tasks.len() >= MAX_TASKS {
            return Err(SendError::Busy { path: self.path().clone(), limit: MAX_TASKS });
        }
        let (address, token) = (self.address.clone(), Arc::clone(&self.token));
        // On the heap, once: a future that is moved into another one takes its place twice.
        let mut work = Box::pin(work);
        let handle = tasks.spawn(async move {
            let panic = {
                std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => Poll::Pending,
                    Ok(Poll::Ready(())) => Poll::Ready(None),
                    Err(panic) => Poll::Ready(Some(panic)),
                })
                .await
            };
            if let Some(panic) = panic {
                let _ = address.post(Envelope::TaskPanicked(panic_text(&*panic)));
            }
            drop(token);
        });
        Ok(Task(handle))
    }

    /// Tells itself `message` after `wait`.
    ///
    /// # Errors
    /// `Busy` when the actor already owns [`MAX_TASKS`].
    pub fn tell_after(&self, wait: Duration, message: M) -> Result<Task, SendError> {
        self.spawn_task(async move {
            tokio::time::sleep(wait).await;
            message
        })
    }

    /// Tells itself a message every `period`, first after one period. A tick that finds the mailbox full is skipped.
    ///
    /// # Errors
    /// `Busy` when the actor already owns [`MAX_TASKS`].
    pub fn tell_every(&self, period: Duration, mut message: impl FnMut() -> M + Send + 'static) -> Result<Task, SendError> {
        let address = self.address.clone();
        self.spawn_quiet(async move {
            let mut ticks = tokio::time::interval(period.max(Duration::from_millis(1)));
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            ticks.tick().await;
            loop {
                ticks.tick().await;
                if let Err(SendError::Gone { .. }) = address.tell(message()) {
                    return;
                }
            }
        })
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("an owned task panicked: {}", text.unwrap_or_else(|| "without a message".to_owned()))
}
