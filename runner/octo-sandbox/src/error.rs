//! What can go wrong between "start this" and "it runs".

use std::{io, path::PathBuf};

/// Why a program was not started in a sandbox. Each sentence says what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The binary `octo-sandbox` is not where it was expected.
    #[error("the launcher {} cannot be run: {source}; install octo-sandbox beside the other octo binaries", path.display())]
    LauncherMissing {
        /// Where it was looked for.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// bubblewrap is not installed. Nothing was started.
    #[error(
        "bubblewrap ({}) is not installed, so nothing can be isolated; install the package bubblewrap, \
         or set sandbox.allow_unsandboxed = true to run without isolation",
        path.display()
    )]
    BubblewrapMissing {
        /// Name or path that was tried.
        path: PathBuf,
    },
    /// bubblewrap is there, but the system refuses it its namespaces. Nothing was started.
    #[error(
        "bubblewrap cannot make a sandbox here: {detail}; allow user namespaces \
         (sysctl kernel.unprivileged_userns_clone=1, user.max_user_namespaces > 0, an AppArmor profile for bwrap), \
         or set sandbox.allow_unsandboxed = true to run without isolation"
    )]
    NamespacesRefused {
        /// bubblewrap's own words.
        detail: String,
    },
    /// The description contradicts itself or would open something that must stay closed.
    #[error("the sandbox was refused: {reason}")]
    Refused {
        /// What is wrong with it.
        reason: String,
    },
    /// The sandbox was made, the program could not be executed in it.
    #[error("{} could not be started in its sandbox: {reason}", program.display())]
    ExecFailed {
        /// The program.
        program: PathBuf,
        /// Why.
        reason: String,
    },
    /// The sandbox could not be set up (a mount failed, a directory is missing) or ended before the program ran.
    #[error("the sandbox could not be set up: {detail}")]
    Setup {
        /// What was said on the way, usually by bubblewrap.
        detail: String,
    },
    /// An operating system call failed in the calling process.
    #[error("{action}: {source}")]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl LaunchError {
    pub(crate) fn io(action: &'static str, source: impl Into<io::Error>) -> Self {
        Self::Io { action, source: source.into() }
    }
}
