//! One reader of one session's events: where it stands, and what comes next.
//!
//! It is a cursor, not a queue: it reads on when its connection has taken what it gave; what it has not read stays in the ring, then in the journal. What
//! was missed stands between `replay.start` and `replay.end`; so does what a slow reader gets from the journal. Elsewhere `seq` has no gap.

use crate::door::Door;
use crate::options::USER;
use octo_protocol::link::{EndReason, Event as LinkEvent, Frame};
use octo_protocol::mux::agent::{Envelope, envelope};
use octo_protocol::{Cursor, Epoch, Event, EventPayload, SessionId};
use octo_runner::clock::now_ms;
use octo_runner::link::Following;
use std::collections::VecDeque;
use std::sync::Arc;

/// A frame for the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// JSON, on one line.
    pub json: Vec<u8>,
    /// Where the reader stands when it has this; absent where that does not change.
    pub cursor: Option<Cursor>,
}

/// A reader.
pub struct Follower {
    door: Arc<Door>,
    session: SessionId,
    following: Option<Following>,
    epoch: Option<Epoch>,
    /// Everything up to here was given.
    seq: u64,
    /// Numbers up to here were missed, and how many have been given of them.
    replay: Option<(u64, u64)>,
    /// Why the reader begins anew, until it is told.
    resync: Option<&'static str>,
    ready: VecDeque<Told>,
}

impl Follower {
    /// Begins after `cursor`, or with the first event.
    #[must_use]
    pub fn new(door: Arc<Door>, session: SessionId, cursor: Option<Cursor>) -> Self {
        let (epoch, seq) = cursor.map_or((None, 0), |cursor| (Some(cursor.epoch), cursor.seq));
        Self { door, session, following: None, epoch, seq, replay: None, resync: None, ready: VecDeque::new() }
    }

    /// What comes next; `None` when the session is gone, or the bridge is ending. May be dropped at any await.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                return Some(told);
            }
            if self.following.is_none() {
                self.begin()?;
            }
            let following = self.following.as_mut()?;
            match following.next().await {
                Some(Frame::Subscribed(begun)) => {
                    let dropped_count = begun.after.checked_sub(self.seq).filter(|dropped| *dropped > 0);
                    (self.epoch, self.seq) = (Some(begun.epoch), begun.after);
                    let reason = self.resync.take().or_else(|| dropped_count.map(|_| "events after this cursor are not kept any more"));
                    if let Some(reason) = reason {
                        self.tell(Event::ResyncRequired { reason: reason.to_owned(), dropped_count }, Some(self.seq));
                    }
                    self.tell(Event::ReplayStart { after: self.seq }, None);
                    self.replay = Some((begun.head, 0));
                    self.end_replay();
                }
                Some(Frame::Event(event)) => self.event(&event),
                Some(Frame::Ended(ended)) => {
                    self.following = None;
                    self.ended(ended.reason)?;
                }
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// `None`: there is nothing to follow.
    fn begin(&mut self) -> Option<()> {
        match self.door.follow(&self.session, self.epoch.clone(), self.seq) {
            Ok(following) => self.following = Some(following),
            Err(reason) => self.ended(reason)?,
        }
        Some(())
    }

    fn ended(&mut self, reason: EndReason) -> Option<()> {
        let reason = match reason {
            EndReason::EpochChanged => "the session's journal was begun anew",
            EndReason::AheadOfJournal => "the cursor is ahead of the session's journal",
            EndReason::Complete | EndReason::Unsubscribed | EndReason::NoSession | EndReason::JournalError | EndReason::LimitExceeded => {
                return None;
            }
        };
        // From the beginning of what there is now.
        (self.epoch, self.seq, self.replay) = (None, 0, None);
        let following = self.door.follow(&self.session, None, 0).ok()?;
        self.following = Some(following);
        self.resync = Some(reason);
        Some(())
    }

    fn event(&mut self, event: &LinkEvent) {
        let journalled = event.seq > 0;
        let jumps = journalled && event.seq > self.seq + 1 && self.replay.is_none();
        if jumps {
            self.tell(Event::ReplayStart { after: self.seq }, None);
            self.replay = Some((event.seq, 0));
        }
        let Some(json) = self.wrap(event.ts, journalled.then_some(event.seq), &event.payload) else {
            tracing::error!(seq = event.seq, "an event that is no object is not told");
            return;
        };
        if journalled {
            self.seq = event.seq;
            if let Some((_, count)) = &mut self.replay {
                *count += 1;
            }
        }
        let cursor = self.cursor().filter(|_| journalled);
        self.ready.push_back(Told { json, cursor });
        self.end_replay();
    }

    fn end_replay(&mut self) {
        if let Some((until, count)) = self.replay.filter(|(until, _)| self.seq >= *until) {
            self.replay = None;
            self.seq = self.seq.max(until);
            self.tell(Event::ReplayEnd { count }, Some(self.seq));
        }
    }

    /// Tells something of the bridge's own.
    fn tell(&mut self, event: Event, seq: Option<u64>) {
        let payload = serde_json::to_vec(&EventPayload::new(event)).unwrap_or_default();
        if let Some(json) = self.wrap(now_ms(), seq, &payload) {
            self.ready.push_back(Told { json, cursor: self.cursor().filter(|_| seq.is_some()) });
        }
    }

    fn cursor(&self) -> Option<Cursor> {
        self.epoch.clone().map(|epoch| Cursor { epoch, seq: self.seq })
    }

    fn wrap(&self, ts: i64, seq: Option<u64>, payload: &[u8]) -> Option<Vec<u8>> {
        let epoch = self.epoch.as_ref()?;
        envelope(Envelope { session_id: self.session.as_str(), runner_id: USER, ts, epoch, seq }, payload)
    }
}
