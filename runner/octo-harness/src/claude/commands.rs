//! The canonical commands as Claude Code's.

use super::queue::{self, content, is_later, user_line};
use super::requests::{Purpose, write};
use super::{CALLED, Claude, NAME};
use crate::harness::{Input, Outbox, Output};
use octo_protocol::response::{CommandResult, ErrorCode, ProtocolError};
use octo_protocol::{Command, ThinkingLevel};
use serde_json::{Value, json};

/// Names of the commands and features that Claude Code can do.
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
    "set_model",
    "set_thinking_level",
    "cycle_thinking_level",
    "compact",
    "set_session_name",
    "images",
    "thinking",
    "permissions",
    "questions",
    "resume",
];

/// How much Claude Code thinks when nobody says.
pub const DEFAULT_LEVEL: ThinkingLevel = ThinkingLevel::High;
/// Its levels, in the order of cycling.
const LEVELS: [ThinkingLevel; 5] =
    [ThinkingLevel::Off, ThinkingLevel::Low, ThinkingLevel::Medium, ThinkingLevel::High, ThinkingLevel::Xhigh];

impl Claude {
    pub(super) fn accept(&mut self, input: &Input, out: &mut Outbox) {
        let full = || ProtocolError::new(ErrorCode::LimitExceeded, format!("{} inputs wait for {CALLED} already", queue::MAX_WAITING));
        if let Some(error) = self.refusal().or_else(|| self.inputs.is_full().then(full)) {
            return out.push(Output::Rejected { token: input.token, error });
        }
        let uuid = self.inputs.next_uuid();
        write(&user_line(&uuid, content(input), is_later(input.kind) && self.run.is_working()), out);
        self.inputs.sent(input.token, uuid);
        self.run.prompted();
    }

    pub(super) fn reply(&mut self, token: u64, result: CommandResult, out: &mut Outbox) {
        out.push(Output::Reply { token, result });
    }

    pub(super) fn ask_alive(&mut self, token: u64, out: &mut Outbox) {
        match self.refusal() {
            Some(error) => self.reply(token, Err(error), out),
            None => self.requests.send(Purpose::Probe { token }, "get_session_cost", json!({}), out),
        }
    }

    pub(super) fn perform(&mut self, token: u64, command: &Command, out: &mut Outbox) {
        if let Some(error) = self.refusal() {
            return self.reply(token, Err(error), out);
        }
        match command {
            Command::Abort => self.abort(token, out),
            Command::InputResponse { request_id, answer } => {
                let answered = self.dialogs.answer(request_id, answer, out);
                self.questions_changed();
                if let Ok(Some(line)) = &answered {
                    self.allowed(line);
                    write(line, out);
                }
                self.reply(token, answered.map(|_| Value::Null), out);
            }
            Command::GetCommands => {
                let commands = serde_json::to_value(&self.commands);
                self.reply(token, commands.map_err(|error| ProtocolError::new(ErrorCode::Internal, error.to_string())), out);
            }
            Command::SetModel { provider, model_id } => self.set_model(token, provider, model_id, out),
            Command::SetThinkingLevel { level } => self.set_thinking(Some(token), offered(*level), out),
            Command::CycleThinkingLevel => {
                let at = LEVELS.iter().position(|level| *level == self.state.thinking_level);
                let next = at.map_or(DEFAULT_LEVEL, |at| LEVELS[(at + 1) % LEVELS.len()]);
                self.set_thinking(Some(token), next, out);
            }
            Command::Compact { instructions } => self.compact(token, instructions.as_deref().unwrap_or_default(), out),
            Command::SetSessionName { name } => {
                self.requests.send(Purpose::Plain { token }, "rename_session", json!({"title": name}), out);
            }
            other => self.reply(token, Err(ProtocolError::unsupported(other.name(), NAME)), out),
        }
    }

    /// Ends the run. Claude Code withdraws its own questions, and gives back what is queued.
    fn abort(&mut self, token: u64, out: &mut Outbox) {
        for line in self.dialogs.end_turn("abort", &self.tasks, out) {
            // Its own questions Claude Code withdraws; an answer that comes late is nothing to it.
            write(&line, out);
        }
        self.questions_changed();
        self.run.abort_sent();
        self.interrupt(Purpose::Abort { token }, out);
    }

    fn set_model(&mut self, token: u64, provider: &str, model: &str, out: &mut Outbox) {
        let own = self.options.provider.as_str();
        if !own.is_empty() && provider != own {
            let message = format!(
                "{CALLED} keeps to its provider {own} while it runs; close the session, set {provider}/{model} and send a prompt: \
                 the conversation goes on with it"
            );
            return self.reply(token, Err(ProtocolError::new(ErrorCode::InvalidState, message)), out);
        }
        let purpose = Purpose::SetModel { token, model: model.to_owned() };
        self.requests.send(purpose, "set_model", json!({"model": model}), out);
    }

    /// Claude Code has a budget, which switches thinking off and on, and an effort.
    pub(super) fn set_thinking(&mut self, token: Option<u64>, level: ThinkingLevel, out: &mut Outbox) {
        let level = offered(level);
        let off = level == ThinkingLevel::Off;
        let budget = if off { json!(0) } else { Value::Null };
        let effort = if off { Value::Null } else { level.as_str().into() };
        self.requests.send(Purpose::Thinking, "set_max_thinking_tokens", json!({"max_thinking_tokens": budget}), out);
        let settings = json!({"settings": {"effortLevel": effort}});
        self.requests.send(Purpose::Effort { token, level }, "apply_flag_settings", settings, out);
    }

    fn compact(&mut self, token: u64, instructions: &str, out: &mut Outbox) {
        if self.run.is_working() || self.compaction.is_commanded() {
            let message = format!("{CALLED} is at work; compact the conversation when it is done, or abort it first");
            return self.reply(token, Err(ProtocolError::new(ErrorCode::Busy, message)), out);
        }
        let uuid = self.inputs.next_uuid();
        // It is a command only on one line.
        let instructions = instructions.split_whitespace().collect::<Vec<_>>().join(" ");
        let text = format!("/compact {instructions}");
        write(&user_line(&uuid, text.trim_end().into(), false), out);
        self.compaction.command(token, uuid);
    }
}

/// The level as Claude Code has it.
fn offered(level: ThinkingLevel) -> ThinkingLevel {
    if level == ThinkingLevel::Minimal { ThinkingLevel::Low } else { level }
}
