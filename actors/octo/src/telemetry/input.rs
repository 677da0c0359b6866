//! The trace of an input on its way through octo: received, sent on the link, answered.

use super::Telemetry;
use crate::auth::UserId;
use octo_actors::unix_ns;
use octo_protocol::trace::{Span, SpanId, SpanKind, TraceId};
use octo_protocol::{Command, CommandFrame, ErrorCode, TraceContext};

/// An input under way. Dropped unanswered, it was broken off.
pub struct InputTrace {
    telemetry: Telemetry,
    /// The span of the command.
    own: TraceContext,
    parent: Option<SpanId>,
    received: u64,
    /// The span on the link, and since when it is.
    link: (SpanId, Option<u64>),
    user: String,
    session: String,
    command: &'static str,
    outcome: Outcome,
}

enum Outcome {
    BrokenOff,
    Answered,
    Refused(ErrorCode),
}

impl Telemetry {
    /// Gives an input that was received at `received` (Unix nanoseconds) the context that it has from here on: the client's, or that of a new trace. Other
    /// commands have none. Nothing to record when the trace is not sampled.
    #[must_use]
    pub fn input(&self, frame: &mut CommandFrame, received: u64, owner: &UserId) -> Option<InputTrace> {
        let given = frame.traceparent.take().and_then(|text| text.parse::<TraceContext>().ok());
        if !matches!(frame.command, Command::Prompt { .. } | Command::Steer { .. } | Command::FollowUp { .. }) {
            return None;
        }
        let trace = given.map_or_else(|| TraceId::drawn(rand::random), |given| given.trace);
        // A client decides for its own trace, where anything is recorded at all.
        let sampled = self.is_on() && given.map_or_else(|| self.samples(&trace), |given| given.sampled);
        let own = TraceContext { trace, span: SpanId::drawn(rand::random), sampled };
        let link = if sampled { SpanId::drawn(rand::random) } else { own.span };
        frame.traceparent = Some(own.below(link).to_string());
        sampled.then(|| InputTrace {
            telemetry: self.clone(),
            own,
            parent: given.map(|given| given.span),
            received,
            link: (link, None),
            user: owner.to_string(),
            session: frame.session_id.clone(),
            command: frame.command.name(),
            outcome: Outcome::BrokenOff,
        })
    }
}

impl InputTrace {
    /// It is on its way to the runner.
    pub fn sent(&mut self) {
        self.link.1 = Some(unix_ns());
    }

    /// The runner has answered, or nobody could.
    pub fn answered(mut self, refused: Option<ErrorCode>) {
        self.outcome = refused.map_or(Outcome::Answered, Outcome::Refused);
    }
}

impl Drop for InputTrace {
    fn drop(&mut self) {
        let now = unix_ns();
        let error = match self.outcome {
            Outcome::Answered => None,
            Outcome::BrokenOff => Some("broken off".to_owned()),
            Outcome::Refused(code) => Some(format!("refused: {code:?}")),
        };
        let (user, session) = (self.user.as_str(), self.session.as_str());
        if let (link, Some(sent)) = self.link {
            let span = Span::new(self.own.below(link), Some(self.own.span), "octo.link", sent, now).kind(SpanKind::Client);
            self.telemetry.record(span.with("octo.user", user).with("octo.session", session).failed(error.clone()));
        }
        let span = Span::new(self.own, self.parent, "octo.command", self.received, now).kind(SpanKind::Server);
        let span = span.with("octo.user", user).with("octo.session", session).with("octo.command", self.command);
        self.telemetry.record(span.failed(error));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn frame(traceparent: Option<&str>) -> CommandFrame {
        let command = Command::Steer { message: "m".into(), client_id: None };
        CommandFrame { id: None, session_id: "s".into(), runner_id: None, traceparent: traceparent.map(str::to_owned), command }
    }

    #[test]
    fn an_input_goes_on_with_its_clients_trace_or_with_a_new_one_and_without_a_collector_unsampled() {
        let owner = UserId::new("alice").unwrap();
        let given = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let mut known = frame(Some(given));
        assert!(Telemetry::off().input(&mut known, 1, &owner).is_none());
        let context: TraceContext = known.traceparent.unwrap().parse().unwrap();
        assert_eq!(context.trace.to_string(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert!(!context.sampled && context.span.to_string() != "00f067aa0ba902b7");
        for none in [None, Some("nonsense")] {
            let mut new = frame(none);
            assert!(Telemetry::off().input(&mut new, 1, &owner).is_none());
            assert!(!new.traceparent.unwrap().parse::<TraceContext>().unwrap().sampled);
        }
        let mut other = CommandFrame { command: Command::Abort, ..frame(Some(given)) };
        assert!(Telemetry::off().input(&mut other, 1, &owner).is_none());
        assert_eq!(other.traceparent, None);
    }
}
