//! Commands that pi has not answered yet, each under an id of its own.

use crate::harness::{ForkedAway, Outbox, Output};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most commands without an answer at once.
pub const MAX_PENDING: usize = 1024;
/// What octo's ids begin with.
const ID_PREFIX: &str = "octo-";

/// What an answer is for. A `token` is the runner's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Purpose {
    /// The first `get_state`.
    Handshake,
    /// Totals of the conversation that is continued.
    Totals,
    /// Has the run settled?
    Settling,
    /// What became of the conversation after fork, new or switch.
    Refresh,
    Probe {
        token: u64,
    },
    Input {
        token: u64,
    },
    Abort {
        token: u64,
    },
    AbortAgain,
    ClearQueue,
    /// What came into the queue behind an abort's clearing; the abort is answered with it.
    ClearAgain {
        token: u64,
    },
    Models {
        token: Option<u64>,
    },
    Commands {
        token: Option<u64>,
    },
    Stats {
        token: u64,
    },
    ForkPoints {
        token: u64,
    },
    /// The user messages, before the fork at one of them.
    ForkFrom {
        token: u64,
        entry_id: String,
    },
    Fork {
        token: u64,
        after: u64,
        same_after: u64,
    },
    /// Where the forked conversation is.
    ForkedTo {
        token: u64,
        forked: Box<ForkedAway>,
    },
    /// pi is back in the conversation that it had.
    ForkBack {
        token: u64,
        forked: Box<ForkedAway>,
    },
    /// What waited in pi's queue.
    Withdraw {
        token: u64,
    },
    /// `new_session`, `switch_session`.
    Conversation {
        token: u64,
    },
    SetModel {
        token: u64,
    },
    CycleModel {
        token: u64,
    },
    SetThinking {
        token: u64,
    },
    /// The level as it is after it was set.
    ReadThinking {
        token: u64,
    },
    CycleThinking {
        token: u64,
    },
    AutoCompaction {
        token: u64,
        enabled: bool,
    },
    Compact {
        token: u64,
    },
    /// `bash`.
    Shell {
        token: u64,
    },
    /// `abort_bash` as a part of an abort.
    AbortShell,
    /// The answer carries no data that octo needs.
    Plain {
        token: u64,
    },
    /// The answer's data is the reply as it is.
    Raw {
        token: u64,
    },
}

impl Purpose {
    /// pi is in another conversation than the session's, or about to be.
    #[must_use]
    pub fn is_away(&self) -> bool {
        matches!(self, Self::ForkFrom { .. } | Self::Fork { .. } | Self::ForkedTo { .. } | Self::ForkBack { .. })
    }

    /// The runner's command that waits for this answer.
    #[must_use]
    pub fn token(&self) -> Option<u64> {
        match self {
            Self::Models { token } | Self::Commands { token } => *token,
            Self::Probe { token }
            | Self::Abort { token }
            | Self::ClearAgain { token }
            | Self::Stats { token }
            | Self::ForkPoints { token }
            | Self::ForkFrom { token, .. }
            | Self::Fork { token, .. }
            | Self::ForkedTo { token, .. }
            | Self::ForkBack { token, .. }
            | Self::Withdraw { token }
            | Self::Conversation { token }
            | Self::SetModel { token }
            | Self::CycleModel { token }
            | Self::SetThinking { token }
            | Self::ReadThinking { token }
            | Self::CycleThinking { token }
            | Self::AutoCompaction { token, .. }
            | Self::Compact { token }
            | Self::Shell { token }
            | Self::Plain { token }
            | Self::Raw { token } => Some(*token),
            Self::Handshake
            | Self::Totals
            | Self::Settling
            | Self::Refresh
            | Self::Input { .. }
            | Self::AbortAgain
            | Self::AbortShell
            | Self::ClearQueue => None,
        }
    }
}

/// The commands under way.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    last: u64,
    /// By number: what the answer is for, and the command's name.
    pending: BTreeMap<u64, (Purpose, String)>,
}

/// Writes one line to pi. Only objects are ever written: anything else ends pi.
pub fn write(line: &Value, out: &mut Outbox) {
    if line.is_object() {
        let mut line = line.to_string();
        line.push('\n');
        out.push(Output::Write(Bytes::from(line)));
    }
}

impl Requests {
    /// No room for another command of the runner.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Sends `{type: command, …fields}`.
    pub fn send(&mut self, purpose: Purpose, command: &str, fields: Value, out: &mut Outbox) {
        self.last += 1;
        let mut line = json!({"id": format!("{ID_PREFIX}{}", self.last), "type": command});
        if let (Some(line), Value::Object(fields)) = (line.as_object_mut(), fields) {
            line.extend(fields);
        }
        self.pending.insert(self.last, (purpose, command.to_owned()));
        write(&line, out);
    }

    /// Takes what an answer with this id is for; `None` when nobody waits for it.
    pub fn take(&mut self, id: &Value) -> Option<Purpose> {
        let number: u64 = id.as_str()?.strip_prefix(ID_PREFIX)?.parse().ok()?;
        self.pending.remove(&number).map(|(purpose, _)| purpose)
    }

    /// Takes the oldest command of this name: 0.73 refuses commands that it does not know without their id.
    pub fn take_unknown(&mut self, command: &str) -> Option<Purpose> {
        let number = self.pending.iter().find(|(_, (_, name))| *name == command).map(|(number, _)| *number)?;
        self.pending.remove(&number).map(|(purpose, _)| purpose)
    }

    /// Whether an answer of this kind is under way.
    #[must_use]
    pub fn waits(&self, wanted: impl Fn(&Purpose) -> bool) -> bool {
        self.pending.values().any(|(purpose, _)| wanted(purpose))
    }

    /// Everything without an answer, oldest first.
    pub fn drain(&mut self) -> Vec<Purpose> {
        std::mem::take(&mut self.pending).into_values().map(|(purpose, _)| purpose).collect()
    }
}
