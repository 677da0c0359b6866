//! Installing agents into octo's prefix, with npm.
//!
//! An installation is a directory of its own, `releases/<stamp>`, that is complete when its `.octo-lock` holds the stamp; `node_modules` of the prefix is a
//! link to that of the newest, moved in one step. What runs from an older one goes on undisturbed; it is removed when a later installation finds that nothing
//! runs from it any more. `scripts/lib.sh` lays it out in the same way.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use super::find::in_path;
use super::pinned::{Pinned, PinnedError};
use crate::config::Settings;
use crate::launch::{Once, OnceError};

/// The file that says what an installation is of.
const STAMP: &str = ".octo-lock";
/// The directory of all installations.
const RELEASES: &str = "releases";
/// How long npm may take: hundreds of MB on a slow line.
const NPM_PATIENCE: Duration = Duration::from_secs(3600);

/// Why nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// What shall be installed.
    #[error(transparent)]
    Pinned(#[from] PinnedError),
    /// npm is not here.
    #[error(
        "npm is not in PATH, and agents are installed with it: install Node.js with npm (Debian: apt-get install nodejs npm), then run this again"
    )]
    NoNpm,
    /// Somebody else is at it.
    #[error("another installation into {} is under way; wait for it", .0.display())]
    UnderWay(PathBuf),
    /// The disk.
    #[error("{} cannot be written: {source}", .path.display())]
    Io {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// npm.
    #[error("npm could not install the agents ({how}); what is there already stays as it is. npm said:\n{said}")]
    Npm {
        /// How it ended.
        how: String,
        /// The end of what it wrote.
        said: String,
    },
    /// It was installed and is not there.
    #[error("npm has ended well, and {agent} is not in {}: remove that folder and run this again", .release.display())]
    Absent {
        /// The agent.
        agent: String,
        /// Where it should be.
        release: PathBuf,
    },
    /// npm could not be started.
    #[error(transparent)]
    Launch(#[from] OnceError),
}

impl InstallError {
    /// Something that is needed is missing or taken, and nothing was tried.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::NoNpm | Self::UnderWay(_))
    }
}

/// What an installation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installed {
    /// The agents that are there now, with their versions.
    pub agents: Vec<(String, String)>,
    /// Nothing had to be done.
    pub already: bool,
    /// Installations that were removed, since nothing runs from them.
    pub removed: usize,
}

/// What is told while it goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It begins: these agents, into this folder.
    Begins(Vec<(String, String)>, PathBuf),
    /// Packages fetched, of how many.
    Fetched(usize, usize),
}

/// Installs `agents` of `pinned` beside those that are there already; all of them when none is named.
///
/// # Errors
/// [`InstallError`]; what is there already stays as it is.
pub async fn install(
    settings: &Settings,
    pinned: &Pinned,
    agents: &[String],
    mut tell: impl FnMut(Progress),
) -> Result<Installed, InstallError> {
    let prefix = settings.paths.agents_dir.clone();
    std::fs::create_dir_all(&prefix).map_err(|source| InstallError::Io { path: prefix.clone(), source })?;
    let place = Prefix { prefix };
    let _turn = place.turn()?;
    let pinned = pinned.only(&place.wanted(pinned, agents))?;
    let versions = pinned.agents().into_iter().filter_map(|name| Some((name.to_owned(), pinned.version(name)?))).collect::<Vec<_>>();
    let stamp = pinned.stamp();
    if place.holds(&stamp) {
        return Ok(Installed { agents: versions, already: true, removed: 0 });
    }
    let release = place.release(&stamp);
    if read_stamp(&release) != Some(stamp.clone()) {
        let npm = in_path(settings, "npm").ok_or(InstallError::NoNpm)?;
        tell(Progress::Begins(versions.clone(), release.clone()));
        fetch(&npm, settings, &pinned, &release, &mut tell).await?;
    }
    for (agent, _) in &versions {
        if !release.join("node_modules/.bin").join(agent).exists() {
            return Err(InstallError::Absent { agent: agent.clone(), release });
        }
    }
    write(&release.join(STAMP), &stamp)?;
    place.point_to(&pinned, &stamp)?;
    let removed = place.sweep(&release);
    Ok(Installed { agents: versions, already: false, removed })
}

/// Has npm install what `pinned` says into `release`, from nothing or over what an earlier try has left.
async fn fetch(
    npm: &Path,
    settings: &Settings,
    pinned: &Pinned,
    release: &Path,
    tell: &mut impl FnMut(Progress),
) -> Result<(), InstallError> {
    std::fs::create_dir_all(release).map_err(|source| InstallError::Io { path: release.to_owned(), source })?;
    write(&release.join("package.json"), pinned.manifest())?;
    write(&release.join("package-lock.json"), pinned.lock())?;
    let (of, mut fetched) = (pinned.count(), 0);
    let arguments = ["ci", "--no-audit", "--no-fund", "--no-progress", "--loglevel=http"].map(OsString::from);
    let npm = Once::new(npm, arguments).of_npm(settings).within(release).patience(NPM_PATIENCE);
    let ended = npm
        .run(|line| {
            let is_noise = line.starts_with("npm http");
            if is_noise {
                fetched = (fetched + 1).min(of);
                tell(Progress::Fetched(fetched, of));
            }
            !is_noise
        })
        .await?;
    if ended.is_good { Ok(()) } else { Err(InstallError::Npm { how: ended.how, said: ended.said }) }
}

/// octo's prefix.
struct Prefix {
    prefix: PathBuf,
}

impl Prefix {
    /// One installation at a time; the kernel gives it back whatever becomes of this process.
    fn turn(&self) -> Result<Flock<File>, InstallError> {
        let path = self.prefix.join(".installing");
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.map_err(|source| InstallError::Io { path, source })?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| InstallError::UnderWay(self.prefix.clone()))
    }

    /// The agents that there shall be: those that are named and those that are there, or all.
    fn wanted(&self, pinned: &Pinned, named: &[String]) -> BTreeSet<String> {
        if named.is_empty() {
            return pinned.agents().into_iter().map(str::to_owned).collect();
        }
        let there = |name: &&str| self.prefix.join("node_modules/.bin").join(name).exists();
        let there = pinned.agents().into_iter().filter(there).map(str::to_owned);
        let named = named.iter().map(|name| crate::config::canonical_harness(name).to_owned());
        named.chain(there).collect()
    }

    /// Whether the prefix is what `stamp` says, and nobody took anything away.
    fn holds(&self, stamp: &str) -> bool {
        read_stamp(&self.prefix).as_deref() == Some(stamp) && self.prefix.join("node_modules/.bin").is_dir()
    }

    fn release(&self, stamp: &str) -> PathBuf {
        self.prefix.join(RELEASES).join(&stamp[..stamp.len().min(16)])
    }

    /// Makes the release of `stamp` the one that agents are started from.
    fn point_to(&self, pinned: &Pinned, stamp: &str) -> Result<(), InstallError> {
        let modules = self.prefix.join("node_modules");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| InstallError::Io { path, source }
        };
        let fresh = self.prefix.join(".node_modules.new");
        let target = self.release(stamp).join("node_modules");
        let target = target.strip_prefix(&self.prefix).unwrap_or(&target).to_owned();
        let _ = std::fs::remove_file(&fresh);
        symlink(&target, &fresh).map_err(failed(&fresh))?;
        if std::fs::symlink_metadata(&modules).is_ok_and(|found| found.is_dir()) {
            // From before there were releases. What runs from it keeps its files, under another name.
            let before = (0_u32..).map(|n| self.prefix.join(RELEASES).join(format!("before-{n}"))).find(|path| !path.exists());
            let before = before.unwrap_or_else(|| self.prefix.join(RELEASES).join("before"));
            std::fs::create_dir_all(&before).map_err(failed(&before))?;
            std::fs::rename(&modules, before.join("node_modules")).map_err(failed(&modules))?;
        }
        std::fs::rename(&fresh, &modules).map_err(failed(&modules))?;
        write(&self.prefix.join("package.json"), pinned.manifest())?;
        write(&self.prefix.join("package-lock.json"), pinned.lock())?;
        write(&self.prefix.join(STAMP), stamp)
    }

    /// Removes releases from which nothing runs; how many. One that cannot be removed is left for the next time.
    fn sweep(&self, current: &Path) -> usize {
        let releases = std::fs::read_dir(self.prefix.join(RELEASES)).into_iter().flatten().flatten().map(|entry| entry.path());
        let old = releases.filter(|release| release != current).collect::<Vec<_>>();
        let used = in_use(&old);
        old.iter().filter(|release| !used.contains(release.as_path()) && std::fs::remove_dir_all(release).is_ok()).count()
    }
}

/// Those of `directories` that a process of this user runs from: its program is there, or an argument names something there.
fn in_use(directories: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut used = BTreeSet::new();
    let own = nix::unistd::getuid().as_raw();
    for process in std::fs::read_dir("/proc").into_iter().flatten().flatten().map(|entry| entry.path()) {
        if !std::fs::metadata(&process).is_ok_and(|meta| meta.is_dir() && (own == 0 || meta.uid() == own)) {
            continue;
        }
        let program = std::fs::read_link(process.join("exe")).ok();
        let mut traces: Vec<String> = program.iter().map(|path| path.display().to_string()).collect();
        if let Ok(arguments) = std::fs::read(process.join("cmdline")) {
            traces.extend(arguments.split(|byte| *byte == 0).map(|argument| String::from_utf8_lossy(argument).into_owned()));
        }
        used.extend(directories.iter().filter(|directory| traces.iter().any(|trace| Path::new(trace).starts_with(directory))).cloned());
    }
    used
}

fn read_stamp(directory: &Path) -> Option<String> {
    std::fs::read_to_string(directory.join(STAMP)).ok().map(|text| text.trim().to_owned())
}

/// Renamed into place, so that nobody reads half of it.
fn write(path: &Path, text: &str) -> Result<(), InstallError> {
    let failed = |source| InstallError::Io { path: path.to_owned(), source };
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    std::fs::write(&fresh, text).map_err(failed)?;
    std::fs::rename(&fresh, path).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_directory_is_in_use_while_a_process_runs_from_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        // Of this very test there is a process; its program is where cargo has put it.
        let program = std::env::current_exe().unwrap().canonicalize().unwrap().parent().unwrap().to_owned();
        assert_eq!(in_use(&[root, program.clone()]), BTreeSet::from([program]));
    }
}
