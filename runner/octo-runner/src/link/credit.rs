//! How many payload bytes a subscription may still send.

use octo_protocol::link::SUBSCRIPTION_CREDIT;
use std::sync::atomic::{AtomicI64, Ordering::SeqCst};
use tokio::sync::Notify;

/// A balance that one side spends and the other tops up. It never holds more than [`SUBSCRIPTION_CREDIT`].
///
/// One event may be larger than any balance: it is sent while there is some, and the balance is negative then until it is topped up.
#[derive(Debug)]
pub struct Credit {
    balance: AtomicI64,
    /// There is some again. The one who spends waits for it.
    topped_up: Notify,
}

impl Credit {
    /// Begins with `bytes`.
    #[must_use]
    pub fn new(bytes: u32) -> Self {
        Self { balance: AtomicI64::new(i64::from(bytes.min(SUBSCRIPTION_CREDIT))), topped_up: Notify::new() }
    }

    /// Adds `bytes`.
    pub fn add(&self, bytes: u32) {
        let more = |balance: i64| Some(balance.saturating_add(i64::from(bytes)).min(i64::from(SUBSCRIPTION_CREDIT)));
        if self.balance.fetch_update(SeqCst, SeqCst, more).is_ok_and(|before| before <= 0) {
            self.topped_up.notify_one();
        }
    }

    /// Takes `bytes` if there is some. One task spends.
    pub fn try_spend(&self, bytes: usize) -> bool {
        let some = self.balance.load(SeqCst) > 0;
        if some {
            self.balance.fetch_sub(i64::try_from(bytes).unwrap_or(i64::MAX / 2), SeqCst);
        }
        some
    }

    /// Waits until there is some, then takes `bytes`.
    pub async fn spend(&self, bytes: usize) {
        while !self.try_spend(bytes) {
            self.topped_up.notified().await;
        }
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
        assert_eq!(credit.balance.load(SeqCst), i64::from(SUBSCRIPTION_CREDIT));
    }
}
