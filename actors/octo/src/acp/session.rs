//! One session of a connection: octo's events in, updates, questions and the ends of prompts out.

use super::options::Choices;
use super::prompts::{Ended, Prompts};
use super::rpc::{INTERNAL_ERROR, RpcError};
use super::transcript::{OpenMessage, Transcript, Voice, chunk, of_user};
use super::{content, tools};
use octo_protocol::event::{EventFrame, Level};
use octo_protocol::message::StopReason;
use octo_protocol::part::KnownPart;
use octo_protocol::session::{SessionOpened, SessionState, SessionStatus};
use octo_protocol::{Cursor, Event, InputRequest, Message, Part, Role, Usage};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Tool calls of one turn that are remembered.
const MAX_TOOLS: usize = 1024;

/// Where a client stands in a session: what `_meta.octo.cursor` of an update says, and `session/resume` and `session/load` take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The last event that was told.
    #[serde(flatten)]
    pub cursor: Cursor,
    /// The message that was under way then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open: Option<OpenMessage>,
}

/// What an event comes to.
#[derive(Debug, PartialEq)]
pub enum Out {
    /// A `session/update`.
    Update(Value),
    /// A prompt is over.
    Prompt(Ended, Result<&'static str, RpcError>),
    /// A question that somebody has to answer.
    Ask(InputRequest),
    /// It was answered.
    Resolved(String),
    /// All that was missed was told.
    CaughtUp,
    /// The agent is at rest.
    Idle,
    /// There is no such session any more.
    Gone,
}

/// What of the messages of a snapshot is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// All that were not told yet.
    Unseen,
    /// None: the client has them, or does not want them.
    Nothing,
}

struct Tool {
    name: String,
    done: bool,
}

/// One session.
pub struct Session {
    pub choices: Choices,
    pub prompts: Prompts,
    /// Where the client stands.
    pub cursor: Option<Cursor>,
    /// Questions that are open, in the order asked.
    pub questions: Vec<InputRequest>,
    /// What is told of the next snapshot.
    pub telling: Telling,
    /// What was missed is being told.
    pub catching_up: bool,
    /// A turn is under way.
    pub working: bool,
    /// The agent's commands were told.
    pub has_commands: bool,
    transcript: Transcript,
    tools: BTreeMap<String, Tool>,
    /// The highest place of a message that was told.
    seen: Option<u64>,
    title: Option<String>,
    /// Something of its settings is different since it is caught up with.
    has_changed: bool,
    was_caught_up: bool,
    /// It begins where it is when it is opened.
    from_now: bool,
    /// How the turn under way, or the last one, ended.
    stop: Option<StopReason>,
}

impl Session {
    /// One that nothing was told of yet.
    #[must_use]
    pub fn new(telling: Telling) -> Self {
        Self {
            choices: Choices::default(),
            prompts: Prompts::default(),
            cursor: None,
            questions: Vec::new(),
            telling,
            catching_up: true,
            working: false,
            has_commands: false,
            transcript: Transcript::default(),
            tools: BTreeMap::new(),
            seen: None,
            title: None,
            has_changed: false,
            was_caught_up: false,
            from_now: false,
            stop: None,
        }
    }

    /// One that the client knows up to this place.
    #[must_use]
    pub fn at(place: Place) -> Self {
        let mut session = Self::new(Telling::Nothing);
        session.cursor = Some(place.cursor);
        if let Some(open) = place.open {
            session.transcript.resume(open);
        }
        session
    }

    /// One of which the client is told what comes next.
    #[must_use]
    pub fn from_now(cursor: Cursor) -> Self {
        let mut session = Self::new(Telling::Nothing);
        (session.cursor, session.from_now) = (Some(cursor), true);
        session
    }

    /// octo has opened it.
    pub fn opened(&mut self, opened: &SessionOpened) {
        if std::mem::take(&mut self.from_now) {
            // The list of sessions may have been a little older.
            self.cursor = Some(Cursor { epoch: opened.epoch.clone(), seq: opened.seq });
        }
        self.choices.harness.clone_from(&opened.harness);
        self.choices.capabilities.clone_from(&opened.capabilities);
        self.catching_up = true;
        self.state(&opened.state);
    }

    fn state(&mut self, state: &SessionState) {
        self.choices.state(state);
        self.working =
            matches!(state.status, SessionStatus::Working | SessionStatus::NeedsInput) || state.is_streaming || state.turn_id.is_some();
        self.title.clone_from(&state.session_name);
        self.questions.clone_from(&state.pending_input);
    }

    /// Where the client stands, as it may say it again.
    #[must_use]
    pub fn place(&self) -> Option<Place> {
        let cursor = self.cursor.clone()?;
        Some(Place { cursor, open: self.transcript.under_way() })
    }

    /// How a turn that ended without an error is called.
    #[must_use]
    pub fn stop_reason(&self, cancelled: bool) -> &'static str {
        match self.stop {
            _ if cancelled => "cancelled",
            Some(StopReason::Aborted) => "cancelled",
            Some(StopReason::Length) => "max_tokens",
            Some(StopReason::Stop | StopReason::ToolUse | StopReason::Error) | None => "end_turn",
        }
    }

    /// Prompts that are over without an error.
    pub fn over(&self, ended: Vec<Ended>) -> Vec<Out> {
        ended.into_iter().map(|ended| self.one_over(ended)).collect()
    }

    fn one_over(&self, ended: Ended) -> Out {
        let reason = self.stop_reason(ended.cancelled);
        Out::Prompt(ended, Ok(reason))
    }

    /// Takes an event.
    pub fn event(&mut self, frame: EventFrame) -> Vec<Out> {
        let EventFrame { epoch, seq, payload, .. } = frame;
        let as_of = match &payload.event {
            Event::Messages { as_of, .. } => Some(*as_of),
            _ => seq,
        };
        // What was told already, as after a reconnection that overlapped.
        let known = |cursor: &Cursor| epoch.as_ref() == Some(&cursor.epoch) && seq.is_some_and(|seq| seq <= cursor.seq);
        if self.cursor.as_ref().is_some_and(known) && !matches!(payload.event, Event::ReplayEnd { .. }) {
            return Vec::new();
        }
        // In a replay the journal has forgotten pieces of messages that ended meanwhile; their ends may come only behind it.
        let ends_replay = matches!(payload.event, Event::ReplayEnd { .. });
        if let (Some(seq), Some(cursor)) = (seq, &self.cursor)
            && seq > cursor.seq + u64::from(!ends_replay)
        {
            self.transcript.jumped();
        }
        let outs = self.happened(payload.event, seq.is_some());
        if let (Some(epoch), Some(seq)) = (epoch, as_of) {
            self.cursor = Some(Cursor { epoch, seq });
        }
        outs
    }

    fn happened(&mut self, event: Event, journalled: bool) -> Vec<Out> {
        let update = |update: Value| vec![Out::Update(update)];
        match event {
            Event::MessageStart { message_id, role: Role::Assistant } => {
                self.transcript.start(&message_id);
                Vec::new()
            }
            Event::TextDelta { message_id, delta, .. } => self.delta(&message_id, Voice::Text, &delta),
            Event::ThinkingDelta { message_id, delta, .. } => self.delta(&message_id, Voice::Thinking, &delta),
            Event::ToolCallStart { tool_call_id, name, .. } => self.call(&tool_call_id, &name, None, "pending"),
            Event::ToolCallEnd { tool_call, .. } => self.call(&tool_call.id, &tool_call.name, Some(&tool_call.input), "pending"),
            Event::ToolStart { tool_call_id, name, input } => self.call(&tool_call_id, &name, input.as_ref(), "in_progress"),
            Event::ToolProgress { tool_call_id, partial_output, .. } => update(
                json!({ "sessionUpdate": "tool_call_update", "toolCallId": tool_call_id, "content": tools::output(&partial_output) }),
            ),
            Event::ToolEnd { tool_call_id, name, output, is_error, .. } => self.call_ended(&tool_call_id, &name, &output, is_error),
            Event::MessageEnd { message } => self.message(&message),
            Event::MessageDiscarded { message_id, .. } => {
                self.transcript.discard(&message_id);
                Vec::new()
            }
            Event::InputAccepted { client_id, .. } => {
                self.working = true;
                client_id.inspect(|id| self.prompts.accepted(id.as_str()));
                Vec::new()
            }
            Event::QueueChanged { steering, follow_up } => {
                let ended = self.prompts.queue(&[steering, follow_up].concat());
                self.over(ended)
            }
            Event::AgentWorking { .. } => {
                self.working = true;
                Vec::new()
            }
            Event::Done { reason } => {
                self.stop = Some(reason);
                Vec::new()
            }
            Event::AgentIdle { .. } => {
                let ended = self.turn_ended();
                let mut outs = self.over(ended);
                outs.push(Out::Idle);
                outs
            }
            Event::AgentError { error, recoverable, code, .. } => {
                let data = json!({ "code": code, "recoverable": recoverable });
                let failed = RpcError { code: INTERNAL_ERROR, message: error.clone(), data: Some(data) };
                let ended = self.turn_ended();
                let told = if ended.is_empty() { self.notice("error", &error) } else { Vec::new() };
                told.into_iter().chain(ended.into_iter().map(|ended| self.failed(ended, &failed))).collect()
            }
            Event::AgentInputNeeded { request } => self.asked(request),
            Event::AgentInputResolved { request_id, .. } => {
                self.questions.retain(|open| open.request_id() != request_id);
                vec![Out::Resolved(request_id)]
            }
            Event::SessionTitleChanged { title, .. } => {
                self.title = Some(title);
                self.changed(&[Self::info])
            }
            Event::ModelChanged { provider, model_id } => {
                self.choices.model = Some((provider, model_id));
                self.changed(&[Self::options])
            }
            Event::ThinkingLevelChanged { level } => {
                self.choices.thinking = level;
                self.changed(&[Self::options])
            }
            Event::PermissionsChanged { mode } => {
                self.choices.permissions = Some(mode);
                self.changed(&[Self::mode, Self::options])
            }
            Event::Usage { usage, session_total } => self.usage(&usage, &session_total),
            Event::Notify { level, message } => match level {
                Level::Info => Vec::new(),
                Level::Warning => self.notice("warning", &message),
                Level::Error => self.notice("error", &message),
            },
            Event::RetryStart { attempt, max_attempts, error, .. } if !self.catching_up => {
                self.notice("retry", &format!("{error}; tried again ({attempt} of {max_attempts})"))
            }
            Event::SessionUnreachable { reason } => self.notice("unreachable", &reason),
            Event::SessionRestarted { reason, .. } if !self.catching_up => {
                self.notice("restarted", &format!("the agent was started again: {reason}"))
            }
            Event::Messages { messages, state, has_more, .. } => self.snapshot(&messages, &state, has_more),
            // Also in the middle, for a client that reads slowly.
            Event::ReplayStart { .. } => {
                self.catching_up = true;
                Vec::new()
            }
            Event::ReplayEnd { .. } => self.caught_up(),
            Event::SessionClosed { .. } if !journalled => vec![Out::Gone],
            _ => Vec::new(),
        }
    }

    fn delta(&mut self, message_id: &str, voice: Voice, delta: &str) -> Vec<Out> {
        self.transcript.delta(message_id, voice, delta).map(Out::Update).into_iter().collect()
    }

    fn message(&mut self, message: &Message) -> Vec<Out> {
        self.seen = self.seen.max(Some(message.idx));
        let mut updates = match message.role {
            Role::User => {
                let ours = message.client_id.as_ref().is_some_and(|id| self.prompts.taken(id.as_str()));
                self.stop = None;
                if ours { Vec::new() } else { of_user(message) }
            }
            Role::Assistant => self.transcript.end(message),
            Role::Tool | Role::System => Vec::new(),
        };
        for part in &message.parts {
            match part {
                Part::Known(KnownPart::ToolCall { tool_call_id, name, input, .. }) => {
                    updates.extend(self.call_updates(tool_call_id, name, input.as_ref(), "pending"));
                }
                Part::Known(KnownPart::ToolResult { tool_call_id, name, output, is_error, .. }) => {
                    let name = name.as_deref().or(message.tool_name.as_deref()).unwrap_or("tool");
                    updates.extend(self.end_updates(tool_call_id, name, output.as_ref().unwrap_or(&Value::Null), *is_error));
                }
                _ => {}
            }
        }
        updates.into_iter().map(Out::Update).collect()
    }

    fn call(&mut self, id: &str, name: &str, input: Option<&Value>, status: &str) -> Vec<Out> {
        self.call_updates(id, name, input, status).map(Out::Update).into_iter().collect()
    }

    /// A tool call, or what is new of it.
    fn call_updates(&mut self, id: &str, name: &str, input: Option<&Value>, status: &str) -> Option<Value> {
        let known = self.tools.get(id);
        if known.is_some_and(|tool| tool.done) || (known.is_some() && input.is_none() && status == "pending") {
            return None;
        }
        let kind = if known.is_some() { "tool_call_update" } else { "tool_call" };
        let mut update = json!({
            "sessionUpdate": kind, "toolCallId": id, "title": tools::title(name, input), "name": name, "kind": tools::kind(name), "status": status,
        });
        if let Some(input) = input {
            update["rawInput"] = input.clone();
            for (member, list) in [("locations", tools::locations(Some(input))), ("content", tools::change(name, Some(input)))] {
                if !list.is_empty() {
                    update[member] = list.into();
                }
            }
        }
        self.know(id, name, false);
        Some(update)
    }

    fn call_ended(&mut self, id: &str, name: &str, output: &Value, is_error: bool) -> Vec<Out> {
        self.end_updates(id, name, output, is_error).into_iter().map(Out::Update).collect()
    }

    fn end_updates(&mut self, id: &str, name: &str, output: &Value, is_error: bool) -> Vec<Value> {
        if self.tools.get(id).is_some_and(|tool| tool.done) {
            return Vec::new();
        }
        let mut updates: Vec<Value> = Vec::new();
        if !self.tools.contains_key(id) {
            updates.extend(self.call_updates(id, name, None, "pending"));
        }
        let status = if is_error { "failed" } else { "completed" };
        let mut update = json!({ "sessionUpdate": "tool_call_update", "toolCallId": id, "status": status });
        // A change is shown as the change; what the tool says of it adds nothing.
        let name = self.tools.get(id).map_or_else(|| name.to_owned(), |tool| tool.name.clone());
        if is_error || tools::kind(&name) != "edit" {
            update["content"] = tools::output(output).into();
        }
        self.know(id, &name, true);
        updates.push(update);
        updates
    }

    fn know(&mut self, id: &str, name: &str, done: bool) {
        if self.tools.len() >= MAX_TOOLS && !self.tools.contains_key(id) {
            let old = self.tools.iter().find(|(_, tool)| tool.done).or_else(|| self.tools.iter().next()).map(|(id, _)| id.clone());
            old.map(|id| self.tools.remove(&id));
        }
        self.tools.insert(id.to_owned(), Tool { name: name.to_owned(), done });
    }

    fn turn_ended(&mut self) -> Vec<Ended> {
        self.working = false;
        self.transcript.clear();
        self.tools.clear();
        self.prompts.turn_ended()
    }

    fn failed(&self, ended: Ended, error: &RpcError) -> Out {
        if ended.cancelled { self.one_over(ended) } else { Out::Prompt(ended, Err(error.clone())) }
    }

    fn asked(&mut self, request: InputRequest) -> Vec<Out> {
        if self.questions.iter().any(|open| open.request_id() == request.request_id()) {
            return Vec::new();
        }
        self.questions.push(request.clone());
        // Of what was missed most is answered already.
        if self.catching_up { Vec::new() } else { vec![Out::Ask(request)] }
    }

    fn caught_up(&mut self) -> Vec<Out> {
        self.catching_up = false;
        self.telling = Telling::Unseen;
        let mut outs = Vec::new();
        let first = !std::mem::replace(&mut self.was_caught_up, true);
        if std::mem::take(&mut self.has_changed) && !first {
            outs.extend([self.info(), self.mode(), self.options()].map(Out::Update));
        } else if first && self.title.is_some() {
            // The rest is in the answer to whoever opened it.
            outs.push(Out::Update(self.info()));
        }
        outs.push(Out::CaughtUp);
        outs.extend(self.questions.iter().cloned().map(Out::Ask));
        outs
    }

    /// The newest messages and the state, in place of events that there are none of any more.
    fn snapshot(&mut self, messages: &[Message], state: &SessionState, has_more: bool) -> Vec<Out> {
        let mut outs = Vec::new();
        if has_more && self.telling == Telling::Unseen && self.seen.is_none() {
            outs.extend(self.notice("older", "what was said before this is in octo's history"));
        }
        for message in messages.iter().filter(|message| self.seen.is_none_or(|seen| message.idx > seen)).collect::<Vec<_>>() {
            let told = self.message(message);
            if self.telling == Telling::Unseen {
                outs.extend(told);
            }
        }
        self.state(state);
        self.has_changed = true;
        let waiting = self.prompts.queue(&state.queued);
        outs.extend(self.over(waiting));
        if !self.working {
            self.stop = messages.last().and_then(|message| message.stop_reason).or(self.stop);
            let ended = self.turn_ended();
            outs.extend(self.over(ended));
        }
        outs
    }

    /// What octo has to say, in the place where a person looks.
    pub fn notice(&self, kind: &str, sentence: &str) -> Vec<Out> {
        let mut update = chunk("agent_thought_chunk", "octo-notice", &content::text(&format!("octo: {sentence}\n")));
        update["_meta"] = json!({ "octo": { "notice": kind } });
        vec![Out::Update(update)]
    }

    fn usage(&self, usage: &Usage, total: &Usage) -> Vec<Out> {
        let size = self.choices.window();
        if size == 0 || self.catching_up {
            return Vec::new();
        }
        let cached = usage.cache_read_tokens.unwrap_or(0).saturating_add(usage.cache_write_tokens.unwrap_or(0));
        let used = usage.input_tokens.saturating_add(usage.output_tokens).saturating_add(cached);
        let mut update = json!({ "sessionUpdate": "usage_update", "used": used, "size": size });
        if let Some(amount) = total.cost_usd {
            update["cost"] = json!({ "amount": amount, "currency": "USD" });
        }
        vec![Out::Update(update)]
    }

    /// The title, as an update.
    #[must_use]
    pub fn info(&self) -> Value {
        json!({ "sessionUpdate": "session_info_update", "title": self.title })
    }

    /// What is different now, told at once, or once for all that was missed.
    fn changed(&mut self, what: &[fn(&Self) -> Value]) -> Vec<Out> {
        self.has_changed |= self.catching_up;
        let told = what.iter().filter(|_| !self.catching_up);
        told.map(|update| Out::Update(update(self))).collect()
    }

    /// The mode, as an update.
    #[must_use]
    pub fn mode(&self) -> Value {
        json!({ "sessionUpdate": "current_mode_update", "currentModeId": self.choices.mode() })
    }

    /// The options, as an update.
    #[must_use]
    pub fn options(&self) -> Value {
        json!({ "sessionUpdate": "config_option_update", "configOptions": self.choices.options() })
    }
}
