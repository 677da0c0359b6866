//! Requests as spans of the turn that they are made in.
//!
//! A session's runner says, with the session's own key, which turn is under way (`PUT /octo/trace` at the LLM socket, before the agent has the turn's input;
//! `DELETE` when the turn is over). A request with that key is then a span below it, or below the span that the agent itself names, when that is of the same
//! trace. octo fetches the spans at the admin socket; while nobody does, none are recorded. What is not fetched of a process when it ends is lost.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::HeaderMap;
use octo_actors::LossyQueue;
use octo_actors::unix_ns;
use octo_protocol::TraceContext;
use octo_protocol::trace::{Span, SpanBatch, SpanEvent, SpanId, SpanKind};

use crate::limits::{MAX_SPANS, MAX_SPANS_AT_ONCE, SPANS_WANTED_FOR};

/// The header by which a context travels.
pub const TRACEPARENT: &str = "traceparent";

/// Spans that wait for octo.
#[derive(Debug)]
pub struct Spans {
    waiting: LossyQueue<Span>,
    asked: Mutex<Option<Instant>>,
}

impl Default for Spans {
    fn default() -> Self {
        Self { waiting: LossyQueue::new(MAX_SPANS), asked: Mutex::new(None) }
    }
}

impl Spans {
    /// Takes what waits; waits for it up to `wait`.
    pub async fn take(&self, wait: Duration) -> SpanBatch {
        self.ask();
        let (spans, dropped) = self.waiting.take(MAX_SPANS_AT_ONCE, wait).await;
        self.ask();
        SpanBatch { spans, dropped }
    }

    fn ask(&self) {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn are_wanted(&self) -> bool {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|at| at.elapsed() < SPANS_WANTED_FOR)
    }
}

/// The context that a request's headers name, if they do.
#[must_use]
pub fn of_headers(headers: &HeaderMap) -> Option<TraceContext> {
    headers.get(TRACEPARENT)?.to_str().ok()?.parse().ok()
}

/// A request under way. Dropped, it is a span; one of which nothing was said has failed.
#[derive(Debug)]
pub struct RequestSpan {
    span: Option<Span>,
    spans: Arc<Spans>,
}

impl RequestSpan {
    /// A request in the turn `turn`, which came with `headers` for `provider`; nothing when it is not to be recorded.
    #[must_use]
    pub fn begin(spans: &Arc<Spans>, turn: Option<TraceContext>, headers: &HeaderMap, provider: &str) -> Option<Self> {
        let turn = turn.filter(|turn| turn.sampled && spans.are_wanted())?;
        let parent = of_headers(headers).filter(|own| own.trace == turn.trace).map_or(turn.span, |own| own.span);
        let span = Span::new(turn.below(SpanId::drawn(rand::random)), Some(parent), "llm.request", unix_ns(), 0)
            .kind(SpanKind::Client)
            .with("gen_ai.provider.name", provider)
            .failed(Some("the request was refused, or broken off".to_owned()));
        Some(Self { span: Some(span), spans: Arc::clone(spans) })
    }

    /// With an attribute.
    pub fn set(&mut self, name: &str, value: impl Into<octo_protocol::trace::Attribute>) {
        if let Some(span) = &mut self.span {
            span.set(name, value);
        }
    }

    /// The first byte of the answer's body has come.
    pub fn first_byte(&mut self) {
        if let Some(span) = &mut self.span
            && span.events.is_empty()
        {
            let at = unix_ns();
            span.events.push(SpanEvent { name: "first_byte".to_owned(), at });
            span.set("octo.time_to_first_byte_ms", at.saturating_sub(span.start) / 1_000_000);
        }
    }

    /// It has failed because of `error`, or has not failed.
    pub fn outcome(&mut self, error: Option<&str>) {
        if let Some(span) = &mut self.span {
            span.error = error.map(str::to_owned);
        }
    }
}

impl Drop for RequestSpan {
    fn drop(&mut self) {
        if let Some(mut span) = self.span.take() {
            span.end = unix_ns().max(span.start);
            self.spans.waiting.push(span);
        }
    }
}
