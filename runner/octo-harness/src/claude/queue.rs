//! Inputs that were given to Claude Code and have not entered the conversation yet.
//!
//! Every user message goes with a uuid, and Claude Code says by it what becomes of the message (`command_lifecycle`): queued, started, completed or
//! cancelled. It has no second queue: a message that comes while a turn runs is folded into the turn after the next tool, unless it is sent for later.

use crate::harness::Input;
use octo_protocol::event::InputKind;
use octo_protocol::message::ImageInput;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most inputs on their way at once; more are refused.
pub const MAX_WAITING: usize = 1024;

/// An input that was written to Claude Code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub token: u64,
    pub uuid: String,
    /// Claude Code said that it has it.
    pub taken: bool,
}

/// All of them, in the order given.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inputs {
    waiting: Vec<Waiting>,
    /// Start of this process, for the uuids: Claude Code takes no message twice in one conversation.
    started: u64,
    count: u64,
    /// Claude Code says what becomes of messages.
    told: bool,
}

impl Inputs {
    /// Makes the uuids of this process its own.
    pub fn set_start(&mut self, started: i64) {
        self.started = u64::try_from(started).unwrap_or(0);
    }

    /// A uuid for a user message.
    pub fn next_uuid(&mut self) -> String {
        let uuid = self.coming_uuid();
        self.count += 1;
        uuid
    }

    /// The one that [`Self::next_uuid`] will give.
    #[must_use]
    pub fn coming_uuid(&self) -> String {
        let (time, count) = (self.started & 0xffff_ffff_ffff, self.count + 1);
        // Version 8 is free of meaning, for uses like this.
        format!("{:08x}-{:04x}-8000-8000-{:012x}", time >> 16, time & 0xffff, count & 0xffff_ffff_ffff)
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

    /// The input is written to Claude Code under this uuid.
    pub fn sent(&mut self, token: u64, uuid: String) {
        self.waiting.push(Waiting { token, uuid, taken: false });
    }

    /// Claude Code has it. The token, the first time.
    pub fn take(&mut self, uuid: &str) -> Option<u64> {
        self.told = true;
        let waiting = self.waiting.iter_mut().find(|waiting| waiting.uuid == uuid)?;
        (!std::mem::replace(&mut waiting.taken, true)).then_some(waiting.token)
    }

    /// It left the queue.
    pub fn remove(&mut self, uuid: &str) -> Option<Waiting> {
        self.told = true;
        let at = self.waiting.iter().position(|waiting| waiting.uuid == uuid)?;
        Some(self.waiting.remove(at))
    }

    /// The oldest, where Claude Code does not say what becomes of messages: a turn begins with it.
    pub fn untold(&mut self) -> Option<Waiting> {
        if self.told || self.waiting.is_empty() {
            return None;
        }
        Some(self.waiting.remove(0))
    }

    /// Everything that was sent and did not enter the conversation.
    pub fn drain(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.waiting)
    }
}

fn image(image: &ImageInput) -> Value {
    json!({"type": "image", "source": {"type": "base64", "media_type": image.media_type, "data": image.data}})
}

/// A user message as Claude Code takes it. `later` keeps it out of the turn under way.
#[must_use]
pub fn user_line(uuid: &str, content: Value, later: bool) -> Value {
    let mut line = json!({
        "type": "user",
        "message": {"role": "user", "content": content},
        "parent_tool_use_id": null,
        "session_id": "",
        "uuid": uuid,
    });
    if later {
        line["priority"] = "later".into();
    }
    line
}

/// What an input says.
#[must_use]
pub fn content(input: &Input) -> Value {
    if input.images.is_empty() {
        return input.message.as_str().into();
    }
    let text = (!input.message.is_empty()).then(|| json!({"type": "text", "text": input.message}));
    text.into_iter().chain(input.images.iter().map(image)).collect()
}

/// A steer message joins the turn under way; everything else is a turn of its own.
#[must_use]
pub fn is_later(kind: InputKind) -> bool {
    kind != InputKind::Steer
}
