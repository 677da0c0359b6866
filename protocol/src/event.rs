//! Events of the `agent` channel.
//!
//! A payload is made once, in the runner: `{"event":"…", …, "turn_id":"…"}`. It is journalled, carried over the link and put into
//! its envelope as those very bytes; see [`crate::mux::agent::envelope`].

use crate::ids::{ClientId, Epoch};
use crate::input::InputRequest;
use crate::message::{ImageInput, Message, Role, StopReason, Usage};
use crate::model::ThinkingLevel;
use crate::permission::{DecidedBy, PermissionMode};
use crate::session::SessionState;
use crate::trace::TraceContext;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// What an agent is doing while it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    Generating,
    Thinking,
    ToolRunning,
    Compacting,
    Retrying,
    Initializing,
}

/// How an input reached its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum InputKind {
    Prompt,
    Steer,
    FollowUp,
}

/// Weight of a notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    Info,
    Warning,
    Error,
}

/// Why a compaction happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum CompactReason {
    Threshold,
    Overflow,
    Manual,
}

/// An input that waits in a queue, or was parked by `abort`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct QueuedInput {
    pub kind: InputKind,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub client_id: Option<ClientId>,
}

/// Health of an agent's process.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ProcessInfo {
    pub alive: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub pid: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub rss_bytes: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub cpu_pct: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub uptime_s: Option<u64>,
}

/// How far a session's messages have come; part of `agent.idle`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct MessageVersion {
    #[ts(type = "number")]
    pub version: u64,
    #[ts(type = "number")]
    pub message_count: u64,
}

/// A finished tool call of a message under way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct ToolCallEnd {
    pub id: String,
    pub name: String,
    #[ts(type = "unknown")]
    pub input: Value,
}

/// What happened, tagged on `event`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "event")]
#[expect(clippy::large_enum_variant, reason = "an event lives for a moment, on its way to JSON; a box would cost every one an allocation")]
pub enum Event {
    #[serde(rename = "session.created")]
    SessionCreated { resumed: bool, harness: String },
    #[serde(rename = "session.closed")]
    SessionClosed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<String>,
    },
    #[serde(rename = "session.restarted")]
    SessionRestarted { attempt: u32, reason: String },
    /// Not journalled.
    #[serde(rename = "session.unreachable")]
    SessionUnreachable { reason: String },
    /// Not journalled.
    #[serde(rename = "session.reachable")]
    SessionReachable,
    #[serde(rename = "input.accepted")]
    InputAccepted {
        kind: InputKind,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        client_id: Option<ClientId>,
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        images: Option<Vec<ImageInput>>,
    },
    #[serde(rename = "queue.changed")]
    QueueChanged { steering: Vec<QueuedInput>, follow_up: Vec<QueuedInput> },
    #[serde(rename = "session.title_changed")]
    SessionTitleChanged {
        title: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        readable_id: Option<String>,
    },
    /// Not journalled. Every 10 s to attached clients, and once more when the agent falls asleep; `head` is the journal's newest `seq`.
    #[serde(rename = "session.heartbeat")]
    SessionHeartbeat {
        process: ProcessInfo,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        head: Option<u64>,
    },
    #[serde(rename = "agent.idle")]
    AgentIdle {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        message_version: Option<MessageVersion>,
    },
    #[serde(rename = "agent.working")]
    AgentWorking {
        phase: Phase,
        /// For `tool_running` the tool's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        detail: Option<String>,
    },
    #[serde(rename = "agent.error")]
    AgentError {
        error: String,
        recoverable: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        phase: Option<Phase>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        code: Option<crate::response::ErrorCode>,
    },
    #[serde(rename = "agent.input_needed")]
    AgentInputNeeded { request: InputRequest },
    #[serde(rename = "agent.input_resolved")]
    AgentInputResolved {
        request_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        by: Option<String>,
    },
    /// A tool call was allowed or denied: by a rule or the policy without a question, else before the question's `agent.input_resolved`. What the policy allows
    /// is not told.
    #[serde(rename = "permission.decided")]
    PermissionDecided {
        request_id: String,
        allowed: bool,
        by: DecidedBy,
        tool: String,
        /// The command, path or address.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        subject: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        tool_call_id: Option<String>,
        /// The rule that decided, or that was made by the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        rule_id: Option<String>,
    },
    #[serde(rename = "config.permissions_changed")]
    PermissionsChanged { mode: PermissionMode },
    #[serde(rename = "stream.message_start")]
    MessageStart { message_id: String, role: Role },
    #[serde(rename = "stream.text_delta")]
    TextDelta { message_id: String, delta: String, content_index: u32 },
    #[serde(rename = "stream.thinking_delta")]
    ThinkingDelta { message_id: String, delta: String, content_index: u32 },
    #[serde(rename = "stream.tool_call_start")]
    ToolCallStart { message_id: String, tool_call_id: String, content_index: u32, name: String },
    #[serde(rename = "stream.tool_call_delta")]
    ToolCallDelta { message_id: String, tool_call_id: String, content_index: u32, delta: String },
    #[serde(rename = "stream.tool_call_end")]
    ToolCallEnd { message_id: String, tool_call_id: String, content_index: u32, tool_call: ToolCallEnd },
    #[serde(rename = "stream.message_end")]
    MessageEnd { message: Message },
    #[serde(rename = "stream.message_discarded")]
    MessageDiscarded { message_id: String, reason: String },
    #[serde(rename = "stream.done")]
    Done { reason: StopReason },
    /// Not journalled.
    #[serde(rename = "stream.resync_required")]
    ResyncRequired {
        reason: String,
        /// Numbers between the cursor and what is kept, where the cursor was older than that.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        dropped_count: Option<u64>,
    },
    #[serde(rename = "tool.start")]
    ToolStart {
        tool_call_id: String,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "unknown")]
        input: Option<Value>,
    },
    /// Not journalled; `partial_output` is everything so far.
    #[serde(rename = "tool.progress")]
    ToolProgress {
        tool_call_id: String,
        name: String,
        #[ts(type = "unknown")]
        partial_output: Value,
    },
    #[serde(rename = "tool.end")]
    ToolEnd {
        tool_call_id: String,
        name: String,
        #[ts(type = "unknown")]
        output: Value,
        is_error: bool,
        /// 0 when the server did not measure it (servers before octo).
        #[serde(default)]
        #[ts(type = "number")]
        duration_ms: u64,
    },
    #[serde(rename = "retry.start")]
    RetryStart {
        attempt: u32,
        max_attempts: u32,
        #[ts(type = "number")]
        delay_ms: u64,
        error: String,
    },
    #[serde(rename = "retry.end")]
    RetryEnd {
        success: bool,
        attempt: u32,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        final_error: Option<String>,
    },
    #[serde(rename = "compact.start")]
    CompactStart { reason: CompactReason },
    #[serde(rename = "compact.end")]
    CompactEnd {
        success: bool,
        will_retry: bool,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        error: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        summary: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        tokens_before: Option<u64>,
    },
    #[serde(rename = "config.model_changed")]
    ModelChanged { provider: String, model_id: String },
    #[serde(rename = "config.thinking_level_changed")]
    ThinkingLevelChanged { level: ThinkingLevel },
    #[serde(rename = "notify")]
    Notify { level: Level, message: String },
    #[serde(rename = "status")]
    Status {
        key: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        text: Option<String>,
    },
    #[serde(rename = "usage")]
    Usage { usage: Usage, session_total: Usage },
    /// Not journalled. What a client that attaches without a cursor gets first.
    #[serde(rename = "messages")]
    Messages {
        messages: Vec<Message>,
        /// Everything up to this `seq` is in `messages` and `state`; the replay goes on with the next.
        #[ts(type = "number")]
        as_of: u64,
        has_more: bool,
        state: Box<SessionState>,
        /// What is not in the conversation any more; absent when all of it is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        removed: Option<crate::history::Removed>,
    },
    /// Not journalled. Only between this and `replay.end` may `seq` jump.
    #[serde(rename = "replay.start")]
    ReplayStart {
        #[ts(type = "number")]
        after: u64,
    },
    /// Not journalled. The connection's cursor is now the `seq` that this frame's envelope carries; `count` events were replayed.
    #[serde(rename = "replay.end")]
    ReplayEnd {
        #[ts(type = "number")]
        count: u64,
    },
    /// Not journalled.
    #[serde(rename = "persisted")]
    Persisted {
        #[ts(type = "number")]
        message_count: u64,
    },
    #[serde(rename = "delegate.start")]
    DelegateStart { request_id: String, target_session_id: String, target_runner_id: String, mode: crate::command::DelegateMode },
    #[serde(rename = "delegate.delta")]
    DelegateDelta { request_id: String, delta: String },
    #[serde(rename = "delegate.end")]
    DelegateEnd {
        request_id: String,
        response: String,
        responder: String,
        #[ts(type = "number")]
        duration_ms: u64,
    },
    #[serde(rename = "delegate.error")]
    DelegateError { request_id: String, error: String, code: crate::response::ErrorCode },
}

impl Event {
    /// The event's name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SessionCreated { .. } => "session.created",
            Self::SessionClosed { .. } => "session.closed",
            Self::SessionRestarted { .. } => "session.restarted",
            Self::SessionUnreachable { .. } => "session.unreachable",
            Self::SessionReachable => "session.reachable",
            Self::InputAccepted { .. } => "input.accepted",
            Self::QueueChanged { .. } => "queue.changed",
            Self::SessionTitleChanged { .. } => "session.title_changed",
            Self::SessionHeartbeat { .. } => "session.heartbeat",
            Self::AgentIdle { .. } => "agent.idle",
            Self::AgentWorking { .. } => "agent.working",
            Self::AgentError { .. } => "agent.error",
            Self::AgentInputNeeded { .. } => "agent.input_needed",
            Self::AgentInputResolved { .. } => "agent.input_resolved",
            Self::PermissionDecided { .. } => "permission.decided",
            Self::PermissionsChanged { .. } => "config.permissions_changed",
            Self::MessageStart { .. } => "stream.message_start",
            Self::TextDelta { .. } => "stream.text_delta",
            Self::ThinkingDelta { .. } => "stream.thinking_delta",
            Self::ToolCallStart { .. } => "stream.tool_call_start",
            Self::ToolCallDelta { .. } => "stream.tool_call_delta",
            Self::ToolCallEnd { .. } => "stream.tool_call_end",
            Self::MessageEnd { .. } => "stream.message_end",
            Self::MessageDiscarded { .. } => "stream.message_discarded",
            Self::Done { .. } => "stream.done",
            Self::ResyncRequired { .. } => "stream.resync_required",
            Self::ToolStart { .. } => "tool.start",
            Self::ToolProgress { .. } => "tool.progress",
            Self::ToolEnd { .. } => "tool.end",
            Self::RetryStart { .. } => "retry.start",
            Self::RetryEnd { .. } => "retry.end",
            Self::CompactStart { .. } => "compact.start",
            Self::CompactEnd { .. } => "compact.end",
            Self::ModelChanged { .. } => "config.model_changed",
            Self::ThinkingLevelChanged { .. } => "config.thinking_level_changed",
            Self::Notify { .. } => "notify",
            Self::Status { .. } => "status",
            Self::Usage { .. } => "usage",
            Self::Messages { .. } => "messages",
            Self::ReplayStart { .. } => "replay.start",
            Self::ReplayEnd { .. } => "replay.end",
            Self::Persisted { .. } => "persisted",
            Self::DelegateStart { .. } => "delegate.start",
            Self::DelegateDelta { .. } => "delegate.delta",
            Self::DelegateEnd { .. } => "delegate.end",
            Self::DelegateError { .. } => "delegate.error",
        }
    }

    /// What the event means to journal, link and fan-out.
    #[must_use]
    pub fn kind(&self) -> EventKind {
        match self {
            Self::SessionHeartbeat { .. }
            | Self::SessionUnreachable { .. }
            | Self::SessionReachable
            | Self::ToolProgress { .. }
            | Self::Messages { .. }
            | Self::ReplayStart { .. }
            | Self::ReplayEnd { .. }
            | Self::Persisted { .. }
            | Self::ResyncRequired { .. } => EventKind::Ephemeral,
            Self::TextDelta { .. }
            | Self::ThinkingDelta { .. }
            | Self::ToolCallStart { .. }
            | Self::ToolCallDelta { .. }
            | Self::ToolCallEnd { .. }
            | Self::MessageStart { .. } => EventKind::Delta,
            Self::AgentInputNeeded { .. } | Self::AgentInputResolved { .. } => EventKind::Urgent,
            Self::MessageEnd { .. }
            | Self::MessageDiscarded { .. }
            | Self::Done { .. }
            | Self::AgentIdle { .. }
            | Self::AgentError { .. }
            | Self::InputAccepted { .. }
            | Self::SessionCreated { .. }
            | Self::SessionClosed { .. }
            | Self::SessionRestarted { .. } => EventKind::Durable,
            _ => EventKind::Normal,
        }
    }

    /// The message that a streaming event belongs to (its rows are pruned once that message is finished).
    #[must_use]
    pub fn message_id(&self) -> Option<&str> {
        match self {
            Self::MessageStart { message_id, .. }
            | Self::TextDelta { message_id, .. }
            | Self::ThinkingDelta { message_id, .. }
            | Self::ToolCallStart { message_id, .. }
            | Self::ToolCallDelta { message_id, .. }
            | Self::ToolCallEnd { message_id, .. }
            | Self::MessageDiscarded { message_id, .. } => Some(message_id),
            Self::MessageEnd { message } => Some(&message.id),
            _ => None,
        }
    }
}

/// What an event means to journal, link and fan-out. Goes over the link: variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EventKind {
    /// Journalled; pruned once its message is finished; commits with `synchronous=NORMAL`.
    Delta,
    /// Journalled and kept; `NORMAL`.
    Normal,
    /// Journalled and kept; commits with `FULL` before anyone sees it.
    Durable,
    /// Journalled, `FULL`, and flushed to sockets at once.
    Urgent,
    /// Never journalled, has no `seq`.
    Ephemeral,
}

/// The payload of an event: the event itself, and the turn and the trace it belongs to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct EventPayload {
    #[serde(flatten)]
    pub event: Event,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub turn_id: Option<String>,
    /// W3C trace context: on `input.accepted` that of the input, on the first delta of a turn and on its `agent.idle` or `agent.error` that of the turn.
    /// Always the last member, see [`TraceContext::stamped_on`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    #[ts(optional, type = "string")]
    pub traceparent: Option<TraceContext>,
}

impl EventPayload {
    /// A payload outside any turn.
    #[must_use]
    pub fn new(event: Event) -> Self {
        Self { event, turn_id: None, traceparent: None }
    }
}

impl From<Event> for EventPayload {
    fn from(event: Event) -> Self {
        Self::new(event)
    }
}

/// An event as a client gets it (`channel` is `agent`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct EventFrame {
    pub session_id: String,
    pub runner_id: String,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub ts: i64,
    /// Absent on frames of servers before octo.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub epoch: Option<Epoch>,
    /// Absent on events that are not journalled (of these only `replay.end` carries one: where the client now stands).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub seq: Option<u64>,
    #[serde(flatten)]
    pub payload: EventPayload,
}
