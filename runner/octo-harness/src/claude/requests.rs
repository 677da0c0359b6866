//! Requests to Claude Code that it has not answered yet, each under an id of its own.

use crate::harness::{Outbox, Output};
use bytes::Bytes;
use octo_protocol::ThinkingLevel;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most requests without an answer at once.
pub const MAX_PENDING: usize = 1024;
/// What octo's ids begin with.
const ID_PREFIX: &str = "octo-";

/// What an answer is for. A `token` is the runner's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Purpose {
    /// `initialize`.
    Handshake,
    Probe {
        token: u64,
    },
    Abort {
        token: u64,
    },
    /// An interrupt of a run that began after the one that was aborted.
    AbortAgain,
    SetModel {
        token: u64,
        model: String,
    },
    /// Whether it thinks; answered by the effort that is set after it.
    Thinking,
    Effort {
        token: Option<u64>,
        level: ThinkingLevel,
    },
    Plain {
        token: u64,
    },
    /// Back to the mode that octo wants.
    Mode,
}

impl Purpose {
    /// The command of the runner that waits for it.
    #[must_use]
    pub fn token(&self) -> Option<u64> {
        match self {
            Self::Probe { token } | Self::Abort { token } | Self::SetModel { token, .. } | Self::Plain { token } => Some(*token),
            Self::Effort { token, .. } => *token,
            Self::Handshake | Self::AbortAgain | Self::Thinking | Self::Mode => None,
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

/// Writes one line to Claude Code. Only objects are ever written: anything else ends it.
pub fn write(line: &Value, out: &mut Outbox) {
    if line.is_object() {
        let mut line = line.to_string();
        line.push('\n');
        out.push(Output::Write(Bytes::from(line)));
    }
}

/// The line that answers a request of Claude Code.
#[must_use]
pub fn success(request_id: &str, response: Value) -> Value {
    json!({"type": "control_response", "response": {"subtype": "success", "request_id": request_id, "response": response}})
}

/// The line that refuses a request of Claude Code.
#[must_use]
pub fn failure(request_id: &str, error: &str) -> Value {
    json!({"type": "control_response", "response": {"subtype": "error", "request_id": request_id, "error": error}})
}

impl Requests {
    /// No room for another request of the runner.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Sends `{subtype, …fields}`.
    pub fn send(&mut self, purpose: Purpose, subtype: &str, fields: Value, out: &mut Outbox) {
        self.last += 1;
        let mut request = json!({"subtype": subtype});
        if let (Some(request), Value::Object(fields)) = (request.as_object_mut(), fields) {
            request.extend(fields);
        }
        self.pending.insert(self.last, purpose);
        write(&json!({"type": "control_request", "request_id": format!("{ID_PREFIX}{}", self.last), "request": request}), out);
    }

    /// Takes what an answer with this id is for; `None` when nobody waits for it.
    pub fn take(&mut self, id: &str) -> Option<Purpose> {
        let number: u64 = id.strip_prefix(ID_PREFIX)?.parse().ok()?;
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
