//! What is written in one piece: events with what they change.

use super::{Packed, RuleChange, SessionKey, SessionLog};
use crate::clock::now_ms;
use octo_actors::monotonic_ns;
use octo_protocol::admin::RunnerHop;
use octo_protocol::event::InputKind;
use octo_protocol::part::KnownPart;
use octo_protocol::{
    Epoch, Event, EventKind, EventPayload, Message, Part, PermissionMode, Role, SessionConfig, SessionStatus, TraceContext, Usage,
};
use std::sync::Arc;

/// Most text of one message that the full-text index takes, in bytes.
const MAX_SEARCHABLE: usize = 64 * 1024;

/// How safe a commit has to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sync {
    /// Survives a kill of the runner.
    Normal,
    /// Survives the power too.
    Full,
}

/// A session that does not exist yet.
#[derive(Debug, Clone)]
pub struct NewSession {
    pub id: String,
    pub epoch: Epoch,
    pub harness: String,
    pub cwd: String,
    pub provider: String,
    pub model: String,
    pub config: SessionConfig,
    /// JSON of the provision: it holds a secret.
    pub provision: String,
    pub readable_id: String,
    pub parent: Option<String>,
    pub created_at: i64,
}

/// A finished message, as history needs it beside the event.
#[derive(Debug, Clone)]
pub struct FinishedMessage {
    pub idx: u64,
    pub id: String,
    pub role: Role,
    pub client_id: Option<String>,
    pub text: String,
    pub usage: Usage,
    pub tool_calls: u64,
    pub created_at: i64,
    /// The turn that it belongs to.
    pub turn: Option<String>,
}

/// The deltas of `item` from `from` on are superseded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prune {
    pub item: String,
    pub from: u64,
}

/// One event on its way into the journal.
#[derive(Debug, Clone)]
pub struct Entry {
    pub packed: Packed,
    pub name: &'static str,
    pub kind: EventKind,
    /// What it belongs to: a message (its id), a tool call (`t:`id), a question (`q:`id).
    pub item: Option<String>,
    pub message: Option<FinishedMessage>,
    pub prune: Option<Prune>,
}

impl Entry {
    /// Makes the payload of `event`, once and for all.
    ///
    /// # Errors
    /// When the event does not serialize.
    pub fn new(event: Event, turn_id: Option<String>) -> Result<Self, serde_json::Error> {
        Self::traced(event, turn_id, None)
    }

    /// As [`Entry::new`], with the context of the trace that the event is of.
    ///
    /// # Errors
    /// When the event does not serialize.
    pub fn traced(event: Event, turn_id: Option<String>, traceparent: Option<TraceContext>) -> Result<Self, serde_json::Error> {
        let (name, kind) = (event.name(), event.kind());
        let item = item_of(&event);
        let message = match &event {
            Event::MessageEnd { message } => Some(FinishedMessage::of(message, turn_id.clone())),
            _ => None,
        };
        let payload = serde_json::to_vec(&EventPayload { event, turn_id, traceparent })?;
        Ok(Self { packed: Packed::new(now_ms(), kind, &payload), name, kind, item, message, prune: None })
    }

    /// Whether it gets a number and a row.
    #[must_use]
    pub fn is_journalled(&self) -> bool {
        self.kind != EventKind::Ephemeral
    }
}

fn item_of(event: &Event) -> Option<String> {
    match event {
        Event::ToolStart { tool_call_id, .. } | Event::ToolEnd { tool_call_id, .. } => Some(format!("t:{tool_call_id}")),
        Event::AgentInputNeeded { request } => Some(format!("q:{}", request.request_id())),
        Event::AgentInputResolved { request_id, .. } => Some(format!("q:{request_id}")),
        other => other.message_id().map(str::to_owned),
    }
}

impl FinishedMessage {
    fn of(message: &Message, turn: Option<String>) -> Self {
        let mut text = String::new();
        let mut tool_calls = 0;
        for part in &message.parts {
            match part {
                Part::Known(KnownPart::Text { text: piece, .. }) => {
                    if !text.is_empty() {
                        text.push('\n');
                    }
                    text.push_str(piece);
                }
                Part::Known(KnownPart::ToolCall { .. }) => tool_calls += 1,
                _ => {}
            }
        }
        let mut end = text.len().min(MAX_SEARCHABLE);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        Self {
            idx: message.idx,
            id: message.id.clone(),
            role: message.role,
            client_id: message.client_id.as_ref().map(ToString::to_string),
            text,
            usage: message.usage.clone().unwrap_or_default(),
            tool_calls,
            created_at: message.created_at,
            turn,
        }
    }
}

/// What a batch changes beside the events.
#[derive(Debug, Clone)]
pub enum Change {
    /// The session's state in one word.
    Status(SessionStatus),
    /// The turn under way.
    Turn(Option<String>),
    /// The agent's handle to resume with.
    Resume(String),
    Title {
        title: String,
        /// A person gave it.
        given: bool,
    },
    Model {
        provider: String,
        model: String,
    },
    Thinking(String),
    /// The session's own word for tool calls.
    Permissions(PermissionMode),
    /// A rule was made by an answer, or decided a call.
    Rule(RuleChange),
    /// JSON of the provision.
    Provision(String),
    /// An input was accepted. `content` is its JSON, kept until it is handed over.
    InputAccepted {
        key: String,
        kind: InputKind,
        hash: String,
        content: String,
    },
    /// An input was handed to the agent.
    InputHanded {
        key: String,
    },
    /// An input entered the conversation.
    InputDelivered {
        key: String,
    },
    /// An input came back undelivered and waits to be handed over again.
    InputReturned {
        key: String,
    },
    /// An input was given back to the person.
    InputParked {
        key: String,
    },
}

impl Change {
    /// Whether nothing is left of `earlier` once this is written after it.
    #[must_use]
    pub fn supersedes(&self, earlier: &Self) -> bool {
        let adds_up = matches!(
            self,
            Self::Rule(_)
                | Self::InputAccepted { .. }
                | Self::InputHanded { .. }
                | Self::InputDelivered { .. }
                | Self::InputReturned { .. }
                | Self::InputParked { .. }
        );
        !adds_up && std::mem::discriminant(self) == std::mem::discriminant(earlier)
    }
}

/// Events and changes of one session that are written together.
#[derive(Clone)]
pub struct Batch {
    pub key: SessionKey,
    /// The number of the first journalled entry.
    pub first_seq: u64,
    pub entries: Vec<Entry>,
    pub changes: Vec<Change>,
    pub log: Arc<SessionLog>,
}

impl Batch {
    /// How safe its commit has to be.
    #[must_use]
    pub fn sync(&self) -> Sync {
        let heavy = self.entries.iter().any(|e| matches!(e.kind, EventKind::Durable | EventKind::Urgent));
        let change = |c: &Change| match c {
            Change::InputAccepted { .. } | Change::InputHanded { .. } | Change::Permissions(_) => true,
            Change::Rule(change) => change.is_a_decision(),
            _ => false,
        };
        if heavy || self.changes.iter().any(change) { Sync::Full } else { Sync::Normal }
    }

    /// How many numbers it takes.
    #[must_use]
    pub fn journalled(&self) -> u64 {
        self.entries.iter().filter(|e| e.is_journalled()).count() as u64
    }

    /// It is in the journal, and nobody has heard of it but those who look at events on their way.
    pub(super) fn is_committed(&self) {
        if !self.log.watchers.are_here() {
            return;
        }
        let events = self.journalled();
        if events > 0 {
            let (from, to) = (self.first_seq, self.first_seq + events - 1);
            self.log.watchers.tell(&RunnerHop::Committed { from, to, at: monotonic_ns() });
        }
    }

    pub(super) fn is_only_announced(&self) -> bool {
        self.changes.is_empty() && self.journalled() == 0
    }
}
