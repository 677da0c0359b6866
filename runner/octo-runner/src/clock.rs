//! The time, in the one unit that crosses process boundaries.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
#[must_use]
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| i64::try_from(d.as_millis()).unwrap_or(i64::MAX))
}

/// How finely patience is counted.
const TICK: std::time::Duration = std::time::Duration::from_secs(1);

/// What `work` comes to, if that is within `patience` of this process's own running: time in which it was stopped (SIGSTOP, a suspended machine) counts as
/// one second at most, for whoever works for it was stopped too.
pub async fn while_awake<T>(patience: std::time::Duration, work: impl Future<Output = T>) -> Option<T> {
    let mut work = std::pin::pin!(work);
    let mut left = patience;
    loop {
        let tick = left.min(TICK);
        if let Ok(done) = tokio::time::timeout(tick, work.as_mut()).await {
            return Some(done);
        }
        left -= tick;
        if left.is_zero() {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn a_pause_of_the_whole_process_uses_up_no_patience() {
        let (say, hear) = tokio::sync::oneshot::channel();
        let waiting = tokio::spawn(while_awake(Duration::from_secs(20), hear));
        tokio::task::yield_now().await;
        // As after SIGCONT: the clock has gone on, and nobody else has.
        tokio::time::advance(Duration::from_secs(3600)).await;
        tokio::task::yield_now().await;
        assert!(say.send(7).is_ok());
        assert!(matches!(waiting.await, Ok(Some(Ok(7)))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_come_is_given_up_in_time() {
        let began = tokio::time::Instant::now();
        assert_eq!(while_awake(Duration::from_millis(2500), std::future::pending::<()>()).await, None);
        assert_eq!(began.elapsed().as_millis() / 100, 25);
    }
}
