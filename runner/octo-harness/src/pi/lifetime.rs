//! From the first question to the last closing: handshake, settlement of runs, and what remains to be said when pi is gone.

use super::requests::{MAX_PENDING, Purpose};
use super::run::Settlement;
use super::{NAME, Pi};
use crate::decode::Decode;
use crate::harness::{ExitReport, Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::Event;
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde_json::{Value, json};

/// Most characters of stderr in a sentence.
const STDERR_EXCERPT: usize = 500;
/// Most lines of it.
const STDERR_LINES: usize = 3;

impl Pi {
    pub(super) fn begin(&mut self, now: i64, out: &mut Outbox) {
        self.started = now;
        self.stream.set_prefix(format!("m{now:x}"));
        self.requests.send(Purpose::Handshake, "get_state", json!({}), out);
    }

    /// The refusal of everything that comes when pi is gone, or has too much to answer.
    pub(super) fn refusal(&self) -> Option<ProtocolError> {
        if self.gone {
            return Some(ProtocolError::new(ErrorCode::AgentFailed, format!("{NAME} has ended; send a prompt to start it again")));
        }
        self.requests.is_full().then(|| {
            let message = format!("{NAME} has {MAX_PENDING} commands to answer; wait for it or restart the session");
            ProtocolError::new(ErrorCode::LimitExceeded, message)
        })
    }

    /// The run is over: closes what belongs to it and says so, once.
    pub(super) fn settle(&mut self, settlement: Settlement, now: i64, out: &mut Outbox) {
        self.stream.finish_failed(out);
        self.stream.discard_open("the run ended before the message did", out);
        self.tools.close("the run ended before the tool did", now, out);
        self.end_retry(false, settlement.error.clone(), out);
        self.dialogs.end_run(out);
        self.questions_changed();
        for handled in self.inputs.settle() {
            out.push(Output::Delivered { token: handled.token });
        }
        self.offer_resume(out);
        self.phase = None;
        self.abort_on_start = false;
        out.push(Output::Settled { reason: settlement.reason, error: settlement.error });
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
        if self.inputs.unanswered() {
            self.run.prompted();
        }
    }

    pub(super) fn end_retry(&mut self, success: bool, final_error: Option<String>, out: &mut Outbox) {
        if let Some(attempt) = self.retry.take() {
            out.event(Event::RetryEnd { success, attempt, final_error });
        }
    }

    pub(super) fn end(&mut self, report: &ExitReport, now: i64, out: &mut Outbox) {
        if self.gone {
            return;
        }
        // It gets nothing any more.
        let held = self.inputs.release();
        self.decode_rest(now, out);
        self.gone = true;
        let sentence = sentence(report);
        let error = || ProtocolError::new(ErrorCode::AgentFailed, sentence.clone());

        self.dialogs.close("agent_exit", out);
        self.questions_changed();
        self.end_retry(false, Some(sentence.clone()), out);
        if std::mem::take(&mut self.compacting) {
            self.state.is_compacting = false;
            out.event(Event::CompactEnd {
                success: false,
                will_retry: false,
                error: Some(sentence.clone()),
                summary: None,
                tokens_before: None,
            });
        }
        self.stream.finish_failed(out);
        self.stream.discard_open(&sentence, out);
        self.tools.close(&sentence, now, out);
        self.shell_failed(&sentence, now, out);
        self.offer_resume(out);
        // A prompt that pi never answered is refused, and that is its end: no run was under way.
        for waiting in self.inputs.drain() {
            out.push(match waiting.taken {
                true => Output::Returned { token: waiting.token },
                false => Output::Rejected { token: waiting.token, error: error() },
            });
        }
        for held in held {
            out.push(Output::Returned { token: held.token });
        }
        let shown = self.phase.take().is_some();
        if let Some(settlement) = self.run.died(shown, report.expected, sentence.clone()) {
            out.push(Output::Settled { reason: settlement.reason, error: settlement.error });
        }
        let commands: Vec<u64> = self.requests.drain().into_iter().filter_map(|purpose| purpose.token()).collect();
        let commands = commands.into_iter().chain(std::mem::take(&mut self.withdrawals));
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
        for token in commands {
            out.push(Output::Reply { token, result: Err(error()) });
        }
    }
}

/// How pi ended, with the end of what it said about it.
fn sentence(report: &ExitReport) -> String {
    if let Some(cause) = &report.cause {
        return cause.clone();
    }
    let how = match (report.signal, report.code) {
        (Some(signal), _) => format!("{NAME} was ended by signal {signal}"),
        (None, Some(code)) => format!("{NAME} ended with exit code {code}"),
        (None, None) => format!("{NAME} ended"),
    };
    if report.expected {
        return how;
    }
    let lines = report.stderr_tail.lines().map(str::trim);
    // Of a JavaScript crash the line with the error tells more than the stack and the version below it.
    let telling = |line: &&str| !line.is_empty() && *line != "^" && !line.starts_with("at ") && !line.starts_with("Node.js v");
    let said: Vec<&str> = lines.filter(telling).collect();
    let last = match said.iter().rfind(|line| line.contains("Error: ")) {
        Some(error) => (*error).to_owned(),
        None => said[said.len().saturating_sub(STDERR_LINES)..].join(" / "),
    };
    if last.is_empty() {
        return how;
    }
    format!("{how}: {}", excerpt(&last, STDERR_EXCERPT))
}
