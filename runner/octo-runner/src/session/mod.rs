//! Sessions: an actor each, that owns a conversation from its first prompt to its deletion.
//!
//! Owns: the state of the session and of its turn, the queue of inputs and their idempotency, what is open (messages, tools, questions), the life of
//! the agent that works for it, and the answers to commands. [`Registry`] knows all sessions and starts an actor when one is first asked for.
//!
//! Promises: an input is in the journal before it is acknowledged and before the agent sees it, and is handed over at most once; a turn always
//! ends in `agent.idle` or `agent.error`; every message, tool and question that opened is closed, also after a kill; nothing of the agent's output is
//! read that the journal has not taken.
//!
//! Never: touches a socket, or starts a process itself.

mod accept;
mod actor;
mod answers;
mod beside;
mod commands;
mod disk;
mod fork;
mod handover;
pub(crate) mod ledger;
mod lifecycle;
mod names;
mod open;
mod outputs;
mod passing;
mod permissions;
mod places;
mod probe;
mod questions;
mod queue;
mod recovery;
mod registry;
mod sleep;
mod state;
mod tracing;
mod trouble;

pub use actor::SessionActor;
pub use handover::{HandedSession, NotNow, RestMsg, SavedSession};
pub use registry::{Closed, Entry, Lease, Registry, SessionsChanged, SubscriberGuard};

use crate::agent::News;
use bytes::Bytes;
use octo_actors::{Address, Backoff, Kind, SendError};
use octo_protocol::provision::Provision;
use octo_protocol::{Command, CommandFrame, ErrorCode, ProtocolError, SessionId};
use serde::Serialize;
use std::time::Duration;
use tokio::sync::oneshot;

/// The branch of all sessions.
pub const SESSIONS: Kind = Kind::permanent("sessions").unlimited();
/// Started again from the journal after a failure.
pub const SESSION: Kind = Kind::transient("session")
    .degrade()
    .mailbox(1024)
    .backoff(Backoff::new(Duration::from_millis(100), Duration::from_secs(10)))
    .restart_stuck(Duration::from_secs(120))
    .stop_within(Duration::from_secs(15));

/// The JSON of an answer's data, or a refusal.
pub type Answered = Result<Vec<u8>, ProtocolError>;
/// Where an answer goes.
pub type Answer = oneshot::Sender<Answered>;
/// How a session is reached.
pub type SessionAddress = Address<SessionMsg>;

/// What a session gets that another one makes: it shares no key with that one.
pub struct NewBeside {
    pub id: SessionId,
    pub provision: Provision,
}

/// Where a new session comes from.
#[derive(Debug, Clone, Default)]
pub struct Origin {
    /// The session.
    pub parent: Option<String>,
    /// What it begins with.
    pub copies: Option<Copied>,
}

/// The beginning of another session's conversation.
#[derive(Debug, Clone)]
pub struct Copied {
    /// Its number in the journal.
    pub session: i64,
    /// Messages before this one.
    pub before_idx: u64,
    pub title: Option<String>,
}

/// What a session is told.
pub enum SessionMsg {
    /// A command of a client. `actor` is the account that sent it.
    Command { frame: Box<CommandFrame>, actor: String, answer: Answer },
    /// Create it, or attach when it exists.
    /// `origin` is the session that it comes from.
    Open { frame: Box<CommandFrame>, provision: Box<Provision>, origin: Option<Origin>, answer: Answer },
    /// What an attach without a cursor begins with.
    Snapshot { answer: Answer },
    /// A person gives it a title.
    Rename { title: String, answer: Answer },
    /// Its agent's process has news.
    Agent(News),
    /// Output of its agent. `done` when the journal has what followed from it. `read`: when it was read, where somebody looks.
    Stdout { incarnation: u64, bytes: Bytes, read: Option<u64>, done: oneshot::Sender<()> },
    /// End the agent: the runner is ending.
    Shutdown { answer: oneshot::Sender<()> },
    /// `session.new` or `session.switch`.
    Beside { command: Box<Command>, new: Box<NewBeside>, answer: Answer },
    /// Continue the agent's conversation at `path` in a new session.
    Continue { path: String, new: Box<NewBeside>, answer: Answer },
    /// The agent is in no state to go on with.
    Lost { cause: String },
    /// Something else is remembered of tool calls: it may decide what is open.
    RulesChanged,
    /// Come to rest: the runner is about to be replaced.
    Rest(RestMsg),
    #[doc(hidden)]
    Placed(Option<octo_actors::Address<crate::agent::AgentMsg>>),
    #[doc(hidden)]
    Tick(Tick),
}

/// What a session tells itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tick {
    /// Try the journal again.
    Journal,
    /// Show what tools have put out meanwhile.
    Progress,
    /// Show how the process is.
    Heartbeat,
    /// The agent was asked to stop its run; it has had time for that.
    StopNow,
    /// The agent has had time to end its run after an abort.
    AbortDue { token: u64 },
    /// The agent is asked for a sign of life.
    Probe,
    /// A question has had its time.
    Questions,
    /// Whoever has been idle for long may sleep.
    Idle,
    /// The agent was started and has had time for its handshake.
    Handshake { incarnation: u64 },
}

/// Tells an actor, waiting while its mailbox is full. False when it is gone.
pub async fn deliver<M: Send + 'static>(address: &Address<M>, mut message: impl FnMut() -> M) -> bool {
    loop {
        match address.tell(message()) {
            Ok(()) => return true,
            Err(SendError::Gone { .. }) => return false,
            Err(SendError::Busy { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    }
}

/// The JSON of an answer.
///
/// # Errors
/// `internal` when it does not serialize.
pub fn json(value: &impl Serialize) -> Answered {
    serde_json::to_vec(value).map_err(|e| ProtocolError::new(ErrorCode::Internal, format!("the answer does not serialize: {e}")))
}

fn refuse(answer: Answer, error: impl Into<ProtocolError>) {
    let _ = answer.send(Err(error.into()));
}

fn nothing() -> Answered {
    Ok(b"null".to_vec())
}
