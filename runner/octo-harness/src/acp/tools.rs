//! Tool calls, from the message that makes them to their end. Every `tool.start` is followed by its `tool.end`, also when the agent dies.
//!
//! An agent says of a call what it knows, piece by piece: its input may come after its beginning, and it may never say that it runs. A call belongs to the
//! message under way until that ends; then it runs. What is said of one that is over is dropped.

use super::diff;
use crate::harness::Outbox;
use crate::message::{tool_output, tool_result};
use octo_protocol::event::Event;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most calls that are followed at once; further ones are not shown.
pub const MAX_CALLS: usize = 256;
/// Most bytes of what a running tool has put out that are shown.
const MAX_PROGRESS: usize = 64 * 1024;

/// What is said of a call: only what is there has changed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    pub id: String,
    pub name: Option<String>,
    pub title: Option<String>,
    /// read, edit, delete, move, search, execute, think, fetch, switch_mode, other.
    pub kind: Option<String>,
    /// pending, in_progress, completed, failed.
    pub status: Option<String>,
    pub input: Option<Value>,
    pub output: Option<Value>,
    /// All that it has given so far.
    pub content: Option<Vec<Value>>,
    /// What of it is new, where the agent tells that instead.
    pub appended: Option<String>,
    /// Path, and the text before and after.
    pub diffs: Vec<(String, String, String)>,
    /// Where it works.
    pub paths: Option<Vec<String>>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum Stage {
    /// In the message under way.
    #[default]
    Called,
    Running,
    Over,
}

/// A call, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Call {
    pub id: String,
    pub name: String,
    pub title: String,
    pub kind: String,
    pub input: Value,
    pub paths: Vec<String>,
    pub diff: String,
    content: Vec<Value>,
    appended: String,
    output: Value,
    stage: Stage,
    started: i64,
}

/// The calls of a run, in the order of their beginning.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Tools {
    calls: Vec<Call>,
}

/// How a change leaves its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Now {
    /// Still in its message, or over.
    Resting,
    /// It runs: its message is whole.
    Runs,
    /// It is done: completed, or failed.
    Done { failed: bool },
}

impl Call {
    /// One of which nothing but its id is known.
    #[must_use]
    pub fn named(id: String) -> Self {
        Self { id, ..Self::default() }
    }

    /// The arguments, or what is known in their place.
    #[must_use]
    pub fn arguments(&self) -> Value {
        let empty = self.input.is_null() || self.input.as_object().is_some_and(serde_json::Map::is_empty);
        if !empty {
            return self.input.clone();
        }
        let mut shown = serde_json::Map::new();
        if !self.title.is_empty() && self.title != self.name {
            shown.insert("title".to_owned(), self.title.clone().into());
        }
        if !self.paths.is_empty() {
            shown.insert("paths".to_owned(), self.paths.clone().into());
        }
        shown.into()
    }

    fn apply(&mut self, change: Change, title_is_name: bool) {
        if let Some(name) = change.name.filter(|name| !name.is_empty()) {
            self.name = name;
        }
        if let Some(kind) = change.kind {
            self.kind = kind;
        }
        if let Some(title) = change.title {
            if self.name.is_empty() && title_is_name && is_word(&title) {
                self.name.clone_from(&title);
            }
            self.title = title;
        }
        if let Some(input) = change.input {
            self.input = input;
        }
        if let Some(output) = change.output {
            self.output = output;
        }
        if let Some(content) = change.content {
            self.content = content;
        }
        if let Some(paths) = change.paths {
            self.paths = paths;
        }
        if let Some(appended) = change.appended {
            let room = MAX_PROGRESS.saturating_sub(self.appended.len());
            let cut = (0..=appended.len().min(room)).rev().find(|at| appended.is_char_boundary(*at)).unwrap_or(0);
            self.appended.push_str(&appended[..cut]);
        }
        if !change.diffs.is_empty() {
            self.diff = change.diffs.iter().map(|(path, old, new)| diff::unified(path, old, new)).collect();
        }
        if self.name.is_empty() {
            self.name = if self.kind.is_empty() { "other".to_owned() } else { self.kind.clone() };
        }
    }

    fn shown(&self) -> Value {
        let mut content = self.content.clone();
        if content.is_empty() && !self.appended.is_empty() {
            content.push(json!({"type": "text", "text": self.appended}));
        }
        if content.is_empty() {
            let text = match &self.output {
                Value::String(text) => Some(text.clone()),
                Value::Object(fields) => {
                    let told = ["output", "formatted_output", "stdout", "error"].iter().find_map(|name| fields.get(*name)?.as_str());
                    told.map(str::to_owned).or_else(|| (!fields.is_empty()).then(|| self.output.to_string()))
                }
                _ => None,
            };
            content.extend(text.filter(|text| !text.is_empty()).map(|text| json!({"type": "text", "text": text})));
        }
        let details = (!self.diff.is_empty()).then(|| json!({"diff": self.diff}));
        tool_output(content.into(), details)
    }

    fn elapsed(&self, now: i64) -> u64 {
        u64::try_from(now.saturating_sub(self.started)).unwrap_or(0)
    }

    fn end(&mut self, output: Value, is_error: bool, now: i64, out: &mut Outbox) {
        self.stage = Stage::Over;
        let (tool_call_id, name, duration_ms) = (self.id.clone(), self.name.clone(), self.elapsed(now));
        out.event(Event::ToolEnd { tool_call_id, name, output, is_error, duration_ms });
    }
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
}

impl Tools {
    /// A call that is known.
    #[must_use]
    pub fn call(&self, id: &str) -> Option<&Call> {
        self.calls.iter().find(|call| call.id == id)
    }

    /// The newest that runs.
    #[must_use]
    pub fn newest(&self) -> Option<&str> {
        self.calls.iter().rev().find(|call| call.stage == Stage::Running).map(|call| call.name.as_str())
    }

    /// No room for another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.calls.len() >= MAX_CALLS
    }

    /// A call begins, in the message under way: its name.
    pub fn begin(&mut self, change: Change, title_is_name: bool) -> String {
        let mut call = Call { id: change.id.clone(), ..Call::default() };
        call.apply(Change { status: None, ..change }, title_is_name);
        let name = call.name.clone();
        self.calls.push(call);
        name
    }

    /// Takes what is said of a call that is known.
    pub fn change(&mut self, change: Change, title_is_name: bool) -> Now {
        let Some(call) = self.calls.iter_mut().find(|call| call.id == change.id) else { return Now::Resting };
        if call.stage == Stage::Over {
            return Now::Resting;
        }
        let status = change.status.clone();
        // The name stands in the message already.
        let name = call.name.clone();
        call.apply(change, title_is_name);
        if call.stage == Stage::Running {
            call.name = name;
        }
        match status.as_deref() {
            Some("in_progress") => Now::Runs,
            Some("completed") => Now::Done { failed: false },
            Some("failed") => Now::Done { failed: true },
            _ => Now::Resting,
        }
    }

    /// The message of this call is whole: it runs.
    pub fn start(&mut self, id: &str, now: i64, out: &mut Outbox) {
        let Some(call) = self.calls.iter_mut().find(|call| call.id == id && call.stage == Stage::Called) else { return };
        (call.stage, call.started) = (Stage::Running, now);
        out.event(Event::ToolStart { tool_call_id: call.id.clone(), name: call.name.clone(), input: Some(call.arguments()) });
    }

    /// Shows what a running tool has put out.
    pub fn progress(&self, id: &str, out: &mut Outbox) {
        let Some(call) = self.call(id).filter(|call| call.stage == Stage::Running) else { return };
        if call.content.is_empty() && call.appended.is_empty() {
            return;
        }
        out.event(Event::ToolProgress { tool_call_id: call.id.clone(), name: call.name.clone(), partial_output: call.shown() });
    }

    /// A running tool is done: its end, and its result as the message `message_id`.
    pub fn end(&mut self, id: &str, failed: bool, message_id: &str, now: i64, out: &mut Outbox) {
        let Some(call) = self.calls.iter_mut().find(|call| call.id == id && call.stage == Stage::Running) else { return };
        let output = call.shown();
        call.end(output.clone(), failed, now, out);
        let ran = Some((call.name.clone(), call.elapsed(now)));
        out.event(Event::MessageEnd { message: tool_result(message_id, &call.id, ran, output, failed, now) });
    }

    /// Nothing of the run goes on: `why` is the output of each tool that ran.
    pub fn close(&mut self, why: &str, now: i64, out: &mut Outbox) {
        for mut call in std::mem::take(&mut self.calls) {
            if call.stage == Stage::Running {
                call.end(tool_output(why.into(), None), true, now, out);
            }
        }
    }
}
