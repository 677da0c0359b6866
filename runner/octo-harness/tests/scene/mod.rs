//! A scene: the harness and everything it has said, where the test speaks as pi and as the runner.

use crate::common::invariants::check;
use octo_harness::pi::Pi;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::InputKind;
use octo_protocol::message::StopReason;
use octo_protocol::{Command, ErrorCode};
use serde_json::{Value, json};

/// A harness and everything it has said; the test speaks as pi and as the runner.
pub struct Scene {
    pub pi: Pi,
    pub all: Vec<Output>,
    pub now: i64,
    pub inputs: Vec<u64>,
    pub commands: Vec<u64>,
}

impl Scene {
    pub fn fresh(options: StartOptions) -> Self {
        let mut scene = Self { pi: Pi::new(options), all: Vec::new(), now: 1_000, inputs: Vec::new(), commands: Vec::new() };
        scene.act(Pi::start);
        scene
    }

    pub fn ready() -> Self {
        let mut scene = Self::fresh(StartOptions::default());
        scene.answer_state(json!({}));
        scene
    }

    pub fn act(&mut self, act: impl FnOnce(&mut Pi, i64, &mut Outbox)) -> Vec<Output> {
        let mut out = Outbox::new();
        act(&mut self.pi, self.now, &mut out);
        let outputs: Vec<Output> = out.drain().collect();
        self.all.extend(outputs.iter().cloned());
        outputs
    }

    pub fn says(&mut self, line: Value) -> Vec<Output> {
        self.writes(format!("{line}\n").as_bytes())
    }

    pub fn writes(&mut self, bytes: &[u8]) -> Vec<Output> {
        self.act(|pi, now, out| pi.stdout(bytes, now, out))
    }

    /// The id of the newest command of this type that was written to pi.
    pub fn id(&self, command: &str) -> Value {
        self.written().into_iter().rfind(|line| line["type"] == command).expect(command)["id"].clone()
    }

    pub fn written(&self) -> Vec<Value> {
        let lines = self.all.iter().filter_map(|output| match output {
            Output::Write(bytes) => Some(serde_json::from_slice(bytes).unwrap()),
            _ => None,
        });
        lines.collect()
    }

    pub fn answer(&mut self, command: &str, data: Value) -> Vec<Output> {
        let id = self.id(command);
        self.says(json!({"id": id, "type": "response", "command": command, "success": true, "data": data}))
    }

    pub fn refuse(&mut self, command: &str, error: &str) -> Vec<Output> {
        let id = self.id(command);
        self.says(json!({"id": id, "type": "response", "command": command, "success": false, "error": error}))
    }

    pub fn answer_state(&mut self, changes: Value) -> Vec<Output> {
        let mut state = json!({"thinkingLevel": "off", "isStreaming": false, "isCompacting": false, "sessionFile": "/s/a.jsonl",
            "sessionId": "abc", "autoCompactionEnabled": true, "messageCount": 0, "pendingMessageCount": 0});
        state.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        self.answer("get_state", state)
    }

    pub fn input(&mut self, token: u64, kind: InputKind, message: &str) -> Vec<Output> {
        self.inputs.push(token);
        let input = Input { token, kind, message: message.to_owned(), images: Vec::new() };
        self.act(|pi, now, out| pi.input(input, now, out))
    }

    pub fn command(&mut self, token: u64, command: Command) -> Vec<Output> {
        self.commands.push(token);
        self.act(|pi, now, out| pi.command(token, &command, now, out))
    }

    pub fn echo(&mut self, text: &str) -> Vec<Output> {
        self.says(json!({"type": "message_end", "message": {"role": "user", "content": [{"type": "text", "text": text}]}}))
    }

    pub fn assistant(&mut self, reason: &str) -> Vec<Output> {
        let error = (reason == "error").then_some("529 overloaded");
        let mut outputs = self.says(json!({"type": "message_start", "message": {"role": "assistant", "content": []}}));
        outputs
            .extend(self.says(json!({"type": "message_end", "message": {"role": "assistant", "content": [{"type": "text", "text": "ok"}],
            "stopReason": reason, "errorMessage": error}})));
        outputs
    }

    /// A prompt that runs: accepted, begun, echoed.
    pub fn running(token: u64) -> Self {
        let mut scene = Self::ready();
        scene.input(token, InputKind::Prompt, "go");
        scene.answer("prompt", json!({"disposition": "started"}));
        scene.says(json!({"type": "agent_start"}));
        scene.echo("go");
        scene
    }

    pub fn exit(mut self, report: ExitReport) -> Vec<Output> {
        let outputs = self.act(|pi, now, out| pi.exited(&report, now, out));
        check("scene", &self.all, &self.inputs, &self.commands);
        outputs
    }

    pub fn end(self) {
        self.exit(ExitReport { code: Some(0), expected: true, ..ExitReport::default() });
    }
}

pub fn settled(outputs: &[Output]) -> Vec<StopReason> {
    let reasons = outputs.iter().filter_map(|output| match output {
        Output::Settled { reason, .. } => Some(*reason),
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
