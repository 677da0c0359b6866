//! One subscription: a session's events as they arrive, bounded by credit.

use super::handle::Inner;
use octo_protocol::link::{EndReason, Event, Subscribed};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

/// Events that may wait in one subscription, however small they are.
const MAX_WAITING: usize = 64 * 1024;
/// Places for events that are kept when none waits.
const KEPT: usize = 16;

/// What a subscription gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Item {
    /// First, unless it ended at once.
    Started(Subscribed),
    Event(Event),
    /// Last.
    Ended(EndReason),
}

/// What has arrived and was not taken yet. It takes memory while something waits: a channel of the library has its first block, 3 KiB of it, for each idle session.
#[derive(Default)]
struct Queue(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    items: VecDeque<Item>,
    /// Whoever waits for the next one.
    waker: Option<Waker>,
    /// Nothing more comes.
    closed: bool,
}

impl Waiting {
    fn take(&mut self) -> Option<Item> {
        let item = self.items.pop_front();
        if self.items.is_empty() && self.items.capacity() > KEPT {
            self.items = VecDeque::new();
        }
        item
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next item if it is there.
    fn take(&self) -> Option<Item> {
        self.lock().take()
    }

    /// The next item, `None` when there will be none.
    fn poll(&self, context: &Context<'_>) -> Poll<Option<Item>> {
        let mut waiting = self.lock();
        match waiting.take() {
            Some(item) => Poll::Ready(Some(item)),
            None if waiting.closed => Poll::Ready(None),
            None => {
                waiting.waker = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Changes it, and wakes whoever waits for that.
    fn change(&self, change: impl FnOnce(&mut Waiting)) {
        let waker = {
            let mut waiting = self.lock();
            change(&mut waiting);
            waiting.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The reader's side of a subscription.
pub(super) struct Entry {
    queue: Arc<Queue>,
    /// Payload bytes the runner may still send. One event may overdraw it, or an event larger than the credit could never travel.
    credit: i64,
}

impl Entry {
    pub fn credit(&self) -> i64 {
        self.credit
    }

    pub fn grant(&mut self, bytes: u32) {
        self.credit += i64::from(bytes);
    }

    pub fn put(&mut self, item: Item) -> Result<(), &'static str> {
        if let Item::Event(event) = &item {
            if self.credit <= 0 {
                return Err("the runner sends more events than it has credit for");
            }
            self.credit -= i64::try_from(event.payload.len()).unwrap_or(i64::MAX);
            if self.queue.lock().items.len() >= MAX_WAITING {
                return Err("the runner sends too many tiny events");
            }
        }
        self.queue.change(|waiting| waiting.items.push_back(item));
        Ok(())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.queue.change(|waiting| waiting.closed = true);
    }
}

/// Events of one session. Dropping it unsubscribes.
pub struct Subscription {
    sub: u32,
    inner: Arc<Inner>,
    queue: Arc<Queue>,
    /// Consumed and not yet granted again.
    consumed: u32,
    /// Granted again when this much was consumed.
    grant_at: u32,
}

impl Subscription {
    pub(super) fn open(sub: u32, inner: Arc<Inner>, credit: u32) -> (Entry, Self) {
        let queue = Arc::<Queue>::default();
        let entry = Entry { queue: Arc::clone(&queue), credit: i64::from(credit) };
        (entry, Self { sub, inner, queue, consumed: 0, grant_at: (credit / 4).max(1) })
    }

    /// The next item; `None` when the link is lost. Safe to drop at any await.
    pub async fn next(&mut self) -> Option<Item> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Self::next`], for who polls.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Item>> {
        // Whoever always finds something gives way to others now and then.
        let turn = ready!(tokio::task::coop::poll_proceed(context));
        let item = ready!(self.queue.poll(context));
        turn.made_progress();
        Poll::Ready(self.account(item))
    }

    /// Something has arrived that nobody has taken.
    pub fn waits(&self) -> bool {
        !self.queue.lock().items.is_empty()
    }

    /// The next item if one has already arrived.
    pub fn ready(&mut self) -> Option<Item> {
        let item = self.queue.take();
        self.account(item)
    }

    /// Handing an event out is consuming it: whoever takes it is done with it before asking for the next.
    fn account(&mut self, item: Option<Item>) -> Option<Item> {
        if let Some(Item::Event(event)) = &item {
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
