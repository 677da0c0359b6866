//! What the agent says, message by message.

use super::requests::Purpose;
use super::run::Settlement;
use super::stream::Speaker;
use super::tools::{Change, Now};
use super::v1::{self, Update};
use super::{Acp, dialogs, settings, wire};
use crate::decode::Decode;
use crate::harness::{Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::{Event, Level, Phase};
use octo_protocol::message::{StopReason, Usage};
use serde_json::Value;

/// The keys of `status` under which the plan and the mode are shown.
const PLAN: &str = "plan";
const MODE: &str = "mode";
/// Most characters of a mode's name that are shown.
const SHOWN: usize = 40;

impl Acp {
    /// Any message.
    pub(super) fn message(&mut self, message: &wire::Message<'_>, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        match (&message.method, message.id()) {
            (Some(method), Some(id)) => self.asked(method, &id, message, now, out),
            (Some(method), None) => self.told(method, message, now, out),
            (None, Some(id)) => self.answered(&id, message, now, out),
            (None, None) => {
                // An answer to what could not be read as a request; octo writes none of that.
                self.ignored += 1;
                Ok(())
            }
        }
    }

    /// A request of the agent: every one is answered, or asked of people.
    fn asked(&mut self, method: &str, id: &Value, message: &wire::Message<'_>, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        if method != "session/request_permission" {
            self.ignored += 1;
            wire::refuse(id, wire::METHOD_NOT_FOUND, &format!("octo does not do {}", excerpt(method, 100)), out);
            return Ok(());
        }
        let asked = message.params.map(v1::permission).transpose();
        let ask = match asked {
            Ok(Some(ask)) => ask,
            other => {
                wire::refuse(id, wire::INVALID_PARAMS, "octo does not understand this request", out);
                return other.map(|_| ());
            }
        };
        // What is asked for when everything is being ended, or nothing is under way, nobody decides.
        if self.run.aborting || !self.run.is_working() {
            wire::answer(id, &dialogs::cancelled(), out);
            return Ok(());
        }
        self.heard(out);
        let call_id = ask.change.id.clone();
        // It says "pending" again of a tool that runs.
        self.tool(Change { status: None, ..ask.change.clone() }, now, out);
        self.close_message(None, now, out);
        let Some(call) = self.tools.call(&call_id).cloned() else {
            wire::answer(id, &dialogs::cancelled(), out);
            return Ok(());
        };
        if !self.dialogs.ask(id.clone(), &ask, &call, out) {
            self.notice(|called| format!("a question of {called} was refused: more than {} are open", dialogs::MAX_OPEN), out);
            wire::answer(id, &dialogs::cancelled(), out);
        }
        self.questions_changed();
        Ok(())
    }

    /// A notification.
    fn told(&mut self, method: &str, message: &wire::Message<'_>, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        match (method, message.params) {
            ("session/update", Some(params)) => {
                let update = v1::update(params)?;
                self.update(update, now, out);
            }
            ("$/cancel_request", Some(params)) => {
                let params: Value = serde_json::from_str(params.get())?;
                let id = [&params["requestId"], &params["id"]].into_iter().find(|id| !id.is_null());
                if id.is_some_and(|id| self.dialogs.withdraw(id, out)) {
                    self.questions_changed();
                }
            }
            _ => self.ignored += 1,
        }
        Ok(())
    }

    fn update(&mut self, update: Update, now: i64, out: &mut Outbox) {
        match update {
            Update::Commands(commands) => self.commands = commands,
            Update::Config(options) => {
                let changed = self.settings.take(options, None);
                self.configured(changed, out);
            }
            Update::Mode(mode) => {
                let changed = self.settings.set_mode(&mode);
                self.configured(changed, out);
            }
            Update::Title(title) => {
                self.state.session_name = Some(title.clone());
                if self.ready {
                    out.event(Event::SessionTitleChanged { title, readable_id: None });
                }
            }
            Update::Context { cost } => self.cost = cost.filter(|cost| cost.is_finite() && *cost >= 0.0).or(self.cost),
            // What is loaded was said before, and the journal has it. What comes before that is nothing of a conversation.
            _ if self.loading || !self.ready => self.ignored += 1,
            Update::Echo | Update::Other => self.ignored += 1,
            Update::Plan(text) => {
                self.heard(out);
                out.event(Event::Status { key: PLAN.to_owned(), text });
            }
            Update::Said { piece, message } => self.said(false, piece, message.as_deref(), now, out),
            Update::Thought { piece, message } => self.said(true, piece, message.as_deref(), now, out),
            Update::Tool(change) => {
                if self.tools.call(&change.id).is_none() && change.status.as_deref() != Some("pending") && !self.run.is_working() {
                    // A word about a call of a run that is over.
                    self.ignored += 1;
                    return;
                }
                self.heard(out);
                self.tool(*change, now, out);
            }
        }
    }

    /// The agent does something for a run: one of its own, if none was asked for.
    fn heard(&mut self, out: &mut Outbox) {
        let (delivered, began) = self.run.heard();
        for token in delivered {
            out.push(Output::Delivered { token });
            self.offer_resume(out);
        }
        if began || self.phase.is_none() {
            self.show(Phase::Generating, None, out);
        }
    }

    fn said(&mut self, thinking: bool, piece: v1::Piece, message: Option<&str>, now: i64, out: &mut Outbox) {
        self.heard(out);
        if self.stream.ends_before(message) {
            self.close_message(None, now, out);
        }
        self.show(if thinking { Phase::Thinking } else { Phase::Generating }, None, out);
        self.stream.piece(thinking, piece, message, out);
    }

    fn tool(&mut self, change: Change, now: i64, out: &mut Outbox) {
        let title_is_name = self.quirks().title_is_name;
        let (id, status) = (change.id.clone(), change.status.clone());
        if id.is_empty() {
            self.ignored += 1;
            return;
        }
        let shown = change.content.is_some() || change.appended.is_some();
        if self.tools.call(&id).is_none() {
            if self.tools.is_full() {
                self.ignored += 1;
                return;
            }
            let name = self.tools.begin(change.clone(), title_is_name);
            self.stream.call(&id, name, out);
        }
        let then = self.tools.change(Change { status, appended: None, ..change.clone() }, title_is_name);
        if then != Now::Resting {
            self.close_message(None, now, out);
            self.tools.start(&id, now, out);
        }
        if let Now::Done { failed } = then {
            let message_id = self.stream.next_id();
            self.tools.end(&id, failed, &message_id, now, out);
        } else if shown {
            self.tools.progress(&id, out);
        }
        match self.tools.newest().map(str::to_owned) {
            Some(name) => self.show(Phase::ToolRunning, Some(&name), out),
            None if then != Now::Resting => self.show(Phase::Generating, None, out),
            None => {}
        }
    }

    /// The message under way is over: its tools run.
    pub(super) fn close_message(&mut self, broken: Option<StopReason>, now: i64, out: &mut Outbox) {
        let model = self.settings.model().unwrap_or(&self.options.model);
        let (provider, model) = settings::halves(model, &self.options.provider);
        let named = |name: &str| Some(name.to_owned()).filter(|name| !name.is_empty());
        let speaker = Speaker { provider: named(provider), model: named(model) };
        self.stream.close(broken, speaker, &mut self.tools, now, out);
    }

    /// Options have changed.
    pub(super) fn configured(&mut self, changed: settings::Changed, out: &mut Outbox) {
        self.know_settings();
        if !self.ready {
            return;
        }
        if let Some(value) = changed.model {
            let (provider, model_id) = settings::halves(&value, &self.options.provider);
            let (provider, model_id) = (provider.to_owned(), model_id.to_owned());
            out.event(Event::ModelChanged { provider, model_id });
        }
        if let Some(level) = changed.thinking {
            out.event(Event::ThinkingLevelChanged { level });
        }
        self.show_mode(changed.mode, out);
    }

    /// Shows the mode when it is another than that of the start; `unasked`: nobody asked for this one.
    pub(super) fn show_mode(&mut self, unasked: Option<String>, out: &mut Outbox) {
        if let Some(mode) = unasked {
            let called = &self.called;
            let message = format!("{called} went over to the mode {:?}, in which it might act without asking", excerpt(&mode, SHOWN));
            out.event(Event::Notify { level: Level::Warning, message });
        }
        let text = self.settings.mode().filter(|mode| self.asking_mode() != Some(*mode)).map(|mode| excerpt(mode, SHOWN));
        if self.mode_shown != text {
            self.mode_shown.clone_from(&text);
            out.event(Event::Status { key: MODE.to_owned(), text });
        }
    }

    /// What the settings say of model and thinking.
    pub(super) fn know_settings(&mut self) {
        if let Some(level) = self.settings.thinking() {
            self.state.thinking_level = level;
        }
        let provider = &self.options.provider;
        self.state.model = self.settings.model().and_then(|value| {
            self.settings.models(provider).into_iter().find(|model| {
                let (of, id) = settings::halves(value, provider);
                model.provider == of && model.id == id
            })
        });
    }

    /// The answer to a request of octo.
    fn answered(&mut self, id: &Value, message: &wire::Message<'_>, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        let Some(purpose) = self.requests.take(id) else {
            self.ignored += 1;
            return Ok(());
        };
        let result = match (message.result, &message.error) {
            (_, Some(error)) => Err(error.clone()),
            (Some(result), None) => Ok(result),
            (None, None) => Err(wire::Error { message: "it gave no answer".to_owned(), ..wire::Error::default() }),
        };
        match purpose {
            Purpose::Initialize => self.initialized(result, now, out),
            Purpose::Authenticate => self.authenticated(result.map(|_| ()), now, out),
            Purpose::New => self.opened(None, result, now, out),
            Purpose::Resume { id } => self.opened(Some(id), result, now, out),
            Purpose::Setting { token, wish } => self.set(token, &wish, result, now, out),
            Purpose::Probe { token } => out.push(Output::Reply { token, result: Ok(Value::Null) }),
            Purpose::Prompt { token } => {
                let settlement = match result.map(v1::ended) {
                    Ok(Ok(ended)) => {
                        self.spent(ended.tokens, out);
                        settlement(&ended.reason)
                    }
                    Ok(Err(error)) => failed(format!("{} ended the turn in a way that octo does not understand: {error}", self.called)),
                    Err(error) => failed(self.explained(&error)),
                };
                self.prompt_over(token, settlement, now, out);
            }
        }
        Ok(())
    }

    fn prompt_over(&mut self, token: u64, settlement: Settlement, now: i64, out: &mut Outbox) {
        let Some(given) = self.run.answered(token, settlement) else { return };
        if !given.delivered {
            out.push(Output::Delivered { token });
        }
        self.offer_resume(out);
        if let Some(over) = self.run.over() {
            self.settle(over, now, out);
        }
    }

    /// The run is over.
    pub(super) fn settle(&mut self, over: Settlement, now: i64, out: &mut Outbox) {
        self.dialogs.close("agent", true, out);
        self.questions_changed();
        let broken = (over.reason != StopReason::Stop).then_some(over.reason);
        self.close_message(broken, now, out);
        self.tools.close(over.error.as_deref().unwrap_or("the turn ended before it did"), now, out);
        self.phase = None;
        out.push(Output::Settled { reason: over.reason, error: over.error });
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
    }

    fn spent(&mut self, tokens: Option<[u64; 4]>, out: &mut Outbox) {
        let cost = self.cost.zip(self.told_cost).map(|(cost, told)| (cost - told).max(0.0)).filter(|cost| *cost > 0.0);
        let unknown = self.told_cost.is_none().then_some(self.cost).flatten();
        self.told_cost = self.cost.or(self.told_cost);
        let [input_tokens, output_tokens, read, written] = tokens.unwrap_or_default();
        if cost.is_none() && tokens.is_none_or(|tokens| tokens == [0; 4]) {
            return;
        }
        let some = |count: u64| (count > 0).then_some(count);
        let usage = Usage { input_tokens, output_tokens, cache_read_tokens: some(read), cache_write_tokens: some(written), cost_usd: cost };
        self.session_total.add(&usage);
        if unknown.is_some() {
            self.session_total.cost_usd = unknown;
        }
        out.event(Event::Usage { usage, session_total: self.session_total.clone() });
    }

    /// The handle with which the conversation goes on, when there is something in it.
    fn offer_resume(&mut self, out: &mut Outbox) {
        if (self.loads || self.resumes) && !self.conversation.is_empty() && !std::mem::replace(&mut self.resume_given, true) {
            out.push(Output::Resume(self.conversation.clone()));
        }
    }

    /// The agent's error as a sentence.
    pub(super) fn explained(&self, error: &wire::Error) -> String {
        let said = error.sentence();
        if error.code != wire::AUTH_REQUIRED {
            return said;
        }
        let ways: Vec<&str> = self.logins.iter().map(|(_, name)| name.as_str()).take(5).collect();
        let ways = if ways.is_empty() { String::new() } else { format!("; it offers: {}", ways.join(", ")) };
        format!("{} wants a login first ({said}): give its provider a key, or log in with it in a terminal{ways}", self.called)
    }
}

fn failed(error: String) -> Settlement {
    Settlement { reason: StopReason::Error, error: Some(error) }
}

fn settlement(reason: &str) -> Settlement {
    let well = |reason| Settlement { reason, error: None };
    match reason {
        "end_turn" => well(StopReason::Stop),
        "max_tokens" => well(StopReason::Length),
        "cancelled" => well(StopReason::Aborted),
        "refusal" => failed("the model refused to go on".to_owned()),
        "max_turn_requests" => failed("the agent asked its model as often as it may in one turn".to_owned()),
        // A reason of a later version: the turn is over all the same.
        _ => well(StopReason::Stop),
    }
}
