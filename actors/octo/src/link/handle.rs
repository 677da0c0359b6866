//! The handle of a live link: start requests, subscribe.

use super::subscription::{Entry, Subscription};
use octo_protocol::link::{Credit, Frame, Principal, Request, RequestBody, ResponseBody, Subscribe, Unsubscribe, Welcome};
use octo_protocol::{Epoch, ErrorCode, ProtocolError, SessionId};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio::time::Instant;

/// Requests under way on one link; one more is `busy`.
pub const MAX_PENDING: usize = 1024;
/// Bytes of requests that wait to be written; more are `busy`.
pub const MAX_QUEUED_BYTES: usize = 64 * 1024 * 1024;
/// Subscriptions on one link; one more is `busy`.
pub const MAX_SUBSCRIPTIONS: usize = 4096;
/// Control frames (credit, pongs, …) that may wait to be written before the link is given up: the runner does not read.
pub(super) const MAX_CONTROL: usize = 32 * 1024;
/// Patience on top of a request's own deadline, in which the runner's `timeout` may still arrive.
const GRACE: Duration = Duration::from_millis(500);

/// A live link. Clones share it.
#[derive(Clone)]
pub struct Link(pub(super) Arc<Inner>);

type Answer = Result<Vec<u8>, ProtocolError>;

pub(super) struct Inner {
    pub welcome: Welcome,
    control: mpsc::UnboundedSender<Frame>,
    requests: mpsc::Sender<Queued>,
    pub queued_control: AtomicUsize,
    room: Arc<Semaphore>,
    state: Mutex<State>,
    next_request: AtomicU64,
    next_sub: AtomicU32,
    ended: watch::Sender<Option<Arc<str>>>,
}

#[derive(Default)]
struct State {
    /// Why nothing can be started any more.
    over: Option<Arc<str>>,
    pending: HashMap<u64, oneshot::Sender<Answer>>,
    subs: HashMap<u32, Entry>,
}

/// A request on its way to the writer, with the room it takes.
pub(super) struct Queued {
    pub frame: Frame,
    pub room: OwnedSemaphorePermit,
}

pub(super) struct Queues {
    pub control: mpsc::UnboundedReceiver<Frame>,
    pub requests: mpsc::Receiver<Queued>,
}

impl Inner {
    pub fn new(welcome: Welcome) -> (Self, Queues) {
        let (control, control_out) = mpsc::unbounded_channel();
        let (requests, requests_out) = mpsc::channel(MAX_PENDING);
        let inner = Self {
            welcome,
            control,
            requests,
            queued_control: AtomicUsize::new(0),
            room: Arc::new(Semaphore::new(MAX_QUEUED_BYTES)),
            state: Mutex::default(),
            next_request: AtomicU64::new(1),
            next_sub: AtomicU32::new(1),
            ended: watch::Sender::new(None),
        };
        (inner, Queues { control: control_out, requests: requests_out })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues a control frame. Their number is bounded by what is open on the link, and by [`MAX_CONTROL`] against a runner that floods.
    pub fn control(&self, frame: Frame) {
        if self.queued_control.fetch_add(1, Relaxed) >= MAX_CONTROL {
            self.end("the runner does not read what is written to it");
            return;
        }
        let _ = self.control.send(frame);
    }

    /// Ends the link: everything pending gets its outcome, nothing new starts. Only the first reason counts.
    pub fn end(&self, reason: &str) {
        let state = {
            let mut state = self.state();
            if state.over.is_some() {
                return;
            }
            let over: Arc<str> = reason.into();
            std::mem::replace(&mut *state, State { over: Some(over), ..State::default() })
        };
        for (_, answer) in state.pending {
            let _ = answer.send(Err(unavailable(reason)));
        }
        drop(state.subs);
        self.ended.send_replace(Some(reason.into()));
    }

    pub fn answer(&self, id: u64, body: ResponseBody) {
        // An answer to a request that was given up is no error.
        let Some(waiting) = self.state().pending.remove(&id) else { return };
        let _ = waiting.send(match body {
            ResponseBody::Ok { json } => Ok(json),
            ResponseBody::Err { code, message } => Err(ProtocolError::new(code, message)),
        });
    }

    /// Runs `act` on the open subscription `sub`; those that were dropped meanwhile are passed over.
    pub fn with_sub<T>(&self, sub: u32, act: impl FnOnce(&mut Entry) -> T) -> Option<T> {
        self.state().subs.get_mut(&sub).map(act)
    }

    pub fn take_sub(&self, sub: u32) -> Option<Entry> {
        self.state().subs.remove(&sub)
    }

    pub fn drop_sub(&self, sub: u32) {
        if self.take_sub(sub).is_some() {
            self.control(Frame::Unsubscribe(Unsubscribe { sub }));
        }
    }

    /// Gives back `bytes` of credit.
    pub fn grant(&self, sub: u32, bytes: u32) {
        if self.with_sub(sub, |entry| entry.grant(bytes)).is_some() {
            self.control(Frame::Credit(Credit { sub, bytes }));
        }
    }

    pub fn ended(&self) -> watch::Receiver<Option<Arc<str>>> {
        self.ended.subscribe()
    }
}

pub(super) fn unavailable(reason: &str) -> ProtocolError {
    ProtocolError::new(ErrorCode::RunnerUnavailable, format!("the runner is out of reach ({reason}); what was sent may be sent again"))
}

impl Link {
    /// What the runner said of itself.
    #[must_use]
    pub fn welcome(&self) -> &Welcome {
        &self.0.welcome
    }

    /// Queues a request. It is on its way, in the order of the calls, when this returns; the answer comes from [`Started::answer`].
    ///
    /// # Errors
    /// `busy` when too much is under way, `runner_unavailable` when the link is lost. Nothing was sent then.
    pub fn start(&self, principal: Principal, body: RequestBody, deadline: Duration) -> Result<Started, ProtocolError> {
        let busy = || ProtocolError::new(ErrorCode::Busy, "the runner has too much to do at once; try again in a moment");
        let Welcome { version, software, user, .. } = &self.0.welcome;
        if body.since() > *version {
            // It could not read the frame, and would give the link up.
            let message =
                format!("the runner of {user} ({software}) is too old for this; `octoctl runner upgrade {user}` brings it up to date");
            return Err(ProtocolError::new(ErrorCode::Unsupported, message));
        }
        let size = u32::try_from(body_bytes(&body)).map_err(|_| busy())?;
        let room = Arc::clone(&self.0.room).try_acquire_many_owned(size.max(1)).map_err(|_| busy())?;
        let id = self.0.next_request.fetch_add(1, Relaxed);
        let (tell, answer) = oneshot::channel();
        {
            let mut state = self.0.state();
            if let Some(reason) = &state.over {
                return Err(unavailable(reason));
            }
            if state.pending.len() >= MAX_PENDING {
                return Err(busy());
            }
            state.pending.insert(id, tell);
        }
        let started = Started { id, inner: Arc::clone(&self.0), answer, until: Instant::now() + deadline + GRACE };
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let frame = Frame::Request(Request { id, principal, deadline_ms, body });
        // Dropping `started` takes the entry away again.
        self.0.requests.try_send(Queued { frame, room }).map_err(|error| match error {
            TrySendError::Full(_) => busy(),
            // The connection is ending in this moment.
            TrySendError::Closed(_) => unavailable("the connection was lost"),
        })?;
        Ok(started)
    }

    /// Starts a request and waits for its answer, the JSON of its data.
    ///
    /// # Errors
    /// The runner's refusal; `timeout` when none came in time; as [`Link::start`].
    pub async fn request(&self, principal: Principal, body: RequestBody, deadline: Duration) -> Result<Vec<u8>, ProtocolError> {
        self.start(principal, body, deadline)?.answer().await
    }

    /// Opens a subscription with `credit` bytes under way at most. Its first item is [`super::Item::Started`] or [`super::Item::Ended`].
    ///
    /// # Errors
    /// `busy` when too many are open, `runner_unavailable` when the link is lost.
    pub fn subscribe(
        &self,
        session: &SessionId,
        epoch: Option<Epoch>,
        after: Option<u64>,
        until: Option<u64>,
        credit: u32,
    ) -> Result<Subscription, ProtocolError> {
        let sub = self.0.next_sub.fetch_add(1, Relaxed);
        let (entry, subscription) = Subscription::open(sub, Arc::clone(&self.0), credit);
        {
            let mut state = self.0.state();
            if let Some(reason) = &state.over {
                return Err(unavailable(reason));
            }
            if state.subs.len() >= MAX_SUBSCRIPTIONS {
                return Err(ProtocolError::new(ErrorCode::Busy, "too many sessions are followed at once on this runner"));
            }
            state.subs.insert(sub, entry);
        }
        self.0.control(Frame::Subscribe(Subscribe { sub, session: session.clone(), epoch, after, until, credit }));
        Ok(subscription)
    }

    /// Waits until the link is lost; says why.
    pub async fn ended(&self) -> Arc<str> {
        let mut ended = self.0.ended();
        match ended.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_else(|| "closed".into()),
            Err(_) => "closed".into(),
        }
    }

    /// Whether both are the same connection.
    #[must_use]
    pub fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Bytes of events that the runner may send, all subscriptions together; less than nothing where it has overdrawn.
    #[must_use]
    pub fn credit(&self) -> i64 {
        self.0.state().subs.values().map(Entry::credit).fold(0, i64::saturating_add)
    }

    /// Requests without an answer yet, and open subscriptions.
    #[must_use]
    pub fn load(&self) -> (usize, usize) {
        let state = self.0.state();
        (state.pending.len(), state.subs.len())
    }
}

fn body_bytes(body: &RequestBody) -> usize {
    match body {
        RequestBody::Command { json } | RequestBody::History { json } | RequestBody::Admin { json } => json.len(),
        RequestBody::Open { json, provision } | RequestBody::OpenBeside { json, provision, .. } => json.len() + provision.len(),
        RequestBody::Snapshot { .. } | RequestBody::Actors => 0,
    }
}

/// A request under way. Dropped, its answer is passed over.
pub struct Started {
    id: u64,
    inner: Arc<Inner>,
    answer: oneshot::Receiver<Answer>,
    until: Instant,
}

impl Started {
    /// The answer: the JSON of its data.
    ///
    /// # Errors
    /// The runner's refusal, `timeout`, or `runner_unavailable` when the link was lost meanwhile.
    pub async fn answer(mut self) -> Result<Vec<u8>, ProtocolError> {
        match tokio::time::timeout_at(self.until, &mut self.answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(unavailable("the link was closed")),
            Err(_) => Err(ProtocolError::new(
                ErrorCode::Timeout,
                "the runner did not answer in time; whether it acted is unknown, look at the session before sending again",
            )),
        }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        self.inner.state().pending.remove(&self.id);
    }
}
