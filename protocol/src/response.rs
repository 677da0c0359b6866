//! Responses: exactly one for each command.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

/// The closed list of error codes. Goes over the link: variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    SessionNotFound,
    InvalidRequest,
    InvalidState,
    Unsupported,
    PermissionDenied,
    NotReady,
    Busy,
    RunnerUnavailable,
    AgentFailed,
    Timeout,
    Cancelled,
    LimitExceeded,
    Conflict,
    Internal,
}

impl ErrorCode {
    /// The code as it stands on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SessionNotFound => "session_not_found",
            Self::InvalidRequest => "invalid_request",
            Self::InvalidState => "invalid_state",
            Self::Unsupported => "unsupported",
            Self::PermissionDenied => "permission_denied",
            Self::NotReady => "not_ready",
            Self::Busy => "busy",
            Self::RunnerUnavailable => "runner_unavailable",
            Self::AgentFailed => "agent_failed",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::LimitExceeded => "limit_exceeded",
            Self::Conflict => "conflict",
            Self::Internal => "internal",
        }
    }
}

/// A refusal: a code from the closed list and a sentence a person can act on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ProtocolError {
    pub code: ErrorCode,
    pub message: String,
}

impl ProtocolError {
    /// A refusal with `code` and a sentence.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// No session of that id. The text holds `SessionNotFound`: existing clients look for it to create the session again.
    pub fn session_not_found(session: impl std::fmt::Display) -> Self {
        Self::new(ErrorCode::SessionNotFound, format!("SessionNotFound: there is no session {session}; create it with session.create"))
    }

    /// The harness cannot do this.
    pub fn unsupported(command: &str, harness: &str) -> Self {
        Self::new(ErrorCode::Unsupported, format!("{harness} does not support {command}; the session's capabilities list what it can do"))
    }
}

/// The result of a command before it is addressed: its `data`, or a refusal.
pub type CommandResult = Result<Value, ProtocolError>;

/// A response as a client gets it: an event of the `agent` channel named `response`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Response {
    pub session_id: String,
    pub runner_id: String,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub ts: i64,
    /// Always `response`.
    pub event: ResponseTag,
    /// The command's `id`, `""` if none was sent.
    pub id: String,
    /// The command's own name.
    pub cmd: String,
    pub success: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "unknown")]
    pub data: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub code: Option<ErrorCode>,
}

/// The constant `response`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub enum ResponseTag {
    #[default]
    #[serde(rename = "response")]
    Response,
}

impl Response {
    /// The response to a command of which `id` and `cmd` are known.
    #[must_use]
    pub fn new(session_id: String, runner_id: String, ts: i64, id: Option<String>, cmd: impl Into<String>, result: CommandResult) -> Self {
        let (success, data, error, code) = match result {
            Ok(data) => (true, Some(data), None, None),
            Err(refusal) => (false, None, Some(refusal.message), Some(refusal.code)),
        };
        Self {
            session_id,
            runner_id,
            ts,
            event: ResponseTag::Response,
            id: id.unwrap_or_default(),
            cmd: cmd.into(),
            success,
            data,
            error,
            code,
        }
    }
}
