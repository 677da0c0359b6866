//! What every adapter is: [`Harness`].
//!
//! The runner owns the process and the journal; the harness owns the dialect. The runner calls in with what happened and the
//! harness answers by pushing [`Output`]s, in order, into an [`Outbox`].
//!
//! Division of work:
//! - Inputs. The runner journals `input.accepted` and, on handing a prompt over, the user's `stream.message_end`; the harness drops the
//!   agent's own echo and reports it as [`Output::Delivered`]. Steer messages go to the agent at once; follow-ups are held by
//!   the runner until the run settles, so that they survive the agent.
//! - Messages. The harness gives every message its id (one and the same from start to end) and leaves `idx` 0; the runner numbers them.
//! - Turns. The harness says [`Output::Settled`] when the agent is done; the runner then journals `stream.done` and `agent.idle` or `agent.error`, and
//!   stamps `turn_id` on what happens meanwhile.
//! - Every `stream.message_start` that a harness emits is followed by its `stream.message_end` or `stream.message_discarded`, also when the agent dies
//!   ([`Harness::exited`]); every `tool.start` by its `tool.end`; every `agent.input_needed` by `agent.input_resolved`.

use bytes::Bytes;
use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::{ImageInput, StopReason};
use octo_protocol::model::{Model, ThinkingLevel};
use octo_protocol::response::{CommandResult, ProtocolError};
use octo_protocol::session::QueueMode;
use octo_protocol::{Command, InputRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An input on its way to the agent. `token` is the runner's own number for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    pub token: u64,
    pub kind: InputKind,
    pub message: String,
    pub images: Vec<ImageInput>,
}

/// How an agent's process ended.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExitReport {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    /// The end of what it wrote to stderr.
    pub stderr_tail: String,
    /// The runner asked it to end.
    pub expected: bool,
    /// Why the runner ended it without asking, as a whole sentence.
    pub cause: Option<String>,
}

/// What the runner tells a harness about the start of its agent.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StartOptions {
    pub provider: String,
    pub model: String,
    /// The handle that the harness last gave by [`Output::Resume`]; the conversation continues with it.
    pub resume: Option<String>,
    /// Where the agent shall keep its own session files.
    pub session_dir: String,
    /// Path, as the agent sees it, of octo's extension for it.
    pub extension: Option<String>,
    pub thinking: Option<ThinkingLevel>,
    /// As people call the agent, where one translator is for many.
    pub agent: String,
    /// The folder that it works in, as it sees it.
    pub cwd: String,
    /// Servers of the Model Context Protocol that it is given, each as `{name, command, args, env}`.
    pub mcp_servers: Vec<Value>,
}

/// What the harness knows of the agent right now; the runner makes `get_state` of it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct HarnessState {
    pub model: Option<Model>,
    pub thinking_level: ThinkingLevel,
    pub is_compacting: bool,
    pub steering_mode: QueueMode,
    pub follow_up_mode: QueueMode,
    pub auto_compaction: bool,
    pub session_file: Option<String>,
    pub session_name: Option<String>,
    /// The agent's own id of the conversation.
    pub agent_session_id: Option<String>,
    /// Open questions of the agent.
    pub pending_input: Vec<InputRequest>,
    /// The tool call that is a person's own command: it belongs to no turn, and goes on when one ends.
    pub beside: Option<String>,
}

/// One consequence.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "events are most of the outputs, and an output is moved once")]
pub enum Output {
    /// Bytes for the agent's stdin: whole lines, each one JSON object.
    Write(Bytes),
    /// The handshake is done: the agent takes commands.
    Ready,
    /// The handle with which the conversation can be resumed by a new process. Supersedes the one before.
    Resume(String),
    /// The models that the agent offers.
    Models(Vec<Model>),
    /// Something happened.
    Event(Event),
    /// The agent took the input; if it is a steer message it may still wait in the agent's queue.
    Taken { token: u64 },
    /// The input entered the conversation (the agent echoed it).
    Delivered { token: u64 },
    /// The input came back out of the agent's queue, undelivered (after an abort): the runner parks it.
    Returned { token: u64 },
    /// The agent refused the input.
    Rejected { token: u64, error: ProtocolError },
    /// The one answer to [`Harness::command`].
    Reply { token: u64, result: CommandResult },
    /// It cannot be worked with, and why, as a whole sentence: the runner ends it.
    Unusable(String),
    /// The run is over and nothing is queued at the agent. `error` when the provider or the agent failed.
    Settled { reason: StopReason, error: Option<String> },
}

/// Where a harness puts its outputs.
#[derive(Debug, Default)]
pub struct Outbox {
    outputs: Vec<Output>,
}

impl Outbox {
    /// An empty outbox.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one output.
    pub fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Adds an event.
    pub fn event(&mut self, event: Event) {
        self.outputs.push(Output::Event(event));
    }

    /// Takes everything, in order.
    pub fn drain(&mut self) -> std::vec::Drain<'_, Output> {
        self.outputs.drain(..)
    }

    /// Nothing to do.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.outputs.is_empty()
    }
}

/// What was saved of a translator is not what this build can go on with.
#[derive(Debug, thiserror::Error)]
#[error("what was saved of the translator for {harness} cannot be taken up: {why}")]
pub struct Unusable {
    pub harness: &'static str,
    pub why: serde_json::Error,
}

/// What a `fork` at the agent has come to: the data of its `Reply`. The conversation that the process had goes on in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForkedAway {
    /// The message at which it was forked; it is in the new conversation no more.
    pub text: String,
    pub cancelled: bool,
    /// The handle of the new conversation; absent when there is nothing in it yet.
    pub resume: Option<String>,
    /// User messages that come after that message.
    pub after: u64,
    /// Those of them with the same text.
    pub same_after: u64,
}

/// Name in a message's `metadata` of the agent's own id of it: a fork may keep everything up to there.
pub const ENTRY_ID: &str = "entry_id";
/// `metadata.kind` of the message that says what was said before it in short: of that the agent knows no more.
pub const COMPACTION_SUMMARY: &str = "compaction_summary";
/// `metadata.kind` of the message after which the agent knows nothing of what was said before it.
pub const NEW_CONVERSATION: &str = "new_conversation";

/// One agent's translator: one instance per process of the agent. `now` is Unix milliseconds.
pub trait Harness: Send {
    /// Its name in `SessionConfig.harness`.
    fn name(&self) -> &'static str;

    /// Names of the commands and features it can do, as `session.create` returns them.
    fn capabilities(&self) -> Vec<String>;

    /// The process runs: the handshake begins.
    fn start(&mut self, now: i64, out: &mut Outbox);

    /// Bytes of the agent's stdout, cut anywhere.
    fn stdout(&mut self, bytes: &[u8], now: i64, out: &mut Outbox);

    /// The process is gone. Closes what is open; commands and inputs without an answer get one.
    fn exited(&mut self, report: &ExitReport, now: i64, out: &mut Outbox);

    /// Gives the agent an input. Answered by `Taken` or `Rejected`, then `Delivered` or `Returned`.
    fn input(&mut self, input: Input, now: i64, out: &mut Outbox);

    /// Any other command of the session that concerns the agent (`abort`, `input_response`, `set_model`, …). Answered by exactly one `Reply`, perhaps
    /// later. What the agent cannot do is answered `unsupported` at once.
    fn command(&mut self, token: u64, command: &Command, now: i64, out: &mut Outbox);

    /// It asks for a permission before every tool call. Without that it asks where rules of the agent's own say so, and nothing else is said: a person is asked.
    fn asks_for_every_call(&self) -> bool {
        false
    }

    /// What it does it goes on doing when the runner and its process have gone, as an agent behind a bridge does: a runner that comes back in the middle of
    /// a turn looks at once what has become of it.
    fn goes_on_without_octo(&self) -> bool {
        false
    }

    /// Takes back what waits in the agent's own queue: each input comes as `Returned`, unless the agent takes it up meanwhile. Then `token` is answered by
    /// exactly one `Reply`. Unsupported where the agent has no such queue, or keeps what it has.
    fn withdraw(&mut self, token: u64, now: i64, out: &mut Outbox) {
        let _ = now;
        out.push(Output::Reply { token, result: Err(ProtocolError::unsupported("queue", self.name())) });
    }

    /// It goes on from any message that has an [`ENTRY_ID`], with a handle of [`Self::fork_handle`], as a conversation of its own. Then the runner forks. Else `fork` is a
    /// command, which is answered with [`ForkedAway`].
    fn forks_by_entry(&self) -> bool {
        false
    }

    /// The resume handle of a new conversation: that of the handle `conversation`, up to and with the message `entry`.
    fn fork_handle(&self, conversation: &str, entry: &str) -> String {
        let _ = entry;
        conversation.to_owned()
    }

    /// The [`ENTRY_ID`] of the next input, should that be a prompt with this text; `None` where the agent will not know it by one.
    fn next_entry(&self, message: &str) -> Option<String> {
        let _ = message;
        None
    }

    /// A cheap question that only a live agent answers; the next `Reply` to `token` is the sign of life.
    fn probe(&mut self, token: u64, now: i64, out: &mut Outbox);

    /// What is known of the agent.
    fn state(&self) -> &HarnessState;

    /// A run is under way.
    fn is_working(&self) -> bool;

    /// All that it knows, for another instance that goes on with the same process of the agent, perhaps in a later build. To be taken while the outbox is
    /// empty: what was put there is not in it.
    ///
    /// # Errors
    /// When it does not serialize.
    fn save(&self) -> Result<Value, Unusable>;

    /// Becomes the one that was saved: whatever comes from the agent next, the outputs are those that it would have given.
    ///
    /// # Errors
    /// [`Unusable`]; nothing is changed then.
    fn restore(&mut self, saved: Value) -> Result<(), Unusable>;
}
