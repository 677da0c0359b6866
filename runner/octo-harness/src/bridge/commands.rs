//! Canonical commands, passed on to the bridge, and its responses.

use super::requests::{MAX_PENDING, Purpose};
use super::wire::write;
use super::{Bridge, CALLED, NAME, inputs};
use crate::harness::{Harness, Input, Outbox, Output};
use octo_protocol::message::StopReason;
use octo_protocol::response::{CommandResult, ErrorCode, ProtocolError, Response};
use octo_protocol::session::Aborted;
use octo_protocol::{Command, InputAnswer};
use serde_json::{Value, json};

/// What octo passes on to a bridge, of what the agent behind it can do.
const PASSED_ON: &[&str] = &[
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
    "session.new",
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
    "images",
    "thinking",
    "permissions",
    "questions",
];

/// What a session behind a bridge can do. Nothing is known of the agent before the first connection; then it refuses what it cannot do itself.
#[must_use]
pub fn capabilities(of_the_agent: &[String]) -> Vec<String> {
    let can = |name: &&str| of_the_agent.is_empty() || of_the_agent.iter().any(|capability| capability == *name);
    PASSED_ON.iter().copied().filter(can).chain(["resume"]).map(str::to_owned).collect()
}

impl Bridge {
    fn refusal(&self) -> Option<ProtocolError> {
        if self.gone {
            return Some(ProtocolError::new(
                ErrorCode::AgentFailed,
                "the connector to the bridge has ended; send a prompt to start it again",
            ));
        }
        self.requests.is_full().then(|| {
            ProtocolError::new(
                ErrorCode::LimitExceeded,
                format!("{CALLED} has {MAX_PENDING} commands to answer; wait or restart the session"),
            )
        })
    }

    pub(super) fn accept(&mut self, input: &Input, out: &mut Outbox) {
        let full = || ProtocolError::new(ErrorCode::LimitExceeded, format!("{} inputs wait for {CALLED} already", inputs::MAX_WAITING));
        if let Some(error) = self.refusal().or_else(|| self.inputs.is_full().then(full)) {
            return out.push(Output::Rejected { token: input.token, error });
        }
        self.inputs.add(input);
        if let Some(connection) = self.link.live() {
            for command in self.inputs.to_send(connection) {
                write(connection, &command, out);
            }
        }
    }

    pub(super) fn ask_alive(&mut self, token: u64, out: &mut Outbox) {
        match (self.refusal(), self.link.live()) {
            (Some(error), _) => out.push(Output::Reply { token, result: Err(error) }),
            (None, Some(connection)) => {
                self.requests.send(Purpose::Probe { token }, json!({ "cmd": "get_state" }), Some(connection), out);
            }
            // The connector lives, and makes a connection.
            (None, None) => out.push(Output::Reply { token, result: Ok(Value::Null) }),
        }
    }

    pub(super) fn perform(&mut self, token: u64, command: &Command, out: &mut Outbox) {
        if let Some(error) = self.refusal() {
            return out.push(Output::Reply { token, result: Err(error) });
        }
        match command {
            Command::Abort => self.abort(token, out),
            Command::InputResponse { request_id, answer } => self.answer(token, request_id, answer, out),
            command if PASSED_ON.contains(&command.name()) => self.pass_on(token, command, out),
            other => out.push(Output::Reply { token, result: Err(ProtocolError::unsupported(other.name(), NAME)) }),
        }
    }

    fn pass_on(&mut self, token: u64, command: &Command, out: &mut Outbox) {
        let Some(connection) = self.link.live() else {
            let message = format!("{CALLED} is out of reach at the moment; octo keeps trying: try again in a while");
            return out.push(Output::Reply { token, result: Err(ProtocolError::new(ErrorCode::RunnerUnavailable, message)) });
        };
        match serde_json::to_value(command) {
            Ok(command) => self.requests.send(Purpose::Plain { token }, command, Some(connection), out),
            Err(error) => out.push(Output::Reply { token, result: Err(ProtocolError::new(ErrorCode::Internal, error.to_string())) }),
        }
    }

    fn answer(&mut self, token: u64, request_id: &str, answer: &InputAnswer, out: &mut Outbox) {
        if !self.questions.contains_key(request_id) {
            let message = format!("there is no open question {request_id}; it was answered, or its agent ended");
            return out.push(Output::Reply { token, result: Err(ProtocolError::new(ErrorCode::InvalidState, message)) });
        }
        let mut command = json!(answer);
        command["cmd"] = "input_response".into();
        command["request_id"] = request_id.into();
        self.requests.send(Purpose::Answer { token, request_id: request_id.to_owned() }, command, self.link.live(), out);
    }

    fn abort(&mut self, token: u64, out: &mut Outbox) {
        // What the bridge has never seen is not for it to give back.
        for waiting in self.inputs.take(|waiting| !waiting.is_sent()) {
            out.push(Output::Returned { token: waiting.token });
        }
        if !self.is_working() {
            out.push(Output::Settled { reason: StopReason::Aborted, error: None });
            return out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
        self.requests.send(Purpose::Abort { token }, json!({ "cmd": "abort" }), self.link.live(), out);
    }

    /// A response of the bridge.
    pub(super) fn answered(&mut self, response: Response, out: &mut Outbox) {
        let Response { id, success, data, error, code, .. } = response;
        let result = match success {
            true => Ok(data.unwrap_or_default()),
            false => Err(ProtocolError::new(
                code.unwrap_or(ErrorCode::AgentFailed),
                error.unwrap_or_else(|| format!("{CALLED} refused without a reason")),
            )),
        };
        if let Some(token) = self.inputs.token_of(&id) {
            return self.input_answered(token, result, out);
        }
        let Some(purpose) = self.requests.take(&id) else {
            self.ignored += 1;
            return;
        };
        match purpose {
            Purpose::Attach => self.attached(result, out),
            Purpose::Models => self.models(result, out),
            Purpose::Setting => {}
            Purpose::Abort { token } => self.aborted(token, result, out),
            // Somebody else answered it in the meantime.
            Purpose::Answer { token, request_id } if !self.questions.contains_key(&request_id) => {
                out.push(Output::Reply { token, result: Ok(Value::Null) });
            }
            Purpose::Probe { token } | Purpose::Answer { token, .. } | Purpose::Plain { token } => {
                out.push(Output::Reply { token, result });
            }
        }
    }

    fn input_answered(&mut self, token: u64, result: CommandResult, out: &mut Outbox) {
        match result {
            Ok(_) => {
                if self.inputs.taken(token) {
                    out.push(Output::Taken { token });
                }
            }
            Err(error) => {
                if self.inputs.remove(token).is_some() {
                    out.push(Output::Rejected { token, error });
                }
            }
        }
    }

    fn aborted(&mut self, token: u64, result: CommandResult, out: &mut Outbox) {
        let data = match result {
            Ok(data) => data,
            Err(error) => return out.push(Output::Reply { token, result: Err(error) }),
        };
        let parked = serde_json::from_value::<Aborted>(data).unwrap_or_default().parked;
        for id in parked.iter().filter_map(|input| input.client_id.as_ref()) {
            if let Some(waiting) = self.inputs.remove_named(id) {
                out.push(Output::Returned { token: waiting.token });
            }
        }
        if self.turn.is_some() {
            return self.aborts.push(token);
        }
        if !self.is_working() {
            out.push(Output::Settled { reason: StopReason::Aborted, error: None });
        }
        out.push(Output::Reply { token, result: Ok(Value::Null) });
    }
}
