//! Requests to the agent that it has not answered yet, each under a number of its own.

use super::settings::Wish;
use super::wire;
use crate::harness::Outbox;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Most requests without an answer at once.
pub const MAX_PENDING: usize = 1024;

/// What an answer is for. A `token` is the runner's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Purpose {
    Initialize,
    Authenticate,
    /// `session/new`.
    New,
    /// `session/resume` or `session/load` of the conversation with this id.
    Resume {
        id: String,
    },
    /// A setting of the start, or one that a command asks for.
    Setting {
        token: Option<u64>,
        wish: Wish,
    },
    Prompt {
        token: u64,
    },
    Probe {
        token: u64,
    },
}

impl Purpose {
    /// The command of the runner that waits for it.
    #[must_use]
    pub fn token(&self) -> Option<u64> {
        match self {
            Self::Probe { token } => Some(*token),
            Self::Setting { token, .. } => *token,
            Self::Initialize | Self::Authenticate | Self::New | Self::Resume { .. } | Self::Prompt { .. } => None,
        }
    }
}

/// The requests under way.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    last: u64,
    pending: BTreeMap<u64, Purpose>,
}

impl Requests {
    /// No room for another request of the runner.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Sends a request.
    pub fn send(&mut self, purpose: Purpose, method: &str, params: &Value, out: &mut Outbox) {
        self.last += 1;
        self.pending.insert(self.last, purpose);
        wire::request(self.last, method, params, out);
    }

    /// Takes what an answer with this id is for; `None` when nobody waits for it.
    pub fn take(&mut self, id: &Value) -> Option<Purpose> {
        // Some agents give a number back as text.
        let number = id.as_u64().or_else(|| id.as_str().and_then(|text| text.parse().ok()))?;
        self.pending.remove(&number)
    }

    /// Whether an answer of this kind is under way.
    #[must_use]
    pub fn waits(&self, wanted: impl Fn(&Purpose) -> bool) -> bool {
        self.pending.values().any(wanted)
    }

    /// Everything without an answer, oldest first.
    pub fn drain(&mut self) -> Vec<Purpose> {
        std::mem::take(&mut self.pending).into_values().collect()
    }
}
