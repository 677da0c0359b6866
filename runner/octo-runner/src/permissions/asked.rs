//! What a permission asks for, read out of what any harness says of it.
//!
//! A harness puts into a permission's `metadata`: `tool`, and of `command`, `path` and `url` the one that the call is about. `truncated: true` says that
//! this one was cut short. `needs_person: true` says that only a person can answer (a plan to be approved), whatever the policy.

use octo_protocol::input::PermissionOption;
use octo_protocol::{InputRequest, PermissionMode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most bytes of a subject that a rule can name.
pub const MAX_SUBJECT: usize = 8 * 1024;
/// Where the subject of a call stands in its metadata.
const SUBJECTS: [&str; 3] = ["command", "path", "url"];

/// A permission that an agent asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub request_id: String,
    pub tool: String,
    /// The command, path or address.
    pub subject: Option<String>,
    /// The subject is whole, so that a rule may name it.
    pub is_whole: bool,
    pub tool_call_id: Option<String>,
    /// Only a person can answer.
    pub needs_person: bool,
    /// What the harness takes as an answer.
    pub options: Vec<PermissionOption>,
    /// Unix milliseconds at which it answers itself, and how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<(i64, PermissionMode)>,
}

impl Asked {
    /// Reads a request; `None` when it is no permission.
    #[must_use]
    pub fn of(request: &InputRequest) -> Option<Self> {
        let InputRequest::Permission { request_id, metadata, options, .. } = request else { return None };
        let metadata = metadata.as_ref().unwrap_or(&Value::Null);
        let text = |name: &str| metadata.get(name).and_then(Value::as_str).map(str::to_owned);
        let flag = |name: &str| metadata.get(name).and_then(Value::as_bool).unwrap_or(false);
        let subject = SUBJECTS.into_iter().find_map(text);
        Some(Self {
            request_id: request_id.clone(),
            tool: text("tool").unwrap_or_default(),
            is_whole: subject.as_ref().is_some_and(|subject| subject.len() <= MAX_SUBJECT) && !flag("truncated"),
            subject,
            tool_call_id: text("tool_call_id"),
            // What does not even say which tool it is for is not for a rule to decide.
            needs_person: flag("needs_person") || metadata.get("tool").and_then(Value::as_str).is_none_or(str::is_empty),
            options: options.clone().unwrap_or_default(),
            expires: None,
        })
    }
}
