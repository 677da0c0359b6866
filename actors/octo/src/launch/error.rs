//! Why a daemon is not there. Each says what to do.

use std::path::PathBuf;

/// Why a daemon is not there.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// The configuration says not to start it.
    #[error("{key} = false in the configuration, so octo does not start it; remove it to use octo's own")]
    Disabled {
        /// The key.
        key: &'static str,
    },
    /// Its binary is missing.
    #[error("{binary} is not at {}: install octo's binaries side by side (./setup.sh does)", .path.display())]
    Missing {
        /// The binary.
        binary: &'static str,
        /// Where it was looked for.
        path: PathBuf,
    },
    /// It could not be started.
    #[error("could not start {binary}: {reason}")]
    Start {
        /// The binary.
        binary: &'static str,
        /// Why.
        reason: String,
    },
    /// It ended at once and said why.
    #[error("{binary} does not start: {said} (its log is {})", .log.display())]
    Ended {
        /// The binary.
        binary: &'static str,
        /// Its own words.
        said: String,
        /// Where it says more.
        log: PathBuf,
        /// Another process still holds what it needs, and may be on its way out.
        held: bool,
    },
    /// It was started and did not answer.
    #[error("{binary} does not answer on {}: {reason}", .socket.display())]
    NotReady {
        /// The binary.
        binary: &'static str,
        /// Its socket.
        socket: PathBuf,
        /// What happened to it, with the end of its log.
        reason: String,
    },
}
