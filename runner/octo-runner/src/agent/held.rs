//! An agent's process between two programs of the runner: at rest, described, taken up again.

use super::process::Pipes;
use super::rest::Rest;
use bytes::Bytes;
use octo_sandbox::{AgentReader, AgentWriter, Sandboxed, Standing};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;

/// What its tasks have said of themselves while they rest.
#[derive(Debug, Default)]
pub struct Parts {
    pub stdin: Option<RawFd>,
    /// What is still to be written to its input.
    pub unwritten: Vec<Bytes>,
    pub stdout: Option<RawFd>,
    pub stderr: Option<RawFd>,
    pub sandbox: Option<Standing>,
}

/// How the tasks of one process are brought to rest. Clones share.
#[derive(Debug, Clone, Default)]
pub struct Hold {
    /// The reading of its output: it rests only when the journal has what followed from what was read.
    pub output: Rest,
    /// All the others.
    pub others: Rest,
    pub parts: Arc<Mutex<Parts>>,
    /// The end of what it wrote to stderr.
    pub stderr_tail: Arc<Mutex<VecDeque<u8>>>,
}

/// A process at rest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    pub sandbox: Standing,
    pub stdin: Option<RawFd>,
    pub unwritten: Vec<Bytes>,
    pub stdout: Option<RawFd>,
    pub stderr: Option<RawFd>,
    pub stderr_tail: Vec<u8>,
}

impl Hold {
    /// Notes something, or that it is so no more.
    pub fn note(&self, change: impl FnOnce(&mut Parts)) {
        change(&mut self.parts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The process, once everything rests; `None` when it is ending.
    #[must_use]
    pub fn held(&self) -> Option<Held> {
        let parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut tail = self.stderr_tail.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Held {
            sandbox: parts.sandbox.clone()?,
            stdin: parts.stdin,
            unwritten: parts.unwritten.clone(),
            stdout: parts.stdout,
            stderr: parts.stderr,
            stderr_tail: tail.make_contiguous().to_vec(),
        })
    }

    /// Everything goes on.
    pub fn over(&self) {
        self.output.over();
        self.others.over();
    }
}

/// A process that was handed over, with its descriptors.
#[derive(Debug)]
pub struct Adopted {
    pub sandbox: Standing,
    pub line: OwnedFd,
    pub stdin: Option<OwnedFd>,
    pub unwritten: Vec<Bytes>,
    pub stdout: Option<OwnedFd>,
    pub stderr: Option<OwnedFd>,
    pub stderr_tail: Vec<u8>,
}

/// An [`Adopted`] one whose session is there already, and writes to it.
pub struct Placed {
    pub adopted: Adopted,
    pub incarnation: u64,
    pub writes: mpsc::Receiver<Bytes>,
}

impl Adopted {
    /// Holds it from now on. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When it is not there any more, or a descriptor is not what it should be; its sandbox ends then.
    pub(super) fn hold(self) -> io::Result<(Sandboxed, Pipes)> {
        let sandboxed = Sandboxed::adopt(&self.sandbox, self.line)?;
        let pipes = Pipes {
            stdin: self.stdin.map(AgentWriter::from_owned_fd).transpose()?.map(Into::into),
            stdout: self.stdout.map(AgentReader::from_owned_fd).transpose()?.map(Into::into),
            stderr: self.stderr.map(AgentReader::from_owned_fd).transpose()?.map(Into::into),
            unwritten: self.unwritten.into(),
            stderr_tail: self.stderr_tail.into(),
        };
        Ok((sandboxed, pipes))
    }
}
