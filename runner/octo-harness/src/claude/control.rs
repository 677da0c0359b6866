//! Control requests in both directions: what Claude Code asks of octo, and what its answers mean.

use super::fork;
use super::message::plain_text;
use super::requests::{Purpose, failure, success, write};
use super::wire;
use super::{CALLED, Claude, dialogs, mcp};
use crate::decode::Decode;
use crate::harness::{Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::Event;
use octo_protocol::response::{ErrorCode, ProtocolError};
use octo_protocol::session::SlashCommand;
use serde_json::{Value, json};

/// Most characters of Claude Code's sentence in a refusal.
const SENTENCE: usize = 2000;

/// Claude Code's refusal as octo's.
fn refusal(answer: &wire::Answer<'_>) -> ProtocolError {
    let sentence = match &answer.error {
        Some(Value::String(sentence)) => sentence.clone(),
        Some(other) => plain_text(other),
        None => format!("{CALLED} refused without a reason"),
    };
    let code = match answer.error_code.as_deref() {
        Some("unsupported_request") => ErrorCode::Unsupported,
        Some(code) if code.starts_with("invalid") => ErrorCode::InvalidRequest,
        _ => ErrorCode::AgentFailed,
    };
    ProtocolError::new(code, excerpt(&sentence, SENTENCE))
}

impl Claude {
    /// A request of Claude Code. It may come at any time, also before the answer to the first request of octo. Every one is answered, or asked of people.
    pub(super) fn asked(&mut self, line: &wire::ControlRequest<'_>, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        let subtype = serde_json::from_str::<wire::Subtype<'_>>(line.request.get())?.subtype;
        let id = line.request_id.as_str();
        match subtype.as_ref() {
            "can_use_tool" => {
                let ask: wire::CanUseTool = match serde_json::from_str(line.request.get()) {
                    Ok(ask) => ask,
                    Err(error) => {
                        write(&failure(id, "octo does not understand this request"), out);
                        return Err(error);
                    }
                };
                self.close_whole(now, out);
                if mcp::is_own(&ask) {
                    write(&dialogs::allow(id, ask.input, Vec::new()), out);
                    return Ok(());
                }
                let call_id = ask.tool_use_id.clone().unwrap_or_default();
                let call = self.stream.call(&call_id).or_else(|| self.tools.call(&call_id));
                let plan = call.and_then(|call| call.input["plan"].as_str()).map(str::to_owned);
                if let Some(line) = self.dialogs.ask(id, ask, plan.as_deref(), out) {
                    self.notice(
                        |_| format!("a question of {CALLED} was refused: it is empty, or more than {} are open", dialogs::MAX_OPEN),
                        out,
                    );
                    write(&line, out);
                }
                self.questions_changed();
            }
            "mcp_message" => match serde_json::from_str(line.request.get()) {
                Ok(message) => {
                    self.close_whole(now, out);
                    self.mcp(id, &message, out);
                }
                Err(error) => {
                    write(&failure(id, "octo does not understand this message"), out);
                    return Err(error);
                }
            },
            // octo registers no hooks; one that comes all the same stops nothing.
            "hook_callback" => write(&success(id, json!({"continue": true})), out),
            other => {
                self.ignored += 1;
                write(&failure(id, &format!("octo does not do {}", excerpt(other, 100))), out);
            }
        }
        Ok(())
    }

    /// The answer to a request of octo.
    pub(super) fn answered(&mut self, answer: &wire::Answer<'_>, now: i64, out: &mut Outbox) {
        let refused = (answer.subtype != "success").then(|| refusal(answer));
        let Some(purpose) = self.requests.take(&answer.request_id) else {
            self.ignored += 1;
            return;
        };
        match (purpose, refused) {
            (Purpose::Handshake, refused) => self.initialized(answer, refused, out),
            // Any answer is a sign of life.
            (Purpose::Probe { token }, _) => self.reply(token, Ok(Value::Null), out),
            (Purpose::Abort { token }, Some(error)) => self.reply(token, Err(error), out),
            (Purpose::Abort { token }, None) => self.interrupted(token, now, out),
            (Purpose::AbortAgain, _) => {}
            (Purpose::SetModel { token, .. } | Purpose::Plain { token }, Some(error)) => self.reply(token, Err(error), out),
            (Purpose::SetModel { token, model }, None) => {
                let provider = self.options.provider.clone();
                self.options.model.clone_from(&model);
                self.named = None;
                out.event(Event::ModelChanged { provider: provider.clone(), model_id: model.clone() });
                self.reply(token, Ok(json!({"provider": provider, "model_id": model})), out);
            }
            (Purpose::Mode, Some(error)) => {
                self.notice(|_| format!("{CALLED} did not go back to asking before it acts: {}; restart the session", error.message), out);
            }
            (Purpose::Mode, None) => {}
            (Purpose::Plain { token }, None) => self.reply(token, Ok(Value::Null), out),
            (Purpose::Thinking, Some(error)) => {
                self.notice(|_| format!("{CALLED} did not take how much it shall think: {}", error.message), out);
            }
            (Purpose::Thinking, None) => {}
            (Purpose::Effort { token: Some(token), .. }, Some(error)) => self.reply(token, Err(error), out),
            (Purpose::Effort { token: None, .. }, Some(error)) => {
                self.notice(|_| format!("{CALLED} did not take how much it shall think: {}", error.message), out);
            }
            (Purpose::Effort { token, level }, None) => {
                if self.state.thinking_level != level {
                    self.state.thinking_level = level;
                    out.event(Event::ThinkingLevelChanged { level });
                }
                if let Some(token) = token {
                    self.reply(token, Ok(json!({"level": level})), out);
                }
            }
        }
    }

    fn initialized(&mut self, answer: &wire::Answer<'_>, refused: Option<ProtocolError>, out: &mut Outbox) {
        if let Some(error) = refused {
            self.notice(|_| format!("{CALLED} did not say how it is: {}", error.message), out);
        }
        let told = answer.response.and_then(|raw| serde_json::from_str::<wire::Initialized>(raw.get()).ok()).unwrap_or_default();
        let command =
            |command: wire::SlashCommand| SlashCommand { name: command.name, description: command.description, kind: "command".to_owned() };
        self.commands = told.commands.into_iter().map(command).collect();
        self.ready = true;
        out.push(Output::Ready);
        // A conversation that is continued keeps its id, and was found: else there would be no answer.
        self.conversation(self.options.resume.clone().filter(|handle| fork::parts(handle).1.is_none()));
        self.offer_resume(out);
        if let Some(level) = self.options.thinking {
            self.set_thinking(None, level, out);
        }
    }

    /// The interrupt is taken. What was queued has come back before this.
    fn interrupted(&mut self, token: u64, now: i64, out: &mut Outbox) {
        if !self.run.is_active() {
            for waiting in self.inputs.drain() {
                if !waiting.taken {
                    self.taken(waiting.token, out);
                }
                out.push(Output::Returned { token: waiting.token });
            }
            self.look_whether_over(now, out);
        }
        if self.run.is_working() {
            self.aborts.push(token);
        } else {
            self.reply(token, Ok(Value::Null), out);
        }
    }
}
