//! A scene: the harness and everything it has said, where the test speaks as Claude Code and as the runner.

use crate::invariants::check;
use octo_harness::claude::Claude;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::{Message, StopReason};
use octo_protocol::{Command, ErrorCode, InputAnswer};
use serde_json::{Value, json};

pub struct Scene {
    pub claude: Claude,
    pub all: Vec<Output>,
    pub now: i64,
    inputs: Vec<u64>,
    commands: Vec<u64>,
}

pub fn options() -> StartOptions {
    StartOptions { provider: "demo".into(), model: "scripted".into(), ..StartOptions::default() }
}

impl Scene {
    pub fn fresh(options: StartOptions) -> Self {
        let mut scene = Self { claude: Claude::new(options), all: Vec::new(), now: 1_000, inputs: Vec::new(), commands: Vec::new() };
        scene.act(Claude::start);
        scene
    }

    pub fn ready() -> Self {
        let mut scene = Self::fresh(options());
        scene.answer("initialize", json!({"commands": [{"name": "compact", "description": "shorter"}]}));
        scene
    }

    /// A prompt with this token that runs.
    pub fn running(token: u64) -> Self {
        let mut scene = Self::ready();
        scene.input(token, InputKind::Prompt, "go");
        scene.turn(token);
        scene
    }

    /// The turn of an input begins.
    pub fn turn(&mut self, token: u64) -> Vec<Output> {
        let mut outputs = self.lifecycle(token, "queued");
        outputs.extend(self.lifecycle(token, "started"));
        outputs.extend(self.says(json!({"type": "system", "subtype": "init", "session_id": "s-1", "model": "scripted"})));
        outputs.extend(self.says(json!({"type": "system", "subtype": "status", "status": "requesting"})));
        outputs
    }

    pub fn act(&mut self, act: impl FnOnce(&mut Claude, i64, &mut Outbox)) -> Vec<Output> {
        let mut out = Outbox::new();
        act(&mut self.claude, self.now, &mut out);
        let outputs: Vec<Output> = out.drain().collect();
        self.all.extend(outputs.iter().cloned());
        outputs
    }

    pub fn says(&mut self, line: Value) -> Vec<Output> {
        self.writes(format!("{line}\n").as_bytes())
    }

    pub fn writes(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.act(|claude, now, out| claude.stdout(bytes, now, out))
    }

    pub fn written(&self) -> Vec<Value> {
        written(&self.all)
    }

    /// The newest request of this subtype that was written.
    pub fn request(&self, subtype: &str) -> Value {
        self.written().into_iter().rfind(|line| line["request"]["subtype"] == subtype).expect(subtype)
    }

    pub fn answer(&mut self, subtype: &str, response: Value) -> Vec<Output> {
        let id = self.request(subtype)["request_id"].clone();
        self.says(json!({"type": "control_response", "response": {"subtype": "success", "request_id": id, "response": response}}))
    }

    pub fn refuse(&mut self, subtype: &str, error: &str, code: &str) -> Vec<Output> {
        let id = self.request(subtype)["request_id"].clone();
        let response = json!({"subtype": "error", "request_id": id, "error": error, "error_code": code});
        self.says(json!({"type": "control_response", "response": response}))
    }

    /// The uuid of the input with this token, by the order of tokens.
    pub fn uuid(&self, token: u64) -> Value {
        let at = self.inputs.iter().position(|given| *given == token).unwrap();
        let messages: Vec<Value> = self.written().into_iter().filter(|line| line["type"] == "user").collect();
        let inputs: Vec<&Value> =
            messages.iter().filter(|line| !line["message"]["content"].to_string().starts_with("\"/compact")).collect();
        inputs[at]["uuid"].clone()
    }

    pub fn lifecycle(&mut self, token: u64, state: &str) -> Vec<Output> {
        let uuid = self.uuid(token);
        self.says(json!({"type": "command_lifecycle", "command_uuid": uuid, "state": state}))
    }

    pub fn input(&mut self, token: u64, kind: InputKind, message: &str) -> Vec<Output> {
        self.inputs.push(token);
        let input = Input { token, kind, message: message.to_owned(), images: Vec::new() };
        self.act(|claude, now, out| claude.input(input, now, out))
    }

    pub fn command(&mut self, token: u64, command: Command) -> Vec<Output> {
        self.commands.push(token);
        self.act(|claude, now, out| claude.command(token, &command, now, out))
    }

    pub fn probe(&mut self, token: u64) -> Vec<Output> {
        self.commands.push(token);
        self.act(|claude, now, out| claude.probe(token, now, out))
    }

    pub fn respond(&mut self, token: u64, request_id: &str, answer: InputAnswer) -> Vec<Output> {
        self.command(token, Command::InputResponse { request_id: request_id.into(), answer })
    }

    pub fn stream(&mut self, event: Value) -> Vec<Output> {
        self.says(json!({"type": "stream_event", "event": event, "parent_tool_use_id": null}))
    }

    pub fn message_start(&mut self, id: &str) -> Vec<Output> {
        self.stream(
            json!({"type": "message_start", "message": {"id": id, "model": "scripted", "usage": {"input_tokens": 10, "output_tokens": 1}}}),
        )
    }

    pub fn delta(&mut self, text: &str) -> Vec<Output> {
        self.stream(json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}))
    }

    pub fn block(&mut self, id: &str, block: Value) -> Vec<Output> {
        self.says(json!({"type": "assistant", "message": {"id": id, "model": "scripted", "role": "assistant", "content": [block]}, "parent_tool_use_id": null}))
    }

    /// A whole message with one text.
    pub fn text(&mut self, id: &str, text: &str) -> Vec<Output> {
        let mut outputs = self.message_start(id);
        outputs.extend(self.delta(text));
        outputs.extend(self.block(id, json!({"type": "text", "text": text})));
        outputs.extend(self.stream(json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 5}})));
        outputs.extend(self.stream(json!({"type": "message_stop"})));
        outputs
    }

    /// A whole message that calls one tool.
    pub fn calls(&mut self, id: &str, call: &str, name: &str, input: Value) -> Vec<Output> {
        let mut outputs = self.message_start(id);
        outputs.extend(
            self.stream(json!({"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "id": call, "name": name, "input": {}}})),
        );
        outputs.extend(self.block(id, json!({"type": "tool_use", "id": call, "name": name, "input": input})));
        outputs.extend(self.stream(json!({"type": "message_stop"})));
        outputs
    }

    pub fn tool_result(&mut self, call: &str, text: &str) -> Vec<Output> {
        self.says(
            json!({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": text}]},
            "parent_tool_use_id": null}),
        )
    }

    pub fn asks(&mut self, id: &str, request: Value) -> Vec<Output> {
        let mut request = request;
        request["subtype"] = "can_use_tool".into();
        self.says(json!({"type": "control_request", "request_id": id, "request": request}))
    }

    pub fn result(&mut self, changes: Value) -> Vec<Output> {
        let mut result = json!({"subtype": "success", "is_error": false, "result": "ok", "session_id": "s-1", "terminal_reason": "completed",
            "stop_reason": "end_turn", "type": "result"});
        result.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.says(result)
    }

    pub fn aborted(&mut self) -> Vec<Output> {
        self.result(
            json!({"subtype": "error_during_execution", "is_error": true, "terminal_reason": "aborted_streaming", "errors": ["[ede]"]}),
        )
    }

    pub fn exit(mut self, report: ExitReport) -> Vec<Output> {
        let outputs = self.act(|claude, now, out| claude.exited(&report, now, out));
        check("scene", &self.all, &self.inputs, &self.commands);
        outputs
    }

    pub fn end(self) {
        self.exit(ExitReport { code: Some(0), expected: true, ..ExitReport::default() });
    }
}

pub fn written(outputs: &[Output]) -> Vec<Value> {
    let lines = outputs.iter().filter_map(|output| match output {
        Output::Write(bytes) => Some(serde_json::from_slice(bytes).unwrap()),
        _ => None,
    });
    lines.collect()
}

pub fn settled(outputs: &[Output]) -> Vec<(StopReason, Option<String>)> {
    let reasons = outputs.iter().filter_map(|output| match output {
        Output::Settled { reason, error } => Some((*reason, error.clone())),
        _ => None,
    });
    reasons.collect()
}

pub fn reply(outputs: &[Output], wanted: u64) -> Option<Result<Value, ErrorCode>> {
    outputs.iter().find_map(|output| match output {
        Output::Reply { token, result } if *token == wanted => Some(result.clone().map_err(|error| error.code)),
        _ => None,
    })
}

pub fn names(outputs: &[Output]) -> Vec<&'static str> {
    outputs.iter().filter_map(|output| if let Output::Event(event) = output { Some(event.name()) } else { None }).collect()
}

pub fn messages(outputs: &[Output]) -> Vec<Message> {
    let ended = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::MessageEnd { message }) => Some(message.clone()),
        _ => None,
    });
    ended.collect()
}
