//! How fast a client is read.

use std::time::Duration;
use tokio::time::Instant;

/// Frames a client may send at once.
pub const BURST_FRAMES: f64 = 2000.0;
/// Frames a second that are read of it for long.
pub const FRAMES_PER_SECOND: f64 = 500.0;
/// A frame counts once more for each of so many bytes: the largest one passes at once, and 8 MiB a second for long.
pub const FRAME_BYTES: usize = 16 * 1024;

/// What one client may still send at once.
pub struct Rate {
    left: f64,
    at: Instant,
}

impl Rate {
    pub fn new(now: Instant) -> Self {
        Self { left: BURST_FRAMES, at: now }
    }

    /// Counts a frame of `bytes` bytes; how long to wait before the next one is read.
    pub fn spend(&mut self, bytes: usize, now: Instant) -> Option<Duration> {
        self.left = (self.left + now.duration_since(self.at).as_secs_f64() * FRAMES_PER_SECOND).min(BURST_FRAMES);
        self.at = now;
        self.left -= 1.0 + f64::from(u32::try_from(bytes / FRAME_BYTES).unwrap_or(u32::MAX));
        (self.left < 0.0).then(|| Duration::from_secs_f64(-self.left / FRAMES_PER_SECOND))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use octo_protocol::mux::MAX_FRAME_BYTES;

    #[test]
    fn a_burst_passes_and_what_follows_comes_at_the_pace() {
        let mut now = Instant::now();
        let mut rate = Rate::new(now);
        let free = (0..10_000).take_while(|_| rate.spend(10, now).is_none()).count();
        assert_eq!(free, 2000);
        let began = now;
        for _ in 0..1000 {
            now += rate.spend(10, now).unwrap_or_default();
        }
        let pace = 1000.0 / (now - began).as_secs_f64();
        assert!((490.0..=510.0).contains(&pace), "{pace} frames a second");
    }

    #[test]
    fn the_largest_frame_passes_at_once_and_many_of_them_do_not() {
        let now = Instant::now();
        let mut rate = Rate::new(now);
        assert_eq!(rate.spend(MAX_FRAME_BYTES, now), None);
        let waits: Duration = (0..10).filter_map(|_| rate.spend(MAX_FRAME_BYTES, now)).sum();
        assert!(waits > Duration::from_secs(10), "{waits:?}");
    }
}
