//! Queries over a user's history, answered by the runner that owns it, and the shapes that REST returns for them.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// A query over the history of one user. Travels as JSON inside the link's request.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "query", rename_all = "snake_case")]
pub enum HistoryQuery {
    /// → `Vec<ChatSession>`, newest first.
    Sessions {
        #[serde(default)]
        workspace: Option<String>,
        #[serde(default)]
        include_children: bool,
        limit: u32,
    },
    /// → `ChatSession`
    Session { id: String },
    /// → `MessagePage`, oldest first, the newest `limit` before `before_idx`.
    Messages {
        id: String,
        #[serde(default)]
        before_idx: Option<u64>,
        limit: u32,
    },
    /// Full text → `Vec<SearchHit>`, best first.
    Search {
        q: String,
        #[serde(default)]
        session_id: Option<String>,
        limit: u32,
    },
    /// Sets the title → `ChatSession`
    Rename { id: String, title: String },
    /// What was removed from one conversation, or from all of them → `Removed` or null. Runners before it do not know it.
    Removed {
        #[serde(default)]
        session_id: Option<String>,
    },
}

/// Why messages are not kept any more. Older clients are to take a word that they do not know for "removed".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum RemovalReason {
    /// They were older than messages are kept (`journal.keep_messages_days`).
    Age,
    /// The user's journal was larger than it may be (`journal.max_size_mb`).
    Size,
}

/// What was removed from history, said wherever that history is shown. It is always the beginning of a conversation, in whole turns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Removed {
    #[ts(type = "number")]
    pub messages: u64,
    /// The turns that they belonged to.
    #[ts(type = "number")]
    pub turns: u64,
    /// When the oldest of them was written, in Unix milliseconds.
    #[ts(type = "number")]
    pub first_at: i64,
    /// When the newest of them was written, in Unix milliseconds.
    #[ts(type = "number")]
    pub last_at: i64,
    /// When they were removed, the last of them, in Unix milliseconds.
    #[ts(type = "number")]
    pub removed_at: i64,
    /// Each reason once.
    pub reasons: Vec<RemovalReason>,
}

impl Removed {
    /// Both together.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.messages += other.messages;
        self.turns += other.turns;
        self.first_at = self.first_at.min(other.first_at);
        self.last_at = self.last_at.max(other.last_at);
        self.removed_at = self.removed_at.max(other.removed_at);
        self.reasons.extend(other.reasons.iter().filter(|r| !self.reasons.contains(r)).copied().collect::<Vec<_>>());
        self
    }
}

/// Totals of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ChatStats {
    #[ts(type = "number")]
    pub tokens_in: u64,
    #[ts(type = "number")]
    pub tokens_out: u64,
    #[ts(type = "number")]
    pub cache_read: u64,
    #[ts(type = "number")]
    pub cache_write: u64,
    pub cost_usd: f64,
}

/// A conversation in history.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ChatSession {
    pub id: String,
    pub readable_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub parent_id: Option<String>,
    pub workspace_path: String,
    pub project_name: String,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub created_at: i64,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub updated_at: i64,
    pub is_child: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub source_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub stats: Option<ChatStats>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub provider: Option<String>,
    /// What is not in it any more; absent when all of it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub removed: Option<Removed>,
}

/// One part of a [`ChatMessage`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ChatMessagePart {
    pub id: String,
    pub part_type: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub tool_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub tool_call_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "unknown")]
    pub tool_input: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub tool_output: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub tool_status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub tool_title: Option<String>,
}

/// A message of history as REST returns it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ChatMessage {
    pub id: String,
    pub session_id: String,
    pub role: String,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub model_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub provider_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub tokens_input: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub tokens_output: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub cost: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub client_id: Option<String>,
    pub parts: Vec<ChatMessagePart>,
}

/// A full-text hit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct SearchHit {
    /// The harness that the conversation was held with.
    pub agent: String,
    pub source_path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub session_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub workspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub message_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub line_number: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub snippet: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub score: Option<f64>,
    /// Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub title: Option<String>,
}
