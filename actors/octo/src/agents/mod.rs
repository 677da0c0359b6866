//! The agents of this machine: where each of the registry is found, in which version, and how it gets here.
//!
//! Owns: octo's prefix of installed agents, with the lock file that pins them ([`Pinned`]) and their installation ([`install`]).
//!
//! Promises: looking around executes nothing; an installation that is broken off is made whole by the next, and no program that runs from the prefix loses
//! a file of its own.
//!
//! Never: starts an agent. That is octo-runner's, also for [`ask`].

mod ask;
mod find;
mod install;
mod pinned;

pub use ask::{Asked, ask};
pub use find::{MIN_NODE, find, look, node, node_version, version_of};
pub use install::{InstallError, Installed, Progress, install};
pub use pinned::{Pinned, PinnedError};

use std::path::PathBuf;

use crate::config::{HarnessSettings, Settings};

/// An agent of the registry as it is on this machine.
#[derive(Debug, Clone)]
pub struct Known {
    /// What the configuration says of it.
    pub harness: HarnessSettings,
    /// Where it is; `None` when it is not here.
    pub program: Option<PathBuf>,
    /// The version that is here, where its package says.
    pub version: Option<String>,
    /// The version that octo installs and is tested with.
    pub pinned: Option<String>,
}

impl Known {
    /// How to get it, as a sentence.
    #[must_use]
    pub fn how_to_get(&self) -> String {
        let Self { harness, .. } = self;
        if harness.is_bridged() {
            return format!("{} is not beside octo: install octo's binaries side by side (./setup.sh does)", harness.command);
        }
        if harness.command.contains('/') {
            return format!("{} is not a program: mend harness.{}.command", harness.command, harness.name);
        }
        if harness.is_built_in() {
            return format!("`octo agents install {}` on the server installs it", harness.name);
        }
        format!("install {} on the server, or write its path as harness.{}.command", harness.command, harness.name)
    }

    /// What there is to say of its version; nothing when it is the one that octo is tested with.
    #[must_use]
    pub fn version_note(&self) -> Option<String> {
        let (Some(version), Some(pinned)) = (&self.version, &self.pinned) else { return None };
        (version != pinned).then(|| {
            format!("it is {version}, and octo is tested with {pinned}: `octo agents install {}` installs that", self.harness.name)
        })
    }
}

/// Where the program of an agent is; of one behind a bridge, what connects to it.
#[must_use]
pub fn place(settings: &Settings, harness: &HarnessSettings) -> Option<PathBuf> {
    if harness.is_bridged() {
        return std::env::current_exe().ok().map(|own| own.with_file_name(&harness.command)).filter(|path| path.is_file());
    }
    find(settings, &harness.command)
}

/// Every agent of the registry. Reads the disk.
#[must_use]
pub fn known(settings: &Settings) -> Vec<Known> {
    let pinned = Pinned::embedded();
    let of = |harness: &HarnessSettings| {
        let program = place(settings, harness);
        let version = program.as_deref().and_then(version_of);
        // Another program than the one that octo installs has versions of its own.
        let pinned = if harness.command.contains('/') || harness.is_bridged() { None } else { pinned.version(&harness.name) };
        Known { harness: harness.clone(), program, version, pinned }
    };
    settings.harnesses.iter().map(of).collect()
}
