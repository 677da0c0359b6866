//! What the scripted agent does with a prompt: the script stands in the prompt's text, as `@scripted {"deltas": 200, "rate_per_s": 50}`.
//!
//! The agent (`octo-scripted-agent`, of this crate) speaks pi's RPC and knows no model: it says what the script says, at the rate of the script.
//! One script is one answer; a prompt without a script is answered with one short delta.

use serde::{Deserialize, Serialize};

/// What a script is found by.
pub const MARKER: &str = "@scripted ";
/// A longer text is said in several messages: octo takes lines and events of 8 MiB at most.
pub const MESSAGE_BYTES: usize = 1024 * 1024;

/// One answer of the scripted agent. What is left out is nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Script {
    /// Text deltas.
    pub deltas: u64,
    /// Deltas per second, on a schedule that is kept: who falls behind catches up in a burst. 0: as fast as they are read.
    pub rate_per_s: f64,
    /// Bytes of a delta; its number, and its stamp, are written out however small this is.
    pub size: usize,
    /// Each delta says when it was written.
    pub stamp: bool,
    /// Thinking deltas before the text.
    pub thinking: u64,
    /// Tools called after the text; then one more short answer follows.
    pub tools: u32,
    /// Live outputs of each of them while it runs, as fast as they are read.
    pub tool_updates: u64,
    /// Bytes of each of these.
    pub tool_update_bytes: usize,
    /// Processes that it starts before the deltas and forgets: double-forked, in sessions of their own, without an environment.
    pub runaways: u32,
    /// MiB of memory that it takes before the deltas, and keeps.
    pub hold_mib: usize,
    /// Bytes on stdout, before the deltas, that are no events.
    pub raw_bytes: u64,
    /// A newline after so many of them; without it they are one line.
    pub newline_every: Option<u64>,
    /// Bytes on stderr, before the deltas.
    pub stderr_bytes: u64,
    /// Lines between the deltas that no agent should write: no JSON, no events, no UTF-8, answers that nobody asked for.
    pub garbage: u32,
    /// Yes-or-no questions that it asks after the deltas, all at once; it goes on when each has its answer.
    pub questions: u32,
    /// The process ends with this code after the deltas, in the middle of its message.
    pub exit: Option<i32>,
    /// The message ends in this error of the model's provider.
    pub error: Option<String>,
    /// After the deltas nothing comes until the run is aborted.
    pub hang: bool,
    /// An abort changes nothing, and is answered when the run has ended by itself.
    pub ignore_abort: bool,
}

impl Default for Script {
    fn default() -> Self {
        Self {
            deltas: 1,
            rate_per_s: 0.0,
            size: 16,
            stamp: false,
            thinking: 0,
            tools: 0,
            tool_updates: 0,
            tool_update_bytes: 0,
            runaways: 0,
            hold_mib: 0,
            raw_bytes: 0,
            newline_every: None,
            stderr_bytes: 0,
            garbage: 0,
            questions: 0,
            exit: None,
            error: None,
            hang: false,
            ignore_abort: false,
        }
    }
}

impl Script {
    /// So many deltas, as fast as they are read.
    #[must_use]
    pub fn deltas(deltas: u64) -> Self {
        Self { deltas, ..Self::default() }
    }

    /// So many of them in a second.
    #[must_use]
    pub fn paced(mut self, rate_per_s: f64) -> Self {
        self.rate_per_s = rate_per_s;
        self
    }

    /// Each of so many bytes.
    #[must_use]
    pub fn size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Each with the time at which it was written.
    #[must_use]
    pub fn stamped(mut self) -> Self {
        self.stamp = true;
        self
    }

    /// The text of a prompt with this script.
    #[must_use]
    pub fn prompt(&self, lead: &str) -> String {
        let script = serde_json::to_string(self).unwrap_or_default();
        format!("{lead} {MARKER}{script}")
    }

    /// The script in a prompt's text; `None` when there is none, or none that can be read.
    #[must_use]
    pub fn find(prompt: &str) -> Option<Self> {
        let (_, script) = prompt.split_once(MARKER)?;
        serde_json::Deserializer::from_str(script).into_iter().next()?.ok()
    }

    /// The text of delta `index`, appended: `7 ....`, or `7@123456 ....` with the time.
    pub fn write_delta(&self, index: u64, now: u64, text: &mut String) {
        use std::fmt::Write;
        let begin = text.len();
        let _ = if self.stamp { write!(text, "{index}@{now} ") } else { write!(text, "{index} ") };
        let written = text.len() - begin;
        text.push_str(&".".repeat(self.size.saturating_sub(written)));
    }

    /// The whole text of the answer; only without stamps is it known beforehand.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = String::new();
        (0..self.deltas).for_each(|index| self.write_delta(index, 0, &mut text));
        text
    }
}

/// What a delta says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    pub index: u64,
    /// When it was written ([`monotonic_ns`]); 0 without a stamp.
    pub written: u64,
}

impl Stamp {
    /// Reads a delta; `None` when it is not one of the scripted agent's.
    #[must_use]
    pub fn of(delta: &str) -> Option<Self> {
        let (head, _) = delta.split_once(' ')?;
        let (index, written) = head.split_once('@').unwrap_or((head, "0"));
        Some(Self { index: index.parse().ok()?, written: written.parse().ok()? })
    }
}

/// Nanoseconds of the clock that all processes of this machine share, in a sandbox too.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours; the call writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_found_in_its_prompt_and_a_delta_tells_its_number_and_time() {
        let script = Script { tools: 2, exit: Some(3), ..Script::deltas(7).paced(2.5).size(40).stamped() };
        assert_eq!(Script::find(&(script.prompt("Do it.") + " and no more")), Some(script.clone()));
        assert_eq!(Script::find("@scripted {}"), Some(Script::default()));
        for without in ["hello", "@scripted", "@scripted {\"deltas\":", "@scripted {\"no_such_thing\":1}"] {
            assert_eq!(Script::find(without), None, "{without}");
        }
        let mut delta = String::new();
        script.write_delta(6, 123, &mut delta);
        assert_eq!((delta.len(), Stamp::of(&delta)), (40, Some(Stamp { index: 6, written: 123 })));
        assert_eq!(Script::deltas(2).size(4).text(), "0 ..1 ..");
        assert_eq!(Stamp::of("nothing"), None);
    }
}
