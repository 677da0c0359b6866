//! Failures, and the exit code of each kind. The codes are a promise to scripts: they are only ever added to.

use std::process::ExitCode;

/// How a command ended that did not do what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It failed, and the message says why.
    Failed = 1,
    /// The arguments make no sense.
    Usage = 2,
    /// There is no such actor, session, user or log.
    NotFound = 3,
    /// There was such an actor, and it has ended.
    Gone = 4,
    /// It is there, and this cannot be done to it.
    Refused = 5,
    /// A check found something wrong.
    Trouble = 6,
    /// octo does not answer.
    Down = 69,
    /// A runner is out of reach, or there is too much to do: try again.
    Later = 75,
    /// The caller may not.
    NoPermission = 77,
}

impl Exit {
    /// As JSON calls it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Refused => "refused",
            Self::Trouble => "trouble",
            Self::Down => "down",
            Self::Later => "try_again",
            Self::NoPermission => "no_permission",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub struct Failure {
    /// A sentence: what happened, to what, what to do.
    pub message: String,
    pub exit: Exit,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { message: message.into(), exit }
    }

    pub fn other(message: impl Into<String>) -> Self {
        Self::new(Exit::Failed, message)
    }
}
