//! Replays a recording of a real Claude Code through the harness.
//!
//! What was written to it is given to the harness as inputs and commands; what it wrote comes back with the ids that the harness chose.

use octo_harness::claude::Claude;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::InputKind;
use octo_protocol::{Command, InputAnswer};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;

pub struct Record {
    pub t: i64,
    pub dir: String,
    pub line: String,
    /// Of the last record: the exit code, or minus the signal.
    pub rc: Option<i32>,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/claude/recordings")
}

pub fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter_map(|name| name.strip_suffix(".jsonl").map(str::to_owned))
        .collect();
    names.sort();
    names
}

pub fn load(name: &str) -> Vec<Record> {
    let text = std::fs::read_to_string(directory().join(format!("{name}.jsonl"))).unwrap();
    let records = text.lines().skip(1).map(|line| {
        let value: Value = serde_json::from_str(line).unwrap();
        let field = |name: &str| value[name].as_str().map_or_else(|| value[name].to_string(), str::to_owned);
        Record { t: value["t"].as_i64().unwrap(), dir: field("dir"), line: field("line"), rc: value["rc"].as_i64().map(|rc| rc as i32) }
    });
    records.collect()
}

pub struct Replay {
    pub claude: Claude,
    pub outputs: Vec<Output>,
    cut: usize,
    between: fn(&mut Claude),
    /// From the recorded client's ids and uuids to the harness's.
    ids: HashMap<String, String>,
    /// Ids of the `in` line that is being translated.
    current: Vec<String>,
    token: u64,
    pub inputs: Vec<u64>,
    pub commands: Vec<u64>,
    pub now: i64,
}

/// Replays `name`, feeding stdout in pieces of `cut` bytes.
pub fn replay(name: &str, cut: usize) -> Replay {
    replay_with(name, cut, |_| ())
}

/// The same; `between` is called after every piece.
pub fn replay_with(name: &str, cut: usize, between: fn(&mut Claude)) -> Replay {
    let records = load(name);
    let first = std::fs::read_to_string(directory().join(format!("{name}.jsonl"))).unwrap();
    let meta: Value = serde_json::from_str(first.lines().next().unwrap()).unwrap();
    let argv: Vec<&str> = meta["meta"]["argv"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let resume = argv.iter().position(|arg| *arg == "--resume").and_then(|at| argv.get(at + 1)).map(|id| (*id).to_owned());
    let options = StartOptions { provider: "demo".into(), model: "scripted".into(), resume, ..StartOptions::default() };
    let mut replay = Replay {
        claude: Claude::new(options),
        outputs: Vec::new(),
        cut,
        between,
        ids: HashMap::new(),
        current: Vec::new(),
        token: 0,
        inputs: Vec::new(),
        commands: Vec::new(),
        now: 0,
    };
    replay.call(|claude, out| claude.start(0, out));
    if !records.iter().any(|record| record.dir == "in" && record.line.contains("\"initialize\"")) {
        // A client that did not ask for the handshake.
        replay.feed(&json!({"type": "control_response", "response": {"subtype": "success", "request_id": "octo-1"}}).to_string());
    }
    let mut stderr = String::new();
    for record in &records {
        replay.now = record.t;
        match record.dir.as_str() {
            "in" => replay.given(&record.line),
            "out" => replay.said(&record.line),
            "err" => stderr.push_str(&format!("{}\n", record.line)),
            _ => {}
        }
    }
    let rc = records.iter().rev().find_map(|record| record.rc).unwrap_or(0);
    let (code, signal) = if rc < 0 { (None, Some(-rc)) } else { (Some(rc), None) };
    let ended_early = name.contains("lifecycle") || name.contains("robustness") || name.contains("unknown");
    let report = ExitReport { code, signal, stderr_tail: stderr, expected: !ended_early, cause: None };
    let now = replay.now;
    replay.call(|claude, out| claude.exited(&report, now, out));
    replay
}

impl Replay {
    fn call(&mut self, act: impl FnOnce(&mut Claude, &mut Outbox)) {
        let mut out = Outbox::new();
        act(&mut self.claude, &mut out);
        for output in out.drain() {
            if let Output::Write(bytes) = &output {
                self.written(bytes);
            }
            self.outputs.push(output);
        }
        (self.between)(&mut self.claude);
    }

    fn written(&mut self, bytes: &[u8]) {
        assert_eq!(bytes.last(), Some(&b'\n'));
        let line: Value = serde_json::from_slice(bytes).unwrap();
        let id = match line["type"].as_str().unwrap() {
            "control_request" => &line["request_id"],
            "user" => &line["uuid"],
            _ => return,
        };
        for recorded in self.current.drain(..) {
            self.ids.insert(recorded, id.as_str().unwrap().to_owned());
        }
    }

    fn feed(&mut self, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        let now = self.now;
        for piece in bytes.chunks(self.cut) {
            self.call(|claude, out| claude.stdout(piece, now, out));
        }
    }

    fn said(&mut self, line: &str) {
        let Ok(mut value) = serde_json::from_str::<Value>(line) else { return self.feed(line) };
        let ids = &self.ids;
        let mapped = |field: &mut Value| {
            if let Some(id) = field.as_str().and_then(|id| ids.get(id)) {
                *field = id.as_str().into();
                return true;
            }
            false
        };
        let changed = match value["type"].as_str() {
            Some("control_response") => mapped(&mut value["response"]["request_id"]),
            Some("command_lifecycle") => mapped(&mut value["command_uuid"]),
            Some("result") if value["user_message_uuid"].is_string() => mapped(&mut value["user_message_uuid"]),
            _ => false,
        };
        if changed { self.feed(&value.to_string()) } else { self.feed(line) }
    }

    fn given(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        match value["type"].as_str() {
            Some("user") => self.user(&value),
            Some("control_response") => self.answer(&value["response"]),
            Some("control_request") => {
                let request = &value["request"];
                let id = text(&value["request_id"]);
                let command = match request["subtype"].as_str().unwrap_or_default() {
                    "initialize" => {
                        self.ids.insert(id, "octo-1".to_owned());
                        return;
                    }
                    "interrupt" => Command::Abort,
                    "set_model" => Command::SetModel { provider: "demo".into(), model_id: text(&request["model"]) },
                    "rename_session" => Command::SetSessionName { name: text(&request["title"]) },
                    _ => return,
                };
                self.current = vec![id];
                self.command(command);
            }
            _ => {}
        }
        self.current.clear();
    }

    fn user(&mut self, value: &Value) {
        if value["message"]["role"] != "user" {
            return;
        }
        let message = value["message"]["content"].as_str().unwrap_or_default().to_owned();
        self.current = value["uuid"].as_str().map(str::to_owned).into_iter().collect();
        if let Some(instructions) = message.strip_prefix("/compact") {
            return self.command(Command::Compact { instructions: Some(instructions.trim().to_owned()) });
        }
        let busy = self.claude.is_working();
        let kind = match value["priority"].as_str() {
            Some("later") => InputKind::FollowUp,
            _ if busy => InputKind::Steer,
            _ => InputKind::Prompt,
        };
        self.token += 1;
        self.inputs.push(self.token);
        let (token, now) = (self.token, self.now);
        self.call(|claude, out| claude.input(Input { token, kind, message, images: Vec::new() }, now, out));
    }

    fn answer(&mut self, response: &Value) {
        let id = response["request_id"].as_str().unwrap_or_default();
        let answers = &response["response"]["updatedInput"]["answers"];
        let mut values = answers.as_object().map(|all| all.values().cloned().collect::<Vec<_>>()).unwrap_or_default().into_iter();
        // One after the other, as they are asked.
        loop {
            let open = self.claude.state().pending_input.iter().map(|request| request.request_id().to_owned());
            let Some(request_id) = open.into_iter().find(|open| open == id || open.starts_with(&format!("{id}."))) else { return };
            let (allowed, lasting) = (response["response"]["behavior"] == "allow", response["response"]["updatedPermissions"].is_array());
            let option = match (allowed, lasting) {
                (true, true) => "allow_always",
                (true, false) => "allow_once",
                _ => "deny_once",
            };
            // What a person said is the result of octo's own tool.
            let result = &response["response"]["mcp_response"]["result"]["content"][0]["text"];
            let value = values.next().unwrap_or_else(|| result.clone());
            let answer = InputAnswer {
                value: value.as_str().map(str::to_owned),
                confirmed: Some(allowed),
                option_id: Some(option.to_owned()),
                cancelled: (response["subtype"] == "error").then_some(true),
            };
            self.command(Command::InputResponse { request_id, answer });
        }
    }

    fn command(&mut self, command: Command) {
        self.token += 1;
        self.commands.push(self.token);
        let (token, now) = (self.token, self.now);
        self.call(|claude, out| claude.command(token, &command, now, out));
    }
}
