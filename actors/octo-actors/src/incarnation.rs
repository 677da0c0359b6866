//! One incarnation of an actor: the ractor actor around it, and the token that tells when it is really gone.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ractor::{ActorCell, ActorProcessingErr, ActorRef, SupervisionEvent};
use tokio::time::Instant;

use crate::actor::{Actor, Failure};
use crate::address::{Address, Envelope, Slot};
use crate::context::Ctx;
use crate::inspect::REFRESH;
use crate::nursery::Command;
use crate::row::{Row, lock, now_ms};
use crate::trace::Outcome;
use crate::{ActorPath, ActorState, Directory};

/// Held by everything that belongs to one incarnation: its state, its tasks, its children's incarnations. When the
/// last holder drops it the incarnation is gone, with its whole subtree, and only then may the next one start.
pub(crate) struct Token {
    nursery: ActorRef<Command>,
    path: ActorPath,
    generation: u64,
    /// Dropped after this token has told that it is gone.
    _parent: Option<Arc<Token>>,
}

impl Token {
    pub fn new(nursery: ActorRef<Command>, path: ActorPath, generation: u64, parent: Option<Arc<Token>>) -> Arc<Self> {
        Arc::new(Self { nursery, path, generation, _parent: parent })
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        let gone = Command::Gone { path: self.path.clone(), generation: self.generation };
        // When the supervisor has ended nobody waits.
        let _ = self.nursery.send_message(gone);
    }
}

pub(crate) type Factory<A> = Arc<dyn Fn() -> <A as Actor>::Args + Send + Sync>;

/// The ractor actor around an [`Actor`].
pub(crate) struct Shell<A>(PhantomData<fn() -> A>);

pub(crate) struct Birth<A: Actor> {
    pub slot: Arc<Slot<A::Msg>>,
    pub factory: Factory<A>,
    pub token: Arc<Token>,
}

/// Fields drop in order: the actor, then its tasks with the context, then the token.
pub(crate) struct Life<A: Actor> {
    actor: Option<A>,
    ctx: Ctx<A::Msg>,
    factory: Factory<A>,
    row: Arc<Row>,
    directory: Directory,
    /// When the last snapshot was taken.
    snapshot: Option<Instant>,
    /// Whether messages were handled since then, so that a reminder is under way.
    changed: bool,
    _token: Arc<Token>,
}

/// Starts an incarnation linked to `supervisor`.
pub(crate) async fn spawn<A: Actor>(birth: Birth<A>, supervisor: ActorCell) -> Result<ActorCell, Failure> {
    let spawned = ractor::Actor::spawn_linked(None, Shell::<A>(PhantomData), birth, supervisor).await;
    Ok(spawned.map(|(actor, _)| actor.get_cell())?)
}

impl<A: Actor> ractor::Actor for Shell<A> {
    type Msg = Envelope<A::Msg>;
    type State = Life<A>;
    type Arguments = Birth<A>;

    /// Does nothing that can fail or take time: the supervisor waits for this.
    async fn pre_start(&self, myself: ActorRef<Self::Msg>, birth: Birth<A>) -> Result<Life<A>, ActorProcessingErr> {
        let Birth { slot, factory, token } = birth;
        let row = Arc::clone(&slot.row);
        row.started_at_ms.store(now_ms(), Relaxed);
        row.set_state(ActorState::Starting);
        slot.current.store(Some(Arc::new(myself.clone())));
        let directory = slot.directory.clone();
        let ctx = Ctx::new(Address(slot), myself.get_cell(), Arc::clone(&token));
        Ok(Life { actor: None, ctx, factory, row, directory, snapshot: None, changed: false, _token: token })
    }

    async fn post_start(&self, _: ActorRef<Self::Msg>, life: &mut Life<A>) -> Result<(), ActorProcessingErr> {
        let inside = Inside::begin(&life.row, &life.directory, "start", None);
        crate::fail_point::reached(life.row.kind.name, "start").await;
        let started = A::start((life.factory)(), &life.ctx).await;
        inside.end(started.is_ok());
        life.actor = Some(started?);
        life.refresh();
        life.row.state.send_if_modified(|state| {
            let starting = *state == ActorState::Starting;
            if starting {
                *state = ActorState::Running;
            }
            starting
        });
        life.directory.tell_hook(&life.row, crate::supervise::Lifecycle::Started);
        Ok(())
    }

    async fn handle(&self, _: ActorRef<Self::Msg>, envelope: Envelope<A::Msg>, life: &mut Life<A>) -> Result<(), ActorProcessingErr> {
        life.catch_up();
        let Some(actor) = life.actor.as_mut() else {
            return Ok(());
        };
        match envelope {
            Envelope::Message { message, sent, waiting } => {
                drop(waiting);
                let inside = Inside::begin(&life.row, &life.directory, A::name_of(&message), sent);
                crate::fail_point::reached(life.row.kind.name, inside.message).await;
                let handled = actor.handle(message, &life.ctx).await;
                inside.end(handled.is_ok());
                handled?;
                life.refresh();
                Ok(())
            }
            // Caught up above.
            Envelope::Snapshot => Ok(()),
            Envelope::TaskPanicked(text) => Err(text.into()),
        }
    }

    async fn post_stop(&self, _: ActorRef<Self::Msg>, life: &mut Life<A>) -> Result<(), ActorProcessingErr> {
        let by = *lock(&life.row.stop_by);
        let left = by.map_or(life.row.kind.stop_within, |by| by.saturating_duration_since(Instant::now()));
        let end = Instant::now() + left;
        if let Some(actor) = life.actor.as_mut() {
            let inside = Inside::begin(&life.row, &life.directory, "stopping", None);
            let stopping = tokio::time::timeout_at(end, actor.stopping(&life.ctx)).await;
            inside.end(stopping.is_ok());
        }
        if let Some(children) = life.ctx.children_if_any() {
            children.stop_all(end.saturating_duration_since(Instant::now())).await;
        }
        life.actor = None;
        Ok(())
    }

    /// The only ractor child of a shell is the supervisor of its children: when that ends, intensity was exceeded
    /// below, and this actor fails with it.
    async fn handle_supervisor_evt(
        &self,
        _: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        _: &mut Life<A>,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(_, error) => Err(error),
            SupervisionEvent::ActorTerminated(..) => Err("the supervisor of its children was ended".into()),
            _ => Ok(()),
        }
    }
}

impl<A: Actor> Life<A> {
    /// Takes a snapshot after a message, or has itself reminded when one is due, so that the last change is seen.
    fn refresh(&mut self) {
        if !std::mem::replace(&mut self.changed, true) && !self.catch_up() {
            // No owned task: it must not take one of theirs, and one that comes late only takes a snapshot early.
            let (address, due) = (self.ctx.address().clone(), self.due());
            tokio::spawn(async move {
                tokio::time::sleep_until(due).await;
                let _ = address.post(Envelope::Snapshot);
            });
        }
    }

    /// Takes the snapshot that is owed, if it is due: also before a message, which may be the one it gets stuck in.
    fn catch_up(&mut self) -> bool {
        let now = Instant::now();
        let take = self.changed && self.snapshot.is_none_or(|last| last + REFRESH <= now);
        if take && let Some(actor) = &self.actor {
            self.row.snapshot.put(&actor.inspect(), actor.trouble(), now);
            self.snapshot = Some(now);
            self.changed = false;
        }
        take
    }

    fn due(&self) -> Instant {
        self.snapshot.map_or_else(Instant::now, |last| last + REFRESH)
    }
}

/// While this lives, the actor is inside a message. Dropped without [`Inside::end`] it was killed or panicked.
struct Inside<'a> {
    row: &'a Arc<Row>,
    directory: &'a Directory,
    message: &'static str,
    since: Instant,
    queued: Option<Duration>,
    outcome: Option<Outcome>,
}

impl<'a> Inside<'a> {
    fn begin(row: &'a Arc<Row>, directory: &'a Directory, message: &'static str, sent: Option<Instant>) -> Self {
        let since = Instant::now();
        row.enter(message, since);
        Self { row, directory, message, since, queued: sent.map(|sent| since - sent), outcome: None }
    }

    fn end(mut self, ok: bool) {
        self.outcome = Some(if ok { Outcome::Ok } else { Outcome::Failed });
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.row.leave();
        self.row.processed.fetch_add(1, Relaxed);
        let taps = self.directory.taps();
        if taps.listening() {
            let killed = || {
                if std::thread::panicking() { Outcome::Panicked } else { Outcome::Killed }
            };
            let micros = |d: Duration| u64::try_from(d.as_micros()).unwrap_or(u64::MAX);
            let outcome = self.outcome.unwrap_or_else(killed);
            taps.offer(&self.row.path, self.message, self.queued.map(micros), micros(self.since.elapsed()), outcome);
        }
    }
}
