//! Tools that run right now. Every `tool.start` is followed by its `tool.end`, also when the agent dies.
//!
//! Claude Code does not say when a tool starts: it counts as running from the end of the message that calls it. What a sub-agent says is the progress of
//! the tool that started it.

use crate::harness::Outbox;
pub use crate::message::tool_output;
use octo_protocol::event::Event;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most tools that are followed at once; what runs beyond is not shown as running.
const MAX_RUNNING: usize = 256;
/// Most bytes of a sub-agent's words that are shown.
const MAX_PROGRESS: usize = 64 * 1024;

/// A call of a tool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    pub id: String,
    pub name: String,
    pub input: Value,
}

#[derive(Debug, Serialize, Deserialize)]
struct Running {
    call: Call,
    started: i64,
    said: String,
}

/// The running tools, in the order of their start.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tools {
    running: Vec<Running>,
}

impl Tools {
    /// Name of the tool that started last and still runs.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.running.last().map(|tool| tool.call.name.as_str())
    }

    /// The call of a running tool.
    #[must_use]
    pub fn call(&self, id: &str) -> Option<&Call> {
        self.running.iter().find(|running| running.call.id == id).map(|running| &running.call)
    }

    /// A tool starts; nothing when it runs already or too many do.
    pub fn start(&mut self, call: Call, now: i64, out: &mut Outbox) {
        if self.running.len() >= MAX_RUNNING || self.call(&call.id).is_some() {
            return;
        }
        out.event(Event::ToolStart { tool_call_id: call.id.clone(), name: call.name.clone(), input: Some(call.input.clone()) });
        self.running.push(Running { call, started: now, said: String::new() });
    }

    /// The sub-agent of a tool says something.
    pub fn said(&mut self, id: &str, text: &str, out: &mut Outbox) {
        let Some(running) = self.running.iter_mut().find(|running| running.call.id == id) else { return };
        if text.is_empty() || running.said.len() >= MAX_PROGRESS {
            return;
        }
        if !running.said.is_empty() {
            running.said.push('\n');
        }
        let room = MAX_PROGRESS.saturating_sub(running.said.len());
        let cut = (0..=text.len().min(room)).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        running.said.push_str(&text[..cut]);
        out.event(Event::ToolProgress {
            tool_call_id: running.call.id.clone(),
            name: running.call.name.clone(),
            partial_output: tool_output(running.said.as_str().into(), None),
        });
    }

    /// A tool is done: its name and how long it took, when it ran.
    pub fn end(&mut self, id: &str, output: &Value, is_error: bool, now: i64, out: &mut Outbox) -> Option<(String, u64)> {
        let at = self.running.iter().position(|running| running.call.id == id)?;
        let Running { call, started, .. } = self.running.remove(at);
        let duration_ms = elapsed(started, now);
        out.event(Event::ToolEnd { tool_call_id: call.id, name: call.name.clone(), output: output.clone(), is_error, duration_ms });
        Some((call.name, duration_ms))
    }

    /// Nothing runs any more: `why` is each tool's output.
    pub fn close(&mut self, why: &str, now: i64, out: &mut Outbox) {
        for Running { call, started, .. } in self.running.drain(..) {
            out.event(Event::ToolEnd {
                tool_call_id: call.id,
                name: call.name,
                output: tool_output(why.into(), None),
                is_error: true,
                duration_ms: elapsed(started, now),
            });
        }
    }
}

fn elapsed(started: i64, now: i64) -> u64 {
    u64::try_from(now.saturating_sub(started)).unwrap_or(0)
}
