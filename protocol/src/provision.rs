//! What the control plane gives a runner with a session so that its agent can reach its models. Never shown to a client.

use crate::PermissionMode;
use crate::model::ModelCost;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A provider that the session may use through octo-eavs, without any secret.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvisionedProvider {
    pub name: String,
    /// `anthropic-messages`, `openai-completions` or `openai-responses`.
    pub api: String,
    pub models: Vec<ProvisionedModel>,
}

/// A model of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProvisionedModel {
    pub id: String,
    pub name: String,
    #[serde(default)]
    pub reasoning: bool,
    #[serde(default)]
    pub input: Vec<String>,
    #[serde(default)]
    pub context_window: u64,
    #[serde(default)]
    pub max_tokens: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<ModelCost>,
}

/// The session's own virtual key and the providers behind octo-eavs.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Provision {
    /// Valid only at octo-eavs and only for this session; revoked when the session is deleted.
    pub eavs_key: String,
    pub providers: Vec<ProvisionedProvider>,
    /// Provider and model of a session that names none.
    pub default_provider: String,
    pub default_model: String,
    /// Further environment for the agent (configuration, never secrets).
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// How the session's agent is started. Absent where the server does not say (an older one, or the agent is not in its configuration any more): then it
    /// is what the session had before, else one of the agents that the runner knows by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub harness: Option<ProvisionedHarness>,
}

/// An agent of the server's registry.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProvisionedHarness {
    /// As sessions name it in `config.harness`.
    pub name: String,
    /// What is spoken with it: `pi-rpc`, `claude-stream-json` or `bridge`. A runner refuses one that it does not speak.
    pub protocol: String,
    /// Its program: a name, looked for in octo's own agents and in PATH, or an absolute path.
    pub command: String,
    /// Arguments after octo's own; no secrets.
    #[serde(default)]
    pub args: Vec<String>,
    /// Its environment, under what the session and octo itself set. May hold secrets.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// What becomes of its tool calls where neither the session nor a rule says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<PermissionMode>,
    /// The sandbox profile of sessions that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sandbox: Option<String>,
    /// Where its bridge answers, for the protocol `bridge`. The bridge's token is in `env`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Provision {
    /// The agent `name` as the server wants it started.
    #[must_use]
    pub fn harness_named(&self, name: &str) -> Option<&ProvisionedHarness> {
        self.harness.as_ref().filter(|harness| harness.name == name)
    }
}

impl fmt::Debug for ProvisionedHarness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProvisionedHarness")
            .field("name", &self.name)
            .field("protocol", &self.protocol)
            .field("command", &self.command)
            .field("args", &self.args)
            .field("env", &self.env.keys())
            .field("permissions", &self.permissions)
            .field("sandbox", &self.sandbox)
            .field("url", &self.url)
            .finish()
    }
}

impl fmt::Debug for Provision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provision")
            .field("eavs_key", &"…")
            .field("providers", &self.providers)
            .field("default_provider", &self.default_provider)
            .field("default_model", &self.default_model)
            .field("env", &self.env.keys())
            .field("harness", &self.harness)
            .finish()
    }
}
