//! The trace of one input, from the moment it is accepted until it has its place in a turn.

use super::Spans;
use octo_actors::unix_ns;
use octo_protocol::TraceContext;
use octo_protocol::trace::{Span, SpanId, SpanKind};
use serde::{Deserialize, Serialize};

/// What is kept of an input's trace, in the journal too, so that one that waits over a restart goes on with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputTrace {
    /// Its trace, with the span of the turn that it begins; of an input that begins none, of the input itself.
    pub context: TraceContext,
    /// The span of its acceptance.
    pub accepted_by: SpanId,
    /// When the session took it: Unix nanoseconds.
    pub since: u64,
}

impl InputTrace {
    /// The trace of an input that comes with the context `parent`.
    #[must_use]
    pub fn new(parent: TraceContext) -> Self {
        Self { context: parent.below(SpanId::drawn(rand::random)), accepted_by: SpanId::drawn(rand::random), since: unix_ns() }
    }

    /// The input is in the journal. `parent` is what it came with.
    pub fn accepted(&self, parent: TraceContext, session: &str, spans: &Spans) {
        if !self.context.sampled {
            return;
        }
        let own = self.context.below(self.accepted_by);
        let span = Span::new(own, Some(parent.span), "runner.accept", self.since, unix_ns()).kind(SpanKind::Server);
        spans.push(span.with("octo.session", session));
    }

    /// It has its place in another input's turn, or was given back: `error` says so.
    pub fn placed(&self, turn: Option<TraceContext>, session: &str, error: Option<&str>, spans: &Spans) {
        if !self.context.sampled {
            return;
        }
        let span = Span::new(self.context, Some(self.accepted_by), "runner.input", self.since, unix_ns());
        let mut span = span.with("octo.session", session).failed(error.map(str::to_owned));
        span.links.extend(turn);
        spans.push(span);
    }
}
