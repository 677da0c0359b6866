//! Upgrade: this program is replaced by another one in place (the same process executes it), and its agents notice nothing.
//!
//! Owns: who may be the next program ([`Program`]), how everything comes to rest ([`Stillness`]), what the next program is told ([`Document`]), whether it
//! can go on with that (`verdict`), and how it takes up what it is given ([`Handover`]).
//!
//! Promises: either the next program goes on, with the same agents in the middle of whatever they are at, the same locks and the same socket; or this one
//! does, and says why. No event is lost, doubled or reordered: what was read of an agent is in the journal, what was not is still in its pipe. The next program is asked, as a
//! child, whether it can go on, with the very document and arguments that it will get. No child inherits a descriptor that is handed over.
//!
//! Never: ends an agent, or closes a descriptor before the next program has it.

mod descriptors;
mod document;
mod handover;
mod program;
mod replace;
mod stillness;
mod verdict;

pub use document::{Document, Encoded, HeldAgent, STATE_VERSION, SessionDocument};
pub use handover::{Handover, TakeOverError};
pub use program::Program;
pub use replace::{Replaced, UpgradeError};
pub use stillness::{Restless, Stillness};
pub use verdict::{Verdict, examine};

use octo_protocol::ProtocolError;
use std::path::PathBuf;
use tokio::sync::{mpsc, oneshot};

/// Upgrades that may wait for one that is under way; one more is refused.
pub const MAX_WAITING: usize = 4;

/// Somebody wants the runner to be replaced.
pub struct Asked {
    /// By this program; by the one at its own path when absent.
    pub binary: Option<PathBuf>,
    /// Why it was not. There is no other answer: whoever asked is cut off when the next program goes on, and finds that one.
    pub answer: oneshot::Sender<ProtocolError>,
}

/// Where it is asked for.
pub type Upgrades = mpsc::Sender<Asked>;
