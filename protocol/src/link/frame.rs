//! The frames of the runner link.

use crate::event::EventKind;
use crate::ids::{Epoch, SessionId};
use crate::response::ErrorCode;
use serde::{Deserialize, Serialize};

/// One frame. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Frame {
    Hello(Hello),
    Welcome(Welcome),
    Refused(Refused),
    Request(Request),
    Response(Response),
    Subscribe(Subscribe),
    Subscribed(Subscribed),
    Credit(Credit),
    Event(Event),
    Unsubscribe(Unsubscribe),
    Ended(Ended),
    Sessions(Sessions),
    Ping(Ping),
    Pong(Ping),
    Upgrade(Upgrade),
    Chunk(Chunk),
    OpenStream(OpenStream),
    StreamData(StreamData),
    StreamClose(StreamClose),
}

/// First frame of the control plane. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Always [`Hello::MAGIC`].
    pub magic: [u8; 8],
    pub min_version: u16,
    pub max_version: u16,
    /// For logs.
    pub software: String,
    /// Names this control plane; a runner serves one at a time and says so to a second.
    pub instance: String,
    /// The octo user whose runner is expected here.
    pub user: String,
}

impl Hello {
    /// `octolink`
    pub const MAGIC: [u8; 8] = *b"octolink";
    /// The instance of whoever is no control plane: such a connection may come beside that of one, sends [`Upgrade`] and pings, and asks for nothing else.
    pub const OPERATOR: &str = "operator";
}

/// The runner accepts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Welcome {
    /// The version both speak from here on.
    pub version: u16,
    pub software: String,
    pub runner_id: String,
    pub user: String,
    pub pid: u32,
    /// The kernel's boot id.
    pub boot_id: String,
    /// Unix milliseconds.
    pub started_at: i64,
}

/// The runner refuses and closes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    pub code: ErrorCode,
    /// A sentence for the operator.
    pub reason: String,
}

/// On whose behalf a request is made. The control plane has authorized it; the runner records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Principal {
    /// The octo user.
    pub user: String,
    /// The account that acts, another one when an admin acts for the user.
    pub actor: String,
}

/// Asks for one answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Unique on this link.
    pub id: u64,
    pub principal: Principal,
    /// Patience in milliseconds from receipt; then the answer is `timeout`.
    pub deadline_ms: u32,
    pub body: RequestBody,
}

/// What is asked. Variants are only ever added at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RequestBody {
    /// JSON of a [`crate::CommandFrame`].
    Command {
        #[serde(with = "serde_bytes")]
        json: Vec<u8>,
    },
    /// `session.create` with what its agent needs: JSON of a [`crate::CommandFrame`] and of a [`crate::provision::Provision`].
    Open {
        #[serde(with = "serde_bytes")]
        json: Vec<u8>,
        #[serde(with = "serde_bytes")]
        provision: Vec<u8>,
    },
    /// → JSON of a [`crate::session::Snapshot`].
    Snapshot { session: SessionId },
    /// JSON of a [`crate::history::HistoryQuery`] → JSON that the query names.
    History {
        #[serde(with = "serde_bytes")]
        json: Vec<u8>,
    },
    /// The runner's actor rows → JSON array of [`crate::mux::system::ActorRow`].
    Actors,
    /// `session.new` or `session.switch`, sent to a session: JSON of the [`crate::CommandFrame`], the id that a session gets which is made by it,
    /// and what the agent of that one needs → `{session_id}`. It is another id when there was such a session already.
    OpenBeside {
        #[serde(with = "serde_bytes")]
        json: Vec<u8>,
        session: SessionId,
        #[serde(with = "serde_bytes")]
        provision: Vec<u8>,
    },
    /// Since version 2 of the link: JSON of a [`crate::admin::RunnerQuestion`] → JSON that the question names.
    Admin {
        #[serde(with = "serde_bytes")]
        json: Vec<u8>,
    },
}

impl RequestBody {
    /// The version of the link that a peer has to speak to read this.
    #[must_use]
    pub fn since(&self) -> u16 {
        match self {
            Self::Admin { .. } => 2,
            _ => 1,
        }
    }
}

/// The one answer to a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Response {
    pub id: u64,
    pub body: ResponseBody,
}

/// The answer itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResponseBody {
    /// The `data`, as JSON.
    Ok {
        #[serde(with = "serde_bytes")]
        json: Vec<u8>,
    },
    Err {
        code: ErrorCode,
        message: String,
    },
}

/// Streams a session's events.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribe {
    /// Chosen by the control plane, unique on this link.
    pub sub: u32,
    pub session: SessionId,
    /// The epoch that `after` is of; another one ends the subscription with [`EndReason::EpochChanged`].
    pub epoch: Option<Epoch>,
    /// Events with a larger `seq` follow; `None` = from the newest on.
    pub after: Option<u64>,
    /// End after this `seq` ([`EndReason::Complete`]); `None` = go on live. Journalled events only.
    pub until: Option<u64>,
    /// Payload bytes that may be sent before [`Credit`] comes.
    pub credit: u32,
}

/// A subscription has begun.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscribed {
    pub sub: u32,
    pub epoch: Epoch,
    /// The newest `seq` of the journal; 0 when empty.
    pub head: u64,
    /// Where the stream begins: events with a larger `seq` follow. Larger than what was asked for when events in between are not kept any more.
    pub after: u64,
}

/// More payload bytes may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    pub sub: u32,
    pub bytes: u32,
}

/// One event of a subscription. Its session and epoch are those of the subscription.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    pub sub: u32,
    /// 0 for events that are not journalled.
    pub seq: u64,
    /// Unix milliseconds.
    pub ts: i64,
    pub kind: EventKind,
    /// JSON of a [`crate::EventPayload`].
    #[serde(with = "serde_bytes")]
    pub payload: Vec<u8>,
}

/// The control plane wants no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsubscribe {
    pub sub: u32,
}

/// Why a subscription ended. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndReason {
    /// `until` was reached.
    Complete,
    /// The control plane unsubscribed.
    Unsubscribed,
    /// There is no such session, or it was deleted.
    NoSession,
    /// The cursor's epoch is not the journal's, or what follows it was removed while it was being read: subscribing again tells which.
    EpochChanged,
    /// The cursor is ahead of the journal.
    AheadOfJournal,
    /// The journal could not be read.
    JournalError,
    /// Too many subscriptions on this link.
    LimitExceeded,
}

/// A subscription has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub sub: u32,
    pub reason: EndReason,
}

/// The runner's list of sessions, on connect and on change: JSON array of [`crate::SessionSummary`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sessions {
    #[serde(with = "serde_bytes")]
    pub json: Vec<u8>,
}

/// A sign of life; the answer carries the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    pub nonce: u64,
}

/// Asks the runner to replace its binary in place. The answer is the end of the connection: whoever comes back finds the same process, started anew, behind the same
/// socket. A runner that was not replaced says why by [`Refused`] and goes on; one that cannot be says `unsupported`. Frozen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Absolute path of the new binary; the runner's own when empty.
    pub binary: String,
}

/// A piece of a frame that is larger than [`super::CHUNK_BYTES`]; `message` is unique among the sender's open ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    pub message: u32,
    pub last: bool,
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// Turns this connection into a bulk stream (terminal, file): first frame after the handshake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenStream {
    pub id: u64,
    pub principal: Principal,
    /// JSON that says which stream.
    #[serde(with = "serde_bytes")]
    pub json: Vec<u8>,
}

/// Bytes of a bulk stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamData {
    #[serde(with = "serde_bytes")]
    pub data: Vec<u8>,
}

/// The end of a bulk stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StreamClose {
    /// Why, when it was not asked for.
    pub error: Option<String>,
}
