//! The session's part in the trace of its turns: which turn is traced, and when it passes a hop.

use super::actor::Session;
use crate::trace::proxy::{self, Told};
use crate::trace::{InputTrace, Spans, TurnTrace};
use octo_protocol::message::StopReason;
use octo_protocol::trace::Span;
use serde_json::Value;

/// What is traced of one session.
#[derive(Debug, Default)]
pub struct Tracing {
    /// The turn under way.
    pub turn: Option<TurnTrace>,
    /// One that has ended, until the journal has its end.
    ended: Option<(TurnTrace, StopReason)>,
}

impl Session {
    fn spans(&self) -> &Spans {
        &self.shared.spans
    }

    /// A turn begins, with this input if it begins with one.
    pub fn trace_begin(&mut self, input: Option<InputTrace>) {
        self.tracing.turn = input.map(TurnTrace::new);
        self.ledger.trace = self.tracing.turn.as_ref().map(TurnTrace::context);
    }

    /// No turn has begun after all.
    pub fn trace_forget(&mut self) {
        self.trace_begin(None);
    }

    /// Requests that the agent makes from now on are of this turn. Told before the agent has the input; only of what is sampled, and not for longer than
    /// a moment.
    pub async fn trace_ahead(&mut self) {
        if let Some(told) = self.tell_proxy(Told::Begins) {
            // On the heap while it lasts: most turns are not sampled.
            Box::pin(told).await;
        }
    }

    fn tell_proxy(&self, told: Told) -> Option<impl Future<Output = ()> + Send + use<>> {
        let context = self.tracing.turn.as_ref().map(TurnTrace::context).filter(|context| context.sampled)?;
        let socket = self.shared.options.eavs_socket()?;
        Some(proxy::tell(socket, self.provision.eavs_key.clone(), context, told))
    }

    /// The agent has this input.
    pub fn trace_handed(&mut self, input: Option<InputTrace>) {
        let Some(input) = input else { return };
        let spans = &self.shared.spans;
        match &mut self.tracing.turn {
            Some(turn) if turn.is_of(&input) => turn.handed(spans),
            turn => input.placed(turn.as_ref().map(TurnTrace::context), &self.row.id, None, spans),
        }
    }

    /// This input was given back to the person.
    pub fn trace_parked(&self, input: Option<InputTrace>) {
        if let Some(input) = input.filter(|input| !self.tracing.turn.as_ref().is_some_and(|turn| turn.is_of(input))) {
            input.placed(None, &self.row.id, Some("it was parked"), self.spans());
        }
    }

    /// The turn has ended; its trace ends when the journal has that.
    pub fn trace_end(&mut self, reason: StopReason) {
        if let Some(told) = self.tell_proxy(Told::Ends) {
            tokio::spawn(told);
        }
        let before = self.tracing.ended.take();
        self.trace_settled(before);
        self.tracing.ended = self.tracing.turn.take().map(|turn| (turn, reason));
        self.ledger.trace = None;
    }

    /// All that was said so far is in the journal.
    pub fn trace_written(&mut self) {
        if let Some(turn) = &mut self.tracing.turn {
            turn.written(&self.shared.spans);
        }
        let ended = self.tracing.ended.take();
        self.trace_settled(ended);
    }

    fn trace_settled(&self, ended: Option<(TurnTrace, StopReason)>) {
        let Some((turn, reason)) = ended else { return };
        let word = match serde_json::to_value(reason) {
            Ok(Value::String(word)) => word,
            _ => String::new(),
        };
        let row = &self.row;
        turn.settled(self.spans(), |span: Span| {
            span.with("octo.user", self.shared.options.user.as_str())
                .with("octo.session", row.id.as_str())
                .with("octo.harness", row.harness.as_str())
                .with("gen_ai.provider.name", row.provider.as_str())
                .with("gen_ai.request.model", row.model.as_str())
                .with("octo.stop_reason", word.as_str())
                // What an agent says of its failure is not octo's to pass on.
                .failed((reason == StopReason::Error).then(|| "the turn failed".to_owned()))
        });
    }
}
