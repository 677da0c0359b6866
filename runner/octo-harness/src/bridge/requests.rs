//! Commands to the bridge without a response, each under an id of its own.

use super::wire::write;
use crate::harness::Outbox;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most of them at once.
pub const MAX_PENDING: usize = 1024;
/// What their ids begin with.
const ID: &str = "octo-";

/// What a response is for. A `token` is the runner's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// How the session stands, at the beginning of a connection.
    Attach,
    /// Part of the handshake; the models that there are.
    Models,
    /// A setting of the handshake, whose answer nobody waits for.
    Setting,
    Probe {
        token: u64,
    },
    Abort {
        token: u64,
    },
    /// An answer to a question.
    Answer {
        token: u64,
        request_id: String,
    },
    Plain {
        token: u64,
    },
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pending {
    pub purpose: Purpose,
    command: Value,
    /// The connection that it was written to.
    connection: Option<u64>,
}

/// All of them, oldest first.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Requests {
    last: u64,
    pending: BTreeMap<u64, Pending>,
}

impl Requests {
    /// No room for another request of the runner.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.pending.len() >= MAX_PENDING
    }

    /// Sends a command, or keeps it until there is a connection.
    pub fn send(&mut self, purpose: Purpose, mut command: Value, connection: Option<u64>, out: &mut Outbox) {
        self.last += 1;
        command["id"] = json!(format!("{ID}{}", self.last));
        if let Some(connection) = connection {
            write(connection, &command, out);
        }
        self.pending.insert(self.last, Pending { purpose, command, connection });
    }

    /// Takes what a response with this id is for; `None` when nobody waits for it.
    pub fn take(&mut self, id: &str) -> Option<Purpose> {
        let number: u64 = id.strip_prefix(ID)?.parse().ok()?;
        self.pending.remove(&number).map(|pending| pending.purpose)
    }

    /// Takes out those that satisfy `wanted`.
    pub fn take_those(&mut self, wanted: impl Fn(&Purpose) -> bool) -> Vec<Purpose> {
        self.pending.extract_if(.., |_, pending| wanted(&pending.purpose)).map(|(_, pending)| pending.purpose).collect()
    }

    /// Sends what was not sent on this connection.
    pub fn send_again(&mut self, connection: u64, out: &mut Outbox) {
        for pending in self.pending.values_mut().filter(|pending| pending.connection != Some(connection)) {
            pending.connection = Some(connection);
            write(connection, &pending.command, out);
        }
    }
}
