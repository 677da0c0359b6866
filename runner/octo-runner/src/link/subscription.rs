//! One subscription: from the journal to the ring, without a gap and without a double.

use super::credit::Credit;
use crate::figures::Figures;
use crate::journal::{Journal, Packed, SessionLog};
use crate::session::{Entry, SubscriberGuard};
use octo_actors::{Read, monotonic_ns};
use octo_protocol::EventKind;
use octo_protocol::admin::RunnerHop;
use octo_protocol::link::{EndReason, Ended, Event, Frame, Subscribe, Subscribed};
use std::sync::Arc;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::time::Instant;

/// Events that are taken from the ring at once.
const TAKE_EVENTS: usize = 64;
/// Bytes that are taken from the ring at once.
const TAKE_BYTES: usize = 256 * 1024;

/// What streams one session's events to one peer.
pub(super) struct Subscription {
    pub sub: u32,
    pub after: Option<u64>,
    pub until: Option<u64>,
    pub credit: Arc<Credit>,
    pub journal: Journal,
    pub log: Arc<SessionLog>,
    pub out: mpsc::Sender<Frame>,
    /// The session shows how many watch it.
    #[allow(dead_code)]
    pub counted: Option<SubscriberGuard>,
}

/// Where a subscription begins, or why it does not.
pub(super) fn begin(wanted: &Subscribe, entry: Option<&Arc<Entry>>) -> Result<Arc<SessionLog>, EndReason> {
    let log = entry.and_then(|e| e.log()).ok_or(EndReason::NoSession)?;
    if wanted.epoch.as_ref().is_some_and(|epoch| *epoch != log.epoch) {
        return Err(EndReason::EpochChanged);
    }
    if wanted.after.is_some_and(|after| after > log.head()) {
        return Err(EndReason::AheadOfJournal);
    }
    Ok(log)
}

enum Step {
    Live(u64),
    Ended(EndReason),
    Gone,
}

/// A wait for credit, counted when it is over.
struct CreditWait<'a>(&'a Figures, Instant);

impl<'a> CreditWait<'a> {
    fn new(figures: &'a Figures) -> Self {
        figures.credit_waits.one();
        Self(figures, Instant::now())
    }
}

impl Drop for CreditWait<'_> {
    fn drop(&mut self) {
        self.0.credit_waited.add(u64::try_from(self.1.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

impl Subscription {
    /// Streams until it has all, the session is gone or the connection is. The caller stops it by dropping this.
    pub async fn run(self) {
        let head = self.log.head();
        let begin = self.begins_at(head);
        let first = Frame::Subscribed(Subscribed { sub: self.sub, epoch: self.log.epoch.clone(), head, after: begin });
        if self.out.send(first).await.is_err() {
            return;
        }
        // Ephemeral events of before are of no use to anybody.
        let live_from = self.log.ring.head();
        let mut cursor = begin;
        loop {
            if self.until.is_some_and(|until| cursor >= until) {
                return self.end(EndReason::Complete).await;
            }
            let step = match self.log.ring.position_after_seq(cursor) {
                Some(position) => self.follow_ring(position, live_from, cursor).await,
                // On the heap while it lasts: most subscriptions only wait for the ring.
                None => Box::pin(self.replay(cursor)).await,
            };
            match step {
                Step::Live(next) => cursor = next,
                Step::Ended(reason) => return self.end(reason).await,
                Step::Gone => return,
            }
        }
    }

    /// Where the stream begins: after the cursor, or where what is kept begins when that is later. The peer sees the difference.
    fn begins_at(&self, head: u64) -> u64 {
        let after = self.after.unwrap_or(head);
        match self.log.ring.position_after_seq(after) {
            Some(_) => after,
            None => after.max(self.log.floor()),
        }
    }

    /// Follows the ring until it has gone on without us.
    async fn follow_ring(&self, mut position: u64, live_from: u64, mut cursor: u64) -> Step {
        let mut moved = self.log.ring.watch();
        loop {
            moved.borrow_and_update();
            match self.log.ring.read(position, TAKE_EVENTS, TAKE_BYTES) {
                Read::Behind { .. } => return self.gone_or(Step::Live(cursor)),
                Read::Frames { frames, .. } if frames.is_empty() => {
                    tokio::select! {
                        changed = moved.changed() => if changed.is_err() { return Step::Gone },
                        () = self.log.gone.cancelled() => return Step::Ended(EndReason::NoSession),
                        () = self.out.closed() => return Step::Gone,
                    }
                }
                Read::Frames { frames, next } => {
                    for (frame, at) in frames.iter().zip(position..) {
                        if frame.seq == 0 && (at < live_from || self.until.is_some()) {
                            continue;
                        }
                        if !self.send(frame.seq, &Packed::of(frame)).await {
                            return self.gone_or(Step::Gone);
                        }
                        if frame.seq > 0 && self.log.watchers.are_here() {
                            self.log.watchers.tell(&RunnerHop::Sent { seq: frame.seq, at: monotonic_ns() });
                        }
                        cursor = cursor.max(frame.seq);
                        if self.until.is_some_and(|until| cursor >= until) {
                            return Step::Ended(EndReason::Complete);
                        }
                    }
                    position = next;
                }
            }
        }
    }

    /// Reads one page of the journal; an empty one means that the ring is about to have what follows.
    async fn replay(&self, cursor: u64) -> Step {
        let mut moved = self.log.ring.watch();
        moved.borrow_and_update();
        let page = match self.journal.page(self.log.life, cursor, self.until).await {
            Ok(page) => page,
            Err(error) => {
                tracing::error!(%error, "a subscription cannot be replayed");
                return Step::Ended(EndReason::JournalError);
            }
        };
        if self.log.gone.is_cancelled() {
            return Step::Ended(EndReason::NoSession);
        }
        // What was read may have holes when the floor was raised meanwhile: never a silent gap.
        if cursor < self.log.floor() {
            return Step::Ended(EndReason::EpochChanged);
        }
        let Some(last) = page.rows.last().map(|row| row.seq) else {
            // Everything up to `until` that was kept has been sent.
            if self.until.is_some_and(|until| until <= self.log.head()) {
                return Step::Ended(EndReason::Complete);
            }
            // Committed, and not yet in the ring: that is a matter of microseconds.
            let look_again = tokio::time::sleep(std::time::Duration::from_millis(20));
            tokio::select! {
                _ = moved.changed() => {}
                () = look_again => {}
                () = self.log.gone.cancelled() => return Step::Ended(EndReason::NoSession),
                () = self.out.closed() => return Step::Gone,
            }
            return Step::Live(cursor);
        };
        for row in page.rows {
            if !self.send(row.seq, &row.packed).await {
                return self.gone_or(Step::Gone);
            }
        }
        Step::Live(last)
    }

    fn gone_or(&self, otherwise: Step) -> Step {
        if self.log.gone.is_cancelled() { Step::Ended(EndReason::NoSession) } else { otherwise }
    }

    async fn send(&self, seq: u64, packed: &Packed) -> bool {
        let payload = packed.payload();
        // Mostly there is credit and room: then nothing is waited for, and nothing made to wait with.
        if !self.credit.try_spend(payload.len()) {
            let _waits = CreditWait::new(self.journal.figures());
            tokio::select! {
                () = self.credit.spend(payload.len()) => {}
                () = self.log.gone.cancelled() => return false,
                () = self.out.closed() => return false,
            }
        }
        let kind: EventKind = packed.kind();
        let event = Frame::Event(Event { sub: self.sub, seq, ts: packed.ts(), kind, payload: payload.to_vec() });
        self.journal.figures().events_sent.one();
        match self.out.try_send(event) {
            Ok(()) => !self.log.gone.is_cancelled(),
            Err(TrySendError::Full(event)) => self.out.send(event).await.is_ok(),
            Err(TrySendError::Closed(_)) => false,
        }
    }

    async fn end(&self, reason: EndReason) {
        let _ = self.out.send(Frame::Ended(Ended { sub: self.sub, reason })).await;
    }
}

#[cfg(test)]
mod removal;
#[cfg(test)]
mod tests;
