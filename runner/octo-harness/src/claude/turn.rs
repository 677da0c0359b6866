//! Turns: how they begin, what becomes of the inputs, how they end, and what they cost.

use super::fork;
use super::requests::{Purpose, write};
use super::run::Settlement;
use super::wire;
use super::{CALLED, Claude};
use crate::decode::Decode;
use crate::harness::{Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::{Event, Phase};
use octo_protocol::message::{StopReason, Usage};
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde_json::{Value, json};

/// Most characters of an error in a sentence.
const ERROR_EXCERPT: usize = 2000;

fn settlement(result: &wire::TurnResult) -> Settlement {
    if !result.is_error {
        let length = result.stop_reason.as_deref().and_then(wire::stop_reason) == Some(StopReason::Length);
        return Settlement { reason: if length { StopReason::Length } else { StopReason::Stop }, error: None };
    }
    if result.terminal_reason.as_deref().is_some_and(|reason| reason.starts_with("aborted")) {
        return Settlement { reason: StopReason::Aborted, error: None };
    }
    Settlement { reason: StopReason::Error, error: Some(failure(result)) }
}

fn failure(result: &wire::TurnResult) -> String {
    let said = result.result.as_ref().and_then(Value::as_str).unwrap_or_default().trim();
    let errors: Vec<&str> = result.errors.iter().filter_map(Value::as_str).collect();
    match (said, errors.is_empty()) {
        ("", true) => format!("{CALLED} ended the turn: {}", result.subtype),
        ("", false) => excerpt(&errors.join("; "), ERROR_EXCERPT),
        (said, _) => excerpt(said, ERROR_EXCERPT),
    }
}

impl Claude {
    /// A turn shows that it is under way. One that only compacts on octo's command is no run.
    pub(super) fn began(&mut self, out: &mut Outbox) {
        if self.compaction.is_commanded() || !self.run.began() {
            return;
        }
        if let Some(first) = self.inputs.untold() {
            if !first.taken {
                self.taken(first.token, out);
            }
            out.push(Output::Delivered { token: first.token });
        }
        self.show(Phase::Generating, None, out);
        // It began after the interrupt that was to end it.
        if !self.aborts.is_empty() {
            self.interrupt(Purpose::AbortAgain, out);
        }
    }

    pub(super) fn interrupt(&mut self, purpose: Purpose, out: &mut Outbox) {
        self.requests.send(purpose, "interrupt", json!({"cancel_queued": true}), out);
    }

    pub(super) fn status(&mut self, status: wire::Status, out: &mut Outbox) {
        if let Some(mode) = &status.permission_mode {
            self.mode_is(mode, out);
        }
        if self.compaction.status(&status, out) {
            self.began(out);
            self.show(Phase::Compacting, None, out);
        } else if status.status.as_deref() == Some("requesting") {
            self.compaction.flush(out);
            self.began(out);
            if self.retry.is_none() {
                self.show(Phase::Generating, None, out);
            }
        }
        self.state.is_compacting = self.compaction.is_running();
    }

    pub(super) fn lifecycle(&mut self, lifecycle: &wire::Lifecycle, now: i64, out: &mut Outbox) {
        let uuid = lifecycle.command_uuid.as_str();
        if self.compaction.is_of(uuid) {
            if lifecycle.state == "cancelled" {
                self.compaction.fail("the compaction was cancelled", out);
                self.state.is_compacting = false;
                if let Some(token) = self.compaction.concluded() {
                    let error = ProtocolError::new(ErrorCode::Cancelled, "the compaction was cancelled");
                    out.push(Output::Reply { token, result: Err(error) });
                }
            }
            return;
        }
        if let Some(token) = self.inputs.take(uuid) {
            self.taken(token, out);
        }
        match lifecycle.state.as_str() {
            "queued" => {}
            "started" => {
                if let Some(started) = self.inputs.remove(uuid) {
                    out.push(Output::Delivered { token: started.token });
                    self.began(out);
                }
            }
            "completed" => {
                if let Some(done) = self.inputs.remove(uuid) {
                    out.push(Output::Delivered { token: done.token });
                    self.look_whether_over(now, out);
                }
            }
            "cancelled" => {
                if let Some(cancelled) = self.inputs.remove(uuid) {
                    out.push(Output::Returned { token: cancelled.token });
                    self.look_whether_over(now, out);
                }
            }
            _ => self.ignored += 1,
        }
    }

    pub(super) fn turn_result(&mut self, result: wire::TurnResult, now: i64, out: &mut Outbox) {
        if !self.ready {
            return self.did_not_start(&result, now, out);
        }
        let commanded = self.compaction.is_commanded()
            && match (&result.user_message_uuid, &result.local_command) {
                (Some(uuid), _) => self.compaction.is_of(uuid),
                (None, Some(command)) => command == "compact",
                (None, None) => !self.run.is_active(),
            };
        self.conversation(result.session_id.clone());
        self.spent(&result, out);
        self.close_turn("the turn ended before it did", &settlement(&result), now, out);
        if commanded {
            return self.compacted(&result, out);
        }
        let last = settlement(&result);
        if !self.run.turn_ended(last) {
            self.ignored += 1;
            return;
        }
        self.offer_resume(out);
        if result.queued_turn_count.unwrap_or(0.0) < 1.0 {
            while let Some(folded) = self.inputs.untold() {
                if !folded.taken {
                    self.taken(folded.token, out);
                }
                out.push(Output::Delivered { token: folded.token });
            }
        }
        self.look_whether_over(now, out);
    }

    /// Closes what belongs to the turn.
    fn close_turn(&mut self, why: &str, settlement: &Settlement, now: i64, out: &mut Outbox) {
        self.close_open(why, now, out);
        self.tools.close(why, now, out);
        self.compaction.fail(settlement.error.as_deref().unwrap_or(why), out);
        self.state.is_compacting = false;
        self.end_retry(settlement.reason != StopReason::Error && settlement.reason != StopReason::Aborted, settlement.error.clone(), out);
        for line in self.dialogs.end_turn("agent", &self.tasks, out) {
            write(&line, out);
        }
        self.questions_changed();
    }

    fn compacted(&mut self, result: &wire::TurnResult, out: &mut Outbox) {
        let Some(token) = self.compaction.concluded() else { return };
        self.offer_resume(out);
        let answer = match result.is_error {
            false => Ok(Value::Null),
            true => Err(ProtocolError::new(ErrorCode::AgentFailed, failure(result))),
        };
        out.push(Output::Reply { token, result: answer });
    }

    // Claude Code ends by itself after this.
    fn did_not_start(&mut self, result: &wire::TurnResult, now: i64, out: &mut Outbox) {
        let why = failure(result);
        let missing = why.contains("No conversation found");
        if self.options.resume.is_some() && (missing || fork::is_lost(&why)) {
            let what = if missing {
                "the one before is missing"
            } else {
                "the place that it was to be forked at is missing, for example because it was compacted since"
            };
            self.notice(|_| format!("{CALLED} could not continue the conversation ({why}): {what}, and a new one begins"), out);
            self.mark_new(what, now, out);
            out.push(Output::Resume(String::new()));
        } else {
            self.notice(|_| format!("{CALLED} did not start: {why}"), out);
        }
    }

    fn spent(&mut self, result: &wire::TurnResult, out: &mut Outbox) {
        let since = result.model_usage_since_last_result.as_ref().map(wire::spent);
        let usage = since.unwrap_or_else(|| result.usage.unwrap_or_default().canonical());
        let Some(usage) = usage else { return };
        if std::mem::replace(&mut self.totals_known, true) {
            self.session_total.add(&usage);
        } else {
            self.session_total = wire::spent(&result.model_usage).unwrap_or_else(|| usage.clone());
        }
        let session_total: Usage = self.session_total.clone();
        out.event(Event::Usage { usage, session_total });
    }

    /// Settles the run when nothing is left of it.
    pub(super) fn look_whether_over(&mut self, now: i64, out: &mut Outbox) {
        if !self.inputs.is_empty() {
            return;
        }
        let Some(over) = self.run.nothing_waits() else { return };
        self.close_turn("the run ended before it did", &over, now, out);
        self.phase = None;
        out.push(Output::Settled { reason: over.reason, error: over.error });
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
    }
}
