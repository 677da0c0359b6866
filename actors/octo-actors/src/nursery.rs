//! The actor behind a [`Supervisor`](crate::Supervisor): it owns the children and carries out their kinds' policy.
//!
//! An incarnation ends in two steps: ractor tells how (`handle_supervisor_evt`), then its token tells that it is
//! really gone with all it owned ([`Command::Gone`]). Policy acts on the second, so two incarnations never overlap.

use std::collections::{HashMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ractor::{ActorCell, ActorId, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::actor::{Actor, Failure};
use crate::address::Slot;
use crate::incarnation::{self, Birth, Factory, Token};
use crate::row::{Row, lock};
use crate::supervise::{Lifecycle, MAX_CHILDREN, RestartError, StartError, StopError, Stopped};
use crate::{ActorPath, ActorState, Directory, Intensity, OnExceeded, Restart};

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
        let birth = Birth {
            slot: Arc::clone(&self.slot),
            factory: Arc::clone(&self.factory),
            token,
        };
        Box::pin(incarnation::spawn::<A>(birth, supervisor))
    }

    fn clear(&self) {
        self.slot.current.store(None);
    }
}

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
    Gone { path: ActorPath, generation: u64 },
    /// A back-off is over.
    Due { path: ActorPath, generation: u64 },
    /// The deadline of a graceful stop has passed.
    Kill { path: ActorPath, generation: u64 },
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
            Err(error) => unreachable!(
                "ractor refuses only names that are taken, and ours have none: {error}"
            ),
        }
    }
}

enum Phase {
    /// An incarnation lives, or has ended and is not gone yet.
    Alive(ActorCell),
    /// Asked to stop; `again` starts a fresh incarnation afterwards.
    Stopping { cell: ActorCell, again: bool },
    /// In back-off.
    Waiting,
    /// Beyond its intensity.
    Degraded,
}

enum Exit {
    Normal,
    Failed(String),
}

struct Child {
    recipe: Box<dyn Spec>,
    row: Arc<Row>,
    phase: Phase,
    /// Counts incarnations, so that a late timer never hits the next one.
    generation: u64,
    /// Order of first start.
    order: u64,
    born: Instant,
    exit: Option<Exit>,
    killed: bool,
    /// Restarts inside the intensity's period.
    recent: VecDeque<Instant>,
    /// Steps of back-off taken.
    step: u32,
    stop_replies: Vec<oneshot::Sender<Result<Stopped, StopError>>>,
    restart_replies: Vec<oneshot::Sender<Result<(), RestartError>>>,
}

struct Closing {
    by: Instant,
    /// Waves still to stop; the last one is next.
    waves: Vec<Vec<ActorPath>>,
    /// The wave under way.
    wave: Vec<ActorPath>,
    replies: Vec<oneshot::Sender<()>>,
}

pub(crate) struct Brood {
    myself: ActorRef<Command>,
    roots: Roots,
    children: HashMap<ActorPath, Child>,
    paths: HashMap<ActorId, ActorPath>,
    started: u64,
    closing: Option<Closing>,
    timers: JoinSet<()>,
}

impl ractor::Actor for Nursery {
    type Msg = Command;
    type State = Brood;
    type Arguments = Roots;

    async fn pre_start(
        &self,
        myself: ActorRef<Command>,
        roots: Roots,
    ) -> Result<Brood, ActorProcessingErr> {
        Ok(Brood {
            myself,
            roots,
            children: HashMap::new(),
            paths: HashMap::new(),
            started: 0,
            closing: None,
            timers: JoinSet::new(),
        })
    }

    async fn handle(
        &self,
        _: ActorRef<Command>,
        command: Command,
        brood: &mut Brood,
    ) -> Result<(), ActorProcessingErr> {
        match command {
            Command::Start { recipe, row, reply } => {
                let started = brood.start(recipe, row).await;
                let _ = reply.send(started);
            }
            Command::Stop {
                path,
                within,
                reply,
            } => match brood.children.get_mut(&path) {
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
                if brood.is_current(&path, generation)
                    && matches!(
                        brood.children.get(&path).map(|c| &c.phase),
                        Some(Phase::Waiting)
                    )
                {
                    brood.launch(&path, true).await;
                }
            }
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
            SupervisionEvent::ActorTerminated(cell, None, _) => {
                (cell, Exit::Failed("killed".to_owned()))
            }
            _ => return Ok(()),
        };
        if let Some(child) = brood
            .paths
            .remove(&cell.get_id())
            .and_then(|path| brood.children.get_mut(&path))
        {
            if let Exit::Failed(error) = &exit {
                child.row.fail(error);
            }
            if let Phase::Alive(_) = child.phase {
                child.row.set_state(ActorState::Restarting);
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
        let child = Child {
            recipe,
            row,
            phase: Phase::Waiting,
            generation: 0,
            order: self.started,
            born: Instant::now(),
            exit: None,
            killed: false,
            recent: VecDeque::new(),
            step: 0,
            stop_replies: Vec::new(),
            restart_replies: Vec::new(),
        };
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
        child.killed = false;
        *lock(&child.row.stop_by) = None;
        if again {
            child.row.restarts.fetch_add(1, Relaxed);
        }
        let (token, gone) = Token::new(self.roots.token.clone());
        let (myself, generation) = (self.myself.clone(), child.generation);
        let path_gone = path.clone();
        tokio::spawn(async move {
            let _ = gone.await;
            let _ = myself.send_message(Command::Gone {
                path: path_gone,
                generation,
            });
        });
        match child.recipe.launch(token, self.myself.get_cell()).await {
            Ok(cell) => {
                self.paths.insert(cell.get_id(), path.clone());
                child.phase = Phase::Alive(cell);
            }
            Err(error) => {
                // Only when this supervisor is being killed itself. The token is dropped, `Gone` follows.
                child.phase = Phase::Alive(self.myself.get_cell());
                child.row.fail(&error.to_string());
                child.exit = Some(Exit::Failed(error.to_string()));
            }
        }
    }

    fn is_current(&self, path: &ActorPath, generation: u64) -> bool {
        self.children
            .get(path)
            .is_some_and(|child| child.generation == generation)
    }

    /// The incarnation at `path` is gone. An error here fails this supervisor.
    async fn conclude(&mut self, path: &ActorPath) -> Result<(), Failure> {
        let Some(child) = self.children.get_mut(path) else {
            return Ok(());
        };
        child.recipe.clear();
        let exit = child
            .exit
            .take()
            .unwrap_or_else(|| Exit::Failed("killed".to_owned()));
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
        let error = match (&exit, child.row.kind.restart) {
            (Exit::Normal, Restart::Permanent) => "ended".to_owned(),
            (Exit::Normal, _) => {
                self.remove(path, None);
                return Ok(());
            }
            (Exit::Failed(error), Restart::Temporary) => {
                let error = error.clone();
                self.remove(path, Some(error));
                return Ok(());
            }
            (Exit::Failed(error), _) => error.clone(),
        };
        self.retry(path, error)
    }

    /// One more incarnation after a wait, if its intensity allows.
    fn retry(&mut self, path: &ActorPath, error: String) -> Result<(), Failure> {
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
        let after = kind.backoff.delay(child.step);
        child.step = child.step.saturating_add(1);
        child.phase = Phase::Waiting;
        child.row.set_state(ActorState::Restarting);
        tracing::warn!(path = %path, error, ?after, "actor restarts");
        self.roots
            .directory
            .tell_hook(&child.row, Lifecycle::Restarting { error, after });
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
                self.roots
                    .directory
                    .tell_hook(&child.row, Lifecycle::Degraded { error });
                Ok(())
            }
            OnExceeded::Escalate => {
                let text = format!("{path} failed more than {max} times in {period:?}: {error}");
                tracing::error!(path = %path, error, "escalates: more than {max} restarts in {period:?}");
                self.roots
                    .directory
                    .tell_hook(&child.row, Lifecycle::Escalated { error });
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
        let how = if child.killed {
            Stopped::Killed
        } else {
            Stopped::Gracefully
        };
        self.roots.directory.remove(&child.row);
        self.roots
            .directory
            .tell_hook(&child.row, Lifecycle::Ended { error });
        for reply in child.stop_replies {
            let _ = reply.send(Ok(how));
        }
        for reply in child.restart_replies {
            let _ = reply.send(Err(RestartError::NotFound(path.clone())));
        }
    }

    fn stop(&mut self, path: &ActorPath, by: Instant, again: bool) {
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
        child.phase = Phase::Stopping {
            cell: cell.clone(),
            again,
        };
        let generation = child.generation;
        // One that has ended already is only waited for.
        if child.exit.is_none() {
            cell.stop(None);
        }
        self.later(
            by,
            Command::Kill {
                path: path.clone(),
                generation,
            },
        );
    }

    fn kill(&mut self, path: &ActorPath) {
        if let Some(child) = self.children.get_mut(path)
            && let Phase::Stopping { cell, .. } = &child.phase
            && child.exit.is_none()
        {
            child.killed = true;
            cell.kill();
        }
    }

    async fn restart(&mut self, path: ActorPath, reply: oneshot::Sender<Result<(), RestartError>>) {
        match self.children.get_mut(&path) {
            Some(Child {
                phase: Phase::Alive(_) | Phase::Stopping { again: true, .. },
                row,
                restart_replies,
                ..
            }) => {
                let by = Instant::now() + row.kind.stop_within;
                restart_replies.push(reply);
                self.stop(&path, by, true);
            }
            Some(
                child @ Child {
                    phase: Phase::Waiting | Phase::Degraded,
                    ..
                },
            ) => {
                child.recent.clear();
                child.step = 0;
                self.launch(&path, true).await;
                let _ = reply.send(Ok(()));
            }
            Some(Child {
                phase: Phase::Stopping { again: false, .. },
                ..
            })
            | None => {
                let _ = reply.send(Err(RestartError::NotFound(path)));
            }
        }
    }

    fn stop_all(&mut self, within: Duration, reply: oneshot::Sender<()>) {
        if let Some(closing) = &mut self.closing {
            closing.replies.push(reply);
            return;
        }
        let mut kinds: HashMap<&'static str, (u64, Vec<ActorPath>)> = HashMap::new();
        for (path, child) in &self.children {
            let (first, paths) = kinds
                .entry(child.row.kind.name)
                .or_insert((child.order, Vec::new()));
            *first = child.order.min(*first);
            paths.push(path.clone());
        }
        let mut waves: Vec<_> = kinds.into_values().collect();
        waves.sort_by_key(|(first, _)| *first);
        self.closing = Some(Closing {
            by: Instant::now() + within,
            waves: waves.into_iter().map(|(_, paths)| paths).collect(),
            wave: Vec::new(),
            replies: vec![reply],
        });
    }

    /// Stops the next wave when the last one is gone, and answers when there is none left.
    fn advance_closing(&mut self) {
        loop {
            let Some(closing) = &mut self.closing else {
                return;
            };
            if closing
                .wave
                .iter()
                .any(|path| self.children.contains_key(path))
            {
                return;
            }
            let overall = closing.by;
            let Some(wave) = closing.waves.pop() else {
                for reply in self
                    .closing
                    .take()
                    .into_iter()
                    .flat_map(|closing| closing.replies)
                {
                    let _ = reply.send(());
                }
                return;
            };
            closing.wave.clone_from(&wave);
            for path in wave {
                if let Some(child) = self.children.get(&path) {
                    let by = overall.min(Instant::now() + child.row.kind.stop_within);
                    self.stop(&path, by, false);
                }
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

impl Child {
    /// Counts one more restart; true when that is beyond the intensity.
    fn exceeds(&mut self, intensity: Intensity, now: Instant) -> bool {
        if intensity.max == u32::MAX {
            return false;
        }
        while self
            .recent
            .front()
            .is_some_and(|at| now - *at > intensity.period)
        {
            self.recent.pop_front();
        }
        if self.recent.len() >= intensity.max as usize {
            return true;
        }
        self.recent.push_back(now);
        false
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
