//! The ground under a simulation: on its thread every random number comes from the seed, and every clock is the paused clock of tokio.
//!
//! Who asks the system for random bytes or for the time ends in `getrandom` and `clock_gettime` of the C library. The test binary defines both, and
//! gives what is here. That makes ids, epochs, jitter, the order of hash maps and tokio's own dice part of the seed, without a line in octo for it.

use std::cell::Cell;
use tokio::time::Instant;

/// When a simulation begins, in nanoseconds of Unix time: some day in 2027.
const BEGINNING: u64 = 1_800_000_000_000_000_000;

thread_local! {
    static DICE: Cell<Option<u64>> = const { Cell::new(None) };
    static BEGAN: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
}

/// Which clock is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    Wall,
    Monotonic,
}

/// From here on this thread's random numbers follow from `seed`.
pub fn seed(seed: u64) {
    DICE.set(Some(seed));
}

/// From here on this thread's clocks are tokio's, which is paused. `monotonic` is where the system's own stands, in nanoseconds.
pub fn start_clock(monotonic: u64) {
    BEGAN.set(Some((Instant::now(), monotonic)));
}

/// The thread goes back to the system's clocks: its runtime is about to go.
pub fn stop_clock() {
    BEGAN.set(None);
}

/// Fills `bytes` from the seed; false on a thread that has none.
pub fn fill(bytes: &mut [u8]) -> bool {
    let Some(mut state) = DICE.get() else { return false };
    for chunk in bytes.chunks_mut(8) {
        // splitmix64
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        chunk.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes()[..chunk.len()]);
    }
    DICE.set(Some(state));
    true
}

/// The time in nanoseconds; `None` on a thread without a clock of its own.
#[must_use]
pub fn now(clock: Clock) -> Option<u64> {
    let (began, monotonic) = BEGAN.get()?;
    let passed = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Some(passed + if clock == Clock::Wall { BEGINNING } else { monotonic })
}
