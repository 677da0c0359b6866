//! Claude Code's own directory in a sandbox: the user's settings to read, the conversations to write, and for the rest a place that ends with the process.
//!
//! What lies in the user's `~/.claude` is code (hooks, plugins, commands, settings that name them) which every later session and the user's own Claude Code
//! would run, so no agent may write there.

use octo_sandbox::Bind;
use std::path::Path;

/// The directory in a sandbox; below the private `/run`.
pub(super) const INSIDE: &str = "/run/octo/claude";
/// The conversations in it, by folder.
const CONVERSATIONS: &str = "projects";
/// What is shown: what the user wrote for their agents. Keys, histories and caches are not.
const SHOWN: [&str; 8] = ["CLAUDE.md", "settings.json", "agents", "commands", "skills", "output-styles", "plugins", "rules"];

/// The user's settings, read-only, and octo's own directory of conversations.
pub(super) fn contents(home: &Path, conversations: &Path) -> Vec<Bind> {
    let own = home.join(".claude");
    // A link that leads nowhere cannot be shown.
    let shown = SHOWN.iter().filter_map(|name| Some(Bind::read_only(own.join(name).canonicalize().ok()?, Path::new(INSIDE).join(name))));
    shown.chain([Bind::read_write(conversations, Path::new(INSIDE).join(CONVERSATIONS))]).collect()
}
