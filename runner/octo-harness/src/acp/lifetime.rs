//! The handshake, and what remains to be said when the agent is gone.

use super::requests::{MAX_PENDING, Purpose};
use super::settings::{Request, Wish};
use super::{Acp, quirks, v1, wire};
use crate::decode::Decode;
use crate::harness::{ExitReport, NEW_CONVERSATION, Outbox, Output};
use crate::lines::excerpt;
use crate::message::blank;
use octo_protocol::Part;
use octo_protocol::event::Event;
use octo_protocol::message::{Message, Role};
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// Most characters of stderr in a sentence.
const STDERR_EXCERPT: usize = 500;
/// Most lines of it.
const STDERR_LINES: usize = 3;
/// What the ways to log in are called that need nobody: a key from the environment.
const BY_KEY: [&str; 3] = ["api-key", "api_key", "apikey"];

type Answer<'a> = Result<&'a RawValue, wire::Error>;

impl Acp {
    pub(super) fn begin(&mut self, now: i64, out: &mut Outbox) {
        self.stream.set_prefix(format!("m{now:x}"));
        let params = json!({
            "protocolVersion": v1::VERSION,
            "clientCapabilities": {"fs": {"readTextFile": false, "writeTextFile": false}, "terminal": false},
            "clientInfo": {"name": "octo", "title": "octo", "version": env!("CARGO_PKG_VERSION")},
        });
        self.requests.send(Purpose::Initialize, "initialize", &params, out);
    }

    pub(super) fn initialized(&mut self, answer: Answer<'_>, now: i64, out: &mut Outbox) {
        let agent = match answer.map(v1::agent) {
            Ok(Ok(agent)) => agent,
            Ok(Err(error)) => return self.give_up(format!("its answer to initialize is not understood: {error}"), out),
            Err(error) => return self.give_up(format!("it refused to initialize: {}", error.sentence()), out),
        };
        if agent.version != v1::VERSION {
            let why = format!("it speaks version {} of the Agent Client Protocol, and octo speaks version {}", agent.version, v1::VERSION);
            return self.give_up(why, out);
        }
        (self.loads, self.resumes, self.images, self.logins) = (agent.loads, agent.resumes, agent.images, agent.logins);
        self.name = excerpt(&agent.name, 100);
        if !agent.title.is_empty() {
            self.called = excerpt(&agent.title, 100);
        }
        self.open(now, out);
    }

    /// Opens the conversation: the one before, where there is one and the agent can.
    fn open(&mut self, now: i64, out: &mut Outbox) {
        let params = |id: Option<&str>| {
            let mut params = json!({"cwd": self.options.cwd, "mcpServers": self.options.mcp_servers});
            if let Some(id) = id {
                params["sessionId"] = id.into();
            }
            params
        };
        let Some(id) = self.options.resume.clone() else {
            return self.requests.send(Purpose::New, "session/new", &params(None), out);
        };
        let resume = params(Some(&id));
        if self.resumes {
            self.requests.send(Purpose::Resume { id }, "session/resume", &resume, out);
        } else if self.loads {
            self.loading = true;
            self.requests.send(Purpose::Resume { id }, "session/load", &resume, out);
        } else {
            self.lost("it cannot continue one", now, out);
        }
    }

    /// The conversation before cannot go on: a new one begins.
    fn lost(&mut self, why: &str, now: i64, out: &mut Outbox) {
        let text = format!("{} begins a new conversation: {why}", self.called);
        self.notice(|called| format!("{called} could not continue the conversation: {why}; a new one begins"), out);
        let id = self.stream.next_id();
        let message = Message {
            parts: vec![Part::text(format!("{id}.0"), text)],
            metadata: Some(json!({"kind": NEW_CONVERSATION})),
            ..blank(&id, Role::System, now)
        };
        out.event(Event::MessageEnd { message });
        out.push(Output::Resume(String::new()));
        self.options.resume = None;
        self.open(now, out);
    }

    pub(super) fn opened(&mut self, resumed: Option<String>, answer: Answer<'_>, now: i64, out: &mut Outbox) {
        self.loading = false;
        let opened = match answer.map(v1::opened) {
            Ok(Ok(opened)) => opened,
            Ok(Err(error)) => return self.give_up(format!("what it says of its session is not understood: {error}"), out),
            Err(error) if error.code == wire::AUTH_REQUIRED && self.log_in(out) => return,
            Err(error) if error.code == wire::AUTH_REQUIRED => return self.give_up(self.explained(&error), out),
            Err(error) if resumed.is_some() => return self.lost(&error.sentence(), now, out),
            Err(error) => return self.give_up(format!("it opened no session: {}", error.sentence()), out),
        };
        let Some(id) = opened.id.or_else(|| resumed.clone()).filter(|id| !id.is_empty()) else {
            return self.give_up("its session has no id".to_owned(), out);
        };
        self.conversation.clone_from(&id);
        self.state.agent_session_id = Some(id);
        self.resume_given = resumed.is_some();
        // What it cost before is in what the agent will say.
        self.told_cost = resumed.is_none().then_some(0.0);
        self.settings.take(opened.options, opened.modes);
        self.know_settings();
        self.wish();
        self.next_wish(out);
    }

    /// What is to be set before the first prompt.
    fn wish(&mut self) {
        let id = self.conversation.clone();
        let mut wishes = Vec::new();
        if let Some(mode) = self.asking_mode().map(str::to_owned) {
            // Also when it is in it: what it remembers may be another.
            wishes.extend(self.settings.ask_mode(&id, &[mode.as_str()]));
        }
        let (provider, model) = (self.options.provider.clone(), self.options.model.clone());
        if !model.is_empty() {
            let current = self.settings.model().map(str::to_owned);
            let wanted = self.settings.ask_model(&id, &provider, &model);
            wishes.extend(wanted.filter(|request| current.as_ref() != Some(&request.wish.value)));
        }
        if let Some(level) = self.options.thinking.filter(|level| self.settings.thinking() != Some(*level)) {
            wishes.extend(self.settings.ask_thinking(&id, level));
        }
        wishes.reverse();
        self.wishes = wishes;
    }

    /// The mode in which it asks before it acts, of those that there are.
    pub(super) fn asking_mode(&self) -> Option<&str> {
        let wanted = self.quirks().asking_mode;
        let all = self.settings.options();
        let choices = &all.iter().find(|option| option.category.as_deref() == Some("mode") || option.id == "mode")?.choices;
        let candidates = wanted.into_iter().chain(quirks::ASKING_MODES);
        let mut found = candidates.filter_map(|mode| choices.iter().find(|choice| choice.value == mode));
        found.next().map(|choice| choice.value.as_str())
    }

    /// One after the other: an agent may take them in no other order than they come in.
    fn next_wish(&mut self, out: &mut Outbox) {
        match self.wishes.pop() {
            Some(Request { method, params, wish }) => self.requests.send(Purpose::Setting { token: None, wish }, &method, &params, out),
            None => self.be_ready(out),
        }
    }

    fn be_ready(&mut self, out: &mut Outbox) {
        if std::mem::replace(&mut self.ready, true) {
            return;
        }
        out.push(Output::Ready);
        let models = self.settings.models(&self.options.provider);
        if !models.is_empty() {
            out.push(Output::Models(models));
        }
        self.show_mode(None, out);
    }

    /// The answer to a setting: of the start, or of a command.
    pub(super) fn set(&mut self, token: Option<u64>, wish: &Wish, answer: Answer<'_>, _now: i64, out: &mut Outbox) {
        match answer {
            Ok(result) => {
                let changed = match v1::configured(result) {
                    Some(options) => self.settings.take(options, None),
                    None => self.settings.set(&wish.option, &wish.value),
                };
                self.configured(changed, out);
                if let Some(token) = token {
                    out.push(Output::Reply { token, result: Ok(self.setting(wish)) });
                }
            }
            Err(error) => match token {
                Some(token) => out.push(Output::Reply { token, result: Err(error.canonical()) }),
                None => self.notice(
                    |called| format!("{called} did not take {} = {}: {}", wish.option, excerpt(&wish.value, 100), error.sentence()),
                    out,
                ),
            },
        }
        if !self.ready && token.is_none() {
            self.next_wish(out);
        }
    }

    /// Tries the way to log in that needs nobody. `false` when there is none, or it did not help.
    fn log_in(&mut self, out: &mut Outbox) -> bool {
        if std::mem::replace(&mut self.logged_in, true) {
            return false;
        }
        let by_key = self.logins.iter().find(|(id, _)| BY_KEY.iter().any(|word| id.to_lowercase().contains(word)));
        let Some((id, _)) = by_key else { return false };
        let params = json!({"methodId": id});
        self.requests.send(Purpose::Authenticate, "authenticate", &params, out);
        true
    }

    pub(super) fn authenticated(&mut self, answer: Result<(), wire::Error>, now: i64, out: &mut Outbox) {
        match answer {
            Ok(()) => self.open(now, out),
            Err(error) => {
                let error = wire::Error { code: wire::AUTH_REQUIRED, ..error };
                self.give_up(self.explained(&error), out);
            }
        }
    }

    fn give_up(&mut self, why: String, out: &mut Outbox) {
        if !std::mem::replace(&mut self.unusable, true) {
            out.push(Output::Unusable(format!("{} cannot be used: {}", self.called, excerpt(&why, 2000))));
        }
    }

    /// The refusal of everything that comes when the agent is gone, or has too much to answer.
    pub(super) fn refusal(&self) -> Option<ProtocolError> {
        if self.gone {
            let message = format!("{} has ended; send a prompt to start it again", self.called);
            return Some(ProtocolError::new(ErrorCode::AgentFailed, message));
        }
        if !self.ready {
            return Some(ProtocolError::new(ErrorCode::NotReady, format!("{} is still starting; try again in a moment", self.called)));
        }
        self.requests.is_full().then(|| {
            let message = format!("{} has {MAX_PENDING} requests to answer; wait for it or restart the session", self.called);
            ProtocolError::new(ErrorCode::LimitExceeded, message)
        })
    }

    pub(super) fn end(&mut self, report: &ExitReport, now: i64, out: &mut Outbox) {
        if self.gone {
            return;
        }
        self.decode_rest(now, out);
        self.gone = true;
        let sentence = self.sentence(report);
        let error = || ProtocolError::new(ErrorCode::AgentFailed, sentence.clone());
        self.dialogs.close("agent_exit", false, out);
        self.questions_changed();
        if self.mode_shown.take().is_some() {
            out.event(Event::Status { key: "mode".to_owned(), text: None });
        }
        let aborted = octo_protocol::message::StopReason::Aborted;
        let reason = if report.expected { aborted } else { octo_protocol::message::StopReason::Error };
        self.close_message(Some(reason), now, out);
        self.tools.close(&sentence, now, out);
        let shown = self.phase.take().is_some();
        let (given, settlement) = self.run.died(shown, report.expected, sentence.clone());
        for given in given.into_iter().filter(|given| !given.delivered) {
            out.push(Output::Returned { token: given.token });
        }
        if let Some(over) = settlement {
            out.push(Output::Settled { reason: over.reason, error: over.error });
        }
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
        for token in self.requests.drain().into_iter().filter_map(|purpose| purpose.token()) {
            out.push(Output::Reply { token, result: Err(error()) });
        }
    }

    /// How it ended, with the end of what it said about it.
    fn sentence(&self, report: &ExitReport) -> String {
        if let Some(cause) = &report.cause {
            return cause.clone();
        }
        let called = &self.called;
        let how = match (report.signal, report.code) {
            (Some(signal), _) => format!("{called} was ended by signal {signal}"),
            (None, Some(code)) => format!("{called} ended with exit code {code}"),
            (None, None) => format!("{called} ended"),
        };
        let said: Vec<&str> = report.stderr_tail.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let last = said[said.len().saturating_sub(STDERR_LINES)..].join(" / ");
        if report.expected || last.is_empty() {
            return how;
        }
        format!("{how}: {}", excerpt(&last, STDERR_EXCERPT))
    }
}
