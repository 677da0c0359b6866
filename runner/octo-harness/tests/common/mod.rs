//! Replays a recording of a real pi through the harness.
//!
//! What was written to pi is given to the harness as inputs and commands; what pi wrote comes back with the ids that the harness chose. Questions that
//! the harness asks by itself (and that the recorded client did not) are answered by a small model of pi, as late as the machine of the recording did.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code)]

pub mod invariants;

use octo_harness::pi::Pi;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::InputKind;
use octo_protocol::{Command, InputAnswer};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

/// How long the modelled pi takes to answer, in milliseconds.
const LATENCY: i64 = 90;

pub struct Record {
    pub t: i64,
    pub dir: String,
    pub line: String,
    /// Of the last record: the exit code, or minus the signal.
    pub rc: Option<i32>,
}

pub fn names() -> Vec<String> {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    names.sort();
    names
}

pub fn load(name: &str) -> Vec<Record> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/recordings/{name}.jsonl"));
    let text = std::fs::read_to_string(path).unwrap();
    let records = text.lines().skip(1).map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| value[name].as_str().map_or_else(|| value[name].to_string(), str::to_owned);
        Record { t: value["t"].as_i64().unwrap(), dir: field("dir"), line: field("line"), rc: value["rc"].as_i64().map(|rc| rc as i32) }
    });
    records.collect()
}

/// What pi would say of itself.
#[derive(Default)]
struct Model {
    streaming: bool,
    compacting: bool,
    pending: u64,
    messages: u64,
    file: String,
    model: Value,
}

// The first state that the recorded pi told of, so that what is modelled agrees with it.
fn first_state(records: &[Record]) -> Value {
    let state = |record: &Record| {
        let value: Value = serde_json::from_str(&record.line).ok()?;
        (value["command"] == "get_state" && record.dir == "out").then(|| value["data"].clone())
    };
    records.iter().find_map(state).unwrap_or_default()
}

impl Model {
    fn see(&mut self, event: &Value, settles: bool) {
        match event["type"].as_str().unwrap_or_default() {
            "agent_start" => self.streaming = true,
            "agent_end" if !settles => self.streaming = false,
            "agent_settled" => self.streaming = false,
            "compaction_start" => self.compacting = true,
            "compaction_end" => self.compacting = false,
            "message_end" => self.messages += 1,
            "queue_update" => {
                self.pending = (event["steering"].as_array().unwrap().len() + event["followUp"].as_array().unwrap().len()) as u64;
            }
            _ => {}
        }
    }

    fn answer(&self, id: &Value, command: &str) -> Option<Value> {
        let data = match command {
            "get_state" => json!({
                "thinkingLevel": "off", "isStreaming": self.streaming, "isCompacting": self.compacting, "steeringMode": "one-at-a-time",
                "followUpMode": "one-at-a-time", "sessionFile": self.file, "model": self.model, "sessionId": "01a203e9-ee97-744f-afb0-e7da99da92c4",
                "autoCompactionEnabled": true, "messageCount": self.messages, "pendingMessageCount": self.pending,
            }),
            "get_available_models" => json!({"models": []}),
            "clear_queue" => {
                return Some(json!({"id": id, "type": "response", "command": command, "success": false,
                "error": "Unknown command: clear_queue"}));
            }
            "abort" => Value::Null,
            _ => return None,
        };
        Some(json!({"id": id, "type": "response", "command": command, "success": true, "data": data}))
    }
}

pub struct Replay {
    pub pi: Pi,
    pub outputs: Vec<Output>,
    cut: usize,
    model: Model,
    settles: bool,
    /// From the recorded client's ids to the harness's.
    ids: HashMap<String, Value>,
    /// Recorded id of the `in` line that is being translated.
    current: Option<String>,
    due: VecDeque<(i64, Value)>,
    token: u64,
    pub inputs: Vec<u64>,
    pub commands: Vec<u64>,
    pub now: i64,
}

/// Replays `name`, feeding stdout in pieces of `cut` bytes.
pub fn replay(name: &str, cut: usize) -> Replay {
    let records = load(name);
    let settles = records.iter().any(|record| record.line.starts_with("{\"type\":\"agent_settled\""));
    let state = first_state(&records);
    let mut replay = Replay {
        pi: Pi::new(StartOptions::default()),
        outputs: Vec::new(),
        cut,
        model: Model {
            file: state["sessionFile"].as_str().unwrap_or("/sessions/one.jsonl").to_owned(),
            model: state["model"].clone(),
            messages: u64::from(state["messageCount"].as_u64() > Some(0) && name.contains("resume")),
            ..Model::default()
        },
        settles,
        ids: HashMap::new(),
        current: None,
        due: VecDeque::new(),
        token: 0,
        inputs: Vec::new(),
        commands: Vec::new(),
        now: 0,
    };
    replay.call(|pi, out| pi.start(0, out));
    replay.answer_until(i64::MAX);
    let mut stderr = String::new();
    for record in &records {
        replay.answer_until(record.t);
        replay.now = record.t;
        match record.dir.as_str() {
            "in" => replay.given(&record.line),
            "out" => replay.said(&record.line),
            "err" => stderr.push_str(&format!("{}\n", record.line)),
            _ => {}
        }
    }
    // pi goes on answering for a while before it ends, unless it was ended by a signal.
    let ended_early = name.contains("lifecycle") || name.contains("crash");
    if !ended_early {
        replay.answer_until(i64::MAX);
    }
    let rc = records.iter().rev().find_map(|record| record.rc).unwrap_or(0);
    let (code, signal) = if rc < 0 { (None, Some(-rc)) } else { (Some(rc), None) };
    let report = ExitReport { code, signal, stderr_tail: stderr, expected: !ended_early, cause: None };
    let now = replay.now;
    replay.call(|pi, out| pi.exited(&report, now, out));
    replay
}

impl Replay {
    fn call(&mut self, act: impl FnOnce(&mut Pi, &mut Outbox)) {
        let mut out = Outbox::new();
        act(&mut self.pi, &mut out);
        for output in out.drain() {
            if let Output::Write(bytes) = &output {
                self.written(bytes);
            }
            self.outputs.push(output);
        }
    }

    fn written(&mut self, bytes: &[u8]) {
        assert_eq!(bytes.last(), Some(&b'\n'));
        let line: Value = serde_json::from_slice(bytes).unwrap();
        assert!(line.is_object(), "only objects are written");
        let Some(kind) = line["type"].as_str() else { panic!("no type in {line}") };
        if kind == "extension_ui_response" {
            return;
        }
        let recorded = match kind {
            "clear_queue" => None,
            _ => self.current.take(),
        };
        if let Some(recorded) = recorded {
            self.ids.insert(recorded, line["id"].clone());
        } else if let Some(answer) = self.model.answer(&line["id"], kind) {
            self.due.push_back((self.now + LATENCY, answer));
        }
    }

    fn answer_until(&mut self, t: i64) {
        while self.due.front().is_some_and(|(due, _)| *due < t) {
            let (at, mut answer) = self.due.pop_front().unwrap();
            self.now = self.now.max(at);
            if answer["command"] == "get_state" {
                // As pi is when it answers.
                answer = self.model.answer(&answer["id"], "get_state").unwrap();
            }
            self.feed(&answer.to_string());
        }
    }

    fn feed(&mut self, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        let now = self.now;
        for piece in bytes.chunks(self.cut) {
            self.call(|pi, out| pi.stdout(piece, now, out));
        }
    }

    fn said(&mut self, line: &str) {
        let Ok(mut value) = serde_json::from_str::<Value>(line) else { return self.feed(line) };
        let settles = self.settles;
        self.model.see(&value, settles);
        let mapped = value["id"].as_str().and_then(|id| self.ids.get(id)).cloned();
        match mapped {
            Some(id) if value["type"] == "response" => {
                value["id"] = id;
                self.feed(&value.to_string());
            }
            _ => self.feed(line),
        }
    }

    fn given(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        if value["type"] == "extension_ui_response" {
            let answer: InputAnswer = serde_json::from_value(value.clone()).unwrap();
            self.command(Command::InputResponse { request_id: text("id"), answer });
            return;
        }
        self.current = value["id"].as_str().map(str::to_owned);
        let enabled = value["enabled"] == true;
        let kind = match (text("type").as_str(), text("streamingBehavior").as_str()) {
            ("prompt", "") => Some(InputKind::Prompt),
            ("prompt", "steer") | ("steer", _) => Some(InputKind::Steer),
            ("prompt", _) | ("follow_up", _) => Some(InputKind::FollowUp),
            _ => None,
        };
        if let Some(kind) = kind {
            self.token += 1;
            self.inputs.push(self.token);
            let (token, now) = (self.token, self.now);
            let input = Input { token, kind, message: text("message"), images: Vec::new() };
            self.call(|pi, out| pi.input(input, now, out));
        } else {
            let command = match text("type").as_str() {
                "abort" => Command::Abort,
                "abort_retry" => Command::AbortRetry,
                "get_state" => {
                    self.token += 1;
                    self.commands.push(self.token);
                    let (token, now) = (self.token, self.now);
                    self.call(|pi, out| pi.probe(token, now, out));
                    self.current = None;
                    return;
                }
                "get_available_models" => Command::GetModels { workdir: None },
                "get_commands" => Command::GetCommands,
                "get_session_stats" => Command::GetStats,
                "compact" => Command::Compact { instructions: Some(text("customInstructions")) },
                "set_model" => Command::SetModel { provider: text("provider"), model_id: text("modelId") },
                "cycle_model" => Command::CycleModel,
                "set_thinking_level" => {
                    let Ok(level) = serde_json::from_value(value["level"].clone()) else { return self.current = None };
                    Command::SetThinkingLevel { level }
                }
                "cycle_thinking_level" => Command::CycleThinkingLevel,
                "set_auto_retry" => Command::SetAutoRetry { enabled },
                "set_auto_compaction" => Command::SetAutoCompaction { enabled },
                "set_session_name" => Command::SetSessionName { name: text("name") },
                "bash" => Command::Bash { command: text("command"), exclude_from_context: value["excludeFromContext"] == true },
                "abort_bash" => Command::AbortBash,
                "export_html" => Command::ExportHtml { path: value["outputPath"].as_str().map(str::to_owned) },
                "get_fork_messages" => Command::GetForkPoints,
                "fork" => Command::Fork { entry_id: text("entryId") },
                "switch_session" => Command::SessionSwitch { session_path: text("sessionPath") },
                "new_session" => Command::SessionNew { parent_session: None },
                _ => return self.current = None,
            };
            self.command(command);
        }
        self.current = None;
    }

    fn command(&mut self, command: Command) {
        self.token += 1;
        self.commands.push(self.token);
        let (token, now) = (self.token, self.now);
        self.call(|pi, out| pi.command(token, &command, now, out));
    }
}
