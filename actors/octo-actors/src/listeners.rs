//! Those who want to look at something as it passes: bounded, lossy, and for whoever lets it pass one atomic load while nobody does.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::LossyQueue;

/// Who listens to one thing.
#[derive(Debug)]
pub struct Listeners<T> {
    here: AtomicUsize,
    queues: Mutex<Vec<Arc<LossyQueue<T>>>>,
}

impl<T> Default for Listeners<T> {
    fn default() -> Self {
        Self { here: AtomicUsize::new(0), queues: Mutex::default() }
    }
}

impl<T> Listeners<T> {
    /// Whether anybody listens.
    #[must_use]
    pub fn are_here(&self) -> bool {
        self.here.load(Relaxed) != 0
    }

    /// One more listener, unless there are `most` already. It holds `limit` items; further ones are lost to it until it takes some.
    #[must_use]
    pub fn listen(self: &Arc<Self>, most: usize, limit: usize) -> Option<Listener<T>> {
        let mut queues = self.queues();
        if queues.len() >= most {
            return None;
        }
        let queue = Arc::new(LossyQueue::new(limit));
        queues.push(Arc::clone(&queue));
        self.here.store(queues.len(), Relaxed);
        Some(Listener { queue, of: Arc::clone(self) })
    }

    fn queues(&self) -> MutexGuard<'_, Vec<Arc<LossyQueue<T>>>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Clone> Listeners<T> {
    /// Lets everybody hear it.
    pub fn tell(&self, item: &T) {
        for queue in self.queues().iter() {
            queue.push(item.clone());
        }
    }
}

/// One who listens, until it is dropped.
#[derive(Debug)]
pub struct Listener<T> {
    queue: Arc<LossyQueue<T>>,
    of: Arc<Listeners<T>>,
}

impl<T> Listener<T> {
    /// What was heard, at most `most`, and how much was lost since the last time. Waits up to `wait` for the first.
    pub async fn take(&self, most: usize, wait: Duration) -> (Vec<T>, u64) {
        self.queue.take(most, wait).await
    }
}

impl<T> Drop for Listener<T> {
    fn drop(&mut self) {
        let mut queues = self.of.queues();
        queues.retain(|queue| !Arc::ptr_eq(queue, &self.queue));
        self.of.here.store(queues.len(), Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn everybody_who_listens_hears_it_and_nobody_is_counted_who_has_gone() {
        let listeners: Arc<Listeners<u32>> = Arc::default();
        listeners.tell(&0);
        assert!(!listeners.are_here());
        let (one, two) = (listeners.listen(2, 1).unwrap(), listeners.listen(2, 9).unwrap());
        assert!(listeners.are_here() && listeners.listen(2, 9).is_none());
        listeners.tell(&1);
        listeners.tell(&2);
        assert_eq!(one.take(9, Duration::ZERO).await, (vec![1], 1));
        assert_eq!(two.take(9, Duration::ZERO).await, (vec![1, 2], 0));
        drop((one, two));
        assert!(!listeners.are_here());
    }
}
