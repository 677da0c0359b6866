//! A change of a text as a unified diff.

use similar::TextDiff;

/// Most bytes of a text that is compared; of a longer one only its length is told.
const MAX_COMPARED: usize = 256 * 1024;
/// Lines around a change.
const CONTEXT: usize = 3;

/// The change of the file at `path`; empty when there is none.
#[must_use]
pub fn unified(path: &str, old: &str, new: &str) -> String {
    if old.len().max(new.len()) > MAX_COMPARED {
        return format!("--- {path}\n+++ {path}\n(too large to be compared: {} bytes before, {} after)\n", old.len(), new.len());
    }
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(CONTEXT).header(path, path).missing_newline_hint(false).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_shows_its_lines_and_what_is_around_them() {
        assert_eq!(unified("a", "one\ntwo\n", "one\n2\n"), "--- a\n+++ a\n@@ -1,2 +1,2 @@\n one\n-two\n+2\n");
        assert_eq!(unified("a", "", "new\n"), "--- a\n+++ a\n@@ -0,0 +1 @@\n+new\n");
        assert_eq!(unified("a", "same", "same"), "");
        assert!(unified("a", &"x".repeat(MAX_COMPARED + 1), "").contains("too large"));
    }
}
