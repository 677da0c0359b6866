//! Named points at which a test ends the runner, as `kill -9` would at that very moment, or sends it another signal.
//!
//! Compiled in only by the feature `kill-points` in a build with debug assertions, which the tests of this crate turn on; otherwise
//! [`reached`] is nothing at all. Armed by the file [`FILE`] in the data directory: a point's name and which time it is reached, as in
//! `committed 2`, and where it is not SIGKILL the signal's name, as in `executing 1 SIGTERM`.

/// The file that arms a point.
pub const FILE: &str = "kill-point";

/// A step on the way of an input and of what follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Point {
    /// An input was checked; the journal does not have it.
    Checked,
    /// A transaction is written and not committed.
    Written,
    /// It is committed; its witness does not know of it.
    Committed,
    /// Its witness knows of it; nobody else does.
    Witnessed,
    /// Its events are announced; the session does not know of it.
    Announced,
    /// The journal has the input; the person has no answer.
    Accepted,
    /// The person has the answer.
    Answered,
    /// The agent is ready for the input; the journal does not say that it has it.
    Ready,
    /// The journal says that the agent has it; the agent does not have it.
    Handed,
    /// It is on its way to the agent.
    Given,
    /// The agent can read it.
    Sent,
    /// The agent has said something; the journal does not have it.
    Heard,
    /// The journal has what the agent said; the agent is not read on.
    Kept,
    /// Everything rests; the next program has not been executed. Not on an input's way.
    Executing,
}

impl Point {
    /// Those on an input's way, in that order.
    pub const ALL: [Self; 13] = [
        Self::Checked,
        Self::Written,
        Self::Committed,
        Self::Witnessed,
        Self::Announced,
        Self::Accepted,
        Self::Answered,
        Self::Ready,
        Self::Handed,
        Self::Given,
        Self::Sent,
        Self::Heard,
        Self::Kept,
    ];

    /// Its name in [`FILE`].
    #[must_use]
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// The runner has come to a point.
#[cfg(not(all(feature = "kill-points", debug_assertions)))]
#[inline(always)]
pub fn reached(_: Point) {}

#[cfg(all(feature = "kill-points", debug_assertions))]
pub use armed::{arm, reached};

#[cfg(all(feature = "kill-points", debug_assertions))]
mod armed {
    use super::{FILE, Point};
    use nix::sys::signal::Signal;
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU32, Ordering::SeqCst};

    static ARMED_BY: OnceLock<PathBuf> = OnceLock::new();
    static TIMES: [AtomicU32; Point::ALL.len() + 1] = [const { AtomicU32::new(0) }; Point::ALL.len() + 1];

    /// From now on the file in `data_dir` counts.
    pub fn arm(data_dir: &Path) {
        let _ = ARMED_BY.set(data_dir.join(FILE));
    }

    /// The runner has come to a point: it ends here when this one is armed.
    pub fn reached(point: Point) {
        let Some(wanted) = ARMED_BY.get().and_then(|file| std::fs::read_to_string(file).ok()) else { return };
        let mut words = wanted.split_whitespace();
        if words.next() != Some(point.name().as_str()) {
            return;
        }
        let time: u32 = words.next().and_then(|n| n.parse().ok()).unwrap_or(1);
        if TIMES[point as usize].fetch_add(1, SeqCst) + 1 == time {
            let signal = words.next().and_then(|name| name.parse().ok()).unwrap_or(Signal::SIGKILL);
            if signal != Signal::SIGKILL {
                // The next program counts from the beginning.
                let _ = ARMED_BY.get().map(std::fs::remove_file);
            }
            let _ = nix::sys::signal::kill(nix::unistd::getpid(), signal);
            if signal == Signal::SIGKILL {
                // It ends every thread of the process; this one waits for it.
                loop {
                    std::thread::park();
                }
            }
        }
    }
}
