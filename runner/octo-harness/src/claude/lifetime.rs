//! The handshake, and what remains to be said when Claude Code is gone.

use super::requests::{MAX_PENDING, Purpose};
use super::{CALLED, Claude};
use crate::decode::Decode;
use crate::harness::{ExitReport, Outbox, Output};
use crate::lines::excerpt;
use crate::tools::mcp;
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde_json::{Value, json};

/// Most characters of stderr in a sentence.
const STDERR_EXCERPT: usize = 500;
/// Most lines of it.
const STDERR_LINES: usize = 3;

impl Claude {
    pub(super) fn begin(&mut self, now: i64, out: &mut Outbox) {
        self.started = now;
        let provider = self.options.provider.clone();
        self.stream.set_prefix(format!("m{now:x}"), &provider);
        self.inputs.set_start(now);
        self.requests.send(Purpose::Handshake, "initialize", json!({"sdkMcpServers": [mcp::SERVER]}), out);
    }

    /// The refusal of everything that comes when Claude Code is gone, or has too much to answer.
    pub(super) fn refusal(&self) -> Option<ProtocolError> {
        if self.gone {
            return Some(ProtocolError::new(ErrorCode::AgentFailed, format!("{CALLED} has ended; send a prompt to start it again")));
        }
        self.requests.is_full().then(|| {
            let message = format!("{CALLED} has {MAX_PENDING} requests to answer; wait for it or restart the session");
            ProtocolError::new(ErrorCode::LimitExceeded, message)
        })
    }

    pub(super) fn end(&mut self, report: &ExitReport, now: i64, out: &mut Outbox) {
        if self.gone {
            return;
        }
        self.decode_rest(now, out);
        self.gone = true;
        let sentence = sentence(report);
        let error = || ProtocolError::new(ErrorCode::AgentFailed, sentence.clone());

        self.dialogs.close("agent_exit", out);
        self.questions_changed();
        self.mode_is(super::mode::ASKING, out);
        self.end_retry(false, Some(sentence.clone()), out);
        self.compaction.fail(&sentence, out);
        self.mark_compaction(now, out);
        self.state.is_compacting = false;
        self.close_open(&sentence, now, out);
        self.tools.close(&sentence, now, out);
        // An input that it never answered is refused, and that is its end: no run was under way.
        for waiting in self.inputs.drain() {
            out.push(match waiting.taken {
                true => Output::Returned { token: waiting.token },
                false => Output::Rejected { token: waiting.token, error: error() },
            });
        }
        let shown = self.phase.take().is_some();
        if let Some(settlement) = self.run.died(shown, report.expected, sentence.clone()) {
            out.push(Output::Settled { reason: settlement.reason, error: settlement.error });
        }
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
        let commands = self.requests.drain().into_iter().filter_map(|purpose| purpose.token());
        for token in commands.chain(self.compaction.concluded()) {
            out.push(Output::Reply { token, result: Err(error()) });
        }
    }
}

/// How it ended, with the end of what it said about it.
fn sentence(report: &ExitReport) -> String {
    if let Some(cause) = &report.cause {
        return cause.clone();
    }
    let how = match (report.signal, report.code) {
        (Some(signal), _) => format!("{CALLED} was ended by signal {signal}"),
        (None, Some(code)) => format!("{CALLED} ended with exit code {code}"),
        (None, None) => format!("{CALLED} ended"),
    };
    if report.expected {
        return how;
    }
    // `[claude-code:…]` are remarks for programs, for example that it does not know the model's price.
    let telling = |line: &&str| !line.is_empty() && !line.starts_with("[claude-code:");
    let said: Vec<&str> = report.stderr_tail.lines().map(str::trim).filter(telling).collect();
    let last = said[said.len().saturating_sub(STDERR_LINES)..].join(" / ");
    if last.is_empty() {
        return how;
    }
    format!("{how}: {}", excerpt(&last, STDERR_EXCERPT))
}
