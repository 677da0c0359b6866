//! Whether an agent starts: what `octo agents doctor` asks `octo-runner ask` on its standard input, and the answer on its standard output, each one
//! JSON object.

use crate::provision::Provision;
use serde::{Deserialize, Serialize};

/// Start this agent as for a session, wait for its handshake, end it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AgentQuestion {
    /// As `config.harness` of a session.
    pub harness: String,
    /// The folder that it works in.
    pub cwd: String,
    /// How long it may take for its handshake.
    pub handshake_ms: u64,
    pub provision: Provision,
}

/// What came of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AgentAnswer {
    /// How long it took from its start to its handshake, when it got there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ready_after_ms: Option<u64>,
    /// Why it did not, with the last that it said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}
