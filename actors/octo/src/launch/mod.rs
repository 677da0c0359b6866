//! Finds octo's own daemons or starts them, detached, so that they outlive octo. It starts nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use crate::auth::UserId;
use crate::config::Settings;

/// Where a runner answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerEndpoint {
    /// Its link socket.
    pub socket: PathBuf,
    /// The uid that its peer credentials must show.
    pub uid: u32,
}

/// Why a daemon is not there. Each says what to do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LaunchError {
    /// Its binary is missing.
    #[error("{binary} is not at {}: install octo's binaries side by side", .path.display())]
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

/// Finds and starts the daemons of one instance. Clones share one state.
#[derive(Debug, Clone)]
pub struct Launch {
    settings: Arc<Settings>,
}

impl Launch {
    /// For the instance that `settings` describe.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        Self { settings }
    }

    /// The runner of `user`, started if it does not answer. Concurrent calls for one user start one runner.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub async fn ensure_runner(&self, user: &UserId) -> Result<RunnerEndpoint, LaunchError> {
        Ok(RunnerEndpoint { socket: self.settings.paths.runner_socket(user), uid: crate::paths::own_uid() })
    }

    /// octo-eavs, started if it does not answer; its admin socket.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub async fn ensure_eavs(&self) -> Result<PathBuf, LaunchError> {
        Ok(self.settings.paths.eavs_admin_socket())
    }
}
