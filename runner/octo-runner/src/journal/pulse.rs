//! How the writing of a journal goes, for whoever asks from outside while it hangs: nothing here waits for the hand that writes.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Shared by the writer and those who ask.
#[derive(Debug)]
pub struct Pulse {
    base: Instant,
    /// Milliseconds after `base` at which what is being written was begun; 0: nothing is.
    writing: AtomicU64,
    /// Since when no writes are taken, and why.
    refusing: Mutex<Option<(Instant, String)>>,
}

impl Default for Pulse {
    fn default() -> Self {
        Self { base: Instant::now(), writing: AtomicU64::new(0), refusing: Mutex::default() }
    }
}

impl Pulse {
    fn now(&self) -> u64 {
        u64::try_from(self.base.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    /// Something is being written, until what this returns is dropped.
    pub(super) fn begin(&self) -> Beat<'_> {
        self.writing.store(self.now(), Relaxed);
        Beat(self)
    }

    /// No writes are taken, for this reason; or they are taken again.
    pub(super) fn refuses(&self, why: Option<String>) {
        *self.refusing.lock().unwrap_or_else(PoisonError::into_inner) = why.map(|why| (Instant::now(), why));
    }

    /// For how long the present write has been under way.
    #[must_use]
    pub fn writing_for(&self) -> Option<Duration> {
        let began = Some(self.writing.load(Relaxed)).filter(|began| *began > 0)?;
        Some(Duration::from_millis(self.now().saturating_sub(began)))
    }

    /// For how long no writes have been taken, and why.
    #[must_use]
    pub fn refusing(&self) -> Option<(Duration, String)> {
        let refusing = self.refusing.lock().unwrap_or_else(PoisonError::into_inner);
        refusing.as_ref().map(|(since, why)| (since.elapsed(), why.clone()))
    }
}

/// A write under way.
pub(super) struct Beat<'a>(&'a Pulse);

impl Drop for Beat<'_> {
    fn drop(&mut self) {
        self.0.writing.store(0, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_under_way_is_known_until_it_is_over() {
        let pulse = Pulse::default();
        assert!(pulse.writing_for().is_none() && pulse.refusing().is_none());
        let beat = pulse.begin();
        pulse.refuses(Some("full".to_owned()));
        assert!(pulse.writing_for().is_some() && pulse.refusing().is_some_and(|(_, why)| why == "full"));
        drop(beat);
        pulse.refuses(None);
        assert!(pulse.writing_for().is_none() && pulse.refusing().is_none());
    }
}
