//! Traces: what this runner contributes to the trace of a turn.
//!
//! Owns: the trace of an input from its acceptance on ([`InputTrace`], kept with the input in the journal), the trace of the turn under way
//! ([`TurnTrace`]), the spans that wait to be fetched by octo, and telling octo-eavs which turn a session's requests belong to ([`proxy`]).
//!
//! Promises: of a trace that is not sampled, nothing is recorded; what is recorded holds ids, times and names and never what somebody wrote; a runner whose spans
//! nobody fetches loses spans, counts them, and does nothing else.
//!
//! Never: sends anything to a collector. This runner is a user's, and has no network of the operator's: octo fetches its spans over the link.

mod input;
pub mod proxy;
mod turn;

pub use input::InputTrace;
pub use turn::TurnTrace;

use octo_actors::LossyQueue;
use octo_protocol::trace::{Span, SpanBatch};
use std::time::Duration;

/// Spans that wait for octo; one more is lost, and counted.
const MAX_WAITING: usize = 4096;
/// Spans in one answer; the rest comes with the next.
const MAX_BATCH: usize = 512;
/// The longest that an answer waits for spans.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Finished spans that wait for octo.
#[derive(Debug)]
pub struct Spans(LossyQueue<Span>);

impl Default for Spans {
    fn default() -> Self {
        Self(LossyQueue::new(MAX_WAITING))
    }
}

impl Spans {
    /// Adds a span.
    pub fn push(&self, span: Span) {
        self.0.push(span);
    }

    /// Takes what waits; waits for it up to `wait`, and never longer than some seconds.
    pub async fn take(&self, wait: Duration) -> SpanBatch {
        let (spans, dropped) = self.0.take(MAX_BATCH, wait.min(MAX_WAIT)).await;
        SpanBatch { spans, dropped }
    }
}
