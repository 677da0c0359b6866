//! Failures and their exit codes.

use std::process::ExitCode;

use octo::auth::InvalidUserId;
use octo::config::ConfigError;
use octo::launch::{LaunchError, StopError};
use octo::link::UpgradeError;
use octo::server::{AdminSocketError, BindError};
use octo::store::StoreError;
use octo::{BuildError, paths::PathsError};

const FAILED: u8 = 1;
const UNAVAILABLE: u8 = 69;
const SOFTWARE: u8 = 70;
const CONFIG: u8 = 78;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// A sentence.
    pub message: String,
    code: u8,
}

impl Failure {
    /// It failed.
    pub fn other(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: FAILED }
    }

    /// Something that is needed is taken or missing.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { message: message.into(), code: UNAVAILABLE }
    }

    /// The tree of actors has failed; the service manager starts octo again.
    pub fn tree(why: &str) -> Self {
        Self { message: format!("octo has failed: {why}"), code: SOFTWARE }
    }

    /// As the process ends with it.
    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.code)
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self { message: error.to_string(), code: CONFIG }
    }
}

impl From<BindError> for Failure {
    fn from(error: BindError) -> Self {
        let code = if matches!(error, BindError::Unknown { .. }) { CONFIG } else { UNAVAILABLE };
        Self { message: error.to_string(), code }
    }
}

impl From<AdminSocketError> for Failure {
    fn from(error: AdminSocketError) -> Self {
        let code = match &error {
            AdminSocketError::TooLong(_) | AdminSocketError::NoGroup(_) | AdminSocketError::NotOurs { .. } => CONFIG,
            AdminSocketError::InUse(_) | AdminSocketError::NotASocket(_) | AdminSocketError::Io { .. } => UNAVAILABLE,
        };
        Self { message: error.to_string(), code }
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        let code = match &error {
            BuildError::Config(_) => CONFIG,
            BuildError::Store(StoreError::InUse(_)) => UNAVAILABLE,
            _ => FAILED,
        };
        Self { message: error.to_string(), code }
    }
}

impl From<PathsError> for Failure {
    fn from(error: PathsError) -> Self {
        Self::other(error.to_string())
    }
}

impl From<LaunchError> for Failure {
    fn from(error: LaunchError) -> Self {
        Self::other(error.to_string())
    }
}

impl From<StopError> for Failure {
    fn from(error: StopError) -> Self {
        Self::other(error.to_string())
    }
}

impl From<UpgradeError> for Failure {
    fn from(error: UpgradeError) -> Self {
        Self::other(error.to_string())
    }
}

impl From<InvalidUserId> for Failure {
    fn from(error: InvalidUserId) -> Self {
        Self::other(error.to_string())
    }
}
