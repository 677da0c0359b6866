//! What each of pi's events means.

use super::dialogs;
use super::message;
use super::requests::{Purpose, write};
use super::wire::{self, unsigned};
use super::{NAME, Pi};
use crate::decode::Decode;
use crate::harness::{Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::{CompactReason, Event, Level, Phase};
use serde::Deserialize;
use serde_json::json;

/// Most characters of an error in a reason.
const ERROR_EXCERPT: usize = 500;

fn parse<'a, T: Deserialize<'a>>(text: &'a str) -> serde_json::Result<T> {
    serde_json::from_str(text)
}

impl Pi {
    pub(super) fn event(&mut self, kind: &str, text: &str, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        self.run.stirred();
        self.offer_resume(out);
        match kind {
            "message_update" => self.message_update(parse(text)?, out),
            "message_start" => self.message_start(&parse(text)?, out),
            "message_end" => self.message_end(parse::<wire::MessageEvent>(text)?.message, now, out),
            "tool_execution_start" => {
                self.stream.finish_failed(out);
                self.tools.start(parse(text)?, now, out);
                self.show_tools(out);
            }
            "tool_execution_update" => self.tools.progress(parse(text)?, out),
            "tool_execution_end" => {
                self.tools.end(parse(text)?, now, out);
                self.show_tools(out);
            }
            "agent_start" => self.agent_start(out),
            "agent_end" => {
                let end: wire::AgentEnd = parse(text)?;
                if self.run.agent_end(end.will_retry, now) {
                    self.ask_whether_settled(out);
                }
            }
            "agent_settled" => {
                let settled: wire::AgentSettled = parse(text)?;
                if let Some(settlement) = self.run.agent_settled(settled.aborted) {
                    self.settle(settlement, now, out);
                }
            }
            "queue_update" => {
                let queues: wire::QueueUpdate = parse(text)?;
                self.inputs.queues(queues.steering.len(), queues.follow_up.len());
            }
            "compaction_start" => self.compaction_start(&parse(text)?, out),
            "compaction_end" => self.compaction_end(parse(text)?, now, out),
            "auto_retry_start" => self.retry_start(parse(text)?, now, out),
            "auto_retry_end" => self.retry_end(parse(text)?, out),
            "session_info_changed" => self.renamed(parse::<wire::SessionInfo>(text)?.name, out),
            "thinking_level_changed" => {
                if let Some(level) = parse::<wire::Level>(text)?.level.as_deref().and_then(wire::thinking_level) {
                    self.thinking_level(level, out);
                }
            }
            "extension_ui_request" => self.ui_request(parse(text)?, now, out),
            "extension_error" => {
                let error: wire::ExtensionError = parse(text)?;
                let wire::ExtensionError { extension_path, event, error } = error;
                let message = format!("the extension {extension_path} of {NAME} failed in {event}: {error}");
                out.event(Event::Notify { level: Level::Error, message });
            }
            "bash_execution_update" => self.shell_wrote(&parse(text)?, out),
            // Known and of no use to octo: what they say comes in other events too.
            "turn_start" | "turn_end" | "entry_appended" => {}
            _ => self.ignored += 1,
        }
        Ok(())
    }

    fn message_start(&mut self, start: &wire::MessageHead<'_>, out: &mut Outbox) {
        if start.message.role == "assistant" {
            self.stream.start(out);
            self.show(Phase::Generating, None, out);
        }
    }

    fn message_update(&mut self, update: wire::MessageUpdate<'_>, out: &mut Outbox) {
        if update.message.is_none() && update.event.partial.is_none() {
            self.run.will_settle();
        }
        match update.event.kind.as_ref() {
            "thinking_start" | "thinking_delta" => self.show(Phase::Thinking, None, out),
            "text_start" | "text_delta" | "toolcall_start" => self.show(Phase::Generating, None, out),
            _ => {}
        }
        self.stream.update(update.event, out);
    }

    fn message_end(&mut self, mut message: wire::Message, now: i64, out: &mut Outbox) {
        match message.role.as_str() {
            "assistant" => {
                if self.run.is_aborting() && message.stop_reason.as_deref() == Some("error") {
                    message.stop_reason = Some("aborted".to_owned());
                }
                let error = message.error_message.clone();
                let message = self.stream.end(message, now, out);
                self.run.message(message.stop_reason, error);
                if let Some(usage) = message.usage {
                    self.spent(&usage, out);
                }
                self.resume_due = true;
            }
            "user" => {
                self.stream.finish_failed(out);
                match self.inputs.echoed(&message::plain_text(&message.content)) {
                    Some(input) => {
                        if !input.taken {
                            self.run.accepted(false, now);
                            out.push(Output::Taken { token: input.token });
                        }
                        out.push(Output::Delivered { token: input.token });
                    }
                    None => self.other_message(message, now, out),
                }
            }
            // The sections of pi's prompt: not for people.
            "system" => {}
            _ => self.other_message(message, now, out),
        }
    }

    fn other_message(&mut self, message: wire::Message, now: i64, out: &mut Outbox) {
        let id = self.stream.next_id();
        if let Some(message) = message::other(&id, message, now) {
            self.stream.finish_failed(out);
            let usage = message.usage.clone();
            out.event(Event::MessageEnd { message });
            if let Some(usage) = usage {
                self.spent(&usage, out);
            }
        }
    }

    fn spent(&mut self, usage: &octo_protocol::message::Usage, out: &mut Outbox) {
        self.session_total.add(usage);
        out.event(Event::Usage { usage: usage.clone(), session_total: self.session_total.clone() });
    }

    fn show_tools(&mut self, out: &mut Outbox) {
        let newest = self.tools.newest().map(str::to_owned);
        match newest {
            Some(name) => self.show(Phase::ToolRunning, Some(&name), out),
            None => self.show(Phase::Generating, None, out),
        }
    }

    fn agent_start(&mut self, out: &mut Outbox) {
        self.run.agent_start();
        self.show(Phase::Generating, None, out);
        if std::mem::take(&mut self.abort_on_start) {
            self.requests.send(Purpose::AbortAgain, "abort", json!({}), out);
        }
    }

    pub(super) fn ask_whether_settled(&mut self, out: &mut Outbox) {
        if !self.requests.waits(|purpose| *purpose == Purpose::Settling) {
            self.requests.send(Purpose::Settling, "get_state", json!({}), out);
        }
    }

    fn compaction_start(&mut self, compaction: &wire::Compaction, out: &mut Outbox) {
        self.run.compaction_start();
        self.state.is_compacting = true;
        self.show(Phase::Compacting, None, out);
        if std::mem::replace(&mut self.compacting, true) {
            return;
        }
        let reason = match compaction.reason.as_str() {
            "overflow" => CompactReason::Overflow,
            "manual" => CompactReason::Manual,
            _ => CompactReason::Threshold,
        };
        out.event(Event::CompactStart { reason });
    }

    fn compaction_end(&mut self, compaction: wire::Compaction, now: i64, out: &mut Outbox) {
        self.state.is_compacting = false;
        if compaction.will_retry {
            self.stream.retried("the conversation was too long for the model: it was compacted and the request is made again", out);
        }
        let ask = self.run.compaction_end(compaction.will_retry, now);
        if std::mem::take(&mut self.compacting) {
            let success = compaction.result.is_some() && !compaction.aborted;
            let result = compaction.result.unwrap_or_default();
            let cancelled = || compaction.aborted.then(|| "the compaction was cancelled".to_owned());
            out.event(Event::CompactEnd {
                success,
                will_retry: compaction.will_retry,
                error: compaction.error_message.or_else(cancelled),
                summary: result.summary,
                tokens_before: result.tokens_before.map(unsigned),
            });
        }
        if self.run.is_active() {
            self.show(Phase::Generating, None, out);
        }
        if ask {
            self.ask_whether_settled(out);
        }
    }

    fn retry_start(&mut self, retry: wire::Retry, now: i64, out: &mut Outbox) {
        let delay_ms = unsigned(retry.delay_ms);
        self.stream.retried(&format!("the request failed and is made again: {}", excerpt(&retry.error_message, ERROR_EXCERPT)), out);
        self.run.retry_start(delay_ms, now);
        self.retry = Some(retry.attempt);
        let wire::Retry { attempt, max_attempts, error_message, .. } = retry;
        out.event(Event::RetryStart { attempt, max_attempts, delay_ms, error: error_message });
        self.show(Phase::Retrying, None, out);
    }

    fn retry_end(&mut self, retry: wire::Retry, out: &mut Outbox) {
        let ask = self.run.retry_end(retry.success);
        self.end_retry(retry.success, retry.final_error, out);
        if ask {
            self.ask_whether_settled(out);
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

    pub(super) fn thinking_level(&mut self, level: octo_protocol::ThinkingLevel, out: &mut Outbox) {
        if self.state.thinking_level != level {
            self.state.thinking_level = level;
            out.event(Event::ThinkingLevelChanged { level });
        }
    }

    fn ui_request(&mut self, ui: wire::UiRequest, now: i64, out: &mut Outbox) {
        match ui.method.as_str() {
            "notify" => {
                let level = match ui.notify_type.as_deref() {
                    Some("error") => Level::Error,
                    Some("warning") => Level::Warning,
                    _ => Level::Info,
                };
                out.event(Event::Notify { level, message: ui.message });
            }
            "setStatus" => out.event(Event::Status { key: ui.status_key, text: ui.status_text }),
            "setWidget" => {
                let text = ui.widget_lines.map(|lines| lines.join("\n"));
                out.event(Event::Status { key: format!("widget:{}", ui.widget_key), text });
            }
            // Of a terminal that octo does not have.
            "setTitle" | "set_editor_text" => self.ignored += 1,
            "select" | "confirm" | "input" | "editor" => {
                let of_run = self.run.is_working();
                if let Some(refusal) = self.dialogs.ask(ui, now, of_run, out) {
                    self.notice(
                        |_| format!("{NAME} asks more than {} questions at once; the newest was cancelled", dialogs::MAX_OPEN),
                        out,
                    );
                    write(&refusal, out);
                }
                self.questions_changed();
            }
            _ => self.ignored += 1,
        }
    }
}
