//! The message that the model is writing: its id, its open tool calls, and the fate of a message that failed.
//!
//! Every `stream.message_start` from here is followed by exactly one `stream.message_end` or `stream.message_discarded`. A message that ended in an
//! error is held until it is known whether pi repeats the request: then it is discarded, else it ends.
//!
//! A message has an end also when its model has none: one whose pieces come to more than [`MAX_STREAMED`] is discarded, the rest of its pieces is
//! dropped, and if pi finishes it in a line that octo takes, it stands there whole under an id of its own.

use super::message;
use super::wire;
use crate::harness::Outbox;
use crate::lines::MAX_LINE_BYTES;
use octo_protocol::event::{Event, Level, ToolCallEnd};
use octo_protocol::message::{Message, Role, StopReason};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most tool calls of one message that are followed while they stream.
const MAX_OPEN_CALLS: usize = 1024;

/// Most that the pieces of one message may come to, in bytes: a longer one could not be finished in one line. Each costs at least [`MIN_PIECE`], for the
/// journal keeps them all until the message ends, and then takes them out at once.
const MAX_STREAMED: usize = MAX_LINE_BYTES;
/// What the smallest piece counts for, in bytes.
const MIN_PIECE: usize = 16;

#[derive(Debug, Serialize, Deserialize)]
struct Open {
    id: String,
    /// Bytes of its pieces so far.
    streamed: usize,
    /// By content index: the call's id and name.
    calls: BTreeMap<u32, (String, String)>,
}

/// The stream of messages of one agent process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Stream {
    prefix: String,
    count: u64,
    open: Option<Open>,
    /// The message under way is too long: its pieces are dropped until it ends.
    skipping: bool,
    failed: Option<Message>,
}

impl Stream {
    /// What message ids begin with: unique to this process of the agent.
    pub fn set_prefix(&mut self, prefix: String) {
        self.prefix = prefix;
    }

    /// A new message id.
    pub fn next_id(&mut self) -> String {
        new_id(&self.prefix, &mut self.count)
    }

    /// The model begins a message.
    pub fn start(&mut self, out: &mut Outbox) {
        self.finish_failed(out);
        self.discard_open("the model began another message", out);
        self.skipping = false;
        self.opened(out);
    }

    fn opened(&mut self, out: &mut Outbox) -> &mut Open {
        if self.open.is_none() {
            self.finish_failed(out);
        }
        let (prefix, count) = (&self.prefix, &mut self.count);
        self.open.get_or_insert_with(|| {
            let id = new_id(prefix, count);
            out.event(Event::MessageStart { message_id: id.clone(), role: Role::Assistant });
            Open { id, streamed: 0, calls: BTreeMap::new() }
        })
    }

    /// A piece of the message.
    pub fn update(&mut self, event: wire::AssistantEvent<'_>, out: &mut Outbox) {
        let index = event.content_index;
        if self.skipping || self.is_too_long(&event, out) {
            return;
        }
        match event.kind.as_ref() {
            "text_delta" if !event.delta.is_empty() => {
                let message_id = self.opened(out).id.clone();
                out.event(Event::TextDelta { message_id, delta: event.delta.into_owned(), content_index: index });
            }
            "thinking_delta" if !event.delta.is_empty() => {
                let message_id = self.opened(out).id.clone();
                out.event(Event::ThinkingDelta { message_id, delta: event.delta.into_owned(), content_index: index });
            }
            "toolcall_start" => {
                let (id, name) = call_identity(&event);
                self.call_started(index, id, name, out);
            }
            "toolcall_delta" if !event.delta.is_empty() => {
                let open = self.opened(out);
                if let Some((call, _)) = open.calls.get(&index) {
                    let (message_id, tool_call_id) = (open.id.clone(), call.clone());
                    out.event(Event::ToolCallDelta { message_id, tool_call_id, content_index: index, delta: event.delta.into_owned() });
                }
            }
            "toolcall_end" => {
                let Some(call) = event.tool_call.and_then(|raw| serde_json::from_str::<wire::ToolCall>(raw.get()).ok()) else { return };
                self.call_started(index, call.id.clone(), call.name.clone(), out);
                let open = self.opened(out);
                if let Some((tool_call_id, _)) = open.calls.remove(&index) {
                    let tool_call = ToolCallEnd { id: tool_call_id.clone(), name: call.name, input: call.arguments };
                    out.event(Event::ToolCallEnd { message_id: open.id.clone(), tool_call_id, content_index: index, tool_call });
                }
            }
            _ => {}
        }
    }

    fn is_too_long(&mut self, event: &wire::AssistantEvent<'_>, out: &mut Outbox) -> bool {
        let Some(open) = self.open.as_mut().filter(|_| !event.delta.is_empty()) else { return false };
        open.streamed += event.delta.len().max(MIN_PIECE);
        if open.streamed <= MAX_STREAMED {
            return false;
        }
        self.skipping = true;
        let message = "the message is longer than can be followed; it is shown when it is finished, if it is not too long for that either";
        out.event(Event::Notify { level: Level::Warning, message: message.to_owned() });
        self.discard_open("it is longer than can be followed", out);
        true
    }

    // A provider may learn a call's id only after its first bytes: such a call starts when it ends.
    fn call_started(&mut self, index: u32, id: String, name: String, out: &mut Outbox) {
        let open = self.opened(out);
        if id.is_empty() || open.calls.contains_key(&index) || open.calls.len() >= MAX_OPEN_CALLS {
            return;
        }
        open.calls.insert(index, (id.clone(), name.clone()));
        out.event(Event::ToolCallStart { message_id: open.id.clone(), tool_call_id: id, content_index: index, name });
    }

    /// The model's message is whole. Gives the message as it will end, also when it is held back.
    pub fn end(&mut self, message: wire::Message, now: i64, out: &mut Outbox) -> Message {
        self.finish_failed(out);
        self.skipping = false;
        let id = self.opened(out).id.clone();
        self.open = None;
        let message = message::assistant(&id, message, now);
        if message.stop_reason == Some(StopReason::Error) {
            self.failed = Some(message.clone());
        } else {
            out.event(Event::MessageEnd { message: message.clone() });
        }
        message
    }

    /// The failed request is made again.
    pub fn retried(&mut self, reason: &str, out: &mut Outbox) {
        if let Some(message) = self.failed.take() {
            out.event(Event::MessageDiscarded { message_id: message.id, reason: reason.to_owned() });
        }
    }

    /// The failed message stays: nothing repeats it.
    pub fn finish_failed(&mut self, out: &mut Outbox) {
        if let Some(message) = self.failed.take() {
            out.event(Event::MessageEnd { message });
        }
    }

    /// A message under way will never end.
    pub fn discard_open(&mut self, reason: &str, out: &mut Outbox) {
        if let Some(open) = self.open.take() {
            out.event(Event::MessageDiscarded { message_id: open.id, reason: reason.to_owned() });
        }
    }
}

fn new_id(prefix: &str, count: &mut u64) -> String {
    *count += 1;
    format!("{prefix}-{count}")
}

fn call_identity(event: &wire::AssistantEvent<'_>) -> (String, String) {
    if !event.id.is_empty() {
        return (event.id.to_string(), event.tool_name.to_string());
    }
    let Some(raw) = event.partial else { return Default::default() };
    let Ok(partial) = serde_json::from_str::<wire::Partial<'_>>(raw.get()) else { return Default::default() };
    let block = partial.content.into_iter().nth(event.content_index as usize);
    block.map(|block| (block.id.into_owned(), block.name.into_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::harness::Output;

    fn delta(stream: &mut Stream, text: &str, out: &mut Outbox) {
        let line = serde_json::json!({"type": "text_delta", "contentIndex": 0, "delta": text}).to_string();
        stream.update(serde_json::from_str(&line).unwrap(), out);
    }

    fn names(out: &mut Outbox) -> Vec<&'static str> {
        out.drain().filter_map(|output| if let Output::Event(event) = output { Some(event.name()) } else { None }).collect()
    }

    #[test]
    fn a_message_without_an_end_is_given_up_once_and_comes_whole_if_it_is_finished_after_all() {
        let (mut stream, mut out) = (Stream::default(), Outbox::new());
        stream.start(&mut out);
        for _ in 0..MAX_STREAMED / MIN_PIECE {
            delta(&mut stream, ".", &mut out);
        }
        let shown = names(&mut out);
        assert!(shown.len() == 1 + MAX_STREAMED / MIN_PIECE && shown.last() == Some(&"stream.text_delta"));
        for _ in 0..1000 {
            delta(&mut stream, ".", &mut out);
        }
        assert_eq!(names(&mut out), ["notify", "stream.message_discarded"]);
        let message = serde_json::json!({"role": "assistant", "content": [{"type": "text", "text": "....."}], "stopReason": "stop"});
        stream.end(serde_json::from_value(message).unwrap(), 1, &mut out);
        assert_eq!(names(&mut out), ["stream.message_start", "stream.message_end"]);
        // And the next one is followed again.
        stream.start(&mut out);
        delta(&mut stream, "hello", &mut out);
        assert_eq!(names(&mut out), ["stream.message_start", "stream.text_delta"]);
    }
}
