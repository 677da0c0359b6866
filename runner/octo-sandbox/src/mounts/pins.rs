//! What keeps a protection where it is: each directory between it and the writable place around it is mounted onto itself.
//!
//! A directory that merely holds a mount can be renamed, and what is mounted in it goes along: the next sandbox, and
//! whoever obeys the file outside, would look at the old name and find what the program has put there. A mount point
//! itself cannot be renamed, removed or replaced.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

/// The directories to mount onto themselves, for `guarded` places that are hidden or read-only within `writable` ones.
pub(super) fn between(writable: &[PathBuf], guarded: &[PathBuf]) -> BTreeSet<PathBuf> {
    let above = |place: &PathBuf| place.ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>();
    let candidates: BTreeSet<PathBuf> = guarded.iter().flat_map(above).collect();
    candidates.into_iter().filter(|directory| is_exposed(directory, writable, guarded)).collect()
}

/// Whether the innermost mount around it is writable, and it is not that mount itself.
fn is_exposed(directory: &Path, writable: &[PathBuf], guarded: &[PathBuf]) -> bool {
    let inside = |root: &&PathBuf| directory.starts_with(root);
    let Some(root) = writable.iter().filter(inside).max_by_key(|root| root.components().count()) else { return false };
    root != directory && !guarded.iter().filter(inside).any(|guard| guard.starts_with(root))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    #[test]
    fn every_directory_above_a_guard_is_pinned_up_to_the_writable_root() {
        let pins = between(&paths(&["/h", "/h/a/work"]), &paths(&["/h/.config/octo", "/h/.ssh", "/h/a/work/x/target", "/etc/ssl"]));
        assert_eq!(pins.into_iter().collect::<Vec<_>>(), paths(&["/h/.config", "/h/a", "/h/a/work/x"]));
    }

    #[test]
    fn nothing_below_a_guard_becomes_writable_but_what_was_asked_for() {
        let guarded = paths(&["/h/.config/systemd", "/h/.config/systemd/user", "/h/ro/rw/deep/guard", "/h/ro"]);
        let pins = between(&paths(&["/h", "/h/ro/rw"]), &guarded);
        assert_eq!(pins.into_iter().collect::<Vec<_>>(), paths(&["/h/.config", "/h/ro/rw/deep"]));
    }
}
