//! Time as a value, so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use governor::nanos::Nanos;

/// What time it is.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    /// With a moment to count monotonic time from.
    System(Instant),
    Set(Arc<AtomicU64>),
}

impl Clock {
    /// The system's.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System(Instant::now()))
    }

    /// One that stands still until [`Clock::advance`] moves it; starts now.
    #[must_use]
    pub fn standing() -> Self {
        Self(Source::Set(Arc::new(AtomicU64::new(millis(SystemTime::now())))))
    }

    /// Moves a standing clock; the system's goes by itself.
    pub fn advance(&self, by: Duration) {
        if let Source::Set(now) = &self.0 {
            now.fetch_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
        }
    }

    /// Now.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System(_) => SystemTime::now(),
            Source::Set(now) => UNIX_EPOCH + Duration::from_millis(now.load(Ordering::SeqCst)),
        }
    }

    /// Now, in Unix seconds.
    #[must_use]
    pub fn unix(&self) -> u64 {
        self.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
    }

    /// Now, in Unix milliseconds.
    #[must_use]
    pub fn unix_ms(&self) -> i64 {
        i64::try_from(millis(self.now())).unwrap_or(i64::MAX)
    }
}

fn millis(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

impl governor::clock::Clock for Clock {
    type Instant = Nanos;

    /// Monotonic: a correction of the system's clock neither opens nor closes a limit.
    fn now(&self) -> Nanos {
        match &self.0 {
            Source::System(base) => base.elapsed().into(),
            Source::Set(now) => Duration::from_millis(now.load(Ordering::SeqCst)).into(),
        }
    }
}
