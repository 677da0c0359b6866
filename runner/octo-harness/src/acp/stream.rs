//! The message that the agent is writing. ACP sends pieces and no ends: a message ends when one with another id begins, when a tool that it calls runs, or
//! when the turn is over.
//!
//! Every `stream.message_start` from here is followed by exactly one `stream.message_end` or `stream.message_discarded`. A message has an end also when its
//! agent has none: one whose pieces come to more than [`MAX_STREAMED`] is discarded, and what else is said of it is dropped.

use super::tools::{Call, Tools};
use super::v1::Piece;
use crate::harness::Outbox;
use crate::lines::MAX_LINE_BYTES;
use crate::message::blank;
use octo_protocol::event::{Event, Level, ToolCallEnd};
use octo_protocol::message::{Message, Role, StopReason};
use octo_protocol::part::{KnownPart, Part, ToolStatus};
use serde::{Deserialize, Serialize};

/// Most that the pieces of one message may come to, in bytes.
const MAX_STREAMED: usize = MAX_LINE_BYTES;
/// What the smallest piece counts for, in bytes: the journal keeps them all until the message ends.
const MIN_PIECE: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
enum Block {
    Text(String),
    Thinking(String),
    Call(String),
    Whole(Part),
}

#[derive(Debug, Serialize, Deserialize)]
struct Open {
    id: String,
    /// The agent's own id of it.
    agent_id: Option<String>,
    blocks: Vec<Block>,
    size: usize,
    /// It was discarded: what else is said of it is dropped.
    given_up: bool,
}

/// The stream of messages of one agent process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stream {
    prefix: String,
    count: u64,
    open: Option<Open>,
}

/// Who speaks, as a message names it.
#[derive(Debug, Clone, Default)]
pub struct Speaker {
    pub provider: Option<String>,
    pub model: Option<String>,
}

impl Stream {
    /// What message ids begin with (unique to this process of the agent).
    pub fn set_prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    /// A new message id.
    pub fn next_id(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.prefix, self.count)
    }

    /// A message is under way.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The message under way is over when a piece with this id comes: it is another one's, or the tools that were called have had their say.
    #[must_use]
    pub fn ends_before(&self, agent_id: Option<&str>) -> bool {
        let Some(open) = &self.open else { return false };
        let another = matches!((open.agent_id.as_deref(), agent_id), (Some(one), Some(other)) if one != other);
        another || open.blocks.last().is_some_and(|block| matches!(block, Block::Call(_)))
    }

    fn opened(&mut self, agent_id: Option<&str>, out: &mut Outbox) -> Option<&mut Open> {
        if self.open.is_none() {
            let id = self.next_id();
            out.event(Event::MessageStart { message_id: id.clone(), role: Role::Assistant });
            self.open = Some(Open { id, agent_id: None, blocks: Vec::new(), size: 0, given_up: false });
        }
        let open = self.open.as_mut()?;
        if open.agent_id.is_none() {
            open.agent_id = agent_id.map(str::to_owned);
        }
        Some(open).filter(|open| !open.given_up)
    }

    /// A piece of the message.
    pub fn piece(&mut self, thinking: bool, piece: Piece, agent_id: Option<&str>, out: &mut Outbox) {
        if matches!(&piece, Piece::Text(text) if text.is_empty()) {
            return;
        }
        let Some(open) = self.opened(agent_id, out) else { return };
        open.size += match &piece {
            Piece::Text(text) => text.len().max(MIN_PIECE),
            Piece::Other(part) => serde_json::to_string(part).map_or(MIN_PIECE, |text| text.len()),
        };
        if open.size > MAX_STREAMED {
            return open.give_up(out);
        }
        let text = match piece {
            Piece::Text(text) => text,
            Piece::Other(part) => return open.blocks.push(Block::Whole(*part)),
        };
        match (open.blocks.last_mut(), thinking) {
            (Some(Block::Text(whole)), false) | (Some(Block::Thinking(whole)), true) => whole.push_str(&text),
            (_, false) => open.blocks.push(Block::Text(text.clone())),
            (_, true) => open.blocks.push(Block::Thinking(text.clone())),
        }
        let (message_id, content_index) = (open.id.clone(), open.last());
        out.event(match thinking {
            false => Event::TextDelta { message_id, delta: text, content_index },
            true => Event::ThinkingDelta { message_id, delta: text, content_index },
        });
    }

    /// The message calls a tool.
    pub fn call(&mut self, id: &str, name: String, out: &mut Outbox) {
        let Some(open) = self.opened(None, out) else { return };
        open.size += MIN_PIECE + id.len();
        open.blocks.push(Block::Call(id.to_owned()));
        let (message_id, content_index) = (open.id.clone(), open.last());
        out.event(Event::ToolCallStart { message_id, tool_call_id: id.to_owned(), content_index, name });
    }

    /// The message under way, if there is one, is over. `broken` when the turn ended in it otherwise than well: its calls never run.
    pub fn close(&mut self, broken: Option<StopReason>, speaker: Speaker, tools: &mut Tools, now: i64, out: &mut Outbox) {
        let Some(open) = self.open.take().filter(|open| !open.given_up) else { return };
        let (mut parts, mut calls) = (Vec::new(), Vec::new());
        for (index, block) in open.blocks.into_iter().enumerate() {
            let id = format!("{}.{index}", open.id);
            parts.push(match block {
                Block::Text(text) => Part::text(id, text),
                Block::Thinking(text) => KnownPart::Thinking { id, text }.into(),
                Block::Whole(part) => with_id(part, id),
                Block::Call(call_id) => {
                    let unknown = Call::named(call_id);
                    let call = tools.call(&unknown.id).unwrap_or(&unknown);
                    let (tool_call_id, name, input) = (call.id.clone(), call.name.clone(), call.arguments());
                    let tool_call = ToolCallEnd { id: tool_call_id.clone(), name: name.clone(), input: input.clone() };
                    let content_index = u32::try_from(index).unwrap_or(u32::MAX);
                    out.event(Event::ToolCallEnd {
                        message_id: open.id.clone(),
                        tool_call_id: tool_call_id.clone(),
                        content_index,
                        tool_call,
                    });
                    let status = if broken.is_some() { ToolStatus::Error } else { ToolStatus::Pending };
                    calls.push(tool_call_id.clone());
                    KnownPart::ToolCall { id, tool_call_id, name, input: Some(input), status: Some(status) }.into()
                }
            });
        }
        let reason = broken.unwrap_or(if calls.is_empty() { StopReason::Stop } else { StopReason::ToolUse });
        let message = Message {
            parts,
            model: speaker.model,
            provider: speaker.provider,
            stop_reason: Some(reason),
            ..blank(&open.id, Role::Assistant, now)
        };
        out.event(Event::MessageEnd { message });
        if broken.is_none() {
            calls.iter().for_each(|call| tools.start(call, now, out));
        }
    }
}

impl Open {
    fn last(&self) -> u32 {
        u32::try_from(self.blocks.len().saturating_sub(1)).unwrap_or(u32::MAX)
    }

    fn give_up(&mut self, out: &mut Outbox) {
        self.given_up = true;
        self.blocks.clear();
        let message = "the message is longer than can be followed; what follows of it is not shown".to_owned();
        out.event(Event::Notify { level: Level::Warning, message });
        let reason = "it is longer than can be followed".to_owned();
        out.event(Event::MessageDiscarded { message_id: self.id.clone(), reason });
    }
}

fn with_id(mut part: Part, new: String) -> Part {
    match &mut part {
        Part::Known(KnownPart::Image { id, .. } | KnownPart::FileRef { id, .. }) => *id = new,
        Part::Extension(extension) => extension.id = new,
        Part::Known(_) => {}
    }
    part
}
