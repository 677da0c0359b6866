//! Rest: tasks that can be stopped between two of their steps, all of them, and go on as though nothing had been.

use std::sync::Arc;
use tokio::sync::watch;

/// Asks its members to rest.
#[derive(Debug, Clone)]
pub struct Rest(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    asked: watch::Sender<bool>,
    counts: watch::Sender<Counts>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    members: usize,
    resting: usize,
}

/// One task's part in it. A task that is over has no part any more.
#[derive(Debug)]
pub struct Member {
    asked: watch::Receiver<bool>,
    rest: Rest,
}

/// It rests until this is dropped.
struct Resting<'a>(&'a Rest);

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.0.counts.send_modify(|counts| counts.resting -= 1);
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.rest.0.counts.send_modify(|counts| counts.members -= 1);
    }
}

impl Rest {
    /// Without members.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Inner { asked: watch::Sender::new(false), counts: watch::Sender::default() }))
    }

    /// One more.
    #[must_use]
    pub fn member(&self) -> Member {
        self.0.counts.send_modify(|counts| counts.members += 1);
        Member { asked: self.0.asked.subscribe(), rest: self.clone() }
    }

    /// Asks all members to rest, and waits until they do.
    pub async fn all(&self) {
        let mut counts = self.0.counts.subscribe();
        // Whoever has not noticed yet that the last rest is over would rest on, with what it noted then. The sender is ours, so no wait can fail.
        let _ = counts.wait_for(|counts| counts.resting == 0).await;
        self.0.asked.send_replace(true);
        let _ = counts.wait_for(|counts| counts.resting == counts.members).await;
    }

    /// They go on.
    pub fn over(&self) {
        self.0.asked.send_replace(false);
    }
}

impl Default for Rest {
    fn default() -> Self {
        Self::new()
    }
}

impl Member {
    /// Waits until it is asked to rest. Cancel-safe.
    pub async fn asked(&mut self) {
        let _ = self.asked.wait_for(|asked| *asked).await;
    }

    /// Rests until it is over.
    pub async fn rest(&mut self) {
        self.rest.0.counts.send_modify(|counts| counts.resting += 1);
        let _resting = Resting(&self.rest);
        let _ = self.asked.wait_for(|asked| !*asked).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn nothing_moves_while_all_rest_and_who_is_over_is_not_waited_for() {
        let (rest, steps) = (Rest::new(), Arc::new(AtomicU64::new(0)));
        for _ in 0..3 {
            let (mut member, steps) = (rest.member(), Arc::clone(&steps));
            tokio::spawn(async move {
                loop {
                    tokio::select! {
                        biased;
                        () = member.asked() => member.rest().await,
                        () = tokio::time::sleep(Duration::from_millis(10)) => {
                            // In the middle of a step nobody rests.
                            steps.fetch_add(1, SeqCst);
                            tokio::time::sleep(Duration::from_millis(7)).await;
                            steps.fetch_add(1, SeqCst);
                        }
                    }
                }
            });
        }
        let mut gone = rest.member();
        tokio::spawn(async move {
            gone.asked().await;
        });
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(53)).await;
            rest.all().await;
            let at = steps.load(SeqCst);
            assert!(at > 0 && at.is_multiple_of(2));
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(steps.load(SeqCst), at);
            rest.over();
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(steps.load(SeqCst) > at);
        }
    }
}
