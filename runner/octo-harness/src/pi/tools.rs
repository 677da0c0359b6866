//! Tools that run right now. Every `tool.start` is followed by its `tool.end`, also when the agent dies.

use super::message::tool_output;
use super::wire::{ToolExecution, unsigned};
use crate::harness::Outbox;
use octo_protocol::event::Event;
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Most tools that are followed at once; what runs beyond is not shown as running.
const MAX_RUNNING: usize = 256;

#[derive(Debug, Serialize, Deserialize)]
struct Running {
    id: String,
    name: String,
    started: i64,
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
        self.running.last().map(|tool| tool.name.as_str())
    }

    /// A tool starts. `false` when it runs already or too many do.
    pub fn start(&mut self, tool: ToolExecution, now: i64, out: &mut Outbox) {
        if self.running.len() >= MAX_RUNNING || self.running.iter().any(|running| running.id == tool.tool_call_id) {
            return;
        }
        self.running.push(Running { id: tool.tool_call_id.clone(), name: tool.tool_name.clone(), started: now });
        out.event(Event::ToolStart { tool_call_id: tool.tool_call_id, name: tool.tool_name, input: tool.args });
    }

    /// Everything that a running tool has written so far.
    pub fn progress(&self, tool: ToolExecution, out: &mut Outbox) {
        let Some(output) = tool.partial_result else { return };
        if self.running.iter().any(|running| running.id == tool.tool_call_id) {
            let partial_output = tool_output(output.content, output.details);
            out.event(Event::ToolProgress { tool_call_id: tool.tool_call_id, name: tool.tool_name, partial_output });
        }
    }

    /// A tool is done.
    pub fn end(&mut self, tool: ToolExecution, now: i64, out: &mut Outbox) {
        let Some(at) = self.running.iter().position(|running| running.id == tool.tool_call_id) else { return };
        let running = self.running.remove(at);
        let result = tool.result.unwrap_or_default();
        out.event(Event::ToolEnd {
            tool_call_id: running.id,
            name: running.name,
            output: tool_output(result.content, result.details),
            is_error: tool.is_error,
            duration_ms: tool.duration_ms.map_or_else(|| elapsed(running.started, now), unsigned),
        });
    }

    /// Nothing runs any more: `why` is each tool's output.
    pub fn close(&mut self, why: &str, now: i64, out: &mut Outbox) {
        for running in self.running.drain(..) {
            out.event(Event::ToolEnd {
                tool_call_id: running.id,
                name: running.name,
                output: json!({"content": [{"type": "text", "text": why}]}),
                is_error: true,
                duration_ms: elapsed(running.started, now),
            });
        }
    }
}

fn elapsed(started: i64, now: i64) -> u64 {
    u64::try_from(now.saturating_sub(started)).unwrap_or(0)
}
