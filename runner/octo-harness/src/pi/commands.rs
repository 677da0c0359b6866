//! The canonical commands as pi's.
//!
//! Prompts, steer messages and follow-ups all go as `prompt` with a `streamingBehavior`: pi then decides at one point in time whether it is busy
//! (queue it) or idle (run it). pi's `steer` and `follow_up` would leave a message lying that arrives just after the run settled.

use super::dialogs::cancelled;
use super::queue;
use super::requests::{Purpose, write};
use super::{NAME, Pi};
use crate::harness::{Input, Outbox, Output};
use octo_protocol::Command;
use octo_protocol::event::InputKind;
use octo_protocol::message::ImageInput;
use octo_protocol::response::{CommandResult, ErrorCode, ProtocolError};
use serde_json::{Value, json};

/// Names of the commands and features that pi can do.
pub const CAPABILITIES: &[&str] = &[
    "prompt",
    "steer",
    "follow_up",
    "abort",
    "input_response",
    "get_state",
    "get_messages",
    "get_stats",
    "get_models",
    "get_commands",
    "get_fork_points",
    "fork",
    "session.new",
    "session.switch",
    "set_model",
    "cycle_model",
    "set_thinking_level",
    "cycle_thinking_level",
    "set_auto_compaction",
    "set_auto_retry",
    "compact",
    "abort_retry",
    "set_session_name",
    "bash",
    "abort_bash",
    "export_html",
    "images",
    "thinking",
    "permissions",
    "questions",
    "resume",
];

fn images(images: &[ImageInput]) -> Value {
    images.iter().map(|image| json!({"type": "image", "data": image.data, "mimeType": image.media_type})).collect()
}

impl Pi {
    pub(super) fn accept(&mut self, input: Input, out: &mut Outbox) {
        let full = || ProtocolError::new(ErrorCode::LimitExceeded, format!("{} inputs wait for {NAME} already", queue::MAX_WAITING));
        if let Some(error) = self.refusal().or_else(|| self.inputs.is_full().then(full)) {
            out.push(Output::Rejected { token: input.token, error });
        } else if self.must_hold() || self.inputs.holds() {
            self.inputs.hold(input);
        } else {
            self.hand_over(input, out);
        }
    }

    fn hand_over(&mut self, input: Input, out: &mut Outbox) {
        let behavior = match input.kind {
            InputKind::Steer => "steer",
            InputKind::Prompt | InputKind::FollowUp => "followUp",
        };
        let mut fields = json!({"message": input.message, "streamingBehavior": behavior});
        if !input.images.is_empty() {
            fields["images"] = images(&input.images);
        }
        self.inputs.sent(&input);
        self.run.prompted();
        self.requests.send(Purpose::Input { token: input.token }, "prompt", fields, out);
    }

    /// An input that pi gets now would be refused or lost: pi compacts; or it is in another conversation for a moment; or it has another one of which it has not said
    /// that it takes it, or with which it has not begun. pi looks whether it is busy, then prepares the prompt, then begins: a second prompt that comes in between finds it idle too, is
    /// taken, fails where it begins without a word, and has pi say `agent_settled` in the middle of the first one's run.
    fn must_hold(&self) -> bool {
        self.compacting
            || !self.withdrawals.is_empty()
            || self.requests.waits(|purpose| matches!(purpose, Purpose::Compact { .. }) || purpose.is_away())
            || self.inputs.unanswered()
            || self.run.is_prompted()
    }

    /// What was kept back goes to pi, as far as it can.
    pub(super) fn release_held(&mut self, out: &mut Outbox) {
        if !self.gone && !self.inputs.unanswered() {
            for token in std::mem::take(&mut self.withdrawals) {
                self.clear_queue(Purpose::Withdraw { token }, out);
            }
        }
        while !self.gone && !self.must_hold() {
            let Some(input) = self.inputs.next_held() else { return };
            self.hand_over(input, out);
        }
    }

    pub(super) fn reply(&mut self, token: u64, result: CommandResult, out: &mut Outbox) {
        out.push(Output::Reply { token, result });
    }

    pub(super) fn ask_alive(&mut self, token: u64, out: &mut Outbox) {
        match self.refusal() {
            Some(error) => self.reply(token, Err(error), out),
            None => self.requests.send(Purpose::Probe { token }, "get_state", json!({}), out),
        }
    }

    pub(super) fn perform(&mut self, token: u64, command: &Command, now: i64, out: &mut Outbox) {
        if let Some(error) = self.refusal() {
            return self.reply(token, Err(error), out);
        }
        let (purpose, name, fields) = match command {
            Command::Abort => return self.abort(token, out),
            Command::InputResponse { request_id, answer } => {
                let answered = self.dialogs.answer(request_id, answer, out);
                self.questions_changed();
                if let Ok(line) = &answered {
                    write(line, out);
                }
                return self.reply(token, answered.map(|_| Value::Null), out);
            }
            Command::GetModels { .. } => {
                // From the cache, which is renewed behind the answer.
                let cached = self.models.as_ref().and_then(|models| serde_json::to_value(models).ok());
                let waiting = cached.is_none().then_some(token);
                if let Some(models) = cached {
                    self.reply(token, Ok(models), out);
                }
                (Purpose::Models { token: waiting }, "get_available_models", json!({}))
            }
            Command::GetState => (Purpose::Raw { token }, "get_state", json!({})),
            Command::GetStats => (Purpose::Stats { token }, "get_session_stats", json!({})),
            Command::GetCommands => (Purpose::Commands { token: Some(token) }, "get_commands", json!({})),
            Command::GetForkPoints => (Purpose::ForkPoints { token }, "get_fork_messages", json!({})),
            Command::Fork { entry_id } => {
                if let Some(error) = self.cannot_fork() {
                    return self.reply(token, Err(error), out);
                }
                (Purpose::ForkFrom { token, entry_id: entry_id.clone() }, "get_fork_messages", json!({}))
            }
            Command::SessionNew { parent_session } => {
                let fields = parent_session.as_ref().map_or_else(|| json!({}), |parent| json!({"parentSession": parent}));
                (Purpose::Conversation { token }, "new_session", fields)
            }
            Command::SessionSwitch { session_path } => {
                (Purpose::Conversation { token }, "switch_session", json!({"sessionPath": session_path}))
            }
            Command::SetModel { provider, model_id } => {
                (Purpose::SetModel { token }, "set_model", json!({"provider": provider, "modelId": model_id}))
            }
            Command::CycleModel => (Purpose::CycleModel { token }, "cycle_model", json!({})),
            Command::SetThinkingLevel { level } => (Purpose::SetThinking { token }, "set_thinking_level", json!({"level": level.as_str()})),
            Command::CycleThinkingLevel => (Purpose::CycleThinking { token }, "cycle_thinking_level", json!({})),
            Command::SetAutoCompaction { enabled } => {
                (Purpose::AutoCompaction { token, enabled: *enabled }, "set_auto_compaction", json!({"enabled": enabled}))
            }
            Command::SetAutoRetry { enabled } => (Purpose::Plain { token }, "set_auto_retry", json!({"enabled": enabled})),
            Command::Compact { instructions } => {
                let fields = instructions.as_ref().map_or_else(|| json!({}), |text| json!({"customInstructions": text}));
                (Purpose::Compact { token }, "compact", fields)
            }
            Command::AbortRetry => (Purpose::Plain { token }, "abort_retry", json!({})),
            Command::Bash { command, exclude_from_context } => return self.run_shell(token, command, *exclude_from_context, now, out),
            Command::AbortBash => return self.abort_shell(token, out),
            Command::ExportHtml { path } => {
                let fields = path.as_ref().map_or_else(|| json!({}), |path| json!({"outputPath": path}));
                (Purpose::Raw { token }, "export_html", fields)
            }
            Command::SetSessionName { name } => (Purpose::Plain { token }, "set_session_name", json!({"name": name})),
            other => return self.reply(token, Err(ProtocolError::unsupported(other.name(), NAME)), out),
        };
        self.requests.send(purpose, name, fields, out);
    }

    /// Ends the run. pi does not answer while a dialog is open, so those go first; then its queues, else they would run next; then the run.
    fn abort(&mut self, token: u64, out: &mut Outbox) {
        for request_id in self.dialogs.close("abort", out) {
            write(&cancelled(&request_id), out);
        }
        self.questions_changed();
        for held in self.inputs.release() {
            out.push(Output::Returned { token: held.token });
        }
        if self.clears_queue {
            self.clear_queue(Purpose::ClearQueue, out);
        }
        if self.shell.is_some() {
            self.requests.send(Purpose::AbortShell, "abort_bash", json!({}), out);
        }
        self.abort_on_start = self.run.is_prompted();
        self.run.abort_sent();
        self.requests.send(Purpose::Abort { token }, "abort", json!({}), out);
    }

    /// pi forks by going over to the new conversation: it must have nothing to do in the one that it has, and be able to come back to it.
    fn cannot_fork(&self) -> Option<ProtocolError> {
        let refuse = |code, what: &str| Some(ProtocolError::new(code, format!("{NAME} {what}")));
        if self.run.is_working() || self.must_hold() || self.inputs.holds() {
            return refuse(ErrorCode::Busy, "is at work; wait for it or abort, then fork");
        }
        if self.resume_given.is_none() || self.state.session_file.is_none() {
            return refuse(ErrorCode::InvalidState, "has no conversation yet that could be forked");
        }
        None
    }

    pub(super) fn take_back(&mut self, token: u64, out: &mut Outbox) {
        if let Some(error) = self.refusal() {
            return self.reply(token, Err(error), out);
        }
        if !self.clears_queue {
            let error = ProtocolError::new(
                ErrorCode::Unsupported,
                format!("this version of {NAME} keeps what is in its queue; abort to take it back"),
            );
            return self.reply(token, Err(error), out);
        }
        for held in self.inputs.release() {
            out.push(Output::Returned { token: held.token });
        }
        // What pi has not even put into its queue it could not give back.
        if self.inputs.unanswered() {
            self.withdrawals.push(token);
        } else {
            self.clear_queue(Purpose::Withdraw { token }, out);
        }
    }

    pub(super) fn clear_queue(&mut self, purpose: Purpose, out: &mut Outbox) {
        self.inputs.clearing();
        self.requests.send(purpose, "clear_queue", json!({}), out);
    }

    /// A command of pi whose answer is given as it is; the doors below are for tools that octo offers on top of a session.
    fn raw(&mut self, token: u64, name: &'static str, fields: Value, out: &mut Outbox) {
        match self.refusal() {
            Some(error) => self.reply(token, Err(error), out),
            None => self.requests.send(Purpose::Raw { token }, name, fields, out),
        }
    }

    /// The entries of the conversation after the entry `since`: `{entries, leafId}`. Since 0.80.3.
    pub fn entries(&mut self, token: u64, since: Option<&str>, out: &mut Outbox) {
        self.raw(token, "get_entries", since.map_or_else(|| json!({}), |since| json!({"since": since})), out);
    }

    /// The conversation's tree: `{tree, leafId}`. Since 0.80.3.
    pub fn tree(&mut self, token: u64, out: &mut Outbox) {
        self.raw(token, "get_tree", json!({}), out);
    }
}
