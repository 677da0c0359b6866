//! A session's fan-out: what every connection attached to it shares.

use super::passing::Watchers;
use super::payload::own_event;
use crate::telemetry::Hops;
use bytes::Bytes;
use octo_actors::{EventLog, Frame, LogLimits};
use octo_protocol::link::Subscribed;
use octo_protocol::{Epoch, Event, SessionId};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// What a session's ring keeps; whoever falls further behind reads the runner's journal.
pub const LOG_LIMITS: LogLimits = LogLimits { max_frames: 4096, max_bytes: 4 * 1024 * 1024 };

/// The ring of a session in which nothing was journalled for so long is given back: who comes then reads the journal.
const QUIET: Duration = Duration::from_secs(30);

/// One journal as far as this server knows it: its epoch and the newest part of it. Another epoch is another value.
pub struct Journal {
    /// The life of the runner's journal.
    pub epoch: Epoch,
    /// Whose it is, for envelopes.
    pub runner_id: String,
    /// The newest frames.
    pub log: EventLog,
}

/// Whether the session's runner is in reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// Not subscribed yet, and no reason to complain.
    Waiting,
    Up,
    Down(Arc<str>),
}

/// What a feed knows of its session.
#[derive(Clone)]
pub struct View {
    /// The journal followed; `None` until the first subscription.
    pub journal: Option<Arc<Journal>>,
    /// Whether it is live.
    pub reach: Reach,
    /// The session is no more: why.
    pub gone: Option<Arc<str>>,
}

/// One session's fan-out: written by the session's actor, read by connections.
pub struct Feed {
    session: SessionId,
    view: watch::Sender<View>,
    attached: AtomicU32,
    hops: Hops,
    watchers: Watchers,
    idle_since: Mutex<Instant>,
}

impl Feed {
    pub(super) fn new(session: SessionId, hops: Hops) -> Arc<Self> {
        let view = View { journal: None, reach: Reach::Waiting, gone: None };
        Arc::new(Self {
            session,
            view: watch::Sender::new(view),
            attached: AtomicU32::new(0),
            hops,
            watchers: Watchers::default(),
            idle_since: Mutex::new(Instant::now()),
        })
    }

    /// The session's id within its user.
    #[must_use]
    pub fn session(&self) -> &SessionId {
        &self.session
    }

    /// What its deltas are traced with.
    #[must_use]
    pub fn hops(&self) -> &Hops {
        &self.hops
    }

    /// Those who look at its events on their way.
    #[must_use]
    pub fn watchers(&self) -> &Watchers {
        &self.watchers
    }

    /// What is known, as it changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.subscribe()
    }

    /// What is known now.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Connections attached.
    #[must_use]
    pub fn attached(&self) -> u32 {
        self.attached.load(Relaxed)
    }

    /// Counts an attachment until the guard is dropped. Whoever attaches holds the user's list of feeds, so that none is dropped in between.
    pub(super) fn attach(self: &Arc<Self>) -> Attached {
        self.attached.fetch_add(1, Relaxed);
        Attached(Arc::clone(self))
    }

    /// For how long nobody has been attached; `None` while somebody is.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        let since = *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner);
        (self.attached() == 0).then(|| since.elapsed())
    }

    /// Gives back what the ring holds when nothing happens. To be called now and then.
    pub(super) fn rest(&self) {
        if let Some(journal) = &self.view.borrow().journal {
            journal.log.rest(QUIET);
        }
    }

    /// Where the next subscription goes on: epoch and last `seq` of what is held.
    pub(super) fn place(&self) -> (Option<Epoch>, Option<u64>) {
        let view = self.view.borrow();
        match &view.journal {
            Some(journal) => (Some(journal.epoch.clone()), journal.log.last_seq()),
            None => (None, None),
        }
    }

    /// A subscription has begun.
    pub(super) fn begin(&self, started: &Subscribed, runner_id: &str) -> Arc<Journal> {
        let View { journal: known, reach, .. } = self.view();
        let same = known.as_ref().filter(|j| j.epoch == started.epoch && j.log.last_seq().is_some_and(|last| last <= started.after));
        let journal = match same {
            Some(journal) => {
                if journal.log.last_seq() != Some(started.after) {
                    journal.log.reset_following(started.after);
                }
                Arc::clone(journal)
            }
            None => Arc::new(Journal {
                epoch: started.epoch.clone(),
                runner_id: runner_id.to_owned(),
                log: EventLog::following(LOG_LIMITS, started.after),
            }),
        };
        self.view.send_replace(View { journal: Some(Arc::clone(&journal)), reach: Reach::Up, gone: None });
        if let Some(old) = known.filter(|old| !Arc::ptr_eq(old, &journal)) {
            // Its readers look up, find another journal and start over.
            old.log.reset();
        } else if matches!(reach, Reach::Down(_)) {
            self.announce(&journal, Event::SessionReachable);
        }
        journal
    }

    /// The link is lost, or the subscription ended for a reason that passes.
    pub(super) fn unreachable(&self, reason: &str) {
        let mut was_down = false;
        self.view.send_modify(|view| {
            was_down = matches!(view.reach, Reach::Down(_));
            view.reach = Reach::Down(reason.into());
        });
        if !was_down && let Some(journal) = self.view().journal {
            self.announce(&journal, Event::SessionUnreachable { reason: reason.to_owned() });
        }
    }

    /// The runner does not come back by itself: told once more when the reason is another one than before. Below the first line of a reason is the
    /// end of a log, which differs each time and tells nobody anything new.
    pub(super) fn failed(&self, reason: &str) {
        let known = matches!(&self.view.borrow().reach, Reach::Down(told) if told.lines().next() == reason.lines().next());
        if !known {
            self.view.send_modify(|view| view.reach = Reach::Waiting);
            self.unreachable(reason);
        }
    }

    /// What is held belongs to no journal any more: the next subscription starts from nothing.
    pub(super) fn forget(&self) {
        let mut old = None;
        self.view.send_modify(|view| old = view.journal.take());
        if let Some(old) = old {
            old.log.reset();
        }
    }

    /// The session is no more.
    pub(super) fn gone(&self, reason: &str) {
        self.view.send_modify(|view| view.gone = Some(reason.into()));
        if let Some(journal) = self.view().journal {
            journal.log.reset();
        }
    }

    fn announce(&self, journal: &Journal, event: Event) {
        if let Some(bytes) = own_event(self.session.as_str(), &journal.runner_id, &journal.epoch, None, event) {
            journal.log.append(Frame { seq: 0, urgent: false, bytes: Bytes::from(bytes) });
        }
    }
}

/// One connection's attachment to a feed. The session is followed while there is one, and a while longer.
pub struct Attached(Arc<Feed>);

impl std::ops::Deref for Attached {
    type Target = Feed;

    fn deref(&self) -> &Feed {
        &self.0
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.attached.fetch_sub(1, Relaxed);
    }
}
