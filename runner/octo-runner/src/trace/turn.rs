//! The trace of the turn under way: each hop is noted once, as it is passed.

use super::{InputTrace, Spans};
use octo_actors::unix_ns;
use octo_protocol::event::Event;
use octo_protocol::trace::{Span, SpanId};
use octo_protocol::{EventKind, TraceContext};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Tools of one turn that are traced at the same time; further ones are left out.
const MAX_TOOLS: usize = 256;

/// One turn. It goes over to the next program of the runner as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TurnTrace {
    input: InputTrace,
    handed: Option<u64>,
    heard: bool,
    /// When the agent's output came that is being looked at, until there was a delta.
    read: Option<u64>,
    delta: Delta,
    tools: BTreeMap<String, Tool>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Delta {
    /// There was none yet.
    Due,
    /// The first one came at that time and is not in the journal.
    Given(u64),
    Written,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Tool {
    span: SpanId,
    name: String,
    since: u64,
}

impl TurnTrace {
    /// The turn that `input` begins.
    #[must_use]
    pub fn new(input: InputTrace) -> Self {
        Self { input, handed: None, heard: false, read: None, delta: Delta::Due, tools: BTreeMap::new() }
    }

    /// Its context: whatever happens in the turn is below it.
    #[must_use]
    pub fn context(&self) -> TraceContext {
        self.input.context
    }

    /// Whether `input` begins this turn.
    #[must_use]
    pub fn is_of(&self, input: &InputTrace) -> bool {
        self.input.context.span == input.context.span
    }

    fn below(&self, name: &str, since: u64, until: u64) -> Span {
        Span::new(self.context().below(SpanId::drawn(rand::random)), Some(self.context().span), name, since, until)
    }

    /// The agent has the input.
    pub fn handed(&mut self, spans: &Spans) {
        if self.context().sampled && self.handed.is_none() {
            let now = unix_ns();
            self.handed = Some(now);
            spans.push(self.below("runner.hand_over", self.input.since, now));
        }
    }

    /// Output of the agent is about to be looked at.
    pub fn reads(&mut self) {
        if self.context().sampled && self.delta == Delta::Due {
            self.read = Some(unix_ns());
        }
    }

    /// The agent says an event. The context that it shall carry, if any.
    pub fn event(&mut self, event: &Event, spans: &Spans) -> Option<TraceContext> {
        if !self.context().sampled {
            return None;
        }
        if let Some(handed) = self.handed.filter(|_| !self.heard) {
            self.heard = true;
            spans.push(self.below("agent.first_event", handed, unix_ns()).with("octo.event", event.name()));
        }
        match event {
            Event::ToolStart { tool_call_id, name, .. } if self.tools.len() < MAX_TOOLS => {
                let tool = Tool { span: SpanId::drawn(rand::random), name: name.clone(), since: unix_ns() };
                self.tools.insert(tool_call_id.clone(), tool);
            }
            Event::ToolEnd { tool_call_id, is_error, .. } => self.tool_ended(tool_call_id, is_error.then_some("the tool failed"), spans),
            _ => {}
        }
        if self.delta == Delta::Due && event.kind() == EventKind::Delta && !matches!(event, Event::MessageStart { .. }) {
            self.delta = Delta::Given(self.read.unwrap_or_else(unix_ns));
            return Some(self.context());
        }
        None
    }

    fn tool_ended(&mut self, id: &str, error: Option<&str>, spans: &Spans) {
        if let Some(tool) = self.tools.remove(id) {
            let own = self.context().below(tool.span);
            let span = Span::new(own, Some(self.context().span), "agent.tool", tool.since, unix_ns());
            spans.push(span.with("octo.tool", tool.name.as_str()).failed(error.map(str::to_owned)));
        }
    }

    /// Everything that was said so far is in the journal.
    pub fn written(&mut self, spans: &Spans) {
        if let Delta::Given(since) = self.delta {
            self.delta = Delta::Written;
            spans.push(self.below("runner.first_delta", since, unix_ns()));
        }
    }

    /// The turn has ended, and so has the journal it. `end` gives it attributes.
    pub fn settled(mut self, spans: &Spans, end: impl FnOnce(Span) -> Span) {
        if !self.context().sampled {
            return;
        }
        self.written(spans);
        let open: Vec<String> = self.tools.keys().cloned().collect();
        for id in open {
            self.tool_ended(&id, Some("the turn ended before it did"), spans);
        }
        let span = Span::new(self.context(), Some(self.input.accepted_by), "runner.turn", self.input.since, unix_ns());
        spans.push(end(span));
    }
}
