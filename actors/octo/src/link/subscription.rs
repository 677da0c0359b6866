//! One subscription: a session's events as they arrive, bounded by credit.

use super::handle::Inner;
use octo_protocol::link::{EndReason, Event, Subscribed};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Events that may wait in one subscription, however small they are.
const MAX_WAITING: usize = 64 * 1024;

/// What a subscription gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// First, unless it ended at once.
    Started(Subscribed),
    Event(Event),
    /// Last.
    Ended(EndReason),
}

/// The reader's side of a subscription.
pub(super) struct Entry {
    items: mpsc::UnboundedSender<Item>,
    waiting: Arc<AtomicUsize>,
    /// Payload bytes the runner may still send. One event may overdraw it, or an event larger than the credit could never travel.
    credit: i64,
}

impl Entry {
    pub fn grant(&mut self, bytes: u32) {
        self.credit += i64::from(bytes);
    }

    pub fn put(&mut self, item: Item) -> Result<(), &'static str> {
        if let Item::Event(event) = &item {
            if self.credit <= 0 {
                return Err("the runner sends more events than it has credit for");
            }
            self.credit -= i64::try_from(event.payload.len()).unwrap_or(i64::MAX);
            if self.waiting.fetch_add(1, Relaxed) >= MAX_WAITING {
                return Err("the runner sends too many tiny events");
            }
        }
        let _ = self.items.send(item);
        Ok(())
    }
}

/// Events of one session. Dropping it unsubscribes.
pub struct Subscription {
    sub: u32,
    inner: Arc<Inner>,
    items: mpsc::UnboundedReceiver<Item>,
    waiting: Arc<AtomicUsize>,
    /// Consumed and not yet granted again.
    consumed: u32,
    /// Granted again when this much was consumed.
    grant_at: u32,
}

impl Subscription {
    pub(super) fn open(sub: u32, inner: Arc<Inner>, credit: u32) -> (Entry, Self) {
        let (tell, items) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let entry = Entry { items: tell, waiting: Arc::clone(&waiting), credit: i64::from(credit) };
        (entry, Self { sub, inner, items, waiting, consumed: 0, grant_at: (credit / 4).max(1) })
    }

    /// The next item; `None` when the link is lost. Safe to drop at any await.
    pub async fn next(&mut self) -> Option<Item> {
        let item = self.items.recv().await;
        self.account(item)
    }

    /// As [`Self::next`], for who polls.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        self.items.poll_recv(context).map(|item| self.account(item))
    }

    /// Something has arrived that nobody has taken.
    pub fn waits(&self) -> bool {
        !self.items.is_empty()
    }

    /// The next item if one has already arrived.
    pub fn ready(&mut self) -> Option<Item> {
        let item = self.items.try_recv().ok();
        self.account(item)
    }

    /// Handing an event out is consuming it: whoever takes it is done with it before asking for the next.
    fn account(&mut self, item: Option<Item>) -> Option<Item> {
        if let Some(Item::Event(event)) = &item {
            self.waiting.fetch_sub(1, Relaxed);
            self.consumed = self.consumed.saturating_add(u32::try_from(event.payload.len()).unwrap_or(u32::MAX));
            if self.consumed >= self.grant_at {
                self.inner.grant(self.sub, std::mem::take(&mut self.consumed));
            }
        }
        item
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.inner.drop_sub(self.sub);
    }
}
