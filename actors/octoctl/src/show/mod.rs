//! How things look to people.

mod table;
mod time;
mod tree;

pub use self::table::Table;
pub use self::time::{age, at, micros, millis, now_ms};
pub use self::tree::{mailbox, remark, tree};

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

/// A value that is one word on the wire.
pub fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// `2 idle, 1 working`
pub fn counts(words: impl Iterator<Item = String>) -> String {
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for word in words {
        *counts.entry(word).or_default() += 1;
    }
    counted(&counts)
}

/// As [`counts`], of what was counted already.
pub fn counted(counts: &BTreeMap<String, u64>) -> String {
    counts.iter().map(|(word, count)| format!("{count} {word}")).collect::<Vec<_>>().join(", ")
}

/// Cuts a text to so many characters, and says that it did. What comes from agents cannot move the cursor.
pub fn short(text: &str, most: usize) -> String {
    let line: String = text.lines().next().unwrap_or_default().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    if line.chars().count() <= most && text.lines().count() <= 1 {
        return line;
    }
    let mut cut: String = line.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A text as a part of one line: what comes from agents makes no line of its own, which might look like one of ours.
pub fn in_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// `3 sessions`, `1 session`
pub fn plural(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// `12.3 MiB`
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let (mut value, mut unit) = (count * 10 / 1024, 0);
    while value >= 10_240 && unit + 1 < UNITS.len() {
        (value, unit) = (value / 1024, unit + 1);
    }
    format!("{}.{} {}", value / 10, value % 10, UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_texts_fit_a_line() {
        assert_eq!((bytes(1023), bytes(1024), bytes(1_572_864)), ("1023 B".into(), "1.0 KiB".into(), "1.5 MiB".into()));
        assert_eq!(short("one\ntwo", 10), "one…");
        assert_eq!(short("\x1b[2Jwiped", 20), " [2Jwiped");
        assert_eq!(short("a long text", 6), "a lon…");
        assert_eq!(in_line("failed:\n✓ all is well\n"), "failed: ✓ all is well");
        assert_eq!(counts(["b", "a", "b"].map(String::from).into_iter()), "1 a, 2 b");
    }
}
