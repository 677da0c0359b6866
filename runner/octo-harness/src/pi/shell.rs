//! A shell command of a person in the agent's place (`bash`): it runs beside a turn or without one, is shown as a tool while it runs, and is a message of
//! the conversation when it is done, which the model is told with the next prompt.

use super::message;
use super::requests::Purpose;
use super::wire;
use super::{NAME, Pi};
use crate::harness::Outbox;
use octo_protocol::event::Event;
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What the tool is called.
const TOOL: &str = "bash";
/// Of what it writes, the last bytes are shown while it runs.
const SHOWN: usize = 1024;

/// The command that runs.
#[derive(Debug, Serialize, Deserialize)]
pub struct Shell {
    /// Of the message that it will be.
    id: String,
    command: String,
    excluded: bool,
    started: i64,
    /// The end of what it wrote so far.
    tail: String,
}

/// pi's answer to `bash`.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Done {
    output: String,
    exit_code: Option<i64>,
    cancelled: bool,
    truncated: bool,
    full_output_path: Option<String>,
}

impl Shell {
    fn call(&self) -> String {
        format!("{TOOL}-{}", self.id)
    }

    fn grow(&mut self, delta: &str) {
        self.tail.push_str(delta);
        if self.tail.len() > SHOWN {
            let from = self.tail.ceil_char_boundary(self.tail.len() - SHOWN);
            self.tail.drain(..from);
        }
    }
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}]})
}

impl Pi {
    /// Runs a command; its reply comes when it is done.
    pub(super) fn run_shell(&mut self, token: u64, command: &str, excluded: bool, now: i64, out: &mut Outbox) {
        if self.shell.is_some() {
            let message = "a command runs already in this session; wait for it, or end it with abort_bash";
            return self.reply(token, Err(ProtocolError::new(ErrorCode::Busy, message)), out);
        }
        if command.trim().is_empty() {
            return self.reply(token, Err(ProtocolError::new(ErrorCode::InvalidRequest, "there is no command to run")), out);
        }
        let shell = Shell { id: self.stream.next_id(), command: command.to_owned(), excluded, started: now, tail: String::new() };
        out.event(Event::ToolStart { tool_call_id: shell.call(), name: TOOL.to_owned(), input: Some(json!({"command": command})) });
        self.state.beside = Some(shell.call());
        self.shell = Some(shell);
        // Said only when it is so: 0.73 does not know the word.
        let fields = if excluded { json!({"command": command, "excludeFromContext": true}) } else { json!({"command": command}) };
        self.requests.send(Purpose::Shell { token }, "bash", fields, out);
    }

    /// It has written something.
    pub(super) fn shell_wrote(&mut self, update: &wire::ShellUpdate<'_>, out: &mut Outbox) {
        let Some(shell) = &mut self.shell else { return };
        shell.grow(&update.delta);
        out.event(Event::ToolProgress { tool_call_id: shell.call(), name: TOOL.to_owned(), partial_output: text(&shell.tail) });
    }

    /// pi has answered.
    pub(super) fn shell_done(&mut self, answer: &wire::Response<'_>, now: i64, out: &mut Outbox) -> Result<Value, ProtocolError> {
        let done: Result<Done, _> = super::answers::data(answer);
        let done = match done {
            Ok(done) => done,
            Err(error) => {
                self.shell_failed(&error.message, now, out);
                return Err(error);
            }
        };
        if let Some(shell) = self.shell.take() {
            let failed = done.cancelled || done.exit_code.is_some_and(|code| code != 0);
            self.shell_ended(&shell, &done.output, failed, now, out);
            let message = wire::Message {
                role: "bashExecution".to_owned(),
                command: Some(shell.command.clone()),
                output: Some(done.output.clone()),
                exit_code: done.exit_code,
                cancelled: done.cancelled,
                truncated: done.truncated,
                excluded: shell.excluded,
                ..wire::Message::default()
            };
            if let Some(message) = message::other(&shell.id, message, now) {
                out.event(Event::MessageEnd { message });
            }
        }
        let Done { output, exit_code, cancelled, truncated, full_output_path } = done;
        Ok(
            json!({"output": output, "exit_code": exit_code, "cancelled": cancelled, "truncated": truncated, "full_output_path": full_output_path}),
        )
    }

    /// It cannot be said what became of it.
    pub(super) fn shell_failed(&mut self, why: &str, now: i64, out: &mut Outbox) {
        if let Some(shell) = self.shell.take() {
            self.shell_ended(&shell, why, true, now, out);
        }
    }

    fn shell_ended(&mut self, shell: &Shell, output: &str, is_error: bool, now: i64, out: &mut Outbox) {
        self.state.beside = None;
        out.event(Event::ToolEnd {
            tool_call_id: shell.call(),
            name: TOOL.to_owned(),
            output: text(output),
            is_error,
            duration_ms: u64::try_from(now.saturating_sub(shell.started)).unwrap_or(0),
        });
    }

    /// Ends the command that runs, if one does.
    pub(super) fn abort_shell(&mut self, token: u64, out: &mut Outbox) {
        if self.shell.is_none() {
            let message = format!("no command of a person runs in {NAME}");
            return self.reply(token, Err(ProtocolError::new(ErrorCode::InvalidState, message)), out);
        }
        self.requests.send(Purpose::Plain { token }, "abort_bash", json!({}), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_it_writes_is_kept_in_whole_characters() {
        let mut shell = Shell { id: "m1".into(), command: String::new(), excluded: false, started: 0, tail: String::new() };
        shell.grow(&"ä".repeat(SHOWN));
        shell.grow("z");
        assert!(shell.tail.len() <= SHOWN && shell.tail.ends_with("äz"), "{}", shell.tail.len());
    }
}
