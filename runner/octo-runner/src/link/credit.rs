//! How many payload bytes a subscription may still send.

use octo_protocol::link::SUBSCRIPTION_CREDIT;
use tokio::sync::watch;

/// A balance that one side spends and the other tops up. It never holds more than [`SUBSCRIPTION_CREDIT`].
///
/// One event may be larger than any balance: it is sent while there is some, and the balance is negative then until it is topped up.
#[derive(Debug)]
pub struct Credit(watch::Sender<i64>);

impl Credit {
    /// Begins with `bytes`.
    #[must_use]
    pub fn new(bytes: u32) -> Self {
        Self(watch::Sender::new(i64::from(bytes.min(SUBSCRIPTION_CREDIT))))
    }

    /// Adds `bytes`.
    pub fn add(&self, bytes: u32) {
        self.0.send_modify(|balance| *balance = (*balance + i64::from(bytes)).min(i64::from(SUBSCRIPTION_CREDIT)));
    }

    /// Waits until there is some, then takes `bytes`.
    pub async fn spend(&self, bytes: usize) {
        let mut changes = self.0.subscribe();
        // The sender is ours, so the wait cannot fail.
        let _ = changes.wait_for(|balance| *balance > 0).await;
        self.0.send_modify(|balance| *balance -= i64::try_from(bytes).unwrap_or(i64::MAX / 2));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[tokio::test(start_paused = true)]
    async fn a_subscription_overdraws_by_one_event_at_most_and_never_saves_up() {
        let credit = Arc::new(Credit::new(100));
        credit.spend(5_000_000).await;
        let next = tokio::spawn({
            let credit = Arc::clone(&credit);
            async move { credit.spend(1).await }
        });
        credit.add(4_999_900);
        tokio::task::yield_now().await;
        assert!(!next.is_finished(), "the balance is zero, not positive");
        credit.add(1);
        assert!(next.await.is_ok());
        credit.add(u32::MAX);
        assert_eq!(*credit.0.borrow(), i64::from(SUBSCRIPTION_CREDIT));
    }
}
