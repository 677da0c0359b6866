//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// Exponential back-off with jitter.
///
/// Step `n` (from 0) waits `min · factorⁿ`, at most `max`, then moved by up to `± jitter` of itself, and
/// never above `max`. Jitter keeps a thousand links that died together from coming back together.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// The wait of step 0.
    pub min: Duration,
    /// No wait is longer.
    pub max: Duration,
    /// Growth from step to step, at least 1.
    pub factor: f64,
    /// Share of the wait that is random, 0 to 1.
    pub jitter: f64,
}

impl Backoff {
    /// No wait at all.
    pub const NONE: Self = Self { min: Duration::ZERO, max: Duration::ZERO, factor: 1.0, jitter: 0.0 };

    /// Doubling from `min` to `max`, with 20 % jitter.
    #[must_use]
    pub const fn new(min: Duration, max: Duration) -> Self {
        Self { min, max, factor: 2.0, jitter: 0.2 }
    }

    /// The wait of step `n`, counted from 0.
    #[must_use]
    pub fn delay(&self, step: u32) -> Duration {
        self.delay_with(step, rand::rng().random_range(-1.0..=1.0))
    }

    /// The wait of step `n` with the dice already cast: `dice` in −1..=1.
    #[must_use]
    pub fn delay_with(&self, step: u32, dice: f64) -> Duration {
        let max = self.max.as_secs_f64();
        let exponent = i32::try_from(step).unwrap_or(i32::MAX);
        let grown = (self.min.as_secs_f64() * self.factor.max(1.0).powi(exponent)).min(max);
        let moved = grown * (1.0 + self.jitter.clamp(0.0, 1.0) * dice.clamp(-1.0, 1.0));
        // `0 · ∞` is NaN; `clamp` would keep it, `max` and `min` do not.
        Duration::from_secs_f64(moved.max(0.0).min(max))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn backoff_grows_is_jittered_within_its_share_and_capped(
            min_ms in 0u64..5_000, max_ms in 0u64..120_000, factor in 1.0f64..10.0, jitter in 0.0f64..=1.0,
            step in 0u32..2_000, dice in -1.0f64..=1.0,
        ) {
            let b = Backoff { min: Duration::from_millis(min_ms), max: Duration::from_millis(max_ms), factor, jitter };
            let (now, next) = (b.delay_with(step, 0.0), b.delay_with(step + 1, 0.0));
            prop_assert!(now <= next, "{now:?} then {next:?}");
            let moved = b.delay_with(step, dice);
            prop_assert!(moved <= b.max);
            prop_assert!(moved.as_secs_f64() >= now.as_secs_f64() * (1.0 - jitter) - 1e-6);
            prop_assert!(moved.as_secs_f64() <= now.as_secs_f64() * (1.0 + jitter) + 1e-6);
        }
    }

    #[test]
    fn a_doubling_backoff_is_exact_without_jitter() {
        let b = Backoff { jitter: 0.0, ..Backoff::new(Duration::from_millis(100), Duration::from_secs(30)) };
        let ms: Vec<_> = [0, 1, 2, 8, 9, 4_000_000_000].map(|n| b.delay(n).as_millis()).into();
        assert_eq!(ms, [100, 200, 400, 25_600, 30_000, 30_000]);
    }

    #[test]
    fn jitter_really_spreads_the_waits() {
        let b = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
        let waits: std::collections::HashSet<_> = (0..50).map(|_| b.delay(3)).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
