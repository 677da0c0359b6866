//! The inputs on their way to the bridge, each under a `client_id` of its own that no other process of this runner gives.

use crate::harness::Input;
use octo_protocol::ClientId;
use octo_protocol::event::{InputKind, QueuedInput};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most inputs on their way at once; more are refused.
pub const MAX_WAITING: usize = 256;
/// What octo's client ids begin with.
const OURS: &str = "octo.";
/// What the ids of their commands begin with.
const ID: &str = "input-";

/// An input that has not entered the conversation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Waiting {
    pub token: u64,
    pub kind: InputKind,
    client_id: String,
    /// Its command, until the bridge has it.
    command: Option<Value>,
    /// The connection that it was written to last.
    connection: Option<u64>,
    /// It stood in the bridge's queue.
    queued: bool,
}

impl Waiting {
    /// It was written to a connection: the bridge may have it.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.connection.is_some()
    }

    /// The bridge said that it has it.
    #[must_use]
    pub fn is_taken(&self) -> bool {
        self.command.is_none()
    }
}

/// All of them, in the order given.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inputs {
    waiting: Vec<Waiting>,
    /// Start of this process.
    started: i64,
}

fn letter(kind: InputKind) -> char {
    match kind {
        InputKind::Prompt => 'p',
        InputKind::Steer => 's',
        InputKind::FollowUp => 'f',
    }
}

/// The kind of an input that some process of octo gave this id; `None` when it is somebody else's.
#[must_use]
pub fn kind_of(client_id: &ClientId) -> Option<InputKind> {
    let first = client_id.as_str().strip_prefix(OURS)?.chars().next()?;
    [InputKind::Prompt, InputKind::Steer, InputKind::FollowUp].into_iter().find(|kind| letter(*kind) == first)
}

impl Inputs {
    /// Makes the ids of this process its own.
    pub fn set_start(&mut self, started: i64) {
        self.started = started;
    }

    /// No room for another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() >= MAX_WAITING
    }

    /// None is on its way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Takes an input; it is not sent yet.
    pub fn add(&mut self, input: &Input) {
        let client_id = format!("{OURS}{}.{:x}.{}", letter(input.kind), self.started, input.token);
        let cmd = match input.kind {
            InputKind::Prompt => "prompt",
            InputKind::Steer => "steer",
            InputKind::FollowUp => "follow_up",
        };
        let mut command = json!({ "id": format!("{ID}{}", input.token), "cmd": cmd, "message": input.message, "client_id": client_id });
        if !input.images.is_empty() {
            command["images"] = json!(input.images);
        }
        self.waiting.push(Waiting {
            token: input.token,
            kind: input.kind,
            client_id,
            command: Some(command),
            connection: None,
            queued: false,
        });
    }

    /// The commands of those that the bridge has not said it has, and that were not sent on this connection.
    pub fn to_send(&mut self, connection: u64) -> Vec<Value> {
        let mut commands = Vec::new();
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.connection != Some(connection)) {
            if let Some(command) = &waiting.command {
                waiting.connection = Some(connection);
                commands.push(command.clone());
            }
        }
        commands
    }

    /// The input whose command has this id.
    #[must_use]
    pub fn token_of(&self, id: &str) -> Option<u64> {
        let token = id.strip_prefix(ID)?.parse().ok()?;
        self.waiting.iter().any(|waiting| waiting.token == token).then_some(token)
    }

    /// The bridge has it. True the first time.
    pub fn taken(&mut self, token: u64) -> bool {
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.token == token);
        waiting.is_some_and(|waiting| waiting.command.take().is_some())
    }

    /// The bridge has the one with this client id: its token, the first time.
    pub fn accepted(&mut self, client_id: &ClientId) -> Option<u64> {
        let token = self.waiting.iter().find(|waiting| waiting.client_id == client_id.as_str())?.token;
        self.taken(token).then_some(token)
    }

    /// It left the queue.
    pub fn remove(&mut self, token: u64) -> Option<Waiting> {
        let at = self.waiting.iter().position(|waiting| waiting.token == token)?;
        Some(self.waiting.remove(at))
    }

    /// The same by its client id.
    pub fn remove_named(&mut self, client_id: &ClientId) -> Option<Waiting> {
        let token = self.waiting.iter().find(|waiting| waiting.client_id == client_id.as_str())?.token;
        self.remove(token)
    }

    /// Takes out those that satisfy `wanted`.
    pub fn take(&mut self, wanted: impl Fn(&Waiting) -> bool) -> Vec<Waiting> {
        self.waiting.extract_if(.., |waiting| wanted(waiting)).collect()
    }

    /// What waits at the bridge now. Those that waited there and neither do any more nor have entered the conversation were parked by somebody else.
    pub fn queue_is(&mut self, listed: &[QueuedInput]) -> Vec<Waiting> {
        let is_listed =
            |waiting: &Waiting| listed.iter().any(|input| input.client_id.as_ref().is_some_and(|id| id.as_str() == waiting.client_id));
        let parked = self.take(|waiting| waiting.queued && !is_listed(waiting));
        for waiting in &mut self.waiting {
            waiting.queued |= is_listed(waiting);
        }
        parked
    }
}
