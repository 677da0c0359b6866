//! What this program has from the one before.

use super::descriptors::Inherited;
use super::document::{Document, DocumentError, HeldAgent};
use crate::agent::Adopted;
use crate::session::HandedSession;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

/// Why nothing can be taken over. Who started this program with a document by mistake hears the same.
#[derive(Debug, thiserror::Error)]
pub enum TakeOverError {
    #[error("what the runner before has handed over is not there: {0}")]
    Descriptor(#[from] io::Error),
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// A runner to go on with.
pub struct Handover {
    /// The program that was replaced.
    pub software: String,
    /// Where this one was found.
    pub binary: PathBuf,
    pub listener: OwnedFd,
    pub socket_lock: OwnedFd,
    pub data_lock: OwnedFd,
    pub sessions: Vec<HandedSession>,
}

impl Handover {
    /// Takes the document and every descriptor that it names. A session whose descriptors are not there is left out: its agent ends.
    ///
    /// # Errors
    /// [`TakeOverError`].
    pub fn receive(document: RawFd) -> Result<Self, TakeOverError> {
        let mut inherited = Inherited::default();
        let document = Document::read(inherited.take(document)?.into())?;
        let (listener, socket_lock) = (inherited.take(document.listener)?, inherited.take(document.socket_lock)?);
        let data_lock = inherited.take(document.data_lock)?;
        let mut sessions = Vec::new();
        for session in document.sessions {
            let id = session.session.id.clone();
            match adopted(session.agent, &mut inherited) {
                Ok(agent) => sessions.push(HandedSession { saved: session.session, agent }),
                Err(error) => tracing::error!(session = id, %error, "the agent of a session was not handed over whole; it ends"),
            }
        }
        Ok(Self { software: document.software, binary: document.binary, listener, socket_lock, data_lock, sessions })
    }
}

fn adopted(agent: HeldAgent, inherited: &mut Inherited) -> io::Result<Adopted> {
    // All of them, also when one is missing: whatever is left open would hold the sandbox.
    let line = inherited.take(agent.sandbox.line);
    let mut take = |number: Option<RawFd>| number.map(|number| inherited.take(number)).transpose();
    let (stdin, stdout, stderr) = (take(agent.stdin), take(agent.stdout), take(agent.stderr));
    Ok(Adopted {
        sandbox: agent.sandbox,
        line: line?,
        stdin: stdin?,
        unwritten: agent.unwritten.into_iter().map(|bytes| bytes.0.into()).collect(),
        stdout: stdout?,
        stderr: stderr?,
        stderr_tail: agent.stderr_tail.0,
    })
}
