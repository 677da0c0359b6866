//! What the translator says follows from what the agent said.

use super::accept::message_of;
use super::actor::Session;
use super::ledger::PROGRESS_INTERVAL;
use super::{Answered, SessionMsg, Tick, json, nothing, refuse};
use crate::journal::Change;
use octo_actors::{Ctx, Failure};
use octo_harness::Output;
use octo_protocol::event::{Event, InputKind, Level, MessageVersion};
use octo_protocol::message::StopReason;
use octo_protocol::response::CommandResult;
use octo_protocol::session::Aborted;
use octo_protocol::{ErrorCode, ProtocolError, Role};
use std::time::Duration;

/// How often the journal is tried again for an input that it did not take.
const HAND_OVER_RETRY: Duration = Duration::from_millis(500);

impl Session {
    /// Does what is in the outbox, in order, and what that brings.
    pub async fn outputs(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        while !self.outbox.is_empty() {
            let outputs: Vec<Output> = self.outbox.drain().collect();
            for output in outputs {
                self.output(output, ctx)?;
            }
        }
        self.finish_edits().await
    }

    fn output(&mut self, output: Output, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match output {
            Output::Write(bytes) => {
                if !self.agent.write(bytes) {
                    let message = "the agent does not take what is sent to it; abort or restart the session".to_owned();
                    self.ledger.push(Event::Notify { level: Level::Error, message })?;
                }
            }
            Output::Ready => self.ready(ctx)?,
            Output::Resume(handle) => {
                self.agent.plan().resume = Some(handle.clone());
                self.row.resume = Some(handle.clone());
                self.ledger.change(Change::Resume(handle));
            }
            Output::Models(models) => self.models = models,
            Output::Event(event) => self.event(event, ctx)?,
            Output::Taken { .. } => {}
            Output::Delivered { token } => self.delivered(token)?,
            Output::Returned { token } => self.returned(token)?,
            Output::Rejected { token, error } => self.rejected(token, &error)?,
            Output::Reply { token, result } => self.replied(token, result),
            Output::Unusable(why) => self.end_agent(why),
            Output::Settled { reason, error } => self.settled(reason, error)?,
        }
        Ok(())
    }

    fn event(&mut self, event: Event, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let Some(event) = self.of_permissions(event, ctx)? else { return Ok(()) };
        match &event {
            Event::ToolProgress { tool_call_id, partial_output, .. } => {
                if self.ledger.progress(tool_call_id, partial_output.clone())? && !self.progress_due {
                    self.progress_due = true;
                    ctx.tell_after(PROGRESS_INTERVAL, SessionMsg::Tick(Tick::Progress))?;
                }
                return Ok(());
            }
            // The runner's own; a harness that says them is not believed.
            Event::AgentIdle { .. } | Event::Done { .. } | Event::InputAccepted { .. } | Event::QueueChanged { .. } => return Ok(()),
            // The agent began by itself.
            Event::AgentWorking { .. } | Event::ToolStart { .. } | Event::RetryStart { .. } if self.harness.is_working() => {
                self.begin_turn(None);
            }
            Event::MessageStart { role: Role::Assistant, .. } => self.begin_turn(None),
            Event::ModelChanged { provider, model_id } => {
                let mut plan = self.agent.plan();
                (plan.provider, plan.model) = (provider.clone(), model_id.clone());
                drop(plan);
                (self.row.provider, self.row.model) = (provider.clone(), model_id.clone());
                self.ledger.change(Change::Model { provider: provider.clone(), model: model_id.clone() });
            }
            Event::ThinkingLevelChanged { level } => {
                self.agent.plan().thinking = Some(*level);
                self.row.thinking = Some(level.as_str().to_owned());
                self.ledger.change(Change::Thinking(level.as_str().to_owned()));
            }
            Event::SessionTitleChanged { title, .. } => {
                return self.set_title(title, false);
            }
            _ => {}
        }
        let traceparent = self.tracing.turn.as_mut().and_then(|turn| turn.event(&event, &self.shared.spans));
        self.ledger.push_traced(event, traceparent)?;
        Ok(())
    }

    /// What becomes of a title that is given or found; `None` when nothing changes.
    pub fn new_title(&self, title: &str, given: bool) -> Option<String> {
        let title: String = title.trim().chars().filter(|c| !c.is_control()).take(200).collect();
        let same = title.is_empty() || self.row.title.as_ref() == Some(&title) || (self.row.title_given && !given);
        (!same).then_some(title)
    }

    /// A title, and the readable id with it.
    pub fn set_title(&mut self, title: &str, given: bool) -> Result<(), Failure> {
        let Some(title) = self.new_title(title, given) else { return Ok(()) };
        self.row.title_given = given;
        self.row.title = Some(title.clone());
        self.ledger.change(Change::Title { title: title.clone(), given });
        self.ledger.push(Event::SessionTitleChanged { title, readable_id: Some(self.row.readable_id.clone()) })?;
        Ok(())
    }

    fn delivered(&mut self, token: u64) -> Result<(), Failure> {
        let Some(waiting) = self.handed.remove(&token) else { return Ok(()) };
        if waiting.kind == InputKind::Steer {
            self.ledger.push(Event::MessageEnd { message: message_of(&waiting.content) })?;
        }
        self.ledger.change(Change::InputDelivered { key: waiting.key });
        Ok(())
    }

    /// It came back: to the person who aborts, or, when the agent has gone, to the queue.
    fn returned(&mut self, token: u64) -> Result<(), Failure> {
        let Some(waiting) = self.handed.remove(&token) else { return Ok(()) };
        if let Some((_, parked)) = self.aborts.values_mut().next() {
            parked.push(waiting.queued());
            self.trace_parked(waiting.content.trace);
            self.ledger.change(Change::InputParked { key: waiting.key });
        } else if waiting.kind == InputKind::Steer {
            self.ledger.change(Change::InputReturned { key: waiting.key.clone() });
            self.queue.push_back(waiting);
        } else {
            // Its message is in the history: it is not run a second time.
            self.ledger.change(Change::InputDelivered { key: waiting.key });
        }
        Ok(())
    }

    fn rejected(&mut self, token: u64, error: &ProtocolError) -> Result<(), Failure> {
        let Some(waiting) = self.handed.remove(&token) else { return Ok(()) };
        self.ledger.change(Change::InputDelivered { key: waiting.key });
        if waiting.kind == InputKind::Steer {
            let message = format!("the agent did not take the message {:?}: {error}", excerpt(&waiting.content.message));
            self.ledger.push(Event::Notify { level: Level::Warning, message })?;
        } else if self.ledger.turn.is_some() && !self.harness.is_working() && self.agent.is_ready() {
            self.end_turn(StopReason::Error, Some(error.to_string()))?;
        }
        Ok(())
    }

    fn replied(&mut self, token: u64, result: CommandResult) {
        if self.probe.answered(token) {
            return;
        }
        if self.cutting.remove(&token) {
            return;
        }
        let Some(result) = self.withdrawn(token, result) else { return };
        if let Some((answer, parked)) = self.aborts.remove(&token) {
            let _ = answer.send(result.and_then(|_| json(&Aborted { parked })));
        } else if let Some(answer) = self.replies.remove(&token) {
            let _ = answer.send(answered(result));
        }
    }

    fn settled(&mut self, reason: StopReason, error: Option<String>) -> Result<(), Failure> {
        let done: Vec<u64> = self.handed.iter().filter(|(_, w)| w.kind != InputKind::Steer).map(|(token, _)| *token).collect();
        // A prompt that the agent has and has not begun with is another run.
        if !self.harness.is_working() {
            for token in done {
                self.delivered(token)?;
            }
            self.end_turn(reason, error)?;
        }
        if self.agent.is_stopping() {
            self.stop_now();
        }
        self.agent.has_settled();
        Ok(())
    }

    /// Closes what is open and ends the turn, if there is one.
    pub fn end_turn(&mut self, reason: StopReason, error: Option<String>) -> Result<(), Failure> {
        let beside = self.harness.state().beside.clone();
        self.close_but(beside.as_deref(), error.as_deref().unwrap_or("the turn ended before it did"))?;
        if self.ledger.turn.is_none() {
            return Ok(());
        }
        self.ledger.push(Event::Done { reason })?;
        match error {
            Some(error) if reason != StopReason::Aborted => {
                self.ledger.push(Event::AgentError { error, recoverable: true, phase: None, code: Some(ErrorCode::AgentFailed) })?;
            }
            _ => {
                let count = self.ledger.message_count();
                let message_version = Some(MessageVersion { version: count, message_count: count });
                self.ledger.push(Event::AgentIdle { message_version })?;
            }
        }
        self.ledger.turn = None;
        self.trace_end(reason);
        Ok(())
    }

    /// Messages, tools and questions that nothing will close any more.
    pub fn close_open(&mut self, reason: &str) -> Result<(), Failure> {
        self.close_but(None, reason)
    }

    /// The same, but for the tool call `beside`, which no turn ends.
    fn close_but(&mut self, beside: Option<&str>, reason: &str) -> Result<(), Failure> {
        for message_id in self.ledger.open_messages() {
            self.ledger.push(Event::MessageDiscarded { message_id, reason: reason.to_owned() })?;
        }
        let ended = self.ledger.tools.iter().filter(|(id, _)| beside != Some(id.as_str()));
        let tools: Vec<_> = ended.map(|(id, tool)| (id.clone(), tool.name.clone())).collect();
        for (tool_call_id, name) in tools {
            let output = serde_json::json!({ "content": [{ "type": "text", "text": reason }] });
            self.ledger.push(Event::ToolEnd { tool_call_id, name, output, is_error: true, duration_ms: 0 })?;
        }
        let questions: Vec<_> = self.ledger.questions.keys().cloned().collect();
        for request_id in questions {
            self.ledger.push(Event::AgentInputResolved { request_id, by: Some("octo".to_owned()) })?;
        }
        Ok(())
    }

    pub fn retry_later(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if !self.retry_due {
            self.retry_due = true;
            ctx.tell_after(HAND_OVER_RETRY, SessionMsg::Tick(Tick::Journal))?;
        }
        Ok(())
    }

    /// Refuses every command that waits for the agent.
    pub fn refuse_waiting(&mut self, error: &ProtocolError) {
        for (_, answer) in self.replies.drain() {
            refuse(answer, error.clone());
        }
        for (_, answer) in self.held.drain(..) {
            refuse(answer, error.clone());
        }
        self.refuse_edits(error);
        self.cutting.clear();
        for (_, (answer, parked)) in self.aborts.drain() {
            let _ = answer.send(json(&Aborted { parked }));
        }
    }
}

fn answered(result: CommandResult) -> Answered {
    match result {
        Ok(serde_json::Value::Null) => nothing(),
        Ok(value) => json(&value),
        Err(error) => Err(error),
    }
}

fn excerpt(text: &str) -> String {
    text.chars().take(60).collect()
}
