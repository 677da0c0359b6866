//! The JSON that pi writes, as far as octo reads it. Unknown fields are skipped without being built.
//!
//! Source: pi's `docs/rpc.md`, `docs/message-types.md`, and recordings of 0.73, 0.87 and 1.5. Fields that a version leaves out are defaults here.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;

/// The answer to a command. `id` is the text that octo sent.
#[derive(Debug, Deserialize)]
pub struct Response<'a> {
    #[serde(default)]
    pub id: Option<Value>,
    #[serde(borrow, default)]
    pub command: Cow<'a, str>,
    #[serde(default)]
    pub success: bool,
    #[serde(borrow, default)]
    pub data: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<Value>,
}

/// `message_update`. Up to 0.83 it repeats the whole message twice (`message` and `assistantMessageEvent.partial`): neither is built.
#[derive(Debug, Deserialize)]
pub struct MessageUpdate<'a> {
    #[serde(rename = "assistantMessageEvent", borrow)]
    pub event: AssistantEvent<'a>,
    /// Present in the dialect of cumulative snapshots.
    #[serde(default)]
    pub message: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AssistantEvent<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Cow<'a, str>,
    #[serde(default)]
    pub content_index: u32,
    #[serde(borrow, default)]
    pub delta: Cow<'a, str>,
    /// Of `toolcall_start` since 0.84.
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub tool_name: Cow<'a, str>,
    #[serde(borrow, default)]
    pub tool_call: Option<&'a RawValue>,
    /// Only looked into by `toolcall_start` up to 0.83, for the call's id and name.
    #[serde(borrow, default)]
    pub partial: Option<&'a RawValue>,
}

/// The message so far, as `toolcall_start` up to 0.83 needs it.
#[derive(Debug, Deserialize)]
pub struct Partial<'a> {
    #[serde(borrow, default)]
    pub content: Vec<PartialBlock<'a>>,
}

#[derive(Debug, Deserialize)]
pub struct PartialBlock<'a> {
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToolCall {
    pub id: String,
    pub name: String,
    pub arguments: Value,
}

/// `message_start`, before it is known whether the message is of interest.
#[derive(Debug, Deserialize)]
pub struct MessageHead<'a> {
    #[serde(borrow)]
    pub message: RoleHead<'a>,
}

#[derive(Debug, Deserialize)]
pub struct RoleHead<'a> {
    #[serde(borrow, default)]
    pub role: Cow<'a, str>,
}

/// `message_end`.
#[derive(Debug, Deserialize)]
pub struct MessageEvent {
    pub message: Message,
}

/// A message of any role; fields of other roles are defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Message {
    pub role: String,
    pub content: Value,
    pub provider: Option<String>,
    pub model: Option<String>,
    pub usage: Option<Usage>,
    pub stop_reason: Option<String>,
    pub error_message: Option<String>,
    /// Unix milliseconds.
    pub timestamp: Option<f64>,
    pub tool_call_id: Option<String>,
    pub tool_name: Option<String>,
    pub details: Option<Value>,
    pub is_error: bool,
    pub duration_ms: Option<f64>,
    /// Of branch and compaction summaries.
    pub summary: Option<String>,
    pub tokens_before: Option<f64>,
    /// Of `custom`.
    pub custom_type: Option<String>,
    pub display: Option<bool>,
    /// Of `bashExecution`.
    pub command: Option<String>,
    pub output: Option<String>,
    pub exit_code: Option<i64>,
    pub cancelled: bool,
    pub truncated: bool,
    #[serde(rename = "excludeFromContext")]
    pub excluded: bool,
}

/// `bash_execution_update`, since 0.82.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ShellUpdate<'a> {
    #[serde(borrow)]
    pub delta: std::borrow::Cow<'a, str>,
}

/// One block of a message's content.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Block {
    #[serde(rename = "type")]
    pub kind: String,
    pub text: String,
    pub thinking: String,
    pub id: String,
    pub name: String,
    pub arguments: Option<Value>,
    pub data: String,
    pub mime_type: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Usage {
    pub input: f64,
    pub output: f64,
    pub cache_read: f64,
    pub cache_write: f64,
    pub cost: Option<Cost>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Cost {
    pub total: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AgentEnd {
    /// Since 0.80.4.
    pub will_retry: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AgentSettled {
    /// Since 1.1.
    pub aborted: bool,
}

/// `tool_execution_start`, `_update` and `_end`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ToolExecution {
    pub tool_call_id: String,
    pub tool_name: String,
    pub args: Option<Value>,
    pub partial_result: Option<ToolOutput>,
    pub result: Option<ToolOutput>,
    pub is_error: bool,
    pub duration_ms: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToolOutput {
    pub content: Value,
    pub details: Option<Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct QueueUpdate {
    pub steering: Vec<String>,
    pub follow_up: Vec<String>,
}

/// `compaction_start` and `compaction_end`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Compaction {
    pub reason: String,
    pub result: Option<CompactionResult>,
    pub aborted: bool,
    pub will_retry: bool,
    pub error_message: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct CompactionResult {
    pub summary: Option<String>,
    pub tokens_before: Option<f64>,
}

/// `auto_retry_start` and `auto_retry_end`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Retry {
    pub attempt: u32,
    pub max_attempts: u32,
    pub delay_ms: f64,
    pub error_message: String,
    pub success: bool,
    pub final_error: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct SessionInfo {
    pub name: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Level {
    pub level: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExtensionError {
    pub extension_path: String,
    pub event: String,
    pub error: String,
}

/// `extension_ui_request`: dialogs and notices.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct UiRequest {
    pub id: String,
    pub method: String,
    pub title: String,
    pub message: String,
    pub options: Vec<String>,
    pub placeholder: Option<String>,
    pub prefill: Option<String>,
    /// Milliseconds.
    pub timeout: Option<f64>,
    pub notify_type: Option<String>,
    pub status_key: String,
    pub status_text: Option<String>,
    pub widget_key: String,
    pub widget_lines: Option<Vec<String>>,
}

/// Data of the answer to `get_state`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct State {
    pub model: Option<Model>,
    pub thinking_level: Option<String>,
    pub is_streaming: bool,
    pub is_compacting: bool,
    pub steering_mode: Option<String>,
    pub follow_up_mode: Option<String>,
    pub session_file: Option<String>,
    pub session_id: Option<String>,
    pub session_name: Option<String>,
    pub auto_compaction_enabled: bool,
    pub message_count: u64,
    pub pending_message_count: u64,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Model {
    pub id: String,
    pub name: String,
    pub api: String,
    pub provider: String,
    pub reasoning: bool,
    pub input: Vec<String>,
    pub context_window: f64,
    pub max_tokens: f64,
    pub cost: Option<octo_protocol::model::ModelCost>,
}

/// Unsigned from JavaScript's only kind of number: negative and not-a-number become 0, too large the largest.
#[must_use]
pub fn unsigned(number: f64) -> u64 {
    number as u64
}

/// A level as octo knows it; levels beyond `xhigh` are `xhigh`.
#[must_use]
pub fn thinking_level(level: &str) -> Option<octo_protocol::ThinkingLevel> {
    use octo_protocol::ThinkingLevel as L;
    Some(match level {
        "off" => L::Off,
        "minimal" => L::Minimal,
        "low" => L::Low,
        "medium" => L::Medium,
        "high" => L::High,
        "xhigh" | "max" => L::Xhigh,
        _ => return None,
    })
}

impl From<Model> for octo_protocol::Model {
    fn from(model: Model) -> Self {
        Self {
            name: if model.name.is_empty() { model.id.clone() } else { model.name },
            id: model.id,
            api: model.api,
            provider: model.provider,
            reasoning: model.reasoning,
            input: model.input,
            context_window: unsigned(model.context_window),
            max_tokens: unsigned(model.max_tokens),
            cost: model.cost,
        }
    }
}
