//! The JSON that Claude Code writes, as far as octo reads it. Unknown fields are skipped without being built.
//!
//! Source: recordings of 2.1.330 and the declarations of its own SDK. The order of keys is not fixed: `type` may stand anywhere. Fields that a version
//! leaves out are defaults here.

use octo_protocol::message::{StopReason, Usage as Canonical};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// What a line of type `system`, or a request, is asked next.
#[derive(Debug, Deserialize)]
pub struct Subtype<'a> {
    #[serde(borrow, default)]
    pub subtype: Cow<'a, str>,
}

/// `stream_event`: an event of the model's own stream.
#[derive(Debug, Deserialize)]
pub struct StreamEvent<'a> {
    #[serde(borrow)]
    pub event: Sse<'a>,
    /// The call of the sub-agent that it is of.
    #[serde(default)]
    pub parent_tool_use_id: Option<String>,
    /// With `message_stop`: the stream broke off, and Claude Code closed it itself.
    #[serde(default)]
    pub abandoned_blocks: Option<serde::de::IgnoredAny>,
}

#[derive(Debug, Deserialize)]
pub struct Sse<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Cow<'a, str>,
    #[serde(default)]
    pub index: u32,
    #[serde(borrow, default)]
    pub delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub content_block: Option<BlockHead<'a>>,
    #[serde(borrow, default)]
    pub message: Option<MessageHead<'a>>,
    #[serde(default)]
    pub usage: Option<Usage>,
}

#[derive(Debug, Deserialize)]
pub struct Delta<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub text: Cow<'a, str>,
    #[serde(borrow, default)]
    pub thinking: Cow<'a, str>,
    #[serde(borrow, default)]
    pub partial_json: Cow<'a, str>,
    /// Of `message_delta`.
    #[serde(borrow, default)]
    pub stop_reason: Option<Cow<'a, str>>,
}

#[derive(Debug, Deserialize)]
pub struct BlockHead<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Cow<'a, str>,
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub name: Cow<'a, str>,
}

#[derive(Debug, Deserialize)]
pub struct MessageHead<'a> {
    #[serde(borrow, default)]
    pub id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub model: Cow<'a, str>,
    #[serde(default)]
    pub usage: Option<Usage>,
}

/// `assistant`: one finished block of a message, or a few.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Assistant {
    pub message: AssistantMessage,
    pub parent_tool_use_id: Option<String>,
    /// It was cut short by an interrupt.
    pub aborted: bool,
    /// It is no message of the model but the report of a failed request.
    pub is_api_error_message: bool,
    pub uuid: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct AssistantMessage {
    pub id: String,
    pub model: String,
    pub content: Value,
    pub stop_reason: Option<String>,
    pub usage: Option<Usage>,
}

/// One block of a message's content.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Block {
    #[serde(rename = "type")]
    pub kind: String,
    pub text: String,
    pub thinking: String,
    pub id: String,
    pub name: String,
    pub input: Value,
}

/// `user`: results of tools, notices, and the summary of a compaction.
#[derive(Debug, Deserialize)]
pub struct User<'a> {
    #[serde(default)]
    pub message: UserMessage,
    #[serde(default)]
    pub parent_tool_use_id: Option<String>,
    #[serde(borrow, default)]
    pub tool_use_result: Option<&'a RawValue>,
    #[serde(rename = "isReplay", default)]
    pub is_replay: bool,
    #[serde(rename = "isSynthetic", default)]
    pub is_synthetic: bool,
    #[serde(default)]
    pub uuid: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct UserMessage {
    pub content: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct ToolResult {
    #[serde(rename = "type")]
    pub kind: String,
    pub tool_use_id: String,
    pub content: Value,
    pub is_error: bool,
}

/// What a tool that changed a file tells beside its result.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Patched {
    pub structured_patch: Vec<Hunk>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Hunk {
    pub old_start: u64,
    pub old_lines: u64,
    pub new_start: u64,
    pub new_lines: u64,
    pub lines: Vec<String>,
}

/// `result`: a turn is over. `is_error` is the truth: a failed request has the subtype `success`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TurnResult {
    pub subtype: String,
    pub is_error: bool,
    pub result: Option<Value>,
    pub errors: Vec<Value>,
    pub stop_reason: Option<String>,
    pub terminal_reason: Option<String>,
    pub session_id: Option<String>,
    pub usage: Option<Usage>,
    /// All that the conversation has used, by model.
    #[serde(rename = "modelUsage")]
    pub model_usage: BTreeMap<String, ModelUsage>,
    pub model_usage_since_last_result: Option<BTreeMap<String, ModelUsage>>,
    pub user_message_uuid: Option<String>,
    /// The slash command that the turn was.
    pub local_command: Option<String>,
    pub queued_turn_count: Option<f64>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Usage {
    pub input_tokens: Option<f64>,
    pub output_tokens: Option<f64>,
    pub cache_read_input_tokens: Option<f64>,
    pub cache_creation_input_tokens: Option<f64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ModelUsage {
    pub input_tokens: f64,
    pub output_tokens: f64,
    pub cache_read_input_tokens: f64,
    pub cache_creation_input_tokens: f64,
    #[serde(rename = "costUSD")]
    pub cost_usd: f64,
    /// `unknown` when Claude Code guesses the price.
    pub cost_basis: Option<String>,
}

/// `system/init`, at the start of every turn.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Init {
    pub session_id: Option<String>,
    pub model: Option<String>,
    #[serde(rename = "permissionMode")]
    pub permission_mode: Option<String>,
}

/// `system/status`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Status {
    pub status: Option<String>,
    pub compact_result: Option<String>,
    pub compact_error: Option<String>,
    #[serde(rename = "permissionMode")]
    pub permission_mode: Option<String>,
}

/// `system/api_retry`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Retry {
    pub attempt: u32,
    pub max_retries: u32,
    pub retry_delay_ms: f64,
    pub error_status: Option<f64>,
    pub error: Option<Value>,
    /// The call of the sub-agent whose request it is.
    pub parent_tool_use_id: Option<String>,
}

/// `system/compact_boundary`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Boundary {
    pub compact_metadata: BoundaryMetadata,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct BoundaryMetadata {
    pub trigger: String,
    pub pre_tokens: Option<f64>,
}

/// `system/task_started`, `task_progress`, `task_updated`, `task_notification`: of a sub-agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Task {
    pub task_id: String,
    /// The call that started it.
    pub tool_use_id: String,
    pub description: String,
    pub is_backgrounded: bool,
    /// Of `task_updated`: what has changed.
    pub patch: TaskPatch,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TaskPatch {
    pub status: Option<String>,
    pub is_backgrounded: Option<bool>,
}

/// `system/session_title_changed`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Title {
    pub title: Option<String>,
}

/// `system/permission_denied`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Denied {
    pub tool_name: String,
    pub message: String,
}

/// `command_lifecycle`: what became of a user message that was sent with a uuid.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Lifecycle {
    pub command_uuid: String,
    pub state: String,
}

/// `control_response`: the answer to a request of octo.
#[derive(Debug, Deserialize)]
pub struct ControlResponse<'a> {
    #[serde(borrow)]
    pub response: Answer<'a>,
}

#[derive(Debug, Deserialize)]
pub struct Answer<'a> {
    #[serde(borrow, default)]
    pub subtype: Cow<'a, str>,
    #[serde(borrow, default)]
    pub request_id: Cow<'a, str>,
    #[serde(borrow, default)]
    pub response: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<Value>,
    #[serde(default)]
    pub error_code: Option<String>,
}

/// `control_request`: a request of Claude Code.
#[derive(Debug, Deserialize)]
pub struct ControlRequest<'a> {
    #[serde(default)]
    pub request_id: String,
    #[serde(borrow)]
    pub request: &'a RawValue,
}

/// `can_use_tool`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct CanUseTool {
    pub tool_name: String,
    pub display_name: Option<String>,
    pub input: Value,
    pub description: Option<String>,
    pub tool_use_id: Option<String>,
    pub permission_suggestions: Option<Vec<Value>>,
    pub blocked_path: Option<String>,
    pub decision_reason: Option<String>,
    pub suppress_always_allow_rule: Option<bool>,
    /// The sub-agent that wants it.
    pub agent_id: Option<String>,
    /// Whose tool it is.
    pub mcp_server: Option<McpServer>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct McpServer {
    pub name: String,
    pub source: String,
}

/// `mcp_message`: a message for an MCP server that octo is.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct McpMessage {
    pub server_name: String,
    pub message: Value,
}

/// `control_cancel_request`: an open question is withdrawn.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Cancelled {
    pub request_id: String,
}

/// The answer to `initialize`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Initialized {
    pub commands: Vec<SlashCommand>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct SlashCommand {
    pub name: String,
    pub description: String,
}

/// A count as it stands in JSON that JavaScript wrote.
#[must_use]
pub fn unsigned(number: f64) -> u64 {
    // The cast saturates; a number that is none becomes 0.
    number as u64
}

/// Claude's word for why a model stopped; `None` for words that are unknown.
#[must_use]
pub fn stop_reason(reason: &str) -> Option<StopReason> {
    Some(match reason {
        "end_turn" | "stop_sequence" | "pause_turn" | "refusal" => StopReason::Stop,
        "max_tokens" | "model_context_window_exceeded" => StopReason::Length,
        "tool_use" => StopReason::ToolUse,
        _ => return None,
    })
}

impl Usage {
    /// Counts of `later` in place of those that are here.
    pub fn update(&mut self, later: Self) {
        self.input_tokens = later.input_tokens.or(self.input_tokens);
        self.output_tokens = later.output_tokens.or(self.output_tokens);
        self.cache_read_input_tokens = later.cache_read_input_tokens.or(self.cache_read_input_tokens);
        self.cache_creation_input_tokens = later.cache_creation_input_tokens.or(self.cache_creation_input_tokens);
    }

    /// As octo counts; `None` when nothing was spent.
    #[must_use]
    pub fn canonical(&self) -> Option<Canonical> {
        let counts = [self.input_tokens, self.output_tokens, self.cache_read_input_tokens, self.cache_creation_input_tokens];
        let [input, output, read, write] = counts.map(|count| unsigned(count.unwrap_or(0.0)));
        let spent = [input, output, read, write].iter().any(|count| *count > 0);
        spent.then_some(Canonical {
            input_tokens: input,
            output_tokens: output,
            cache_read_tokens: Some(read),
            cache_write_tokens: Some(write),
            cost_usd: None,
        })
    }
}

/// What all models used together; `None` when that is nothing. The cost is left out where Claude Code guesses it.
#[must_use]
pub fn spent(models: &BTreeMap<String, ModelUsage>) -> Option<Canonical> {
    let mut sum = Canonical::default();
    for used in models.values() {
        let guessed = used.cost_basis.as_deref() == Some("unknown");
        sum.add(&Canonical {
            input_tokens: unsigned(used.input_tokens),
            output_tokens: unsigned(used.output_tokens),
            cache_read_tokens: Some(unsigned(used.cache_read_input_tokens)),
            cache_write_tokens: Some(unsigned(used.cache_creation_input_tokens)),
            cost_usd: (!guessed && used.cost_usd.is_finite()).then_some(used.cost_usd),
        });
    }
    let counts = [sum.input_tokens, sum.output_tokens, sum.cache_read_tokens.unwrap_or(0), sum.cache_write_tokens.unwrap_or(0)];
    counts.iter().any(|count| *count > 0).then_some(sum)
}
