//! Every session of this runner: who has an actor, what the list shows, where subscriptions read.

use super::{HandedSession, SESSION, SessionActor, SessionAddress, SessionMsg};
use crate::journal::{SessionLog, SessionRow};
use crate::shared::Shared;
use octo_actors::{Change, Lifecycle, StartError, Supervisor};
use octo_protocol::metrics::Limit;
use octo_protocol::{Epoch, ErrorCode, ProtocolError, SessionId, SessionStatus, SessionSummary};
use std::collections::BTreeMap;
use std::ops::Deref;
use std::sync::atomic::{
    AtomicU32,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

/// Sessions of one user; a new one beyond that is refused.
const MAX_SESSIONS: usize = 20_000;

/// How often a session's actor is looked for again, 10 ms apart, while it starts or the one before ends.
const PLACING_TRIES: u32 = 1000;

/// Actors of sessions that may be on their way to their place at once; further ones wait.
const PLACING: u32 = 256;

/// Counts changes of the list.
pub type SessionsChanged = watch::Receiver<u64>;

/// One session, with or without an actor.
pub struct Entry {
    pub id: SessionId,
    /// Where subscriptions read; `None` until the session exists in the journal.
    log: RwLock<Option<Arc<SessionLog>>>,
    summary: RwLock<Option<SessionSummary>>,
    address: Mutex<Option<SessionAddress>>,
    subscribers: AtomicU32,
    /// Leases on the actor: whoever holds one may be about to tell it something.
    leases: AtomicU32,
}

/// A session's actor that does not go away as long as this is held.
pub struct Lease {
    address: SessionAddress,
    entry: Arc<Entry>,
}

impl Deref for Lease {
    type Target = SessionAddress;

    fn deref(&self) -> &SessionAddress {
        &self.address
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.entry.leases.fetch_sub(1, AcqRel);
    }
}

impl Entry {
    fn new(id: SessionId) -> Self {
        Self {
            id,
            log: RwLock::default(),
            summary: RwLock::default(),
            address: Mutex::default(),
            subscribers: AtomicU32::new(0),
            leases: AtomicU32::new(0),
        }
    }

    /// Takes a lease on the actor that `place` has just put there, or on the one that is there.
    fn lease(self: &Arc<Self>, placed: Option<SessionAddress>) -> Option<Lease> {
        let mut held = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if placed.is_some() {
            *held = placed;
        }
        let address = held.clone().filter(|address| address.state() != octo_actors::ActorState::Stopped)?;
        // Under the lock, so that it cannot be let go in between.
        self.leases.fetch_add(1, AcqRel);
        Some(Lease { address, entry: Arc::clone(self) })
    }

    /// Makes the actor unreachable, so that it can go without anybody missing an answer. False when somebody watches or is about to tell it
    /// something, or has.
    pub(super) fn let_go(&self, own: &SessionAddress) -> bool {
        let mut held = self.address.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_none() || self.leases.load(Acquire) > 0 || self.subscribers() > 0 || own.depth() > 0 {
            return false;
        }
        *held = None;
        if let Some(log) = self.log() {
            log.rest();
        }
        true
    }

    /// Where subscriptions read.
    #[must_use]
    pub fn log(&self) -> Option<Arc<SessionLog>> {
        self.log.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set_log(&self, log: Arc<SessionLog>) {
        *self.log.write().unwrap_or_else(PoisonError::into_inner) = Some(log);
    }

    /// The actor, when there is one.
    #[must_use]
    pub fn address(&self) -> Option<SessionAddress> {
        self.address.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Subscriptions right now.
    #[must_use]
    pub fn subscribers(&self) -> u32 {
        self.subscribers.load(Relaxed)
    }

    /// Counts a subscription until the guard is dropped.
    #[must_use]
    pub fn subscribed(self: &Arc<Self>) -> SubscriberGuard {
        self.subscribers.fetch_add(1, Relaxed);
        SubscriberGuard(Arc::clone(self))
    }
}

/// One subscription, counted.
pub struct SubscriberGuard(Arc<Entry>);

impl Drop for SubscriberGuard {
    fn drop(&mut self) {
        self.0.subscribers.fetch_sub(1, Relaxed);
    }
}

/// All sessions. Clones share.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    entries: RwLock<BTreeMap<String, Arc<Entry>>>,
    changed: watch::Sender<u64>,
    supervisor: OnceLock<Supervisor>,
    /// Held by whoever puts an actor into its place.
    placing: Arc<Semaphore>,
    /// What the program before has handed over, until the session's actor takes it up.
    handed: Mutex<BTreeMap<String, HandedSession>>,
}

/// No session gets an actor as long as this is held: who asks for one waits.
pub struct Closed(#[allow(dead_code)] OwnedSemaphorePermit);

impl Registry {
    /// The sessions that the journal holds, none of them with an actor yet.
    #[must_use]
    pub fn new(shared: Arc<Shared>, rows: &[SessionRow]) -> Self {
        let mut entries = BTreeMap::new();
        for row in rows {
            let Ok(id) = SessionId::new(row.id.clone()) else { continue };
            let Ok(epoch) = row.epoch.parse() else { continue };
            let entry = Entry::new(id);
            let mut summary = summary_of(row, &epoch);
            entry.set_log(Arc::new(SessionLog::new(epoch, row.key.life, row.head).with_floor(row.floor)));
            summary.state = match row.status {
                SessionStatus::Error | SessionStatus::Closed => row.status,
                _ => SessionStatus::Idle,
            };
            *entry.summary.write().unwrap_or_else(PoisonError::into_inner) = Some(summary);
            entries.insert(row.id.clone(), Arc::new(entry));
        }
        Self(Arc::new(Inner {
            shared,
            entries: RwLock::new(entries),
            changed: watch::Sender::new(0),
            supervisor: OnceLock::new(),
            placing: Arc::new(Semaphore::new(PLACING as usize)),
            handed: Mutex::default(),
        }))
    }

    /// Where actors of sessions are placed. Once.
    pub fn place_below(&self, supervisor: Supervisor) {
        let _ = self.0.supervisor.set(supervisor);
    }

    /// Sessions that the program before has handed over. Their actors are to be started before anybody else asks for them.
    pub fn hand(&self, sessions: Vec<HandedSession>) {
        let mut handed = self.0.handed.lock().unwrap_or_else(PoisonError::into_inner);
        handed.extend(sessions.into_iter().map(|session| (session.saved.id.clone(), session)));
    }

    pub(super) fn take_handed(&self, id: &str) -> Option<HandedSession> {
        self.0.handed.lock().unwrap_or_else(PoisonError::into_inner).remove(id)
    }

    /// Waits until no actor is on its way to its place, and lets no further one begin.
    pub async fn close(&self) -> Option<Closed> {
        Arc::clone(&self.0.placing).acquire_many_owned(PLACING).await.ok().map(Closed)
    }

    /// What the parts of this runner share.
    #[must_use]
    pub fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// The entry of a session that exists.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Arc<Entry>> {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Every entry.
    #[must_use]
    pub fn all(&self) -> Vec<Arc<Entry>> {
        self.0.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// The list as clients get it.
    #[must_use]
    pub fn list(&self) -> Vec<SessionSummary> {
        self.all().iter().filter_map(|entry| entry.view()).collect()
    }

    /// Tells when the list changes.
    #[must_use]
    pub fn changes(&self) -> SessionsChanged {
        self.0.changed.subscribe()
    }

    pub(super) fn show(&self, entry: &Entry, summary: SessionSummary) {
        let mut shown = entry.summary.write().unwrap_or_else(PoisonError::into_inner);
        let same = shown
            .as_ref()
            .is_some_and(|before| SessionSummary { seq: summary.seq, last_activity: summary.last_activity, ..before.clone() } == summary);
        *shown = Some(summary);
        drop(shown);
        if !same {
            self.0.changed.send_modify(|n| *n += 1);
        }
    }

    pub(super) fn remove(&self, id: &str) {
        let removed = self.0.entries.write().unwrap_or_else(PoisonError::into_inner).remove(id);
        if let Some(log) = removed.and_then(|e| e.log()) {
            log.gone.cancel();
            log.ring.reset();
        }
        self.0.changed.send_modify(|n| *n += 1);
    }

    /// The actor of a session that exists; it is started when there is none.
    ///
    /// # Errors
    /// `session_not_found`, or why it cannot be started.
    pub async fn actor(&self, id: &str) -> Result<Lease, ProtocolError> {
        let entry = self.get(id).ok_or_else(|| ProtocolError::session_not_found(id))?;
        self.address_of(&entry).await
    }

    /// The actor of a session that exists or shall be created.
    ///
    /// # Errors
    /// When there are too many sessions, or why it cannot be started.
    pub async fn actor_or_new(&self, id: &SessionId) -> Result<Lease, ProtocolError> {
        let entry = {
            let mut entries = self.0.entries.write().unwrap_or_else(PoisonError::into_inner);
            if !entries.contains_key(id.as_str()) && entries.len() >= MAX_SESSIONS {
                self.shared().figures.limits.hit(Limit::Sessions);
                let message = format!("this user has {MAX_SESSIONS} sessions, the limit; delete some first");
                return Err(ProtocolError::new(ErrorCode::LimitExceeded, message));
            }
            Arc::clone(entries.entry(id.as_str().to_owned()).or_insert_with(|| Arc::new(Entry::new(id.clone()))))
        };
        self.address_of(&entry).await
    }

    async fn address_of(&self, entry: &Arc<Entry>) -> Result<Lease, ProtocolError> {
        let unavailable = |what: String| ProtocolError::new(ErrorCode::NotReady, format!("the session's actor cannot be started: {what}"));
        let (registry, own) = (self.clone(), Arc::clone(entry));
        let args = move || (registry.clone(), Arc::clone(&own));
        for _ in 0..PLACING_TRIES {
            if let Some(lease) = entry.lease(None) {
                return Ok(lease);
            }
            // Held over the start, so that whoever closes finds every actor in its place.
            let _placing = self.0.placing.acquire().await.map_err(|_| unavailable("the runner is ending".to_owned()))?;
            if let Some(lease) = entry.lease(None) {
                return Ok(lease);
            }
            let supervisor = self.0.supervisor.get().ok_or_else(|| unavailable("the runner is starting".to_owned()))?;
            match supervisor.start_child::<SessionActor>(SESSION, entry.id.as_str(), args.clone()).await {
                // One that has ended already is started once more.
                Ok(address) => {
                    if let Some(lease) = entry.lease(Some(address)) {
                        return Ok(lease);
                    }
                }
                // Somebody else has just started it and is about to say where it is, or the one before is still on its way out.
                Err(StartError::Exists(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                Err(error) => return Err(unavailable(error.to_string())),
            }
        }
        Err(unavailable("the one before has not ended".to_owned()))
    }

    /// Takes note of what the supervisors do: an agent that was started too often stays down, and its session has to know. Never blocks.
    pub fn lifecycle(&self, change: &Change) {
        if change.kind != crate::agent::AGENT.name {
            return;
        }
        let Lifecycle::Degraded { error } = &change.what else { return };
        let session = change.path.as_str().strip_prefix("/sessions/").and_then(|rest| rest.strip_suffix("/agent"));
        let Some(session) = session else { return };
        if let Some(address) = self.get(session).and_then(|e| e.address()) {
            let error = error.clone();
            tokio::spawn(async move {
                super::deliver(&address, || SessionMsg::Agent(crate::agent::News::Degraded { error: error.clone() })).await
            });
        }
    }

    /// Something else is remembered of tool calls, which may decide a question that is open in any session but `but`. One that is too busy to hear of it
    /// keeps its question, which a person may still answer.
    pub fn rules_changed(&self, but: &str) {
        for entry in self.all().iter().filter(|entry| entry.id.as_str() != but) {
            if let Some(address) = entry.address() {
                let _ = address.tell(SessionMsg::RulesChanged);
            }
        }
    }

    /// Ends every agent gracefully, all at once.
    pub async fn shutdown(&self, within: Duration) {
        let mut waiting = Vec::new();
        for address in self.all().iter().filter_map(|e| e.address()) {
            let (answer, done) = oneshot::channel();
            if address.tell(SessionMsg::Shutdown { answer }).is_ok() {
                waiting.push(done);
            }
        }
        let all = async {
            for done in waiting {
                let _ = done.await;
            }
        };
        let _ = tokio::time::timeout(within, all).await;
    }
}

impl Entry {
    fn view(&self) -> Option<SessionSummary> {
        let mut summary = self.summary.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        summary.subscriber_count = self.subscribers();
        if let Some(log) = self.log() {
            summary.seq = log.head();
        }
        Some(summary)
    }
}

/// A session of the journal as the list shows it.
pub(super) fn summary_of(row: &SessionRow, epoch: &Epoch) -> SessionSummary {
    SessionSummary {
        session_id: row.id.clone(),
        hstry_id: Some(row.id.clone()),
        state: row.status,
        cwd: row.cwd.clone(),
        provider: Some(row.provider.clone()),
        model: Some(row.model.clone()),
        last_activity: row.updated_at,
        created_at: row.created_at,
        subscriber_count: 0,
        harness: row.harness.clone(),
        epoch: epoch.clone(),
        seq: row.head,
        title: row.title.clone(),
        readable_id: Some(row.readable_id.clone()),
        message_count: row.messages,
        pid: None,
    }
}
