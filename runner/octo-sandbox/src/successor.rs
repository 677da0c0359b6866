//! Another program in the place of the running one: asked first, as a child, then executed in place.
//!
//! The only such way of a process of octo's; it is here because this crate is where processes are started.

use std::{
    ffi::{CString, OsString},
    io,
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::MetadataExt},
    },
    path::{Path, PathBuf},
    process::Stdio as Redirect,
    time::Duration,
};

use crate::signals;
use tokio::io::AsyncReadExt;

/// Of what it says that much is read.
const MAX_SAID: u64 = 64 * 1024;
/// Of its complaint that many characters are passed on.
const MAX_COMPLAINT: usize = 400;

/// The program that is to take the place of this one.
#[derive(Debug, Clone)]
pub struct Successor {
    program: PathBuf,
    identity: Identity,
}

/// Which file it was when it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    changed: (i64, i64),
}

/// Why a program cannot take the place of this one.
#[derive(Debug, thiserror::Error)]
pub enum SuccessorError {
    /// It is not there.
    #[error("the new program {} cannot be used: {source}", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is there, and is not for this.
    #[error("the new program {} is not taken: {reason}", path.display())]
    Unfit {
        /// What.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// It did not answer.
    #[error("the new program {} did not say within {within:?} whether it can take over", path.display())]
    Silent {
        /// What.
        path: PathBuf,
        /// How long it had.
        within: Duration,
    },
    /// Another file is there now.
    #[error("the new program {} changed while it was being looked at; try again", path.display())]
    Changed {
        /// What.
        path: PathBuf,
    },
    /// The system did not execute it.
    #[error("the new program {} could not be executed in place: {source}", path.display())]
    Exec {
        /// What.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl Successor {
    /// Looks at the program: it has to be a file that may be executed and that nobody but root and this user can change.
    ///
    /// # Errors
    /// [`SuccessorError`].
    pub fn new(program: &Path) -> Result<Self, SuccessorError> {
        let unfit = |reason: &str| SuccessorError::Unfit { path: program.to_owned(), reason: reason.to_owned() };
        if !program.is_absolute() {
            return Err(unfit("its path does not begin at /"));
        }
        let missing = |source| SuccessorError::Missing { path: program.to_owned(), source };
        let found = std::fs::metadata(program).map_err(missing)?;
        if !found.is_file() {
            return Err(unfit("it is not a file"));
        }
        nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).map_err(|errno| missing(errno.into()))?;
        let real = program.canonicalize().map_err(missing)?;
        let own = nix::unistd::geteuid().as_raw();
        for place in [Some(real.as_path()), real.parent()].into_iter().flatten() {
            let found = std::fs::metadata(place).map_err(missing)?;
            let sticky = found.is_dir() && found.mode() & 0o1000 != 0;
            if (found.uid() != own && found.uid() != 0) || (found.mode() & 0o022 != 0 && !sticky) {
                return Err(unfit(&format!("others can change {}", place.display())));
            }
        }
        Ok(Self { program: program.to_owned(), identity: Identity::of(&found) })
    }

    /// Where it is.
    #[must_use]
    pub fn program(&self) -> &Path {
        &self.program
    }

    /// Runs it with `arguments` and `input` as standard input; what it says on standard output when it ends well.
    ///
    /// # Errors
    /// [`SuccessorError`]; it does not run any more then.
    pub async fn ask(&self, arguments: &[OsString], input: OwnedFd, within: Duration) -> Result<Vec<u8>, SuccessorError> {
        let unfit = |reason: String| SuccessorError::Unfit { path: self.program.clone(), reason };
        let mut command = tokio::process::Command::new(&self.program);
        command.args(arguments).stdin(input).stdout(Redirect::piped()).stderr(Redirect::piped()).kill_on_drop(true);
        let mut child = command.spawn().map_err(|source| unfit(format!("it cannot be executed ({source})")))?;
        let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) else {
            return Err(unfit("it has no pipes".to_owned()));
        };
        let (mut said, mut complained) = (Vec::new(), Vec::new());
        let asking = async {
            let (mut stdout, mut stderr) = (stdout.take(MAX_SAID), stderr.take(MAX_SAID));
            let (_, _, status) = tokio::join!(stdout.read_to_end(&mut said), stderr.read_to_end(&mut complained), child.wait());
            status
        };
        let asked = tokio::time::timeout(within, asking).await;
        match asked {
            Ok(Ok(status)) if status.success() => Ok(said),
            Ok(Ok(status)) => {
                let text = String::from_utf8_lossy(&complained);
                let last: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                let last: String = last.join(" / ").chars().take(MAX_COMPLAINT).collect();
                Err(unfit(if last.is_empty() { format!("it ended with {status}") } else { format!("it ended with {status}: {last}") }))
            }
            Ok(Err(error)) => Err(unfit(error.to_string())),
            Err(_) => {
                let _ = child.kill().await;
                Err(SuccessorError::Silent { path: self.program.clone(), within })
            }
        }
    }

    /// Executes it in the place of this program: same process, same environment, whatever descriptors are not closed on exec. The signals that end or
    /// replace a daemon wait until it listens ([`crate::Signals`]). Returns only when that failed, with everything as it was.
    #[must_use]
    pub fn execute(&self, arguments: &[OsString]) -> SuccessorError {
        match std::fs::metadata(&self.program) {
            Ok(found) if Identity::of(&found) == self.identity => {}
            _ => return SuccessorError::Changed { path: self.program.clone() },
        }
        let words = || -> Result<(CString, Vec<CString>), std::ffi::NulError> {
            let program = CString::new(self.program.as_os_str().as_bytes())?;
            let mut all = vec![program.clone()];
            for argument in arguments {
                all.push(CString::new(argument.as_bytes())?);
            }
            Ok((program, all))
        };
        let failed = |source: io::Error| SuccessorError::Exec { path: self.program.clone(), source };
        let (program, words) = match words() {
            Ok(words) => words,
            Err(error) => return failed(error.into()),
        };
        signals::hold_for_exec();
        let Err(errno) = nix::unistd::execv(&program, &words);
        signals::exec_failed();
        failed(errno.into())
    }
}

impl Identity {
    fn of(found: &std::fs::Metadata) -> Self {
        Self { device: found.dev(), inode: found.ino(), size: found.size(), changed: (found.ctime(), found.ctime_nsec()) }
    }
}
