//! Counters that are added to from anywhere, without a lock.

use super::limits::Limit;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Counts up. On a cache line of its own: those beside it are counted by other threads.
#[derive(Debug, Default)]
#[repr(align(64))]
pub struct Counter(AtomicU64);

impl Counter {
    /// One more.
    pub fn one(&self) {
        self.add(1);
    }

    /// `more` more.
    pub fn add(&self, more: u64) {
        self.0.fetch_add(more, Relaxed);
    }

    /// Takes back what was added, for what can become less.
    pub fn take(&self, less: u64) {
        self.0.fetch_sub(less, Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// The unit in which sums are kept: a millionth.
const MICRO: f64 = 1e6;

/// Counts values by size.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Box<[AtomicU64]>,
    /// In millionths: an addition needs no loop then.
    sum: AtomicU64,
}

impl Histogram {
    /// With these upper bounds, in ascending order; what is larger than all of them is counted as well.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect(), sum: AtomicU64::new(0) }
    }

    /// Of the metric `name`, with the bounds that the table gives it.
    #[must_use]
    pub fn of(name: &str) -> Self {
        Self::new(super::metric(name).map_or(&[], |metric| metric.kind.bounds()))
    }

    /// Counts a value, which is not negative.
    pub fn observe(&self, value: f64) {
        let at = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get(at) {
            count.fetch_add(1, Relaxed);
        }
        self.sum.fetch_add((value * MICRO) as u64, Relaxed);
    }

    /// How many in each bucket (the last one is beyond all bounds), and the sum of all values.
    #[must_use]
    pub fn read(&self) -> (Vec<u64>, f64) {
        (self.counts.iter().map(|count| count.load(Relaxed)).collect(), self.sum.load(Relaxed) as f64 / MICRO)
    }
}

/// How often each limit refused somebody.
#[derive(Debug)]
pub struct LimitHits(Box<[AtomicU64]>);

impl Default for LimitHits {
    fn default() -> Self {
        Self(Limit::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl LimitHits {
    /// `limit` refused somebody, or held somebody back.
    pub fn hit(&self, limit: Limit) {
        self.add(limit, 1);
    }

    /// The same, so often.
    pub fn add(&self, limit: Limit, times: u64) {
        if let Some(count) = self.0.get(limit as usize) {
            count.fetch_add(times, Relaxed);
        }
    }

    /// How often so far.
    #[must_use]
    pub fn get(&self, limit: Limit) -> u64 {
        self.0.get(limit as usize).map_or(0, |count| count.load(Relaxed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_value_is_counted_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::new(&[0.1, 1.0]);
        for value in [0.0, 0.1, 0.5, 1.0, 7.25] {
            histogram.observe(value);
        }
        let (counts, sum) = histogram.read();
        assert_eq!(counts, [2, 2, 1]);
        assert!((sum - 8.85).abs() < 1e-9, "{sum}");
    }

    #[test]
    fn each_limit_has_its_own_count_and_its_own_name() {
        let hits = LimitHits::default();
        for (place, limit) in Limit::ALL.iter().enumerate() {
            assert_eq!(*limit as usize, place);
            hits.add(*limit, place as u64);
        }
        assert!(Limit::ALL.iter().all(|limit| hits.get(*limit) == *limit as u64));
        let mut names: Vec<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Limit::ALL.len());
    }
}
