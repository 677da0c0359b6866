//! What an event of the bridge means to this runner. Most are told as they are; those of the bridge's own runner are this runner's to tell.

use super::Bridge;
use super::inputs::kind_of;
use crate::harness::{Outbox, Output};
use octo_protocol::event::{Event, InputKind, Level};
use octo_protocol::message::StopReason;
use octo_protocol::permission::DecidedBy;
use octo_protocol::{EventPayload, Message, Role};
use serde_json::Value;

/// Ends that are remembered while it is not known what runs.
const MAX_ENDED: usize = 4096;
/// What the tool call of a person's own command begins with: it belongs to no turn.
const BESIDE: &str = "bash-";

impl Bridge {
    pub(super) fn happened(&mut self, payload: EventPayload, seq: u64, out: &mut Outbox) {
        let EventPayload { event, turn_id, .. } = payload;
        let ends_turn = matches!(event, Event::AgentIdle { .. } | Event::AgentError { .. });
        if turn_id.is_some() && !ends_turn && seq > 0 {
            self.turn.clone_from(&turn_id);
        }
        match event {
            Event::InputAccepted { client_id: Some(id), .. } => {
                if let Some(token) = self.inputs.accepted(&id) {
                    out.push(Output::Taken { token });
                }
            }
            Event::QueueChanged { mut steering, follow_up } => {
                steering.extend(follow_up);
                for parked in self.inputs.queue_is(&steering) {
                    out.push(Output::Returned { token: parked.token });
                }
            }
            Event::Done { reason } => self.reason = Some(reason),
            Event::AgentIdle { .. } => {
                if let Some(turn) = turn_id {
                    self.has_ended(turn);
                    self.over(StopReason::Stop, None, out);
                }
            }
            Event::AgentError { error, .. } => match turn_id {
                Some(turn) => {
                    self.has_ended(turn);
                    self.over(StopReason::Error, Some(error), out);
                }
                None => out.event(Event::Notify { level: Level::Error, message: error }),
            },
            Event::SessionRestarted { attempt, reason } => {
                let message = format!("the agent behind the bridge was started again ({reason}), for the {attempt}. time");
                out.event(Event::Notify { level: Level::Warning, message });
            }
            Event::MessageEnd { message } if message.role == Role::User => self.said_by_a_person(message, out),
            Event::MessageEnd { mut message } => {
                self.messages.remove(&message.id);
                message.idx = 0;
                out.event(Event::MessageEnd { message });
            }
            // Told by whoever decides here.
            Event::PermissionDecided { by: DecidedBy::User, .. } => {}
            // The bridge's own, or of one connection to it.
            Event::SessionCreated { .. }
            | Event::SessionClosed { .. }
            | Event::SessionUnreachable { .. }
            | Event::SessionReachable
            | Event::InputAccepted { .. }
            | Event::SessionHeartbeat { .. }
            | Event::PermissionsChanged { .. }
            | Event::ResyncRequired { .. }
            | Event::Messages { .. }
            | Event::ReplayStart { .. }
            | Event::ReplayEnd { .. }
            | Event::Persisted { .. }
            | Event::DelegateStart { .. }
            | Event::DelegateDelta { .. }
            | Event::DelegateEnd { .. }
            | Event::DelegateError { .. } => {}
            other => {
                if self.is_news(&other) {
                    out.event(other);
                }
            }
        }
    }

    /// Keeps account of what is open. False for what belongs to something of which the beginning or the end was told before.
    fn is_news(&mut self, event: &Event) -> bool {
        match event {
            Event::MessageStart { message_id, .. } => self.messages.insert(message_id.clone()),
            Event::TextDelta { message_id, .. }
            | Event::ThinkingDelta { message_id, .. }
            | Event::ToolCallStart { message_id, .. }
            | Event::ToolCallDelta { message_id, .. }
            | Event::ToolCallEnd { message_id, .. } => self.messages.contains(message_id),
            Event::MessageDiscarded { message_id, .. } => self.messages.remove(message_id),
            Event::ToolStart { tool_call_id, name, .. } => {
                if tool_call_id.starts_with(BESIDE) {
                    self.state.beside = Some(tool_call_id.clone());
                }
                self.tools.insert(tool_call_id.clone(), name.clone()).is_none()
            }
            Event::ToolProgress { tool_call_id, .. } => self.tools.contains_key(tool_call_id),
            Event::ToolEnd { tool_call_id, .. } => {
                if self.state.beside.as_ref() == Some(tool_call_id) {
                    self.state.beside = None;
                }
                self.has_ended(tool_call_id.clone());
                self.tools.remove(tool_call_id).is_some()
            }
            Event::AgentInputNeeded { request } => {
                let news = self.questions.insert(request.request_id().to_owned(), request.clone()).is_none();
                self.questions_changed();
                news
            }
            Event::AgentInputResolved { request_id, .. } => {
                self.has_ended(request_id.clone());
                let news = self.questions.remove(request_id).is_some();
                self.questions_changed();
                news
            }
            Event::ModelChanged { provider, model_id } => {
                // Which of its properties are known comes with the next attach.
                if let Some(model) = &mut self.state.model {
                    model.provider.clone_from(provider);
                    model.id.clone_from(model_id);
                    model.name.clone_from(model_id);
                }
                true
            }
            Event::ThinkingLevelChanged { level } => {
                self.state.thinking_level = *level;
                true
            }
            Event::CompactStart { .. } => {
                self.state.is_compacting = true;
                true
            }
            Event::CompactEnd { .. } => {
                self.state.is_compacting = false;
                true
            }
            _ => true,
        }
    }

    /// A person's message is in the conversation: one of this runner's inputs, one of a process before this one, or somebody else's.
    fn said_by_a_person(&mut self, mut message: Message, out: &mut Outbox) {
        if let Some(id) = &message.client_id {
            if let Some(waiting) = self.inputs.remove_named(id) {
                if !waiting.is_taken() {
                    out.push(Output::Taken { token: waiting.token });
                }
                return out.push(Output::Delivered { token: waiting.token });
            }
            // A prompt is in the runner's history since it was handed over; a message that steers is only now.
            if kind_of(id).is_some_and(|kind| kind != InputKind::Steer) {
                return;
            }
        }
        (message.client_id, message.idx) = (None, 0);
        out.event(Event::MessageEnd { message });
    }

    fn has_ended(&mut self, what: String) {
        if self.ended.len() >= MAX_ENDED {
            self.ended.pop_front();
        }
        self.ended.push_back(what);
    }

    /// The turn under way at the bridge is over.
    pub(super) fn over(&mut self, otherwise: StopReason, error: Option<String>, out: &mut Outbox) {
        let reason = self.reason.take().unwrap_or(otherwise);
        self.turn = None;
        let what = error.as_deref().unwrap_or("the turn ended before it did").to_owned();
        self.close_open(&what, "agent", out);
        // Prompts that the bridge has and has not begun with: it gave them back to whoever aborted there, or they wait for somebody's next prompt.
        let failed = error.is_some();
        if failed || reason == StopReason::Aborted {
            for waiting in self.inputs.take(|waiting| waiting.is_taken() && waiting.kind == InputKind::Prompt) {
                let token = waiting.token;
                out.push(if failed { Output::Delivered { token } } else { Output::Returned { token } });
            }
        }
        out.push(Output::Settled { reason, error });
        for token in std::mem::take(&mut self.aborts) {
            out.push(Output::Reply { token, result: Ok(Value::Null) });
        }
    }

    /// Closes what nothing will close any more.
    pub(super) fn close_open(&mut self, why: &str, by: &str, out: &mut Outbox) {
        for message_id in std::mem::take(&mut self.messages) {
            out.event(Event::MessageDiscarded { message_id, reason: why.to_owned() });
        }
        let beside = self.state.beside.clone().and_then(|id| self.tools.remove_entry(&id));
        for (tool_call_id, name) in std::mem::take(&mut self.tools) {
            let output = serde_json::json!({ "content": [{ "type": "text", "text": why }] });
            out.event(Event::ToolEnd { tool_call_id, name, output, is_error: true, duration_ms: 0 });
        }
        self.tools.extend(beside);
        for request_id in std::mem::take(&mut self.questions).into_keys() {
            out.event(Event::AgentInputResolved { request_id, by: Some(by.to_owned()) });
        }
        self.questions_changed();
        self.state.is_compacting = false;
    }
}
