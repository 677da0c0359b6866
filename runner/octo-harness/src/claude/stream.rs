//! The message that the model is writing: its id, its blocks, and the fate of a message that broke off.
//!
//! Claude Code sends the model's own stream and, as each block is finished, the block in a line of type `assistant`. The deltas are shown as they come; a
//! message is made of the finished blocks. A message of which no block was finished is discarded: its request is made again, or was interrupted. One
//! that broke off later is held until it is known whether the request is repeated: then it is discarded, else it ends.
//!
//! Every `stream.message_start` from here is followed by exactly one `stream.message_end` or `stream.message_discarded`. A message has an end also when its
//! model has none: one whose pieces come to more than [`MAX_STREAMED`] is discarded, and what else is said of it is dropped.

use super::fork;
use super::message::{self, SYNTHETIC};
use super::tools::Call;
use super::wire::{self, stop_reason};
use crate::harness::{ENTRY_ID, Outbox};
use crate::lines::MAX_LINE_BYTES;
use octo_protocol::event::{Event, Level, ToolCallEnd};
use octo_protocol::message::{Message, Role, StopReason, Usage};
use octo_protocol::part::{KnownPart, Part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Most tool calls of one message that are followed while they stream.
const MAX_OPEN_CALLS: usize = 1024;
/// Most that the pieces of one message may come to, in bytes, and its finished blocks as well.
const MAX_STREAMED: usize = MAX_LINE_BYTES;
/// What the smallest piece counts for, in bytes: the journal keeps them all until the message ends.
const MIN_PIECE: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Open {
    id: String,
    /// The model's own id of it.
    api_id: String,
    /// It comes as a stream, which says when it ends.
    streamed: bool,
    /// Bytes of its pieces, and of its finished blocks, so far.
    pieces: usize,
    finished: usize,
    /// By content index: the calls that stream, with their ids.
    calls: BTreeMap<u32, String>,
    parts: Vec<Part>,
    /// The calls of its finished blocks, which run when it ends.
    due: Vec<Call>,
    model: Option<String>,
    usage: Counts,
    stop_reason: Option<StopReason>,
    aborted: bool,
    error: Option<String>,
    /// The line of its newest block.
    #[serde(default)]
    entry: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(default)]
struct Counts([Option<f64>; 4]);

impl Counts {
    fn update(&mut self, later: Option<wire::Usage>) {
        let mut usage = self.usage();
        usage.update(later.unwrap_or_default());
        self.0 = [usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens, usage.cache_creation_input_tokens];
    }

    fn usage(self) -> wire::Usage {
        let [input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens] = self.0;
        wire::Usage { input_tokens, output_tokens, cache_read_input_tokens, cache_creation_input_tokens }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Broken {
    message: Message,
    due: Vec<Call>,
}

/// The stream of messages of one agent process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stream {
    prefix: String,
    count: u64,
    provider: String,
    open: Option<Open>,
    /// The model's id of a message that is too long: what is said of it is dropped.
    skipping: Option<String>,
    broken: Option<Broken>,
    /// The newest line of the conversation that a message is of.
    newest: Option<String>,
}

impl Stream {
    /// What message ids begin with (unique to this process of the agent), and whose models speak.
    pub fn set_prefix(&mut self, prefix: String, provider: &str) {
        self.prefix = prefix;
        provider.clone_into(&mut self.provider);
    }

    /// A new message id.
    pub fn next_id(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.prefix, self.count)
    }

    /// The newest line that the conversation has.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.newest.as_deref()
    }

    /// The conversation has another line.
    pub fn passed(&mut self, entry: Option<String>) {
        self.newest = entry;
    }

    fn ended(&mut self, mut message: Message, out: &mut Outbox) {
        let own = message.metadata.as_ref().and_then(|metadata| metadata[ENTRY_ID].as_str()).map(str::to_owned);
        match own {
            Some(own) => self.newest = Some(own),
            None => message = fork::at(self.newest.as_deref(), message),
        }
        out.event(Event::MessageEnd { message });
    }

    /// A message comes as a stream right now.
    #[must_use]
    pub fn is_streaming(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.streamed)
    }

    /// A call of the message under way, whose block is finished.
    #[must_use]
    pub fn call(&self, id: &str) -> Option<&Call> {
        self.open.as_ref()?.due.iter().find(|call| call.id == id)
    }

    fn start(&mut self, api_id: &str, streamed: bool, out: &mut Outbox) {
        let id = self.next_id();
        out.event(Event::MessageStart { message_id: id.clone(), role: Role::Assistant });
        self.open = Some(Open {
            id,
            api_id: api_id.to_owned(),
            streamed,
            pieces: 0,
            finished: 0,
            calls: BTreeMap::new(),
            parts: Vec::new(),
            due: Vec::new(),
            model: None,
            usage: Counts::default(),
            stop_reason: None,
            aborted: false,
            error: None,
            entry: None,
        });
    }

    /// `message_start`. Whatever was open before is to be closed first.
    pub fn begin(&mut self, head: &wire::MessageHead<'_>, out: &mut Outbox) {
        self.skipping = None;
        self.start(&head.id, true, out);
        if let Some(open) = &mut self.open {
            open.model = (!head.model.is_empty()).then(|| head.model.to_string());
            open.usage.update(head.usage);
        }
    }

    /// A piece of the message: `content_block_start`, `content_block_delta`, `message_delta`.
    pub fn piece(&mut self, event: &wire::Sse<'_>, out: &mut Outbox) {
        let index = event.index;
        let Some(open) = self.open.as_mut().filter(|open| open.streamed) else { return };
        let message_id = || open.id.clone();
        match (event.kind.as_ref(), &event.delta, &event.content_block) {
            ("message_delta", delta, _) => {
                open.usage.update(event.usage);
                let reason = delta.as_ref().and_then(|delta| delta.stop_reason.as_deref());
                open.stop_reason = reason.and_then(stop_reason).or(open.stop_reason);
            }
            ("content_block_start", _, Some(block)) if block.kind == "tool_use" => {
                let (id, name) = (block.id.to_string(), block.name.to_string());
                if id.is_empty() || open.calls.contains_key(&index) || open.calls.len() >= MAX_OPEN_CALLS {
                    return;
                }
                out.event(Event::ToolCallStart { message_id: message_id(), tool_call_id: id.clone(), content_index: index, name });
                open.calls.insert(index, id);
            }
            ("content_block_delta", Some(delta), _) => {
                let text = match delta.kind.as_ref() {
                    "text_delta" => &delta.text,
                    "thinking_delta" => &delta.thinking,
                    "input_json_delta" => &delta.partial_json,
                    _ => return,
                };
                if text.is_empty() {
                    return;
                }
                open.pieces += text.len().max(MIN_PIECE);
                if open.pieces > MAX_STREAMED {
                    return self.give_up(out);
                }
                let (message_id, delta_text) = (message_id(), text.to_string());
                match delta.kind.as_ref() {
                    "text_delta" => out.event(Event::TextDelta { message_id, delta: delta_text, content_index: index }),
                    "thinking_delta" => out.event(Event::ThinkingDelta { message_id, delta: delta_text, content_index: index }),
                    _ => {
                        if let Some(call) = open.calls.get(&index) {
                            let tool_call_id = call.clone();
                            out.event(Event::ToolCallDelta { message_id, tool_call_id, content_index: index, delta: delta_text });
                        }
                    }
                }
            }
            _ => {}
        }
    }

    fn give_up(&mut self, out: &mut Outbox) {
        let Some(open) = self.open.take() else { return };
        let message = "the message is longer than can be followed; what follows of it is not shown".to_owned();
        out.event(Event::Notify { level: Level::Warning, message });
        let reason = "it is longer than can be followed".to_owned();
        out.event(Event::MessageDiscarded { message_id: open.id, reason });
        self.skipping = Some(open.api_id);
    }

    /// Whether an `assistant` line goes on with the message that is open.
    #[must_use]
    pub fn continues(&self, line: &wire::Assistant) -> bool {
        self.open.as_ref().is_some_and(|open| open.api_id == line.message.id)
    }

    /// Finished blocks of a message; of one that does not stream, if none is open.
    pub fn blocks(&mut self, line: wire::Assistant, aborting: bool, out: &mut Outbox) {
        let wire::Assistant { message, aborted, is_api_error_message, uuid, .. } = line;
        if self.skipping.as_ref() == Some(&message.id) {
            return;
        }
        if self.open.is_none() {
            self.start(&message.id, false, out);
        }
        let Some(open) = &mut self.open else { return };
        // What is not of the model is not in the conversation.
        if message.model != SYNTHETIC && !is_api_error_message {
            open.entry = fork::entry_id(uuid.as_deref()).map(str::to_owned).or_else(|| open.entry.take());
        }
        if message.model != SYNTHETIC && !message.model.is_empty() {
            open.model = Some(message.model);
        }
        if !open.streamed {
            open.usage.update(message.usage);
            open.stop_reason = message.stop_reason.as_deref().and_then(stop_reason);
        }
        open.aborted |= aborted;
        if is_api_error_message {
            open.aborted |= aborting;
            open.error = Some(message::plain_text(&message.content));
            return;
        }
        let blocks = match message.content {
            Value::Array(blocks) => blocks,
            Value::String(text) => vec![json!({"type": "text", "text": text})],
            _ => return,
        };
        for block in blocks {
            open.finished += block.to_string().len();
            if open.finished > MAX_STREAMED {
                return self.give_up(out);
            }
            open.finish(&block, out);
        }
    }

    /// The message that is open, if one is, is over: gives the calls that run now. `broken_off` says that its stream broke off.
    #[must_use]
    pub fn close(&mut self, broken_off: bool, why: &str, now: i64, out: &mut Outbox) -> Vec<Call> {
        let Some(open) = self.open.take() else { return Vec::new() };
        if open.parts.is_empty() && open.error.is_none() {
            out.event(Event::MessageDiscarded { message_id: open.id, reason: why.to_owned() });
            return Vec::new();
        }
        let hold = broken_off && !open.aborted;
        let (message, due) = open.message(&self.provider, now);
        if hold {
            self.broken = Some(Broken { message, due });
            return Vec::new();
        }
        self.ended(message, out);
        due
    }

    /// The request of the message that broke off is made again.
    pub fn retried(&mut self, reason: &str, out: &mut Outbox) {
        if let Some(Broken { message, .. }) = self.broken.take() {
            out.event(Event::MessageDiscarded { message_id: message.id, reason: reason.to_owned() });
        }
    }

    /// The message that broke off stays: the model goes on from where it stopped. Gives its calls, which run now.
    #[must_use]
    pub fn keep_broken(&mut self, out: &mut Outbox) -> Vec<Call> {
        let Some(Broken { message, due }) = self.broken.take() else { return Vec::new() };
        self.ended(message, out);
        due
    }
}

impl Open {
    fn finish(&mut self, block: &Value, out: &mut Outbox) {
        let index = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        let part = message::part(format!("{}.{index}", self.id), block, true);
        if let Part::Known(KnownPart::ToolCall { tool_call_id, name, input, .. }) = &part {
            let (message_id, tool_call_id) = (self.id.clone(), tool_call_id.clone());
            let input = input.clone().unwrap_or_default();
            if self.calls.values().all(|started| *started != tool_call_id) {
                let (message_id, tool_call_id, name) = (message_id.clone(), tool_call_id.clone(), name.clone());
                out.event(Event::ToolCallStart { message_id, tool_call_id, content_index: index, name });
            }
            let tool_call = ToolCallEnd { id: tool_call_id.clone(), name: name.clone(), input: input.clone() };
            self.due.push(Call { id: tool_call_id.clone(), name: name.clone(), input });
            out.event(Event::ToolCallEnd { message_id, tool_call_id, content_index: index, tool_call });
        }
        self.parts.push(part);
    }

    fn message(mut self, provider: &str, now: i64) -> (Message, Vec<Call>) {
        let reason = match (self.aborted, &self.error) {
            (true, _) => Some(StopReason::Aborted),
            (false, Some(_)) => Some(StopReason::Error),
            (false, None) if self.due.is_empty() => self.stop_reason.or(Some(StopReason::Stop)),
            (false, None) => Some(StopReason::ToolUse),
        };
        if self.aborted {
            self.due.clear();
            for part in &mut self.parts {
                if let Part::Known(KnownPart::ToolCall { status, .. }) = part {
                    *status = Some(octo_protocol::part::ToolStatus::Error);
                }
            }
        }
        let usage: Option<Usage> = self.usage.usage().canonical();
        let failed = self.error.is_some() && !self.aborted;
        let message = Message {
            parts: self.parts,
            model: self.model,
            provider: (!provider.is_empty()).then(|| provider.to_owned()),
            stop_reason: reason,
            usage,
            is_error: failed.then_some(true),
            metadata: self.error.map(|error| json!({"error": error})),
            ..message::blank(&self.id, Role::Assistant, now)
        };
        (fork::at(self.entry.as_deref(), message), self.due)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::harness::Output;

    fn piece(stream: &mut Stream, event: Value, out: &mut Outbox) {
        let line = event.to_string();
        stream.piece(&serde_json::from_str(&line).unwrap(), out);
    }

    fn begin(stream: &mut Stream, id: &str, out: &mut Outbox) {
        let head = json!({"id": id, "model": "m"}).to_string();
        stream.begin(&serde_json::from_str(&head).unwrap(), out);
    }

    fn delta(stream: &mut Stream, text: &str, out: &mut Outbox) {
        piece(stream, json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}), out);
    }

    fn names(out: &mut Outbox) -> Vec<&'static str> {
        out.drain().filter_map(|output| if let Output::Event(event) = output { Some(event.name()) } else { None }).collect()
    }

    #[test]
    fn a_message_without_an_end_is_given_up_once_and_the_next_is_followed_again() {
        let (mut stream, mut out) = (Stream::default(), Outbox::new());
        begin(&mut stream, "a", &mut out);
        for _ in 0..MAX_STREAMED / MIN_PIECE {
            delta(&mut stream, ".", &mut out);
        }
        assert_eq!(names(&mut out).len(), 1 + MAX_STREAMED / MIN_PIECE);
        for _ in 0..1000 {
            delta(&mut stream, ".", &mut out);
        }
        assert_eq!(names(&mut out), ["notify", "stream.message_discarded"]);
        let line = json!({"message": {"id": "a", "content": [{"type": "text", "text": "...."}]}});
        stream.blocks(serde_json::from_value(line).unwrap(), false, &mut out);
        assert!(stream.close(false, "", 0, &mut out).is_empty() && names(&mut out).is_empty());
        begin(&mut stream, "b", &mut out);
        delta(&mut stream, "hello", &mut out);
        assert_eq!(names(&mut out), ["stream.message_start", "stream.text_delta"]);
    }
}
