//! Commands of the `agent` channel. Each gets exactly one response.

use crate::ids::{ClientId, Cursor};
use crate::input::InputAnswer;
use crate::message::ImageInput;
use crate::model::ThinkingLevel;
use crate::permission::{NewPermissionRule, PermissionMode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use ts_rs::TS;

/// How a new session is to be made. Absent fields take the user's defaults.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(default)]
pub struct SessionConfig {
    /// `pi` unless configured.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub harness: Option<String>,
    /// Absolute path of the folder to work in.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub cwd: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub model: Option<String>,
    /// The agent's own session to continue (for pi: path of its session file).
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub continue_session: Option<String>,
    /// Name of a sandbox profile.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub sandbox: Option<String>,
    /// Where the agent shall run: `local`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub placement: Option<String>,
    /// What becomes of tool calls of which neither a rule nor the configuration says anything else; the configuration's default when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub permissions: Option<PermissionMode>,
}

/// Whether a delegation waits for the answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum DelegateMode {
    #[default]
    Sync,
    Async,
}

/// Default patience of a delegation in milliseconds.
pub const DELEGATE_TIMEOUT_MS: u64 = 300_000;

fn delegate_timeout() -> u64 {
    DELEGATE_TIMEOUT_MS
}

/// What a client asks for, tagged on `cmd`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "cmd", rename_all = "snake_case")]
pub enum Command {
    #[serde(rename = "session.create")]
    SessionCreate {
        #[serde(default)]
        config: SessionConfig,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        cursor: Option<Cursor>,
    },
    #[serde(rename = "session.attach")]
    SessionAttach {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        cursor: Option<Cursor>,
    },
    #[serde(rename = "session.detach")]
    SessionDetach,
    #[serde(rename = "session.close")]
    SessionClose,
    #[serde(rename = "session.delete")]
    SessionDelete,
    #[serde(rename = "session.restart")]
    SessionRestart,
    #[serde(rename = "session.new")]
    SessionNew {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        parent_session: Option<String>,
    },
    #[serde(rename = "session.switch")]
    SessionSwitch {
        session_path: String,
    },
    ListSessions,
    Prompt {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        images: Option<Vec<ImageInput>>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        client_id: Option<ClientId>,
    },
    Steer {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        client_id: Option<ClientId>,
    },
    FollowUp {
        message: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        client_id: Option<ClientId>,
    },
    Abort,
    InputResponse {
        request_id: String,
        #[serde(flatten)]
        answer: InputAnswer,
    },
    GetState,
    GetMessages {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        before_idx: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        limit: Option<u32>,
    },
    GetStats,
    GetModels {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        workdir: Option<String>,
    },
    GetCommands,
    GetForkPoints,
    Fork {
        entry_id: String,
    },
    SetModel {
        provider: String,
        model_id: String,
    },
    CycleModel,
    SetThinkingLevel {
        level: ThinkingLevel,
    },
    CycleThinkingLevel,
    SetAutoCompaction {
        enabled: bool,
    },
    SetAutoRetry {
        enabled: bool,
    },
    Compact {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        instructions: Option<String>,
    },
    AbortRetry,
    SetSessionName {
        name: String,
    },
    /// Runs a shell command in the agent's place. The model is told of it with the next prompt, unless it is excluded.
    Bash {
        command: String,
        #[serde(default)]
        exclude_from_context: bool,
    },
    /// Ends the command of `bash`.
    AbortBash,
    /// Writes the conversation as HTML, where the agent may write.
    ExportHtml {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        path: Option<String>,
    },
    Delegate {
        target_session_id: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        target_runner_id: Option<String>,
        message: String,
        #[serde(default)]
        mode: DelegateMode,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        sandbox_profile: Option<String>,
        #[serde(default = "delegate_timeout")]
        #[ts(type = "number")]
        timeout_ms: u64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, type = "number")]
        max_tokens: Option<u64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        context: Option<String>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        client_id: Option<ClientId>,
    },
    #[serde(rename = "delegate.cancel")]
    DelegateCancel {
        request_id: String,
    },
    /// What the configuration says of tool calls, and the rules that are remembered.
    #[serde(rename = "permission.list")]
    PermissionList,
    /// Remembers a rule.
    #[serde(rename = "permission.add")]
    PermissionAdd {
        rule: NewPermissionRule,
    },
    /// Forgets a rule.
    #[serde(rename = "permission.remove")]
    PermissionRemove {
        rule_id: String,
    },
    /// The session's own word for tool calls; what `SessionConfig.permissions` is at its creation.
    SetPermissions {
        mode: PermissionMode,
    },
    /// Takes a waiting input out of the queue.
    #[serde(rename = "queue.drop")]
    QueueDrop {
        client_id: ClientId,
    },
    /// Puts another input in the place of a waiting one. `new_client_id` makes it idempotent, as every `client_id` does.
    #[serde(rename = "queue.replace")]
    QueueReplace {
        client_id: ClientId,
        message: String,
        new_client_id: ClientId,
    },
}

impl Command {
    /// Every command's name on the wire, in the order of the protocol page.
    pub const NAMES: [&'static str; 41] = [
        "session.create",
        "session.attach",
        "session.detach",
        "session.close",
        "session.delete",
        "session.restart",
        "session.new",
        "session.switch",
        "list_sessions",
        "prompt",
        "steer",
        "follow_up",
        "abort",
        "input_response",
        "get_state",
        "get_messages",
        "get_stats",
        "get_models",
        "get_commands",
        "get_fork_points",
        "fork",
        "set_model",
        "cycle_model",
        "set_thinking_level",
        "cycle_thinking_level",
        "set_auto_compaction",
        "set_auto_retry",
        "compact",
        "abort_retry",
        "set_session_name",
        "bash",
        "abort_bash",
        "export_html",
        "delegate",
        "delegate.cancel",
        "permission.list",
        "permission.add",
        "permission.remove",
        "set_permissions",
        "queue.drop",
        "queue.replace",
    ];

    /// The command's name on the wire.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::SessionCreate { .. } => "session.create",
            Self::SessionAttach { .. } => "session.attach",
            Self::SessionDetach => "session.detach",
            Self::SessionClose => "session.close",
            Self::SessionDelete => "session.delete",
            Self::SessionRestart => "session.restart",
            Self::SessionNew { .. } => "session.new",
            Self::SessionSwitch { .. } => "session.switch",
            Self::ListSessions => "list_sessions",
            Self::Prompt { .. } => "prompt",
            Self::Steer { .. } => "steer",
            Self::FollowUp { .. } => "follow_up",
            Self::Abort => "abort",
            Self::InputResponse { .. } => "input_response",
            Self::GetState => "get_state",
            Self::GetMessages { .. } => "get_messages",
            Self::GetStats => "get_stats",
            Self::GetModels { .. } => "get_models",
            Self::GetCommands => "get_commands",
            Self::GetForkPoints => "get_fork_points",
            Self::Fork { .. } => "fork",
            Self::SetModel { .. } => "set_model",
            Self::CycleModel => "cycle_model",
            Self::SetThinkingLevel { .. } => "set_thinking_level",
            Self::CycleThinkingLevel => "cycle_thinking_level",
            Self::SetAutoCompaction { .. } => "set_auto_compaction",
            Self::SetAutoRetry { .. } => "set_auto_retry",
            Self::Compact { .. } => "compact",
            Self::AbortRetry => "abort_retry",
            Self::SetSessionName { .. } => "set_session_name",
            Self::Bash { .. } => "bash",
            Self::AbortBash => "abort_bash",
            Self::ExportHtml { .. } => "export_html",
            Self::Delegate { .. } => "delegate",
            Self::DelegateCancel { .. } => "delegate.cancel",
            Self::PermissionList => "permission.list",
            Self::PermissionAdd { .. } => "permission.add",
            Self::PermissionRemove { .. } => "permission.remove",
            Self::SetPermissions { .. } => "set_permissions",
            Self::QueueDrop { .. } => "queue.drop",
            Self::QueueReplace { .. } => "queue.replace",
        }
    }
}

/// A command with its address. `channel` is already taken off; `session_id` is `""` or `_system` where there is no session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct CommandFrame {
    /// Echoed in the response.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub id: Option<String>,
    #[serde(default)]
    pub session_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub runner_id: Option<String>,
    /// W3C trace context of whoever sends an input (`prompt`, `steer`, `follow_up`). A text that is none counts as none: octo begins a trace then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub traceparent: Option<String>,
    #[serde(flatten)]
    pub command: Command,
}
