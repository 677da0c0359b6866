//! Replays a recording of a real agent through the translator.
//!
//! What the recorded client asked for is given to the translator as inputs and commands; what the agent wrote comes back with the ids that the translator
//! chose. A setting that the recorded client did not ask for is answered at once.

use octo_harness::acp::Acp;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::InputKind;
use octo_protocol::{Command, InputAnswer};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;

pub struct Record {
    pub t: i64,
    pub dir: String,
    pub line: String,
    /// Of the last record: the exit code, or minus the signal.
    pub rc: Option<i32>,
}

fn directory() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/acp/recordings")
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

/// Methods that open a conversation that was there before stand for each other.
fn same(method: &str) -> &str {
    if method == "session/load" { "session/resume" } else { method }
}

pub struct Replay {
    pub acp: Acp,
    pub outputs: Vec<Output>,
    cut: usize,
    between: fn(&mut Acp),
    /// Requests of the translator that the recorded client made too, by method.
    asked: HashMap<String, VecDeque<Value>>,
    /// Requests of the recorded client that are still to come, by method.
    to_come: HashMap<String, usize>,
    /// From the recorded client's ids to the translator's.
    ids: HashMap<String, Value>,
    token: u64,
    pub inputs: Vec<u64>,
    pub commands: Vec<u64>,
    pub now: i64,
}

pub fn replay(name: &str, cut: usize) -> Replay {
    replay_with(name, cut, |_| ())
}

/// Replays `name`, feeding stdout in pieces of `cut` bytes; `between` is called after every piece.
pub fn replay_with(name: &str, cut: usize, between: fn(&mut Acp)) -> Replay {
    let records = load(name);
    let given: Vec<Value> = records.iter().filter(|r| r.dir == "in").filter_map(|r| serde_json::from_str(&r.line).ok()).collect();
    let resume = given.iter().find(|line| matches!(line["method"].as_str(), Some("session/load" | "session/resume")));
    let mut to_come: HashMap<String, usize> = HashMap::new();
    for line in &given {
        if let Some(method) = line["method"].as_str().filter(|_| !line["id"].is_null()) {
            *to_come.entry(same(method).to_owned()).or_default() += 1;
        }
    }
    let options = StartOptions {
        provider: "fake".into(),
        model: "fake-1".into(),
        agent: "agent".into(),
        cwd: "/w".into(),
        resume: resume.and_then(|line| line["params"]["sessionId"].as_str()).map(str::to_owned),
        ..StartOptions::default()
    };
    let mut replay = Replay {
        acp: Acp::new(options),
        outputs: Vec::new(),
        cut,
        between,
        asked: HashMap::new(),
        to_come,
        ids: HashMap::new(),
        token: 0,
        inputs: Vec::new(),
        commands: Vec::new(),
        now: 0,
    };
    replay.call(|acp, out| acp.start(0, out));
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
    let report = ExitReport { code, signal, stderr_tail: stderr, expected: !name.contains("lifecycle"), cause: None };
    let now = replay.now;
    replay.call(|acp, out| acp.exited(&report, now, out));
    replay
}

impl Replay {
    fn call(&mut self, act: impl FnOnce(&mut Acp, &mut Outbox)) {
        let mut out = Outbox::new();
        act(&mut self.acp, &mut out);
        let outputs: Vec<Output> = out.drain().collect();
        (self.between)(&mut self.acp);
        for output in outputs {
            let line: Option<Value> = match &output {
                Output::Write(bytes) => Some(serde_json::from_slice(bytes).unwrap()),
                _ => None,
            };
            self.outputs.push(output);
            if let Some(line) = line {
                self.written(&line);
            }
        }
    }

    fn written(&mut self, line: &Value) {
        let (Some(method), false) = (line["method"].as_str(), line["id"].is_null()) else { return };
        let method = same(method).to_owned();
        let made = self.asked.entry(method.clone()).or_default();
        made.push_back(line["id"].clone());
        let is_setting = matches!(method.as_str(), "session/set_mode" | "session/set_config_option");
        if is_setting && made.len() > self.to_come.get(&method).copied().unwrap_or_default() {
            self.asked.get_mut(&method).unwrap().pop_back();
            self.feed(&json!({"jsonrpc": "2.0", "id": line["id"], "result": {}}).to_string());
        }
    }

    fn feed(&mut self, line: &str) {
        let bytes = format!("{line}\n").into_bytes();
        let now = self.now;
        for piece in bytes.chunks(self.cut) {
            self.call(|acp, out| acp.stdout(piece, now, out));
        }
    }

    fn said(&mut self, line: &str) {
        let Ok(mut value) = serde_json::from_str::<Value>(line) else { return self.feed(line) };
        if value["method"].is_null() && !value["id"].is_null() {
            // An answer to what the translator did not ask goes to nobody.
            let id = self.ids.get(&value["id"].to_string()).cloned().unwrap_or_else(|| json!("nobody"));
            value["id"] = id;
            return self.feed(&value.to_string());
        }
        self.feed(line);
    }

    fn given(&mut self, line: &str) {
        let Ok(value) = serde_json::from_str::<Value>(line) else { return };
        let Some(method) = value["method"].as_str() else { return self.answer(&value) };
        let params = &value["params"];
        match method {
            "session/prompt" if params["prompt"].is_array() => {
                let message = params["prompt"][0]["text"].as_str().unwrap_or_default().to_owned();
                self.token += 1;
                self.inputs.push(self.token);
                let (token, now) = (self.token, self.now);
                let kind = if self.acp.is_working() { InputKind::FollowUp } else { InputKind::Prompt };
                self.call(|acp, out| acp.input(Input { token, kind, message, images: Vec::new() }, now, out));
            }
            "session/cancel" => return self.command(Command::Abort),
            "session/set_config_option" if params["configId"] == "model" => {
                let model_id = params["value"].as_str().unwrap_or_default();
                let (provider, model_id) = model_id.split_once('/').unwrap_or(("fake", model_id));
                self.command(Command::SetModel { provider: provider.into(), model_id: model_id.into() });
            }
            _ => {}
        }
        let method = same(method);
        if let Some(count) = self.to_come.get_mut(method) {
            *count = count.saturating_sub(1);
        }
        if let Some(id) = self.asked.get_mut(method).and_then(VecDeque::pop_front) {
            self.ids.insert(value["id"].to_string(), id);
        }
    }

    fn answer(&mut self, value: &Value) {
        let outcome = &value["result"]["outcome"];
        let Some(open) = self.acp.state().pending_input.first().map(|request| request.request_id().to_owned()) else { return };
        let option_id = outcome["optionId"].as_str().map(str::to_owned);
        let answer = InputAnswer { cancelled: option_id.is_none().then_some(true), option_id, ..InputAnswer::default() };
        if outcome.is_object() {
            self.command(Command::InputResponse { request_id: open, answer });
        }
    }

    fn command(&mut self, command: Command) {
        self.token += 1;
        self.commands.push(self.token);
        let (token, now) = (self.token, self.now);
        self.call(|acp, out| acp.command(token, &command, now, out));
    }
}
