//! A bounded queue of things that may be lost: whoever adds never waits, and whoever takes is told how many it missed.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// The queue. Shared by those who add and the one who takes.
#[derive(Debug)]
pub struct LossyQueue<T> {
    limit: usize,
    held: Mutex<Held<T>>,
    filled: Notify,
}

#[derive(Debug)]
struct Held<T> {
    items: VecDeque<T>,
    lost: u64,
}

impl<T> LossyQueue<T> {
    /// An empty one that holds `limit` items at most. It takes no room before there is something in it.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { limit, held: Mutex::new(Held { items: VecDeque::new(), lost: 0 }), filled: Notify::new() }
    }

    /// Adds an item; when the queue is full, the item is lost. True if it was added.
    pub fn push(&self, item: T) -> bool {
        let added = {
            let mut held = self.held();
            let room = held.items.len() < self.limit;
            if room {
                held.items.push_back(item);
            } else {
                held.lost += 1;
            }
            room
        };
        self.filled.notify_one();
        added
    }

    /// Counts `lost` items that somebody else lost on their way here.
    pub fn lost(&self, lost: u64) {
        self.held().lost += lost;
    }

    /// Items that wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held().items.len()
    }

    /// Nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes what waits, at most `most` items, and how many were lost since the last time. Waits up to `wait` for the first.
    pub async fn take(&self, most: usize, wait: Duration) -> (Vec<T>, u64) {
        let _ = tokio::time::timeout(wait, self.filled()).await;
        self.take_now(most)
    }

    /// Waits until something waits.
    pub async fn filled(&self) {
        while self.is_empty() {
            self.filled.notified().await;
        }
    }

    /// As [`LossyQueue::take`], without waiting.
    #[must_use]
    pub fn take_now(&self, most: usize) -> (Vec<T>, u64) {
        let mut held = self.held();
        let count = held.items.len().min(most);
        let items = held.items.drain(..count).collect();
        if held.items.is_empty() {
            // What a burst needed is not kept.
            held.items = VecDeque::new();
        }
        (items, std::mem::take(&mut held.lost))
    }

    fn held(&self) -> MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn who_takes_gets_the_first_items_and_the_number_of_those_that_had_no_room() {
        let queue = LossyQueue::new(3);
        assert!((0..3).all(|n| queue.push(n)));
        assert!(!queue.push(3) && !queue.push(4));
        queue.lost(5);
        assert_eq!(queue.take(2, Duration::ZERO).await, (vec![0, 1], 7));
        assert_eq!(queue.take(9, Duration::ZERO).await, (vec![2], 0));
        assert_eq!(queue.take(9, Duration::from_secs(1)).await, (vec![], 0), "nothing came");
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_woken_by_the_first_item() {
        let queue = Arc::new(LossyQueue::new(3));
        let waiting = tokio::spawn({
            let queue = Arc::clone(&queue);
            async move { queue.take(9, Duration::from_secs(3600)).await }
        });
        tokio::task::yield_now().await;
        queue.push(1);
        assert_eq!(waiting.await.ok(), Some((vec![1], 0)));
    }
}
