//! What each of Claude Code's lines means.

use super::requests::write;
use super::tools::{Call, tool_output};
use super::wire::{self, unsigned};
use super::{CALLED, Claude};
use super::{fork, message};
use crate::decode::Decode;
use crate::harness::{Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::{Event, Level, Phase};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most characters of an error in a reason.
const ERROR_EXCERPT: usize = 500;
/// Most results of tools that wait for the end of the message that calls them.
const MAX_LATE: usize = 1024;

/// The result of a tool, until it can be told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Late {
    call_id: String,
    output: Value,
    is_error: bool,
    /// Its line.
    #[serde(default)]
    entry: Option<String>,
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    serde_json::from_str(text)
}

impl Claude {
    pub(super) fn event(&mut self, kind: &str, text: &str, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        match kind {
            "stream_event" => self.stream_event(&parse(text)?, now, out),
            "assistant" => self.assistant(parse(text)?, now, out),
            "user" => self.user(parse(text)?, now, out),
            "result" => self.turn_result(parse(text)?, now, out),
            "system" => self.system(&parse::<wire::Subtype<'_>>(text)?.subtype, text, now, out)?,
            "command_lifecycle" => self.lifecycle(&parse(text)?, now, out),
            "control_request" => self.asked(&parse(text)?, now, out)?,
            "control_response" => self.answered(&parse::<wire::ControlResponse<'_>>(text)?.response, now, out),
            "control_cancel_request" => {
                let cancelled: wire::Cancelled = parse(text)?;
                if !self.dialogs.withdraw(&cancelled.request_id, out) {
                    self.ignored += 1;
                }
                self.questions_changed();
            }
            // It is named at the start of its first turn.
            "conversation_reset" => self.mark_new("it does not know any more what was said before", now, out),
            // Known and of no use to octo.
            "keep_alive" => {}
            _ => self.ignored += 1,
        }
        Ok(())
    }

    fn system(&mut self, subtype: &str, text: &str, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        match subtype {
            "init" => {
                let init: wire::Init = parse(text)?;
                self.close_whole(now, out);
                self.conversation(init.session_id);
                self.began(out);
                self.model_named(init.model, out);
                if let Some(mode) = &init.permission_mode {
                    self.mode_is(mode, out);
                }
            }
            "status" => {
                let status: wire::Status = parse(text)?;
                self.close_whole(now, out);
                self.status(status, out);
            }
            "api_retry" => self.retry_start(parse(text)?, out),
            "compact_boundary" => {
                let boundary: wire::Boundary = parse(text)?;
                self.close_whole(now, out);
                self.compaction.boundary(&boundary.compact_metadata, out);
            }
            "session_title_changed" => self.renamed(parse::<wire::Title>(text)?.title, out),
            "permission_denied" => {
                let denied: wire::Denied = parse(text)?;
                let message = format!("{} was not allowed: {}", denied.tool_name, excerpt(&denied.message, ERROR_EXCERPT));
                out.event(Event::Notify { level: Level::Warning, message });
            }
            "task_started" => {
                let task: wire::Task = parse(text)?;
                if task.is_backgrounded {
                    self.tasks.began(&task.task_id);
                }
                out.event(Event::Status { key: format!("task:{}", task.task_id), text: Some(task.description) });
            }
            "task_updated" => {
                let task: wire::Task = parse(text)?;
                if task.patch.is_backgrounded == Some(true) {
                    self.tasks.began(&task.task_id);
                }
                if task.patch.status.as_deref().is_some_and(|status| !matches!(status, "running" | "pending" | "paused")) {
                    self.task_ended(&task.task_id, out);
                }
            }
            "task_notification" => {
                let task: wire::Task = parse(text)?;
                self.task_ended(&task.task_id, out);
                out.event(Event::Status { key: format!("task:{}", task.task_id), text: None });
            }
            "task_progress" => {
                let task: wire::Task = parse(text)?;
                self.tools.said(&task.tool_use_id, &task.description, out);
            }
            // Known and of no use to octo: what they say comes in other lines too.
            "thinking_tokens" | "background_tasks_changed" | "hook_started" | "hook_response" => {}
            _ => self.ignored += 1,
        }
        Ok(())
    }

    fn stream_event(&mut self, line: &wire::StreamEvent<'_>, now: i64, out: &mut Outbox) {
        if line.parent_tool_use_id.is_some() {
            return;
        }
        let event = &line.event;
        match (event.kind.as_ref(), &event.message) {
            ("message_start", Some(head)) => {
                self.began(out);
                self.close_open("the model began another message", now, out);
                self.compaction.flush(out);
                self.end_retry(true, None, out);
                self.offer_resume(out);
                self.show(Phase::Generating, None, out);
                self.stream.begin(head, out);
            }
            ("content_block_start", _) => {
                let phase = match event.content_block.as_ref().map(|block| block.kind.as_ref()) {
                    Some("thinking" | "redacted_thinking") => Phase::Thinking,
                    _ => Phase::Generating,
                };
                self.show(phase, None, out);
                self.stream.piece(event, out);
            }
            ("content_block_delta" | "message_delta", _) => self.stream.piece(event, out),
            ("message_stop", _) if self.stream.is_streaming() => {
                let broken = line.abandoned_blocks.is_some();
                let calls = self.stream.close(broken, "the answer broke off before anything of it was finished", now, out);
                self.run_calls(calls, now, out);
            }
            _ => {}
        }
    }

    fn assistant(&mut self, line: wire::Assistant, now: i64, out: &mut Outbox) {
        if let Some(parent) = &line.parent_tool_use_id {
            return self.tools.said(parent, &message::plain_text(&line.message.content), out);
        }
        self.began(out);
        if !self.stream.continues(&line) {
            self.close_open("the model began another message", now, out);
            self.compaction.flush(out);
        }
        self.offer_resume(out);
        let aborting = self.run.is_aborting();
        self.stream.blocks(line, aborting, out);
    }

    fn user(&mut self, line: wire::User<'_>, now: i64, out: &mut Outbox) {
        if line.parent_tool_use_id.is_some() {
            return;
        }
        self.close_whole(now, out);
        let entry = fork::entry_id(line.uuid.as_deref());
        match line.message.content {
            Value::Array(blocks) => {
                let details = line.tool_use_result.and_then(|raw| serde_json::from_str::<wire::Patched>(raw.get()).ok());
                let diff = details.and_then(|patched| message::patch(&patched.structured_patch));
                for block in blocks {
                    if block["type"] == "tool_result" {
                        self.tool_result(block, diff.as_deref(), entry, now, out);
                    }
                }
            }
            Value::String(text) if line.is_synthetic => self.compaction.summary(&text, entry, out),
            Value::String(text) => {
                // What octo's own requests print is told in other events.
                let own = self.compaction.is_commanded() || self.requests.waits(|p| matches!(p, super::requests::Purpose::SetModel { .. }));
                if !own && let Some(message) = message::command_output(&self.stream.next_id(), &text, now) {
                    out.event(Event::MessageEnd { message: fork::at(self.stream.newest(), message) });
                }
            }
            _ => {}
        }
    }

    fn tool_result(&mut self, block: Value, diff: Option<&str>, entry: Option<&str>, now: i64, out: &mut Outbox) {
        let Ok(result) = serde_json::from_value::<wire::ToolResult>(block) else {
            return self.notice(|_| format!("{CALLED} wrote the result of a tool in a form that octo does not understand"), out);
        };
        let output = tool_output(result.content, diff.map(|diff| json!({"diff": diff})));
        let late = Late { call_id: result.tool_use_id, output, is_error: result.is_error, entry: entry.map(str::to_owned) };
        if self.stream.is_streaming() {
            if self.late.len() < MAX_LATE {
                return self.late.push(late);
            }
            self.close_open("its tools ended before it did", now, out);
        }
        self.tool_ended(late, now, out);
        self.show_tools(out);
    }

    fn tool_ended(&mut self, late: Late, now: i64, out: &mut Outbox) {
        let Late { call_id, output, is_error, entry } = late;
        let ran = self.tools.end(&call_id, &output, is_error, now, out);
        let id = self.stream.next_id();
        if entry.is_some() {
            self.stream.passed(entry);
        }
        let message = message::tool_result(&id, &call_id, ran, output, is_error, now);
        out.event(Event::MessageEnd { message: fork::at(self.stream.newest(), message) });
    }

    fn show_tools(&mut self, out: &mut Outbox) {
        match self.tools.newest().map(str::to_owned) {
            Some(name) => self.show(Phase::ToolRunning, Some(&name), out),
            None => self.show(Phase::Generating, None, out),
        }
    }

    /// The message that calls them is whole: they run, and those that are done already are told of.
    fn run_calls(&mut self, calls: Vec<Call>, now: i64, out: &mut Outbox) {
        let any = !calls.is_empty() || !self.late.is_empty();
        for call in calls {
            self.tools.start(call, now, out);
        }
        for late in std::mem::take(&mut self.late) {
            self.tool_ended(late, now, out);
        }
        if any {
            self.show_tools(out);
        }
    }

    /// Whatever message is open or held ends here.
    pub(super) fn close_open(&mut self, why: &str, now: i64, out: &mut Outbox) {
        let mut calls = self.stream.keep_broken(out);
        calls.extend(self.stream.close(false, why, now, out));
        self.run_calls(calls, now, out);
    }

    /// A message that came without a stream is whole when something else comes; one that broke off stays when its request was not made again.
    pub(super) fn close_whole(&mut self, now: i64, out: &mut Outbox) {
        if !self.stream.is_streaming() {
            self.close_open("it had no content", now, out);
        }
    }

    fn task_ended(&mut self, task: &str, out: &mut Outbox) {
        self.tasks.ended(task);
        for line in self.dialogs.end_task(task, out) {
            write(&line, out);
        }
        self.questions_changed();
    }

    fn retry_start(&mut self, retry: wire::Retry, out: &mut Outbox) {
        if let Some(parent) = &retry.parent_tool_use_id {
            return self.tools.said(parent, "a request failed and is made again", out);
        }
        let status = retry.error_status.map(|status| format!("{} ", unsigned(status))).unwrap_or_default();
        let what = match retry.error {
            Some(Value::String(error)) => error,
            Some(Value::Null) | None => "unknown".to_owned(),
            Some(other) => other.to_string(),
        };
        let error = format!("{status}{}", excerpt(&what, ERROR_EXCERPT));
        let reason = format!("the request failed and is made again: {error}");
        self.stream.retried(&reason, out);
        self.began(out);
        let delay_ms = unsigned(retry.retry_delay_ms);
        self.retry = Some(retry.attempt);
        out.event(Event::RetryStart { attempt: retry.attempt, max_attempts: retry.max_retries, delay_ms, error });
        self.show(Phase::Retrying, None, out);
    }

    pub(super) fn end_retry(&mut self, success: bool, final_error: Option<String>, out: &mut Outbox) {
        if let Some(attempt) = self.retry.take() {
            out.event(Event::RetryEnd { success, attempt, final_error });
        }
    }

    pub(super) fn renamed(&mut self, name: Option<String>, out: &mut Outbox) {
        if self.state.session_name == name {
            return;
        }
        self.state.session_name.clone_from(&name);
        if let Some(title) = name {
            out.event(Event::SessionTitleChanged { title, readable_id: None });
        }
    }

    /// The model of the turn. Only a change says something: the first may be the full name of the one that octo chose.
    fn model_named(&mut self, model: Option<String>, out: &mut Outbox) {
        let Some(model) = model.filter(|model| !model.is_empty()) else { return };
        if self.named.as_ref().is_some_and(|named| *named != model) {
            out.event(Event::ModelChanged { provider: self.options.provider.clone(), model_id: model.clone() });
        }
        self.named = Some(model);
    }

    /// Which conversation it is.
    pub(super) fn conversation(&mut self, id: Option<String>) {
        if id.as_deref().is_some_and(|id| !id.is_empty()) {
            self.state.agent_session_id = id;
        }
    }

    pub(super) fn taken(&mut self, token: u64, out: &mut Outbox) {
        self.run.accepted();
        out.push(Output::Taken { token });
    }
}
