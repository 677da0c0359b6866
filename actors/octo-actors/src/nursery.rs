//! The actor behind a [`Supervisor`](crate::Supervisor): it owns the children and carries out their kinds' policy.
//!
//! An incarnation ends in two steps: ractor tells how (`handle_supervisor_evt`), then its token tells that it is
//! really gone with all it owned ([`Command::Gone`]). Policy acts on the second, so two incarnations never overlap.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::actor::Failure;
use crate::child::{Child, Exit, Phase, Spec};
use crate::closing::Closing;
use crate::incarnation::Token;
use crate::row::{Row, lock};
use crate::supervise::{Lifecycle, MAX_CHILDREN, RestartError, StartError, StopError, Stopped};
use crate::{ActorPath, ActorState, Directory, Intensity, OnExceeded};

/// How often within the patience for a stuck actor it is looked for.
const LOOKS_IN_PATIENCE: u32 = 4;

pub(crate) enum Command {
    Start {
        recipe: Box<dyn Spec>,
        row: Arc<Row>,
        reply: oneshot::Sender<Result<(), StartError>>,
    },
    Stop {
        path: ActorPath,
        within: Duration,
        reply: oneshot::Sender<Result<Stopped, StopError>>,
    },
    Restart {
        path: ActorPath,
        reply: oneshot::Sender<Result<(), RestartError>>,
    },
    StopAll {
        within: Duration,
        reply: oneshot::Sender<()>,
    },
    /// An incarnation is gone with all it owned.
    Gone {
        path: ActorPath,
        generation: u64,
    },
    /// A back-off is over.
    Due {
        path: ActorPath,
        generation: u64,
    },
    /// Look for children that are inside one message for too long.
    Look,
    /// The deadline of a graceful stop has passed.
    Kill {
        path: ActorPath,
        generation: u64,
    },
}

/// What a nursery is told once.
pub(crate) struct Roots {
    pub path: ActorPath,
    pub directory: Directory,
    /// The owner's incarnation; none at the root.
    pub token: Option<Arc<Token>>,
    /// Where the root says that it has failed.
    pub failed: Option<watch::Sender<Option<String>>>,
}

pub(crate) struct Nursery;

impl Nursery {
    /// Starts at once; what it is told before it runs waits for it. When `owner` is already ending it never runs and
    /// everybody is told that it is gone.
    pub fn spawn(roots: Roots, owner: Option<ActorCell>) -> ActorRef<Command> {
        let spawned = match owner {
            Some(owner) => ractor::ActorRuntime::spawn_linked_instant(None, Self, roots, owner),
            None => ractor::ActorRuntime::spawn_instant(None, Self, roots),
        };
        match spawned {
            Ok((nursery, _)) => nursery,
            Err(error) => unreachable!("ractor refuses only names that are taken, and ours have none: {error}"),
        }
    }
}

pub(crate) struct Brood {
    myself: ActorRef<Command>,
    roots: Roots,
    /// Boxed, as a table has room for more than there are.
    pub(crate) children: HashMap<ActorPath, Box<Child>>,
    paths: HashMap<ActorId, ActorPath>,
    started: u64,
    pub(crate) closing: Option<Closing>,
    /// A look is due.
    looking: bool,
    timers: JoinSet<()>,
}

impl ractor::Actor for Nursery {
    type Msg = Command;
    type State = Brood;
    type Arguments = Roots;

    async fn pre_start(&self, myself: ActorRef<Command>, roots: Roots) -> Result<Brood, ActorProcessingErr> {
        Ok(Brood {
            myself,
            roots,
            children: HashMap::new(),
            paths: HashMap::new(),
            started: 0,
            closing: None,
            looking: false,
            timers: JoinSet::new(),
        })
    }

    async fn handle(&self, _: ActorRef<Command>, command: Command, brood: &mut Brood) -> Result<(), ActorProcessingErr> {
        match command {
            Command::Start { recipe, row, reply } => {
                let started = brood.start(recipe, row).await;
                let _ = reply.send(started);
            }
            Command::Stop { path, within, reply } => match brood.children.get_mut(&path) {
                Some(child) => {
                    child.stop_replies.push(reply);
                    brood.stop(&path, Instant::now() + within, false);
                }
                None => {
                    let _ = reply.send(Err(StopError::NotFound(path)));
                }
            },
            Command::Restart { path, reply } => brood.restart(path, reply).await,
            Command::StopAll { within, reply } => brood.stop_all(within, reply),
            Command::Gone { path, generation } => {
                if brood.is_current(&path, generation) {
                    brood.conclude(&path).await?;
                }
            }
            Command::Due { path, generation } => {
                if brood.is_current(&path, generation) && matches!(brood.children.get(&path).map(|c| &c.phase), Some(Phase::Waiting)) {
                    brood.launch(&path, true).await;
                }
            }
            Command::Look => brood.look(),
            Command::Kill { path, generation } => {
                if brood.is_current(&path, generation) {
                    brood.kill(&path);
                }
            }
        }
        brood.advance_closing();
        Ok(())
    }

    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Command>,
        event: SupervisionEvent,
        brood: &mut Brood,
    ) -> Result<(), ActorProcessingErr> {
        let (cell, exit) = match event {
            SupervisionEvent::ActorFailed(cell, error) => (cell, Exit::Failed(error.to_string())),
            // A clean end brings its state along; a kill cannot.
            SupervisionEvent::ActorTerminated(cell, Some(_), _) => (cell, Exit::Normal),
            SupervisionEvent::ActorTerminated(cell, None, _) => (cell, Exit::Failed("killed".to_owned())),
            _ => return Ok(()),
        };
        if let Some(child) = brood.paths.remove(&cell.get_id()).and_then(|path| brood.children.get_mut(&path)) {
            let exit = child.stuck.take().map_or(exit, Exit::Failed);
            if let Exit::Failed(error) = &exit {
                child.row.fail(error);
            }
            if let Phase::Alive(_) = child.phase {
                let again = child.restarts_after(&exit);
                child.row.set_state(if again { ActorState::Restarting } else { ActorState::Stopping });
            }
            child.recipe.clear();
            child.exit = Some(exit);
        }
        Ok(())
    }
}

impl Brood {
    async fn start(&mut self, recipe: Box<dyn Spec>, row: Arc<Row>) -> Result<(), StartError> {
        if self.closing.is_some() {
            return Err(StartError::Gone(self.roots.path.clone()));
        }
        if self.children.len() >= MAX_CHILDREN {
            return Err(StartError::Full(self.roots.path.clone()));
        }
        if !self.roots.directory.place(&row) {
            return Err(StartError::Exists(row.path.clone()));
        }
        self.started += 1;
        let path = row.path.clone();
        let child = Box::new(Child::new(recipe, row, self.started));
        self.children.insert(path.clone(), child);
        self.launch(&path, false).await;
        Ok(())
    }

    async fn launch(&mut self, path: &ActorPath, again: bool) {
        let Some(child) = self.children.get_mut(path) else {
            return;
        };
        child.generation += 1;
        child.born = Instant::now();
        child.exit = None;
        (child.overdue, child.killed, child.stuck) = (false, false, None);
        *lock(&child.row.stop_by) = None;
        if again {
            child.row.restarts.fetch_add(1, Relaxed);
        }
        child.phase = Phase::Waiting;
        let (myself, parent) = (self.myself.clone(), self.roots.token.clone());
        let token = Token::new(myself, path.clone(), child.generation, parent);
        match child.recipe.launch(token, self.myself.get_cell()).await {
            Ok(cell) => {
                self.paths.insert(cell.get_id(), path.clone());
                child.phase = Phase::Alive(cell);
                self.look_later();
            }
            // Only when this supervisor is being killed itself. The token is dropped: `Gone` follows.
            Err(error) => {
                child.row.fail(&error.to_string());
                child.exit = Some(Exit::Failed(error.to_string()));
            }
        }
    }

    /// While there is a child that may be stuck for so long only.
    fn look_later(&mut self) {
        let shortest = self.children.values().filter_map(|child| child.row.kind.restart_stuck).min();
        if let Some(shortest) = shortest.filter(|_| !std::mem::replace(&mut self.looking, true)) {
            self.later(Instant::now() + shortest / LOOKS_IN_PATIENCE, Command::Look);
        }
    }

    /// Ends those that are inside one message for too long: what follows is their kind's policy.
    fn look(&mut self) {
        self.looking = false;
        for (path, child) in &mut self.children {
            let Phase::Alive(cell) = &child.phase else { continue };
            let Some((message, spent)) = child.row.overstayed() else { continue };
            // One that has ended already is only waited for, as is one that does not come back to its runtime.
            if child.exit.is_none() && child.stuck.is_none() {
                let error = format!("was inside the message {message} for {} s and was ended", spent.as_secs());
                tracing::error!(path = %path, error, "actor is stuck");
                child.stuck = Some(error);
                cell.kill();
            }
        }
        self.look_later();
    }

    fn is_current(&self, path: &ActorPath, generation: u64) -> bool {
        self.children.get(path).is_some_and(|child| child.generation == generation)
    }

    /// The incarnation at `path` is gone. An error here fails this supervisor.
    async fn conclude(&mut self, path: &ActorPath) -> Result<(), Failure> {
        let Some(child) = self.children.get_mut(path) else {
            return Ok(());
        };
        child.recipe.clear();
        let exit = child.exit.take().unwrap_or_else(|| Exit::Failed("killed".to_owned()));
        if let Phase::Stopping { again, .. } = child.phase {
            if again {
                child.recent.clear();
                child.step = 0;
                let replies = std::mem::take(&mut child.restart_replies);
                self.launch(path, true).await;
                for reply in replies {
                    let _ = reply.send(Ok(()));
                }
            } else {
                self.remove(path, None);
            }
            return Ok(());
        }
        let again = child.restarts_after(&exit);
        let error = match exit {
            Exit::Normal => None,
            Exit::Failed(error) => Some(error),
        };
        if again && self.closing.is_none() {
            return self.retry(path, error.unwrap_or_else(|| "ended".to_owned())).await;
        }
        self.remove(path, error);
        Ok(())
    }

    /// One more incarnation, if its intensity allows: the first at once, further ones after a wait.
    async fn retry(&mut self, path: &ActorPath, error: String) -> Result<(), Failure> {
        let Some(child) = self.children.get_mut(path) else {
            return Ok(());
        };
        let (kind, now) = (child.row.kind, Instant::now());
        if child.exceeds(kind.intensity, now) {
            return self.exceeded(path, error);
        }
        if now - child.born >= kind.intensity.period {
            child.step = 0;
        }
        let after = child.step.checked_sub(1).map_or(Duration::ZERO, |repeat| kind.backoff.delay(repeat));
        child.step = child.step.saturating_add(1);
        child.phase = Phase::Waiting;
        child.row.set_state(ActorState::Restarting);
        tracing::warn!(path = %path, error, ?after, "actor restarts");
        self.roots.directory.tell_hook(&child.row, Lifecycle::Restarting { error, after });
        if after.is_zero() {
            // Without the timer, which takes a millisecond for no time at all.
            self.launch(path, true).await;
            return Ok(());
        }
        let (path, generation) = (path.clone(), child.generation);
        self.later(now + after, Command::Due { path, generation });
        Ok(())
    }

    fn exceeded(&mut self, path: &ActorPath, error: String) -> Result<(), Failure> {
        let Some(child) = self.children.get_mut(path) else {
            return Ok(());
        };
        let Intensity { max, period } = child.row.kind.intensity;
        child.phase = Phase::Degraded;
        child.row.set_state(ActorState::Degraded);
        match child.row.kind.on_exceeded {
            OnExceeded::Degrade => {
                tracing::error!(path = %path, error, "actor is degraded: more than {max} restarts in {period:?}");
                self.roots.directory.tell_hook(&child.row, Lifecycle::Degraded { error });
                Ok(())
            }
            OnExceeded::Escalate => {
                let text = format!("{path} failed more than {max} times in {period:?}: {error}");
                tracing::error!(path = %path, error, "escalates: more than {max} restarts in {period:?}");
                self.roots.directory.tell_hook(&child.row, Lifecycle::Escalated { error });
                if let Some(failed) = &self.roots.failed {
                    failed.send_replace(Some(text.clone()));
                }
                Err(text.into())
            }
        }
    }

    fn remove(&mut self, path: &ActorPath, error: Option<String>) {
        let Some(child) = self.children.remove(path) else {
            return;
        };
        let how = if child.killed { Stopped::Killed } else { Stopped::Gracefully };
        self.roots.directory.remove(&child.row);
        self.roots.directory.tell_hook(&child.row, Lifecycle::Ended { error });
        for reply in child.stop_replies {
            let _ = reply.send(Ok(how));
        }
        for reply in child.restart_replies {
            let _ = reply.send(Err(RestartError::NotFound(path.clone())));
        }
    }

    pub(crate) fn stop(&mut self, path: &ActorPath, by: Instant, again: bool) {
        let Some(child) = self.children.get_mut(path) else {
            return;
        };
        let cell = match &child.phase {
            Phase::Alive(cell) | Phase::Stopping { cell, .. } => cell.clone(),
            Phase::Waiting | Phase::Degraded => {
                self.remove(path, None);
                return;
            }
        };
        *lock(&child.row.stop_by) = Some(by);
        child.row.set_state(ActorState::Stopping);
        child.phase = Phase::Stopping { cell: cell.clone(), again };
        let generation = child.generation;
        // One that has ended already is only waited for.
        if child.exit.is_none() {
            cell.stop(None);
        }
        self.later(by, Command::Kill { path: path.clone(), generation });
    }

    fn kill(&mut self, path: &ActorPath) {
        if let Some(child) = self.children.get_mut(path)
            && let Phase::Stopping { cell, .. } = &child.phase
        {
            child.overdue = true;
            // One that has ended already is only waited for.
            if child.exit.is_none() {
                child.killed = true;
                cell.kill();
            }
        }
    }

    async fn restart(&mut self, path: ActorPath, reply: oneshot::Sender<Result<(), RestartError>>) {
        match self.children.get_mut(&path).map(Box::as_mut) {
            Some(Child { phase: Phase::Alive(_) | Phase::Stopping { again: true, .. }, row, restart_replies, .. }) => {
                let by = Instant::now() + row.kind.stop_within;
                restart_replies.push(reply);
                self.stop(&path, by, true);
            }
            Some(child @ Child { phase: Phase::Waiting | Phase::Degraded, .. }) => {
                child.recent.clear();
                child.step = 0;
                self.launch(&path, true).await;
                let _ = reply.send(Ok(()));
            }
            Some(Child { phase: Phase::Stopping { again: false, .. }, .. }) | None => {
                let _ = reply.send(Err(RestartError::NotFound(path)));
            }
        }
    }

    fn later(&mut self, at: Instant, command: Command) {
        while self.timers.try_join_next().is_some() {}
        let myself = self.myself.clone();
        self.timers.spawn(async move {
            tokio::time::sleep_until(at).await;
            let _ = myself.send_message(command);
        });
    }
}

/// However a supervisor ends, its children are ending with it (ractor kills what is linked): they leave the directory
/// before its own token goes, so that the owner's next incarnation finds their places free.
impl Drop for Brood {
    fn drop(&mut self) {
        for (_, child) in self.children.drain() {
            child.recipe.clear();
            self.roots.directory.remove(&child.row);
        }
    }
}
