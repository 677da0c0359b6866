//! The actor `users/<u>` and the handle by which others reach what is below it.

use super::attach::Attaching;
use super::feed::{Attached, Feed};
use super::runner::{self, Runner, Way};
use super::session::{self, Session};
use crate::auth::{Principal, UserId};
use crate::figures::Figures;
use crate::link::{Link, Started};
use crate::telemetry::{Hops, Telemetry};
use arc_swap::ArcSwapOption;
use octo_actors::{Actor, ActorState, Address, AskError, Ctx, Directory, Failure, Kind, Reply, Supervisor};
use octo_protocol::link::RequestBody;
use octo_protocol::metrics::Limit;
use octo_protocol::{ErrorCode, ProtocolError, SessionId, SessionSummary};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

/// A session nobody is attached to is still followed for so long, so that a reload finds its ring.
pub const FOLLOW_LINGER: Duration = Duration::from_secs(30);
/// Sessions of one user followed at once.
pub const MAX_FEEDS: usize = 1024;
/// How long a request waits for a link that is not there yet.
const LINK_PATIENCE: Duration = Duration::from_secs(10);
/// The same when the last attempt has failed already.
const FAILING_PATIENCE: Duration = Duration::from_secs(3);
/// A request that finds the link in its back-off has it tried at once, this often at most.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How long an attach waits for the user's actor.
const ACTOR_PATIENCE: Duration = Duration::from_secs(10);
/// Large frames of one user that are parsed at once.
const PARSING: usize = 1;
/// The wait before the user's actor is asked again when many ask it at once.
const FOLLOW_AGAIN: Duration = Duration::from_millis(20);
/// How often a user looks for sessions nobody watches, and for rings in which nothing happens.
const SWEEP: Duration = Duration::from_secs(10);
const STOP_SESSION: Duration = Duration::from_secs(2);

/// Whatever fails below a user stays there; one who fails too often is degraded, and nobody else.
pub(crate) const KIND: Kind =
    Kind::permanent("user").intensity(5, Duration::from_secs(60)).degrade().restart_stuck(Duration::from_secs(60));

/// How the runner is reached.
#[derive(Clone)]
pub(super) enum Reached {
    /// It may be there in a moment.
    Down(Arc<str>),
    /// It could not be started, or is none that can be used: trying again by itself does not help. `attempt` counts these.
    Failed {
        reason: Arc<str>,
        attempt: u64,
    },
    Up(Link),
}

impl Reached {
    fn attempt(&self) -> Option<u64> {
        match self {
            Self::Failed { attempt, .. } => Some(*attempt),
            Self::Down(_) | Self::Up(_) => None,
        }
    }
}

/// Whether a link in its back-off was tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Retry {
    /// There is an attempt under way, this one or another.
    UnderWay,
    /// The last one was a moment ago.
    JustNow,
}

/// What one user's actors share; it outlives their incarnations.
pub(crate) struct Shared {
    id: UserId,
    link: watch::Sender<Reached>,
    sessions: watch::Sender<Option<Arc<Vec<SessionSummary>>>>,
    feeds: Mutex<HashMap<SessionId, Arc<Feed>>>,
    children: ArcSwapOption<Supervisor>,
    connections: AtomicU64,
    open: AtomicUsize,
    used: Mutex<Instant>,
    retried: Mutex<Option<Instant>>,
    failures: AtomicU64,
    parsing: Arc<Semaphore>,
    attaching: Attaching,
    figures: Arc<Figures>,
}

impl Shared {
    pub fn new(id: UserId, figures: Arc<Figures>) -> Arc<Self> {
        Arc::new(Self {
            id,
            figures,
            link: watch::Sender::new(Reached::Down("its link is being made".into())),
            sessions: watch::Sender::new(None),
            feeds: Mutex::default(),
            children: ArcSwapOption::empty(),
            connections: AtomicU64::new(1),
            open: AtomicUsize::new(0),
            used: Mutex::new(Instant::now()),
            retried: Mutex::new(None),
            failures: AtomicU64::new(0),
            parsing: Arc::new(Semaphore::new(PARSING)),
            attaching: Attaching::default(),
        })
    }

    pub fn id(&self) -> &UserId {
        &self.id
    }

    pub fn figures(&self) -> &Arc<Figures> {
        &self.figures
    }

    pub fn reach(&self, reached: Reached) {
        self.link.send_replace(reached);
    }

    /// There was a link, and it is lost.
    pub fn lost(&self, reason: Arc<str>) {
        self.link.send_if_modified(|reached| {
            let was_up = matches!(reached, Reached::Up(_));
            if was_up {
                *reached = Reached::Down(reason);
            }
            was_up
        });
    }

    /// One more attempt that failed for good.
    pub fn failed(&self, reason: Arc<str>) -> Reached {
        Reached::Failed { reason, attempt: self.failures.fetch_add(1, Relaxed) + 1 }
    }

    pub fn listed(&self) -> &watch::Sender<Option<Arc<Vec<SessionSummary>>>> {
        &self.sessions
    }

    fn feeds(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Feed>>> {
        self.feeds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches to a session that is followed already.
    fn attach(&self, session: &SessionId) -> Option<Attached> {
        let feeds = self.feeds();
        feeds.get(session).filter(|feed| feed.view().gone.is_none()).map(Feed::attach)
    }

    /// Takes a feed out that nobody watches any more. Whoever attaches meanwhile keeps it.
    fn take_idle(&self, session: &SessionId) -> Option<Arc<Feed>> {
        let mut feeds = self.feeds();
        let over = |feed: &Feed| feed.view().gone.is_some() || feed.idle_for().is_some_and(|idle| idle >= FOLLOW_LINGER);
        let found = feeds.get(session).is_some_and(|feed| over(feed));
        if found { feeds.remove(session) } else { None }
    }

    /// Waits for a link that lives. Meanwhile `feed` says why there is none.
    pub async fn linked(&self, feed: &Feed) -> Link {
        let mut link = self.link.subscribe();
        loop {
            match link.borrow_and_update().clone() {
                Reached::Up(link) => return link,
                Reached::Down(reason) => {
                    if feed.view().journal.is_some() {
                        feed.unreachable(&reason);
                    }
                }
                Reached::Failed { reason, .. } => {
                    if feed.view().journal.is_some() {
                        feed.failed(&reason);
                    }
                }
            }
            // The sender lives in `self`.
            let _ = link.changed().await;
        }
    }

    pub fn used(&self) -> Instant {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn touch(&self) {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }
}

/// A user who is awake. While a handle is held the user does not fall asleep.
#[derive(Clone)]
pub struct User {
    pub(super) shared: Arc<Shared>,
    pub(super) address: Address<Msg>,
    pub(super) directory: Directory,
    pub(super) _lease: Arc<()>,
}

impl User {
    /// Whose things these are.
    #[must_use]
    pub fn id(&self) -> &UserId {
        &self.shared.id
    }

    /// Where the instance counts.
    pub(crate) fn figures(&self) -> &Arc<Figures> {
        &self.shared.figures
    }

    /// The link, waited for if it is not there yet. A runner that does not start is told of when that is known, not when the wait is over.
    ///
    /// # Errors
    /// `runner_unavailable` with the reason why there is none.
    pub async fn link(&self, patience: Duration) -> Result<Link, ProtocolError> {
        self.shared.touch();
        let mut state = self.shared.link.subscribe();
        let (before, down) = match &*state.borrow_and_update() {
            Reached::Up(link) => return Ok(link.clone()),
            down => (down.attempt(), down.clone()),
        };
        let retried = self.retry().await;
        if retried == Retry::JustNow
            && let Reached::Failed { reason, .. } = &down
        {
            return Err(self.unavailable(reason));
        }
        let longest = if retried == Retry::JustNow { FAILING_PATIENCE } else { LINK_PATIENCE };
        let settled = |now: &Reached| matches!(now, Reached::Up(_)) || (now.attempt().is_some() && now.attempt() != before);
        let _ = tokio::time::timeout(patience.min(longest), state.wait_for(settled)).await;
        match &*self.shared.link.borrow() {
            Reached::Up(link) => Ok(link.clone()),
            Reached::Down(reason) | Reached::Failed { reason, .. } => Err(self.unavailable(reason)),
        }
    }

    fn unavailable(&self, reason: &str) -> ProtocolError {
        ProtocolError::new(ErrorCode::RunnerUnavailable, format!("the runner of {} is out of reach: {reason}", self.id()))
    }

    /// Why there is no link now, as an error.
    #[must_use]
    pub fn unlinked(&self) -> ProtocolError {
        match &*self.shared.link.borrow() {
            Reached::Up(_) => self.unavailable("its link was just made; ask again"),
            Reached::Down(reason) | Reached::Failed { reason, .. } => self.unavailable(reason),
        }
    }

    /// WebSockets of this user, and sessions that are followed.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        (self.shared.open.load(Relaxed), self.shared.feeds().len())
    }

    /// Somebody waits: a link in its back-off is tried now.
    async fn retry(&self) -> Retry {
        let Ok(runner) = self.address.path().join("runner") else { return Retry::UnderWay };
        if self.directory.get(&runner).is_none_or(|row| row.state != ActorState::Restarting) {
            return Retry::UnderWay;
        }
        {
            let mut retried = self.shared.retried.lock().unwrap_or_else(PoisonError::into_inner);
            if retried.is_some_and(|at| at.elapsed() < RETRY_EVERY) {
                return Retry::JustNow;
            }
            *retried = Some(Instant::now());
        }
        let _ = tokio::time::timeout(RETRY_EVERY, self.directory.restart(&runner)).await;
        Retry::UnderWay
    }

    /// The link if there is one now.
    #[must_use]
    pub fn linked(&self) -> Option<Link> {
        match &*self.shared.link.borrow() {
            Reached::Up(link) => Some(link.clone()),
            Reached::Down(_) | Reached::Failed { .. } => None,
        }
    }

    /// Starts a request on behalf of `principal`, which was authorized already. It is on its way, in the order of the calls, when this
    /// returns.
    ///
    /// # Errors
    /// `runner_unavailable`, `busy`. Nothing was sent then.
    pub async fn start(&self, principal: &Principal, body: RequestBody, deadline: Duration) -> Result<Started, ProtocolError> {
        let link = self.link(deadline).await?;
        let started = link.start(principal.on_behalf_of(self.id()), body, deadline);
        self.figures().note_busy(Limit::LinkRequests, &started);
        started
    }

    /// Asks the runner; the answer is the JSON of the data.
    ///
    /// # Errors
    /// The runner's refusal, `runner_unavailable`, `busy` or `timeout`.
    pub async fn request(&self, principal: &Principal, body: RequestBody, deadline: Duration) -> Result<Vec<u8>, ProtocolError> {
        self.start(principal, body, deadline).await?.answer().await
    }

    /// Attaches to a session's fan-out.
    ///
    /// # Errors
    /// `busy` when too many sessions are followed, `not_ready` when the user's actors are down.
    pub async fn follow(&self, session: &SessionId) -> Result<Attached, ProtocolError> {
        let until = Instant::now() + ACTOR_PATIENCE;
        loop {
            if let Some(attached) = self.shared.attach(session) {
                return Ok(attached);
            }
            match self.address.ask(|reply| Msg::Follow(session.clone(), reply), ACTOR_PATIENCE).await {
                Ok(attached) => return Ok(attached),
                // Many attach at once; soon one of them has made what the others need.
                Err(AskError::Busy { .. }) if Instant::now() < until => tokio::time::sleep(FOLLOW_AGAIN).await,
                Err(error) => {
                    return Err(ProtocolError::new(ErrorCode::NotReady, format!("the session cannot be followed now: {error}")));
                }
            }
        }
    }

    pub(super) fn attachments(&self) -> &Attaching {
        &self.shared.attaching
    }

    /// The runner's own list of sessions as of its last change; `None` before it has sent one.
    #[must_use]
    pub fn listed(&self) -> Option<Arc<Vec<SessionSummary>>> {
        self.shared.sessions.borrow().clone()
    }

    /// Connections attached to a session.
    #[must_use]
    pub fn subscribers(&self, session: &str) -> u32 {
        self.shared.feeds().get(session).map_or(0, |feed| feed.attached())
    }

    /// Where this user's connections are started, once the user's actor is up.
    ///
    /// # Errors
    /// `not_ready` while the user's actor is down.
    pub async fn children(&self) -> Result<Arc<Supervisor>, ProtocolError> {
        let down = |why: &dyn std::fmt::Display| ProtocolError::new(ErrorCode::NotReady, format!("the user's actors are down: {why}"));
        self.address.ready(ACTOR_PATIENCE).await.map_err(|error| down(&error))?;
        self.shared.children.load_full().ok_or_else(|| down(&"they have not started"))
    }

    /// Counts a connection until the guard is dropped; `None` when there are `limit` already.
    #[must_use]
    pub fn connect(&self, limit: usize) -> Option<Connected> {
        let connected = Connected(Arc::clone(&self.shared));
        (self.shared.open.fetch_add(1, Relaxed) < limit).then_some(connected)
    }

    /// Taken while a large frame of this user is parsed, so that a flood of them is not everybody's load.
    #[must_use]
    pub fn parsing(&self) -> Arc<Semaphore> {
        Arc::clone(&self.shared.parsing)
    }

    /// The number of the next connection.
    #[must_use]
    pub fn next_connection(&self) -> u64 {
        self.shared.connections.fetch_add(1, Relaxed)
    }
}

/// A connection's place among those of its user.
pub struct Connected(Arc<Shared>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

pub(super) struct UserActor {
    shared: Arc<Shared>,
    telemetry: Telemetry,
}

pub(super) struct Args {
    pub shared: Arc<Shared>,
    pub way: Way,
}

/// What `users/<u>` is told.
pub(crate) enum Msg {
    /// Attach to a session.
    Follow(SessionId, Reply<Attached>),
    /// Let go of sessions nobody watches.
    Sweep,
}

impl Actor for UserActor {
    type Msg = Msg;
    type Args = Args;

    async fn start(Args { shared, way }: Args, ctx: &Ctx<Msg>) -> Result<Self, Failure> {
        // Those of an earlier incarnation ended with it.
        shared.feeds().clear();
        let telemetry = way.telemetry.clone();
        let args = (Arc::clone(&shared), way);
        ctx.children().start_child::<Runner>(runner::KIND, "runner", move || args.clone()).await?;
        ctx.tell_every(SWEEP, || Msg::Sweep)?;
        shared.children.store(Some(Arc::new(ctx.children().clone())));
        Ok(Self { shared, telemetry })
    }

    async fn handle(&mut self, message: Msg, ctx: &Ctx<Msg>) -> Result<(), Failure> {
        match message {
            Msg::Follow(session, reply) => match self.follow(session, ctx).await {
                Ok(attached) => reply.send(attached),
                Err(error) => reply.refuse(error),
            },
            Msg::Sweep => {
                let let_go: Vec<SessionId> = {
                    let feeds = self.shared.feeds();
                    feeds.values().for_each(|feed| feed.rest());
                    let over = |feed: &Feed| feed.idle_for().is_some_and(|idle| idle >= FOLLOW_LINGER || feed.view().gone.is_some());
                    feeds.iter().filter(|(_, feed)| over(feed)).map(|(id, _)| id.clone()).collect()
                };
                for session in let_go {
                    if self.shared.take_idle(&session).is_some() {
                        self.stop(&session, ctx).await;
                    }
                }
            }
        }
        Ok(())
    }

    fn inspect(&self) -> Value {
        let followed = self.shared.feeds().len();
        let linked = matches!(&*self.shared.link.borrow(), Reached::Up(_));
        json!({ "followed": followed, "linked": linked })
    }

    fn name_of(message: &Msg) -> &'static str {
        match message {
            Msg::Follow(..) => "follow",
            Msg::Sweep => "sweep",
        }
    }
}

impl UserActor {
    async fn follow(&self, session: SessionId, ctx: &Ctx<Msg>) -> Result<Attached, Failure> {
        let known = self.shared.feeds().get(&session).cloned();
        match known {
            Some(feed) if feed.view().gone.is_none() => return Ok(feed.attach()),
            Some(_) => {
                self.shared.feeds().remove(&session);
                self.stop(&session, ctx).await;
            }
            None if self.shared.feeds().len() >= MAX_FEEDS => {
                self.shared.figures.limits.hit(Limit::Feeds);
                return Err(format!("{MAX_FEEDS} sessions are followed already; detach from some").into());
            }
            None => {}
        }
        let feed = Feed::new(session.clone(), Hops::new(self.telemetry.clone()));
        let args = (Arc::clone(&self.shared), Arc::clone(&feed));
        let name = format!("sessions/{session}");
        ctx.children().start_child::<Session>(session::KIND, &name, move || args.clone()).await?;
        let attached = feed.attach();
        self.shared.feeds().insert(session, feed);
        Ok(attached)
    }

    async fn stop(&self, session: &SessionId, ctx: &Ctx<Msg>) {
        // It may have ended by itself already.
        let _ = ctx.children().stop_child(&format!("sessions/{session}"), STOP_SESSION).await;
    }
}
