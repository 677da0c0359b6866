//! Frames of the mux WebSocket `GET /api/ws/mux`: JSON text, one object each, tagged by `channel`.

pub mod agent;
pub mod files;
pub mod hstry;
mod peek;
pub mod session;
pub mod system;
pub mod terminal;
pub mod trx;

use crate::command::CommandFrame;
use crate::event::EventFrame;
use crate::response::Response;
use peek::Peek;
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use ts_rs::TS;

/// Largest frame a client may send, for prompts with images. Over it the connection closes with 1009.
pub const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Largest frame of every command but `prompt`.
pub const MAX_COMMAND_BYTES: usize = 4 * 1024 * 1024;

/// Longest sentence about a frame that cannot be read, in characters.
const MAX_REASON_CHARS: usize = 800;

/// The channels of the mux.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, TS)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Agent,
    System,
    Files,
    Terminal,
    Hstry,
    Trx,
    Session,
}

/// A frame that a client sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "channel", rename_all = "snake_case")]
pub enum ClientFrame {
    Agent(CommandFrame),
    System(system::ClientSystem),
    Files(files::FilesCommand),
    Terminal(terminal::TerminalCommand),
    Hstry(hstry::HstryCommand),
    Trx(trx::TrxCommand),
    Session(session::ClientSession),
}

/// A frame that the server sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema, TS)]
#[serde(tag = "channel", rename_all = "snake_case")]
pub enum ServerFrame {
    Agent(agent::AgentFrame),
    System(system::ServerSystem),
    Files(files::FilesReply),
    Terminal(terminal::TerminalReply),
    Hstry(hstry::HstryReply),
    Trx(trx::TrxReply),
    Session(session::ServerSession),
}

/// Why a client's frame could not be read. The connection stays open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Invalid command: {reason}")]
pub struct FrameError {
    pub reason: String,
    /// The frame's `id` if it could be read, so that the client knows which command failed.
    pub id: Option<String>,
    /// `cmd` and `session_id` of a frame of the `agent` channel whose command is unknown or malformed: it still gets its one response.
    pub command: Option<FailedCommand>,
}

/// What could be read of a malformed command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedCommand {
    pub cmd: String,
    pub session_id: String,
    pub runner_id: Option<String>,
}

impl ClientFrame {
    /// Reads one frame: first its channel, then the concrete command, so that errors name the field that is wrong.
    ///
    /// # Errors
    /// [`FrameError`] with a sentence for anything that is not a known frame.
    pub fn parse(text: &str) -> Result<Self, FrameError> {
        // serde would read an array as a struct by position.
        if !text.trim_ascii_start().starts_with('{') {
            return Err(FrameError { reason: "a frame is one JSON object".to_owned(), id: None, command: None });
        }
        let peek: Peek<'_> =
            serde_json::from_str(text).map_err(|error| FrameError { reason: sentence(&error), id: None, command: None })?;
        // serde would take a number for the place of a command in its list.
        let missing = match peek.channel.as_deref() {
            Some("agent") => peek.cmd.is_none().then_some("cmd"),
            Some("system" | "files" | "terminal" | "hstry" | "trx" | "session") => peek.kind.is_none().then_some("type"),
            _ => None,
        };
        if let Some(missing) = missing {
            let reason = format!("a frame of this channel needs a `{missing}`, which is a text");
            return Err(FrameError { reason, id: peek.id.map(Cow::into_owned), command: None });
        }
        let parsed = match peek.channel.as_deref() {
            Some("agent") => {
                return serde_json::from_str(text).map(Self::Agent).map_err(|error| FrameError {
                    reason: sentence(&error),
                    id: peek.id.map(Cow::into_owned),
                    command: peek.cmd.map(|cmd| FailedCommand {
                        cmd: cmd.into_owned(),
                        session_id: peek.session_id.unwrap_or_default().into_owned(),
                        runner_id: peek.runner_id.map(Cow::into_owned),
                    }),
                });
            }
            Some("system") => serde_json::from_str(text).map(Self::System),
            Some("files") => serde_json::from_str(text).map(Self::Files),
            Some("terminal") => serde_json::from_str(text).map(Self::Terminal),
            Some("hstry") => serde_json::from_str(text).map(Self::Hstry),
            Some("trx") => serde_json::from_str(text).map(Self::Trx),
            Some("session") => serde_json::from_str(text).map(Self::Session),
            Some(other) => {
                let other: String = other.chars().take(64).collect();
                Err(serde_json::Error::custom(format!(
                    "unknown channel {other:?}; channels are agent, system, files, terminal, hstry, trx, session"
                )))
            }
            None => Err(serde_json::Error::custom("a frame needs a `channel`")),
        };
        parsed.map_err(|error| FrameError { reason: sentence(&error), id: peek.id.map(Cow::into_owned), command: None })
    }
}

/// What is wrong, without the whole of what was sent: an error names the value that it is about, however long that is.
fn sentence(error: &serde_json::Error) -> String {
    let sentence = error.to_string();
    match sentence.char_indices().nth(MAX_REASON_CHARS) {
        Some((cut, _)) => format!("{}…", &sentence[..cut]),
        None => sentence,
    }
}

impl From<EventFrame> for ServerFrame {
    fn from(event: EventFrame) -> Self {
        Self::Agent(agent::AgentFrame::Event(Box::new(event)))
    }
}

impl From<Response> for ServerFrame {
    fn from(response: Response) -> Self {
        Self::Agent(agent::AgentFrame::Response(Box::new(response)))
    }
}
