//! What the control plane gives a runner with a session so that its agent can reach its models. Never shown to a client.

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
}

impl fmt::Debug for Provision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provision")
            .field("eavs_key", &"…")
            .field("providers", &self.providers)
            .field("default_provider", &self.default_provider)
            .field("default_model", &self.default_model)
            .field("env", &self.env.keys())
            .finish()
    }
}
