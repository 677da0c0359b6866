//! Permissions: what becomes of a tool call that an agent asks for, and the rules that people have octo remember.
//!
//! The runner that owns the session decides. What decides, the first that says something:
//!
//! 1. `deny` for the tool in the configuration (`permissions.tools`), which no rule lifts;
//! 2. of the rules that match, the most specific ([`PermissionRule`]); of equally specific ones the strictest;
//! 3. the configuration's word for the tool;
//! 4. the session's own word (`SessionConfig.permissions`, `set_permissions`), else the configuration's word for its agent, else its default, else that of
//!    the agent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use ts_rs::TS;

/// What becomes of a tool call. Ordered from the most lenient to the strictest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum PermissionMode {
    /// It runs.
    #[default]
    Allow,
    /// A person is asked.
    Ask,
    /// It does not run; the agent is told.
    Deny,
}

impl PermissionMode {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Ask => "ask",
            Self::Deny => "deny",
        }
    }
}

impl std::str::FromStr for PermissionMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "allow" => Ok(Self::Allow),
            "ask" => Ok(Self::Ask),
            "deny" => Ok(Self::Deny),
            other => Err(format!("{other:?} is none of allow, ask, deny")),
        }
    }
}

/// What a new rule is to say. A member that is absent matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct NewPermissionRule {
    pub mode: PermissionMode,
    /// The tool's name, whatever its capitals.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub tool: Option<String>,
    /// Absolute path of the folder that the session works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub workspace: Option<String>,
    /// Exactly this command, path or address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub subject: Option<String>,
    /// Milliseconds for which it holds; for ever when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub expires_in_ms: Option<u64>,
}

/// A remembered rule of one user. The more of `subject`, `tool` and `workspace` it names, in this order, the more specific it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct PermissionRule {
    pub id: String,
    pub mode: PermissionMode,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub tool: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub workspace: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub subject: Option<String>,
    /// Unix milliseconds.
    #[ts(type = "number")]
    pub created_at: i64,
    /// The account that made it.
    pub created_by: String,
    /// The session in whose dialog it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub session_id: Option<String>,
    /// Unix milliseconds from which on it does not hold any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub expires_at: Option<i64>,
    /// How many calls it has decided.
    #[ts(type = "number")]
    pub uses: u64,
    /// Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub last_used_at: Option<i64>,
}

/// What the configuration says (`[permissions]`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct PermissionPolicy {
    /// For a call of which nothing else is said. Absent: `allow` for an agent that asks for every call (pi), `ask` for one that asks by rules of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub default: Option<PermissionMode>,
    /// For single tools.
    pub tools: BTreeMap<String, PermissionMode>,
    /// Milliseconds after which a question that nobody answers answers itself; never when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional, type = "number")]
    pub timeout_ms: Option<u64>,
    /// How it answers itself then: `allow` or `deny`.
    pub on_timeout: PermissionMode,
}

/// Data of the response to `permission.list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Permissions {
    pub policy: PermissionPolicy,
    /// Those that hold, oldest first.
    pub rules: Vec<PermissionRule>,
}

/// Who decided about a tool call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum DecidedBy {
    /// A remembered rule.
    Rule,
    /// The configuration, or the session's own word.
    Policy,
    /// A person who was asked.
    User,
    /// Nobody answered in time.
    Timeout,
}
