//! What a session is doing: `get_state`, `list_sessions`, `get_stats`, and the data of `session.create`.

use crate::event::QueuedInput;
use crate::history::Removed;
use crate::ids::Epoch;
use crate::input::InputRequest;
use crate::model::{Model, ThinkingLevel};
use crate::permission::PermissionMode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// One word for a session's state in lists.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum SessionStatus {
    /// The agent is being started.
    Starting,
    #[default]
    Idle,
    Working,
    /// A question is open.
    NeedsInput,
    /// The agent failed; the next prompt starts it again.
    Error,
    /// No agent runs; the next prompt starts it.
    Closed,
    /// The runner is out of reach.
    Unreachable,
}

/// How queued messages are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub enum QueueMode {
    #[serde(rename = "all")]
    All,
    #[default]
    #[serde(rename = "one-at-a-time")]
    OneAtATime,
}

/// A tool that runs right now, with its newest output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "camelCase")]
pub struct RunningTool {
    pub tool_call_id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "unknown")]
    pub partial_output: Option<Value>,
}

/// What `get_state` returns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionState {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub model: Option<Model>,
    pub thinking_level: ThinkingLevel,
    pub is_streaming: bool,
    pub is_compacting: bool,
    pub steering_mode: QueueMode,
    pub follow_up_mode: QueueMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub session_file: Option<String>,
    pub session_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub session_name: Option<String>,
    pub auto_compaction_enabled: bool,
    #[ts(type = "number")]
    pub message_count: u64,
    #[ts(type = "number")]
    pub pending_message_count: u64,
    /// Open questions.
    pub pending_input: Vec<InputRequest>,
    /// The session's state in one word.
    pub status: SessionStatus,
    /// Inputs accepted and not yet handed to the agent.
    pub queued: Vec<QueuedInput>,
    /// Tools running right now, each with its newest output.
    pub running_tools: Vec<RunningTool>,
    /// The turn under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub turn_id: Option<String>,
    /// The folder the agent works in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub cwd: Option<String>,
    /// The session's own word for tool calls, else the configuration's; absent from runners before there were permissions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub permissions: Option<PermissionMode>,
}

/// One row of `list_sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct SessionSummary {
    pub session_id: String,
    /// The session's id in history; existing clients use it to look a conversation up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub hstry_id: Option<String>,
    pub state: SessionStatus,
    pub cwd: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub provider: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub model: Option<String>,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub last_activity: i64,
    /// Unix milliseconds.
    #[serde(default)]
    #[ts(type = "number")]
    pub created_at: i64,
    #[serde(default)]
    pub subscriber_count: u32,
    pub harness: String,
    pub epoch: Epoch,
    #[ts(type = "number")]
    pub seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub title: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub readable_id: Option<String>,
    #[serde(default)]
    #[ts(type = "number")]
    pub message_count: u64,
    /// Host pid of the agent process while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub pid: Option<u32>,
}

/// Data of the response to `list_sessions`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct SessionList {
    pub sessions: Vec<SessionSummary>,
}

/// Data of the response to `session.create` and `session.attach`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct SessionOpened {
    pub session_id: String,
    pub epoch: Epoch,
    /// The newest `seq` of the journal at that moment.
    #[ts(type = "number")]
    pub seq: u64,
    pub harness: String,
    /// Names of the commands and features (`images`, `permissions`, …) that the harness can do.
    pub capabilities: Vec<String>,
    pub state: SessionState,
    pub resumed: bool,
}

/// Token counts of `get_stats`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "camelCase")]
pub struct TokenStats {
    #[ts(type = "number")]
    pub input: u64,
    #[ts(type = "number")]
    pub output: u64,
    #[ts(type = "number")]
    pub cache_read: u64,
    #[ts(type = "number")]
    pub cache_write: u64,
    #[ts(type = "number")]
    pub total: u64,
}

/// What `get_stats` returns.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "camelCase")]
pub struct SessionStats {
    pub session_id: String,
    #[ts(type = "number")]
    pub user_messages: u64,
    #[ts(type = "number")]
    pub assistant_messages: u64,
    #[ts(type = "number")]
    pub tool_calls: u64,
    #[ts(type = "number")]
    pub tool_results: u64,
    #[ts(type = "number")]
    pub total_messages: u64,
    pub tokens: TokenStats,
    /// US dollars.
    pub cost: f64,
}

/// One row of `get_commands`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct SlashCommand {
    pub name: String,
    #[serde(default)]
    pub description: String,
    #[serde(rename = "type")]
    pub kind: String,
}

/// One row of `get_fork_points`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ForkPoint {
    pub entry_id: String,
    pub role: crate::message::Role,
    pub preview: String,
}

/// Data of the response to `fork`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Forked {
    pub text: String,
    pub cancelled: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub session_id: Option<String>,
}

/// Data of the response to `abort`: what was queued and now waits for the person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Aborted {
    pub parked: Vec<QueuedInput>,
}

/// A page of finished messages: `get_messages`, and the first event after an attach without a cursor.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct MessagePage {
    pub messages: Vec<crate::message::Message>,
    #[serde(default)]
    pub has_more: bool,
    /// What is not in the conversation any more; absent when all of it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub removed: Option<Removed>,
}

/// Most messages in one snapshot or page.
pub const MAX_PAGE_MESSAGES: u32 = 200;
/// Most bytes of messages in one snapshot.
pub const MAX_SNAPSHOT_BYTES: usize = 1024 * 1024;

/// What an attach without a cursor starts from (answer of the link's snapshot request).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    pub epoch: Epoch,
    pub messages: Vec<crate::message::Message>,
    /// Lies before the oldest open item; the replay goes on with the next `seq`.
    pub as_of: u64,
    pub has_more: bool,
    pub state: SessionState,
    /// What is not in the conversation any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
}
