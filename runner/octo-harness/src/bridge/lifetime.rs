//! What remains to be said when the connector is gone. The agent behind the bridge goes on: what it does is told by the next connector.

use super::requests::Purpose;
use super::{Bridge, CALLED};
use crate::decode::Decode;
use crate::harness::{ExitReport, Harness, Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::{Event, InputKind, Level};
use octo_protocol::message::StopReason;
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde_json::Value;

/// Most characters of stderr, or of a message, in a sentence.
const EXCERPT: usize = 500;

impl Bridge {
    pub(super) fn end(&mut self, report: &ExitReport, now: i64, out: &mut Outbox) {
        if self.gone {
            return;
        }
        self.decode_rest(now, out);
        self.offer_resume(out);
        self.gone = true;
        let sentence = sentence(report);
        let error = || ProtocolError::new(ErrorCode::AgentFailed, sentence.clone());
        let working = self.is_working();
        self.close_open(&sentence, "agent_exit", out);
        if let Some((tool_call_id, name)) = self.state.beside.take().and_then(|id| self.tools.remove_entry(&id)) {
            let output = serde_json::json!({ "content": [{ "type": "text", "text": sentence }] });
            out.event(Event::ToolEnd { tool_call_id, name, output, is_error: true, duration_ms: 0 });
        }
        for waiting in self.inputs.take(|_| true) {
            let token = waiting.token;
            match (waiting.is_sent(), waiting.kind) {
                (false, InputKind::Steer) => out.push(Output::Returned { token }),
                (false, _) => out.push(Output::Rejected { token, error: error() }),
                // Sent again under another id it would run twice, should the bridge have it; if so, it is shown when the bridge tells of it.
                (true, InputKind::Steer) if !waiting.is_taken() => {
                    let message = format!(
                        "a message was on its way to {CALLED} when the connection ended, and may not have been read; look before you send it again"
                    );
                    out.event(Event::Notify { level: Level::Warning, message });
                }
                (true, InputKind::Steer) => {}
                (true, _) => out.push(Output::Returned { token }),
            }
        }
        self.turn = None;
        if working {
            let reason = if report.expected { StopReason::Aborted } else { StopReason::Error };
            out.push(Output::Settled { reason, error: Some(sentence.clone()) });
        }
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
        for purpose in self.requests.take_those(|_| true) {
            match purpose {
                Purpose::Probe { token } | Purpose::Abort { token } | Purpose::Answer { token, .. } | Purpose::Plain { token } => {
                    out.push(Output::Reply { token, result: Err(error()) });
                }
                Purpose::Attach | Purpose::Models | Purpose::Setting => {}
            }
        }
    }
}

/// How it ended, with the last that it said.
fn sentence(report: &ExitReport) -> String {
    if let Some(cause) = &report.cause {
        return cause.clone();
    }
    let last = report.stderr_tail.lines().map(str::trim).rfind(|line| !line.is_empty());
    match (last, report.signal, report.code) {
        (Some(last), ..) if !report.expected => excerpt(last, EXCERPT),
        (_, Some(signal), _) => format!("the connector to {CALLED} was ended by signal {signal}"),
        (_, None, Some(code)) => format!("the connector to {CALLED} ended with exit code {code}"),
        (_, None, None) => format!("the connector to {CALLED} ended"),
    }
}
