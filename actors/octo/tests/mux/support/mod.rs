//! An octo in this process on port 0, a fake runner behind it, clients in front of it.

pub mod checker;
pub mod client;
pub mod fake_runner;
pub mod instance;

pub use checker::Checker;
pub use client::Client;
pub use fake_runner::FakeRunner;
pub use instance::Instance;

use std::time::Duration;

/// Patience of every wait in these tests: only a failure takes this long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A seeded sequence of numbers; the seed is printed by the test.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// One of 0..`sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}
