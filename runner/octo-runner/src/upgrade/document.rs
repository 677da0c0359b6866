//! What one program of the runner tells the next: one JSON document in a sealed memory file.
//!
//! It is read by another build, so fields only come, each with a default, and [`STATE_VERSION`] grows when an older build would misunderstand it.

use crate::agent::Held;
use crate::session::SavedSession;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use octo_sandbox::{Standing, sealed};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{OwnedFd, RawFd};
use std::path::PathBuf;

/// The version of the document that this build writes, and the only one that it reads.
pub const STATE_VERSION: u32 = 1;
/// Largest document in bytes: what waits at agents that do not read their input is in it.
const MAX_BYTES: u64 = 256 * 1024 * 1024;

/// Bytes that may be anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Encoded(pub Vec<u8>);

impl Serialize for Encoded {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Encoded {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map(Self).map_err(serde::de::Error::custom)
    }
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Document {
    pub version: u32,
    /// For logs.
    pub software: String,
    /// Where this program is, for the next upgrade.
    pub binary: PathBuf,
    pub user: String,
    /// The oldest and the newest version of the link that the old program speaks: those who are connected speak one of them.
    pub link: (u16, u16),
    /// The version of the journal's schema.
    pub journal: i64,
    /// Descriptors: the socket, its lock, the lock of the data directory.
    pub listener: RawFd,
    pub socket_lock: RawFd,
    pub data_lock: RawFd,
    /// Those whose agent runs. The others are in the journal.
    pub sessions: Vec<SessionDocument>,
}

/// One session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionDocument {
    pub session: SavedSession,
    pub agent: HeldAgent,
}

/// An agent's process; descriptors by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldAgent {
    pub sandbox: Standing,
    pub stdin: Option<RawFd>,
    /// What is still to be written to its input.
    pub unwritten: Vec<Encoded>,
    pub stdout: Option<RawFd>,
    pub stderr: Option<RawFd>,
    pub stderr_tail: Encoded,
}

impl From<Held> for HeldAgent {
    fn from(held: Held) -> Self {
        Self {
            sandbox: held.sandbox,
            stdin: held.stdin,
            unwritten: held.unwritten.iter().map(|bytes| Encoded(bytes.to_vec())).collect(),
            stdout: held.stdout,
            stderr: held.stderr,
            stderr_tail: Encoded(held.stderr_tail),
        }
    }
}

impl HeldAgent {
    /// Every descriptor that it names.
    pub fn descriptors(&self) -> impl Iterator<Item = RawFd> {
        [Some(self.sandbox.line), self.stdin, self.stdout, self.stderr].into_iter().flatten()
    }
}

/// Why a document cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DocumentError {
    #[error("the state of the runner is of version {found}, and this build reads version {STATE_VERSION}")]
    Version { found: u32 },
    #[error("the state of the runner cannot be read: {0}")]
    Malformed(#[from] serde_json::Error),
    #[error("the state of the runner cannot be read: {0}")]
    Io(#[from] io::Error),
    #[error("the state of the runner has {bytes} bytes, over the limit of {MAX_BYTES}; wait until agents have read what is sent to them")]
    TooLarge { bytes: u64 },
}

impl Document {
    /// Every descriptor that it names.
    #[must_use]
    pub fn descriptors(&self) -> Vec<RawFd> {
        let own = [self.listener, self.socket_lock, self.data_lock];
        own.into_iter().chain(self.sessions.iter().flat_map(|session| session.agent.descriptors())).collect()
    }

    /// The sealed file with it.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn seal(&self) -> Result<OwnedFd, DocumentError> {
        let text = serde_json::to_vec(self)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(DocumentError::TooLarge { bytes: text.len() as u64 });
        }
        Ok(sealed(c"octo-runner", &text)?)
    }

    /// Reads it from the file's beginning.
    ///
    /// # Errors
    /// [`DocumentError`].
    pub fn read(mut file: File) -> Result<Self, DocumentError> {
        #[derive(Deserialize)]
        struct Peek {
            version: u32,
        }
        // Whoever read it before has left it at its end.
        file.rewind()?;
        let mut text = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
        if text.len() as u64 > MAX_BYTES {
            return Err(DocumentError::TooLarge { bytes: text.len() as u64 });
        }
        let Peek { version } = serde_json::from_slice(&text)?;
        if version != STATE_VERSION {
            return Err(DocumentError::Version { found: version });
        }
        Ok(serde_json::from_slice(&text)?)
    }
}
