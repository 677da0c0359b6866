//! Events that a test has seen, in their order.

use serde_json::Value;

/// The first of this name.
///
/// # Panics
/// When there is none, with the names of those that there are.
#[must_use]
pub fn find<'a>(seen: &'a [Value], name: &str) -> &'a Value {
    seen.iter().find(|frame| frame["event"] == name).unwrap_or_else(|| panic!("no {name} in {}", names(seen)))
}

/// Whether there is one.
#[must_use]
pub fn has(seen: &[Value], name: &str) -> bool {
    seen.iter().any(|frame| frame["event"] == name)
}

/// The names of all, for a sentence.
#[must_use]
pub fn names(seen: &[Value]) -> String {
    seen.iter().map(|frame| frame["event"].as_str().unwrap_or("?")).collect::<Vec<_>>().join(" ")
}
