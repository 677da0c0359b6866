//! What pi's answers mean: each ends the command that it is for, and some change what is known of pi.

use super::fork;
use super::requests::Purpose;
use super::run::Verdict;
use super::wire;
use super::{NAME, Pi};
use crate::decode::Decode;
use crate::harness::{Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::Event;
use octo_protocol::message::{Role, Usage};
use octo_protocol::response::{ErrorCode, ProtocolError};
use octo_protocol::session::{ForkPoint, QueueMode, SessionStats, SlashCommand};
use octo_protocol::{Model, ThinkingLevel};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// Most characters of a fork point's preview.
const PREVIEW: usize = 200;
/// Most characters of pi's sentence in a refusal.
const SENTENCE: usize = 2000;

/// pi's refusal as octo's.
fn refusal(answer: &wire::Response<'_>) -> ProtocolError {
    let sentence = match &answer.error {
        Some(Value::String(sentence)) => sentence.clone(),
        Some(other) => other.to_string(),
        None => format!("{NAME} refused {} without a reason", answer.command),
    };
    let lower = sentence.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| lower.contains(word));
    let code = if has(&["unknown command"]) {
        ErrorCode::Unsupported
    } else if has(&["already processing", "in progress", "is streaming"]) {
        ErrorCode::Busy
    } else if has(&["not found", "cannot be empty", "invalid"]) {
        ErrorCode::InvalidRequest
    } else if has(&["nothing to compact", "already compacted", "no model selected", "no api key", "cannot clone"]) {
        ErrorCode::InvalidState
    } else if has(&["cancelled", "canceled", "aborted"]) {
        ErrorCode::Cancelled
    } else {
        ErrorCode::AgentFailed
    };
    ProtocolError::new(code, excerpt(&sentence, SENTENCE))
}

pub(super) fn data<T: DeserializeOwned>(answer: &wire::Response<'_>) -> Result<T, ProtocolError> {
    let text = answer.data.map_or("null", |raw| raw.get());
    serde_json::from_str(text).map_err(|error| {
        ProtocolError::new(ErrorCode::AgentFailed, format!("{NAME}'s answer to {} was not understood: {error}", answer.command))
    })
}

fn to_value(value: impl serde::Serialize) -> Result<Value, ProtocolError> {
    serde_json::to_value(value).map_err(|error| ProtocolError::new(ErrorCode::Internal, error.to_string()))
}

fn queue_mode(mode: Option<&str>) -> QueueMode {
    if mode == Some("all") { QueueMode::All } else { QueueMode::OneAtATime }
}

impl Pi {
    pub(super) fn answer(&mut self, answer: &wire::Response<'_>, now: i64, out: &mut Outbox) {
        let refused = (!answer.success).then(|| refusal(answer));
        let id = answer.id.as_ref().filter(|id| !id.is_null());
        let unknown = refused.as_ref().is_some_and(|error| error.code == ErrorCode::Unsupported);
        let purpose = match id {
            Some(id) => self.requests.take(id),
            None if unknown => self.requests.take_unknown(&answer.command),
            None => None,
        };
        let Some(purpose) = purpose else {
            self.ignored += 1;
            if let (None, Some(error)) = (id, refused) {
                self.notice(|_| format!("{NAME} did not take a line that octo wrote: {}", error.message), out);
            }
            return;
        };
        match purpose {
            Purpose::Input { token } => self.input_answered(token, refused, answer, now, out),
            Purpose::Abort { token } => self.abort_answered(token, refused, now, out),
            Purpose::AbortAgain => self.aborted_again(now, out),
            Purpose::ClearQueue => self.queue_cleared(refused, answer, out),
            Purpose::ClearAgain { token } => {
                self.queue_cleared(refused, answer, out);
                self.reply(token, Ok(Value::Null), out);
            }
            Purpose::Withdraw { token } => {
                self.queue_cleared(refused.clone(), answer, out);
                self.reply(token, refused.map_or(Ok(Value::Null), Err), out);
            }
            purpose => {
                let result = match refused {
                    Some(error) if matches!(purpose, Purpose::ForkedTo { .. } | Purpose::ForkBack { .. }) => {
                        Err(fork::lost(&error.message))
                    }
                    Some(error) => {
                        if matches!(purpose, Purpose::Shell { .. }) {
                            self.shell_failed(&error.message, now, out);
                        }
                        Err(error)
                    }
                    None => self.result(&purpose, answer, now, out),
                };
                self.conclude(purpose, result, now, out);
            }
        }
    }

    // Ends a command: its reply, or what happens next.
    fn conclude(&mut self, purpose: Purpose, result: Result<Option<Value>, ProtocolError>, now: i64, out: &mut Outbox) {
        match (purpose.token(), result) {
            (Some(token), Ok(Some(value))) => self.reply(token, Ok(value), out),
            (Some(token), Err(error)) => self.reply(token, Err(error), out),
            (None, Err(error)) if purpose == Purpose::Handshake => {
                self.notice(|_| format!("{NAME} did not say how it is: {}", error.message), out);
                self.ready(&wire::State::default(), now, out);
            }
            // A model list, or totals, that pi cannot give are missing, not fatal.
            (None, Err(_)) => self.ignored += 1,
            (_, Ok(_)) => {}
        }
    }

    // `None` when the reply comes later, or none is due.
    fn result(
        &mut self,
        purpose: &Purpose,
        answer: &wire::Response<'_>,
        now: i64,
        out: &mut Outbox,
    ) -> Result<Option<Value>, ProtocolError> {
        let value = match purpose {
            Purpose::Handshake => {
                let state: wire::State = data(answer)?;
                self.ready(&state, now, out);
                return Ok(None);
            }
            Purpose::Probe { .. } | Purpose::Settling | Purpose::Refresh => {
                let state: wire::State = data(answer)?;
                self.known(&state, true, out);
                if *purpose == Purpose::Refresh {
                    self.resume_due = state.message_count > 0;
                    self.offer_resume(out);
                }
                self.state_answered(&state, *purpose == Purpose::Settling, now, out);
                Value::Null
            }
            Purpose::Totals => {
                let stats: SessionStats = data(answer)?;
                self.session_total.add(&Usage {
                    input_tokens: stats.tokens.input,
                    output_tokens: stats.tokens.output,
                    cache_read_tokens: Some(stats.tokens.cache_read),
                    cache_write_tokens: Some(stats.tokens.cache_write),
                    cost_usd: Some(stats.cost),
                });
                Value::Null
            }
            Purpose::Models { .. } => to_value(self.models_answered(answer, out)?)?,
            Purpose::Commands { .. } => to_value(commands(&data::<Value>(answer)?))?,
            Purpose::Stats { .. } => to_value(data::<SessionStats>(answer)?)?,
            Purpose::ForkPoints { .. } => to_value(fork_points(&data::<Value>(answer)?))?,
            Purpose::ForkFrom { .. } | Purpose::Fork { .. } | Purpose::ForkedTo { .. } | Purpose::ForkBack { .. } => {
                return self.forking(purpose, answer, out);
            }
            Purpose::Conversation { .. } => {
                let cancelled = data::<Value>(answer)?["cancelled"].as_bool().unwrap_or(false);
                if cancelled {
                    return Err(ProtocolError::new(
                        ErrorCode::Cancelled,
                        format!("an extension of {NAME} cancelled the change of session"),
                    ));
                }
                self.conversation_changed(false, out);
                Value::Null
            }
            Purpose::SetModel { .. } => {
                let model: wire::Model = data(answer)?;
                self.model(model, out)
            }
            Purpose::CycleModel { .. } => {
                let answer: Value = data(answer)?;
                if answer.is_null() {
                    return Err(ProtocolError::new(ErrorCode::InvalidState, "there is only one model to choose from"));
                }
                if let Some(level) = answer["thinkingLevel"].as_str().and_then(wire::thinking_level) {
                    self.thinking_level(level, out);
                }
                let model = serde_json::from_value(answer["model"].clone())
                    .map_err(|error| ProtocolError::new(ErrorCode::AgentFailed, format!("{NAME} named no model: {error}")))?;
                self.model(model, out)
            }
            Purpose::SetThinking { token } => {
                // pi accepts any word and then takes the level that the model can do: ask which.
                self.requests.send(Purpose::ReadThinking { token: *token }, "get_state", json!({}), out);
                return Ok(None);
            }
            Purpose::ReadThinking { .. } => {
                let state: wire::State = data(answer)?;
                self.known(&state, true, out);
                json!({"level": self.state.thinking_level})
            }
            Purpose::CycleThinking { .. } => {
                let answer: Value = data(answer)?;
                let level = answer["level"].as_str().and_then(wire::thinking_level);
                self.thinking_cycled(level, out)?
            }
            Purpose::AutoCompaction { enabled, .. } => {
                self.state.auto_compaction = *enabled;
                Value::Null
            }
            Purpose::Shell { .. } => self.shell_done(answer, now, out)?,
            Purpose::Raw { .. } => data(answer)?,
            _ => Value::Null,
        };
        Ok(Some(value))
    }

    fn thinking_cycled(&mut self, level: Option<ThinkingLevel>, out: &mut Outbox) -> Result<Value, ProtocolError> {
        let level = level.ok_or_else(|| ProtocolError::new(ErrorCode::InvalidState, "the model does not think"))?;
        self.thinking_level(level, out);
        Ok(json!({"level": level}))
    }

    fn model(&mut self, model: wire::Model, out: &mut Outbox) -> Value {
        let model = Model::from(model);
        let (provider, model_id) = (model.provider.clone(), model.id.clone());
        let changed = self.state.model.as_ref().is_some_and(|known| known.provider != provider || known.id != model_id);
        self.state.model = Some(model);
        if changed {
            out.event(Event::ModelChanged { provider: provider.clone(), model_id: model_id.clone() });
        }
        json!({"provider": provider, "model_id": model_id})
    }

    fn models_answered(&mut self, answer: &wire::Response<'_>, out: &mut Outbox) -> Result<Vec<Model>, ProtocolError> {
        let answer: Value = data(answer)?;
        let listed = answer["models"].as_array().map(Vec::as_slice).unwrap_or_default();
        let parsed = listed.iter().filter_map(|model| serde_json::from_value::<wire::Model>(model.clone()).ok());
        let models: Vec<Model> = parsed.map(Model::from).collect();
        if self.models.as_ref() != Some(&models) {
            self.models = Some(models.clone());
            out.push(Output::Models(models.clone()));
        }
        Ok(models)
    }

    fn conversation_changed(&mut self, cancelled: bool, out: &mut Outbox) {
        if !cancelled {
            self.resume_due = false;
            self.requests.send(Purpose::Refresh, "get_state", json!({}), out);
        }
    }

    fn ready(&mut self, state: &wire::State, now: i64, out: &mut Outbox) {
        self.known(state, false, out);
        if let Some(id) = &state.session_id {
            // Two processes never share start time and conversation; the tail of pi's id is random.
            let tail: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
            let tail = &tail[tail.len().saturating_sub(8)..];
            self.stream.set_prefix(format!("m{:x}-{tail}", self.started));
        }
        out.push(Output::Ready);
        if let Some(wanted) = self.options.resume.clone().filter(|_| state.message_count == 0) {
            let message =
                |_: &str| format!("{NAME} could not continue the conversation in {wanted}: it is missing or empty, and a new one begins");
            self.notice(message, out);
        }
        self.requests.send(Purpose::Models { token: None }, "get_available_models", json!({}), out);
        if state.message_count > 0 {
            self.resume_due = true;
            self.offer_resume(out);
            self.requests.send(Purpose::Totals, "get_session_stats", json!({}), out);
        }
        self.state_answered(state, false, now, out);
    }

    /// What pi says of itself. `announce` what differs from what was known.
    fn known(&mut self, state: &wire::State, announce: bool, out: &mut Outbox) {
        let mut quiet = Outbox::new();
        let out = if announce { out } else { &mut quiet };
        if let Some(model) = &state.model {
            self.model(model.clone(), out);
        }
        if let Some(level) = state.thinking_level.as_deref().and_then(wire::thinking_level) {
            self.thinking_level(level, out);
        }
        if state.session_name.is_some() {
            self.renamed(state.session_name.clone(), out);
        }
        self.state.steering_mode = queue_mode(state.steering_mode.as_deref());
        self.state.follow_up_mode = queue_mode(state.follow_up_mode.as_deref());
        self.state.auto_compaction = state.auto_compaction_enabled;
        if state.session_file.is_some() {
            self.state.session_file.clone_from(&state.session_file);
        }
        if state.session_id.is_some() {
            self.state.agent_session_id.clone_from(&state.session_id);
        }
    }

    fn state_answered(&mut self, state: &wire::State, ours: bool, now: i64, out: &mut Outbox) {
        match self.run.answered(state, ours, self.inputs.unanswered(), now) {
            Verdict::Wait => {}
            Verdict::AskAgain => self.ask_whether_settled(out),
            Verdict::Over(settlement) => self.settle(settlement, now, out),
        }
    }

    fn input_answered(&mut self, token: u64, refused: Option<ProtocolError>, answer: &wire::Response<'_>, now: i64, out: &mut Outbox) {
        if let Some(error) = refused {
            if self.inputs.remove(token) {
                out.push(Output::Rejected { token, error });
            }
            // Without a run there is nothing to settle: the refusal ends the turn.
            if !self.inputs.unanswered() {
                self.prompt_led_nowhere(now, out);
            }
            return;
        }
        // An input that was echoed before its answer came belongs to a run that may be over: its answer says nothing of the one that begins now.
        if !self.inputs.take(token) {
            return;
        }
        out.push(Output::Taken { token });
        let disposition = answer.data.and_then(|raw| serde_json::from_str::<Value>(raw.get()).ok()).unwrap_or_default();
        if disposition["disposition"] == "handled" {
            self.inputs.remove(token);
            out.push(Output::Delivered { token });
            if !self.inputs.unanswered()
                && let Some(settlement) = self.run.no_run_follows()
            {
                self.settle(settlement, now, out);
            }
        } else if self.run.accepted(self.inputs.is_command(token), now) && disposition["disposition"].is_null() {
            self.ask_whether_settled(out);
        }
    }

    fn prompt_led_nowhere(&mut self, now: i64, out: &mut Outbox) {
        if let Some(settlement) = self.run.no_run_follows() {
            // What pi did before it refused was shown as a run, so it ends as one.
            if self.phase.is_some() {
                return self.settle(settlement, now, out);
            }
            self.abort_on_start = false;
            for token in std::mem::take(&mut self.aborts) {
                self.reply(token, Ok(Value::Null), out);
            }
        }
    }

    fn abort_answered(&mut self, token: u64, refused: Option<ProtocolError>, now: i64, out: &mut Outbox) {
        if let Some(error) = refused {
            return self.reply(token, Err(error), out);
        }
        if let Some(settlement) = self.run.abort_answered() {
            self.settle(settlement, now, out);
        }
        if self.run.is_prompted() {
            // pi was idle when it got the abort; the run that it is for is about to begin.
            self.aborts.push(token);
        } else if self.clears_queue && self.inputs.kept() > 0 {
            // pi works on a message while it takes the next line: one that was sent just before the abort gets into the queue behind its clearing, and
            // the next run would begin with it.
            self.clear_queue(Purpose::ClearAgain { token }, out);
        } else {
            self.reply(token, Ok(Value::Null), out);
        }
    }

    fn aborted_again(&mut self, now: i64, out: &mut Outbox) {
        if let Some(settlement) = self.run.abort_answered() {
            self.settle(settlement, now, out);
        }
    }

    fn queue_cleared(&mut self, refused: Option<ProtocolError>, answer: &wire::Response<'_>, out: &mut Outbox) {
        if refused.is_some_and(|error| error.code == ErrorCode::Unsupported) {
            self.clears_queue = false;
            return;
        }
        let Ok(cleared) = data::<wire::QueueUpdate>(answer) else { return };
        for waiting in self.inputs.cleared(cleared.steering.len(), cleared.follow_up.len()) {
            out.push(Output::Returned { token: waiting.token });
        }
    }
}

fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn commands(answer: &Value) -> Vec<SlashCommand> {
    let listed = answer["commands"].as_array().map(Vec::as_slice).unwrap_or_default();
    let command = |value: &Value| SlashCommand {
        name: text_of(value, "name").to_owned(),
        description: text_of(value, "description").to_owned(),
        kind: text_of(value, "source").to_owned(),
    };
    listed.iter().map(command).collect()
}

fn fork_points(answer: &Value) -> Vec<ForkPoint> {
    let listed = answer["messages"].as_array().map(Vec::as_slice).unwrap_or_default();
    let point = |value: &Value| ForkPoint {
        entry_id: text_of(value, "entryId").to_owned(),
        role: Role::User,
        preview: excerpt(text_of(value, "text"), PREVIEW),
    };
    listed.iter().map(point).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    #[test]
    fn a_refusal_gets_the_code_that_its_sentence_means() {
        let cases = [
            ("Unknown command: clear_queue", ErrorCode::Unsupported),
            ("Model not found: a/b", ErrorCode::InvalidRequest),
            ("Agent is already processing. Specify streamingBehavior", ErrorCode::Busy),
            ("Nothing to compact (session too small)", ErrorCode::InvalidState),
            ("Compaction cancelled", ErrorCode::Cancelled),
            ("boom", ErrorCode::AgentFailed),
        ];
        for (sentence, code) in cases {
            let line = json!({"id": "octo-1", "command": "x", "success": false, "error": sentence}).to_string();
            let answer: wire::Response<'_> = serde_json::from_str(&line).unwrap();
            assert_eq!(refusal(&answer).code, code, "{sentence}");
        }
    }
}
