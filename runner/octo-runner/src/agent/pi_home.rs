//! pi's own directory in a sandbox: the user's settings to read, and a place to write that ends with the process.
//!
//! What lies in the user's `~/.pi/agent` is code (extensions, tools, settings that name them) which every later session and the user's own pi
//! would run, so no agent may write there; pi itself has to write locks and caches beside its settings.

use octo_sandbox::Bind;
use std::path::Path;

/// The directory in a sandbox; below the private `/run`.
pub(super) const INSIDE: &str = "/run/octo/pi";
/// The variable that tells pi of it.
pub(super) const ENV: &str = "PI_CODING_AGENT_DIR";
/// What is not shown: keys of providers, which octo's agents do not need, and conversations, which have a directory of their own.
const NOT_SHOWN: [&str; 3] = ["auth.json", "models.json", "sessions"];
/// Entries that are shown at most; a directory of settings has about ten.
const MAX_ENTRIES: usize = 64;

/// The user's settings, read-only.
pub(super) fn settings(home: &Path) -> Vec<Bind> {
    let entries = std::fs::read_dir(home.join(".pi/agent")).into_iter().flatten().flatten();
    let shown =
        entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| !NOT_SHOWN.contains(&name) && !name.ends_with(".lock")));
    // A link that leads nowhere cannot be shown.
    let real =
        shown.filter_map(|entry| Some(Bind::read_only(entry.path().canonicalize().ok()?, Path::new(INSIDE).join(entry.file_name()))));
    real.take(MAX_ENTRIES).collect()
}
