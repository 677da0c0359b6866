//! The canonical commands as requests of ACP.

use super::requests::Purpose;
use super::settings::{Request, Wish};
use super::{Acp, PROTOCOL, wire};
use crate::harness::{Input, Outbox, Output};
use octo_protocol::response::{CommandResult, ErrorCode, ProtocolError};
use octo_protocol::{Command, ThinkingLevel};
use serde_json::{Value, json};

/// What every agent can do.
const ALWAYS: &[&str] = &[
    "prompt",
    "follow_up",
    "abort",
    "input_response",
    "get_state",
    "get_messages",
    "get_stats",
    "get_models",
    "get_commands",
    "session.new",
    "permissions",
];
/// Most prompts on their way at once; more are refused.
const MAX_PROMPTS: usize = 16;
/// A method that no agent has: any answer to it is a sign of life.
const PING: &str = "_octo/ping";

impl Acp {
    /// Names of the commands and features that this agent can do, as far as it has said.
    pub(super) fn able(&self) -> impl Iterator<Item = &'static str> {
        // Until it has said what it can, what a running one most probably can.
        let before = !self.ready;
        let some = [
            ("set_model", before || self.settings.model().is_some()),
            ("set_thinking_level", !before && !self.settings.levels().is_empty()),
            ("cycle_thinking_level", !before && !self.settings.levels().is_empty()),
            ("images", before || self.images),
            ("resume", before || self.loads || self.resumes),
        ];
        ALWAYS.iter().copied().chain(some.into_iter().filter(|(_, able)| *able).map(|(name, _)| name))
    }

    pub(super) fn accept(&mut self, input: &Input, _now: i64, out: &mut Outbox) {
        let full = || ProtocolError::new(ErrorCode::LimitExceeded, format!("{MAX_PROMPTS} messages wait for {} already", self.called));
        let blind = || {
            let message = format!("{} takes no images; send the message without them", self.called);
            ProtocolError::new(ErrorCode::Unsupported, message)
        };
        let refused = self
            .refusal()
            .or_else(|| (self.run.count() >= MAX_PROMPTS).then(full))
            .or_else(|| (!input.images.is_empty() && !self.images).then(blind));
        if let Some(error) = refused {
            return out.push(Output::Rejected { token: input.token, error });
        }
        let text = (!input.message.is_empty()).then(|| json!({"type": "text", "text": input.message}));
        let images = input.images.iter().map(|image| json!({"type": "image", "data": image.data, "mimeType": image.media_type}));
        let prompt: Vec<Value> = text.into_iter().chain(images).collect();
        self.requests.send(
            Purpose::Prompt { token: input.token },
            "session/prompt",
            &json!({"sessionId": self.conversation, "prompt": prompt}),
            out,
        );
        // It has the bytes, and says nothing of a message before it is done with it.
        out.push(Output::Taken { token: input.token });
        self.run.prompted(input.token);
    }

    fn reply(token: u64, result: CommandResult, out: &mut Outbox) {
        out.push(Output::Reply { token, result });
    }

    pub(super) fn ask_alive(&mut self, token: u64, now: i64, out: &mut Outbox) {
        if let Some(over) = self.run.looked() {
            self.settle(over, now, out);
        }
        match self.refusal() {
            Some(error) => Self::reply(token, Err(error), out),
            None if self.quirks().answers_unknown => self.requests.send(Purpose::Probe { token }, PING, &json!({}), out),
            // It might take the question amiss; that its process runs has to do.
            None => Self::reply(token, Ok(Value::Null), out),
        }
    }

    pub(super) fn perform(&mut self, token: u64, command: &Command, now: i64, out: &mut Outbox) {
        if let Some(error) = self.refusal() {
            return Self::reply(token, Err(error), out);
        }
        match command {
            Command::Abort => self.abort(token, now, out),
            Command::InputResponse { request_id, answer } => {
                let answered = self.dialogs.answer(request_id, answer, out);
                self.questions_changed();
                Self::reply(token, answered.map(|()| Value::Null), out);
            }
            Command::GetCommands => {
                let commands = serde_json::to_value(&self.commands);
                Self::reply(token, commands.map_err(|error| ProtocolError::new(ErrorCode::Internal, error.to_string())), out);
            }
            Command::SetModel { provider, model_id } => match self.settings.ask_model(&self.conversation, provider, model_id) {
                Some(request) => self.ask_setting(token, request, out),
                None => {
                    let message =
                        format!("{} does not offer the model {provider}/{model_id}; get_models lists what it offers", self.called);
                    Self::reply(token, Err(ProtocolError::new(ErrorCode::InvalidRequest, message)), out);
                }
            },
            Command::SetThinkingLevel { level } => self.set_thinking(token, *level, out),
            Command::CycleThinkingLevel => {
                let levels = self.settings.levels();
                let at = levels.iter().position(|level| *level == self.state.thinking_level);
                match levels.get(at.map_or(0, |at| (at + 1) % levels.len().max(1))) {
                    Some(level) => self.set_thinking(token, *level, out),
                    None => Self::reply(token, Err(ProtocolError::unsupported(command.name(), PROTOCOL)), out),
                }
            }
            other => Self::reply(token, Err(ProtocolError::unsupported(other.name(), &self.called)), out),
        }
    }

    fn ask_setting(&mut self, token: u64, request: Request, out: &mut Outbox) {
        let Request { method, params, wish } = request;
        self.requests.send(Purpose::Setting { token: Some(token), wish }, &method, &params, out);
    }

    /// What a command that set something answers.
    pub(super) fn setting(&self, wish: &Wish) -> Value {
        let option = self.settings.options().iter().find(|option| option.id == wish.option);
        match option.and_then(|option| option.category.as_deref()) {
            Some("model") => {
                let (provider, model_id) = super::settings::halves(&wish.value, &self.options.provider);
                json!({"provider": provider, "model_id": model_id})
            }
            Some("thought_level") => json!({"level": self.state.thinking_level}),
            _ => json!({"option_id": wish.option, "value": wish.value}),
        }
    }

    fn set_thinking(&mut self, token: u64, level: ThinkingLevel, out: &mut Outbox) {
        match self.settings.ask_thinking(&self.conversation, level) {
            Some(request) => self.ask_setting(token, request, out),
            None => {
                let levels: Vec<&str> = self.settings.levels().into_iter().map(ThinkingLevel::as_str).collect();
                let message = format!("{} cannot think {:?}; its levels are: {}", self.called, level.as_str(), levels.join(", "));
                Self::reply(token, Err(ProtocolError::new(ErrorCode::InvalidRequest, message)), out);
            }
        }
    }

    /// Ends the run: what is asked is cancelled with it.
    fn abort(&mut self, token: u64, now: i64, out: &mut Outbox) {
        if !self.run.is_working() {
            return Self::reply(token, Ok(Value::Null), out);
        }
        self.run.aborting = true;
        wire::notify("session/cancel", &json!({"sessionId": self.conversation}), out);
        self.dialogs.close("abort", true, out);
        self.questions_changed();
        self.aborts.push(token);
        if !self.run.is_prompted()
            && let Some(over) = self.run.stop_own()
        {
            self.run.aborting = false;
            self.settle(over, now, out);
        }
    }
}
