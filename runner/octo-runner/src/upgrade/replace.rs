//! The way from this program to the next, and back when it cannot be gone to its end.

use super::descriptors::Inheritable;
use super::document::{Document, DocumentError, STATE_VERSION, SessionDocument};
use super::program::Program;
use super::stillness::{Restless, Stillness};
use super::verdict::Verdict;
use crate::journal::SCHEMA_VERSION;
use crate::kill_point::{self, Point};
use crate::session::Registry;
use octo_protocol::link::{LINK_VERSION, LINK_VERSION_MIN};
use octo_protocol::{ErrorCode, ProtocolError};
use octo_sandbox::{Successor, SuccessorError};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the next program may take to say whether it can go on. Everybody is held the second time it is asked.
const VERDICT_WITHIN: Duration = Duration::from_secs(5);

/// Why the runner was not replaced. It goes on as before.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error(transparent)]
    Program(#[from] SuccessorError),
    #[error("the new program {path} cannot go on with this runner: {reason}")]
    Refused { path: String, reason: String },
    #[error("the new program {path} does not say whether it can go on: it is no octo-runner, or one that cannot be upgraded to")]
    NoVerdict { path: String },
    #[error(transparent)]
    Restless(#[from] Restless),
    #[error(transparent)]
    Document(#[from] DocumentError),
    #[error("a descriptor cannot be handed over: {0}")]
    Descriptor(#[from] io::Error),
    #[error("the runner is ending")]
    Ending,
    #[error("the runner is a part of another program")]
    Embedded,
}

impl From<&UpgradeError> for ProtocolError {
    fn from(error: &UpgradeError) -> Self {
        let code = match error {
            UpgradeError::Restless(_) | UpgradeError::Ending => ErrorCode::NotReady,
            UpgradeError::Program(_) | UpgradeError::Refused { .. } | UpgradeError::NoVerdict { .. } | UpgradeError::Embedded => {
                ErrorCode::InvalidRequest
            }
            UpgradeError::Document(_) | UpgradeError::Descriptor(_) => ErrorCode::Internal,
        };
        Self::new(code, format!("the runner was not replaced and goes on as before: {error}"))
    }
}

/// What of this program the next one gets beside its sessions.
pub struct Replaced<'a> {
    pub registry: &'a Registry,
    pub program: &'a Program,
    pub listener: RawFd,
    pub socket_lock: RawFd,
    pub data_lock: RawFd,
}

impl Replaced<'_> {
    /// Replaces this program by the one at `path`. Returns only when that was not possible: then everything goes on as before. Dropping the future does
    /// the same.
    pub async fn by(&self, path: &Path) -> UpgradeError {
        match self.attempt(path).await {
            Ok(never) => match never {},
            Err(error) => error,
        }
    }

    async fn attempt(&self, path: &Path) -> Result<std::convert::Infallible, UpgradeError> {
        let began = Instant::now();
        let successor = Successor::new(path)?;
        // Without holding anybody: most of what can be wrong with a program shows here.
        let mut document = self.document(path);
        let software = self.ask(&successor, &document).await?;
        let still = Stillness::reach(self.registry, &self.registry.shared().journal).await?;
        let rested = Instant::now();
        document.sessions =
            still.sessions.iter().map(|(session, held)| SessionDocument { session: session.clone(), agent: held.clone().into() }).collect();
        self.ask(&successor, &document).await?;
        let sealed = document.seal()?;
        let (sessions, asked, held) = (document.sessions.len(), began.elapsed(), rested.elapsed());
        tracing::info!(program = %path.display(), %software, sessions, ?asked, ?held, "the runner is replaced");
        let error = self.execute(&successor, &document, &sealed)?;
        drop(still);
        Err(error.into())
    }

    fn execute(&self, successor: &Successor, document: &Document, sealed: &OwnedFd) -> io::Result<SuccessorError> {
        kill_point::reached(Point::Executing);
        let _inheritable = Inheritable::new(document.descriptors().into_iter().chain([sealed.as_raw_fd()]))?;
        Ok(successor.execute(&self.program.arguments(sealed.as_raw_fd())))
    }

    fn document(&self, path: &Path) -> Document {
        Document {
            version: STATE_VERSION,
            software: super::verdict::software(),
            binary: path.to_owned(),
            user: self.registry.shared().options.user.clone(),
            link: (LINK_VERSION_MIN, LINK_VERSION),
            journal: SCHEMA_VERSION,
            listener: self.listener,
            socket_lock: self.socket_lock,
            data_lock: self.data_lock,
            sessions: Vec::new(),
        }
    }

    async fn ask(&self, successor: &Successor, document: &Document) -> Result<String, UpgradeError> {
        let path = || successor.program().display().to_string();
        let said = successor.ask(&self.program.question(), document.seal()?, VERDICT_WITHIN).await?;
        let verdict: Verdict = serde_json::from_slice(&said).map_err(|_| UpgradeError::NoVerdict { path: path() })?;
        match verdict.refusal {
            None => Ok(verdict.software),
            Some(reason) => Err(UpgradeError::Refused { path: path(), reason }),
        }
    }
}
