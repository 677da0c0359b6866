//! The first delta of a turn on its way from the link to the first socket.

use super::Telemetry;
use octo_actors::unix_ns;
use octo_protocol::TraceContext;
use octo_protocol::trace::{Span, SpanId};
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Deltas of one session that wait for a socket; beyond that the oldest is forgotten. A turn has one, so this is more than turns go by unseen.
const MAX_HOPS: usize = 16;

/// What one session's deltas are traced with.
#[derive(Default)]
pub struct Hops {
    telemetry: Telemetry,
    waiting: Mutex<VecDeque<(u64, Hop)>>,
}

/// A delta that is in the session's ring and at no socket yet.
pub struct Hop {
    telemetry: Telemetry,
    context: TraceContext,
    session: String,
    since: u64,
}

impl Hops {
    /// Those of a session that is traced with `telemetry`.
    #[must_use]
    pub fn new(telemetry: Telemetry) -> Self {
        Self { telemetry, waiting: Mutex::default() }
    }

    /// Whether to look at all.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.telemetry.is_on()
    }

    /// The delta `seq` of this context was received at `received`, and everybody can have it.
    pub fn received(&self, session: &str, seq: u64, context: TraceContext, received: u64) {
        let since = unix_ns();
        let span = Span::new(context.below(SpanId::drawn(rand::random)), Some(context.span), "octo.first_delta", received, since);
        self.telemetry.record(span.with("octo.session", session));
        let hop = Hop { telemetry: self.telemetry.clone(), context, session: session.to_owned(), since };
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= MAX_HOPS {
            waiting.pop_front();
        }
        waiting.push_back((seq, hop));
    }

    /// The delta `seq`, for the first connection that asks.
    pub fn take(&self, seq: u64) -> Option<Hop> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting.iter().position(|(known, _)| *known == seq)?;
        waiting.remove(at).map(|(_, hop)| hop)
    }
}

impl Hop {
    /// It was written to a socket.
    pub fn written(self) {
        let own = self.context.below(SpanId::drawn(rand::random));
        let span = Span::new(own, Some(self.context.span), "octo.first_delivery", self.since, unix_ns());
        self.telemetry.record(span.with("octo.session", self.session.as_str()));
    }
}
