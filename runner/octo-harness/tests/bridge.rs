//! The translator for an agent behind a bridge: whatever the connection does, each event once, each input once.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_harness::bridge::{Bridge, launch::Handle};
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::StopReason;
use octo_protocol::{Command, InputAnswer};
use serde_json::{Value, json};

/// One connector and what is behind it.
struct Scene {
    bridge: Bridge,
    out: Outbox,
    /// Everything it put out, in order.
    outputs: Vec<Output>,
}

fn frame(connection: u64, frame: &Value) -> String {
    json!({ "type": "frame", "connection": connection, "frame": frame }).to_string() + "\n"
}

fn event(seq: u64, mut event: Value) -> Value {
    event["channel"] = json!("agent");
    event["epoch"] = json!("e");
    event["seq"] = json!(seq);
    event["ts"] = json!(0);
    event
}

fn of_turn(seq: u64, body: Value) -> Value {
    let mut of = event(seq, body);
    of["turn_id"] = json!("t1");
    of
}

fn response(id: &str, data: Value) -> Value {
    json!({ "event": "response", "session_id": "s", "runner_id": "bridge", "ts": 0, "id": id, "cmd": "x", "success": true, "data": data })
}

fn connected(connection: u64) -> String {
    json!({ "type": "connected", "connection": connection, "session": "s", "harness": "pi", "protocol": "pi-rpc" }).to_string() + "\n"
}

fn brackets(connection: u64, seq: u64) -> String {
    let start = json!({ "event": "replay.start", "epoch": "e", "after": seq });
    let end = json!({ "event": "replay.end", "epoch": "e", "seq": seq, "count": 0 });
    frame(connection, &start) + &frame(connection, &end)
}

fn model(id: &str) -> Value {
    json!({ "id": id, "name": id, "api": "anthropic-messages", "provider": "demo", "reasoning": false, "input": [], "contextWindow": 1, "maxTokens": 1 })
}

fn opened(seq: u64, state: Value) -> Value {
    let mut whole = json!({ "sessionId": "s", "model": model("scripted"), "permissions": "allow" });
    state.as_object().unwrap().iter().for_each(|(key, value)| whole[key] = value.clone());
    let capabilities = ["prompt", "steer", "abort", "input_response", "set_permissions", "set_model", "get_commands", "fork"];
    json!({ "session_id": "s", "epoch": "e", "seq": seq, "harness": "pi", "capabilities": capabilities, "state": whole, "resumed": true })
}

fn message(id: &str, role: &str, text: &str, client_id: Option<&str>) -> Value {
    let mut message = json!({ "id": id, "idx": 7, "role": role, "parts": [{ "type": "text", "id": "p0", "text": text }], "created_at": 1 });
    if let Some(client_id) = client_id {
        message["client_id"] = json!(client_id);
    }
    message
}

fn input(token: u64, kind: InputKind, text: &str) -> Input {
    Input { token, kind, message: text.to_owned(), images: Vec::new() }
}

impl Scene {
    fn new(resume: Option<&str>) -> Self {
        let options = StartOptions {
            provider: "demo".into(),
            model: "scripted".into(),
            resume: resume.map(str::to_owned),
            ..StartOptions::default()
        };
        let mut scene = Self { bridge: Bridge::new(options), out: Outbox::new(), outputs: Vec::new() };
        scene.bridge.start(1000, &mut scene.out);
        scene
    }

    /// One that is ready, at event `seq`.
    fn ready(resume: Option<&str>, seq: u64, state: Value) -> Self {
        let mut scene = Self::new(resume);
        scene.attach(1, seq, state);
        let ask = scene.sent("get_models").pop().expect("it asks for the models");
        scene.hear(&frame(1, &response(ask["id"].as_str().unwrap(), json!([model("scripted")]))));
        assert!(scene.outputs.contains(&Output::Ready));
        scene
    }

    fn attach(&mut self, connection: u64, seq: u64, state: Value) {
        self.hear(&connected(connection));
        let ask = self.sent("session.attach").pop().expect("it attaches");
        self.hear(&brackets(connection, seq));
        self.hear(&frame(connection, &response(ask["id"].as_str().unwrap(), opened(seq, state))));
    }

    fn hear(&mut self, text: &str) {
        self.bridge.stdout(text.as_bytes(), 0, &mut self.out);
        self.outputs.extend(self.out.drain());
    }

    fn input(&mut self, input: Input) {
        self.bridge.input(input, 0, &mut self.out);
        self.outputs.extend(self.out.drain());
    }

    fn command(&mut self, token: u64, command: &Command) {
        self.bridge.command(token, command, 0, &mut self.out);
        self.outputs.extend(self.out.drain());
    }

    /// What it wrote, each with the connection that it is for.
    fn written(&self) -> Vec<(u64, Value)> {
        let lines = self.outputs.iter().filter_map(|output| if let Output::Write(bytes) = output { Some(bytes) } else { None });
        lines
            .map(|bytes| {
                let line: Value = serde_json::from_slice(bytes).unwrap();
                (line["connection"].as_u64().unwrap(), line["send"].clone())
            })
            .collect()
    }

    /// The commands of this name.
    fn sent(&self, cmd: &str) -> Vec<Value> {
        self.written().into_iter().map(|(_, command)| command).filter(|command| command["cmd"] == cmd).collect()
    }

    fn names(&self) -> Vec<&'static str> {
        self.outputs.iter().filter_map(|output| if let Output::Event(event) = output { Some(event.name()) } else { None }).collect()
    }

    fn forget(&mut self) {
        self.outputs.clear();
    }
}

/// A turn with everything in it, as the connector writes it.
fn turn(prompt: &str) -> Vec<String> {
    let client_id = "octo.p.3e8.1";
    let request = json!({ "type": "permission", "request_id": "q1", "title": "?", "metadata": { "tool": "bash", "command": "ls" } });
    let events = [
        of_turn(11, json!({ "event": "input.accepted", "kind": "prompt", "client_id": client_id, "message": prompt })),
        of_turn(12, json!({ "event": "stream.message_end", "message": message("u1", "user", prompt, Some(client_id)) })),
        of_turn(13, json!({ "event": "agent.working", "phase": "generating" })),
        of_turn(14, json!({ "event": "stream.message_start", "message_id": "m1", "role": "assistant" })),
        of_turn(15, json!({ "event": "stream.text_delta", "message_id": "m1", "delta": "Hällo", "content_index": 0 })),
        of_turn(16, json!({ "event": "stream.message_end", "message": message("m1", "assistant", "Hällo", None) })),
        of_turn(17, json!({ "event": "tool.start", "tool_call_id": "c1", "name": "bash" })),
        of_turn(18, json!({ "event": "agent.input_needed", "request": request })),
        of_turn(19, json!({ "event": "agent.input_resolved", "request_id": "q1", "by": "user" })),
        of_turn(
            20,
            json!({ "event": "tool.end", "tool_call_id": "c1", "name": "bash", "output": {}, "is_error": false, "duration_ms": 1 }),
        ),
        of_turn(21, json!({ "event": "something.new", "of": "a later bridge" })),
        of_turn(22, json!({ "event": "stream.done", "reason": "stop" })),
        of_turn(23, json!({ "event": "agent.idle" })),
    ];
    let mut lines: Vec<String> = events.iter().map(|event| frame(1, event)).collect();
    lines.insert(0, frame(1, &response("input-1", Value::Null)));
    lines
}

fn without_handles(outputs: &[Output]) -> Vec<&Output> {
    outputs.iter().filter(|output| !matches!(output, Output::Resume(_))).collect()
}

/// The handle that stands at the end.
fn handle(outputs: &[Output]) -> Handle {
    let last = outputs.iter().rev().find_map(|output| if let Output::Resume(handle) = output { Some(handle.as_str()) } else { None });
    Handle::parse(last.expect("a handle was given")).unwrap()
}

#[test]
fn the_outputs_are_the_same_wherever_the_bytes_are_cut_and_also_by_another_translator() {
    let begun = || {
        let mut scene = Scene::ready(None, 10, json!({}));
        scene.input(input(1, InputKind::Prompt, "hello"));
        scene.forget();
        scene
    };
    let bytes = turn("hello").concat().into_bytes();
    let mut whole = begun();
    whole.hear(std::str::from_utf8(&bytes).unwrap());
    let outputs = whole.outputs;
    assert!(matches!(without_handles(&outputs).last(), Some(Output::Settled { reason: StopReason::Stop, error: None })));
    assert!(outputs.contains(&Output::Taken { token: 1 }) && outputs.contains(&Output::Delivered { token: 1 }));
    assert!(matches!(outputs.last(), Some(Output::Resume(_))), "the handle comes after what it covers");
    assert_eq!(handle(&outputs).cursor.seq, 23);
    for at in 0..bytes.len() {
        let mut scene = begun();
        let (head, tail) = bytes.split_at(at);
        scene.bridge.stdout(head, 0, &mut scene.out);
        scene.outputs.extend(scene.out.drain());
        // Another one goes on with the same process.
        let saved = scene.bridge.save().unwrap();
        scene.bridge = Bridge::new(StartOptions::default());
        scene.bridge.restore(serde_json::from_str(&saved.to_string()).unwrap()).unwrap();
        scene.bridge.stdout(tail, 0, &mut scene.out);
        scene.outputs.extend(scene.out.drain());
        assert_eq!(without_handles(&scene.outputs), without_handles(&outputs), "cut at byte {at}");
        assert_eq!(handle(&scene.outputs).cursor.seq, 23);
    }
}

#[test]
fn what_comes_a_second_time_is_dropped_and_a_line_of_a_lost_connection_is_none_of_this_one() {
    let mut scene = Scene::ready(Some("s/e:10"), 10, json!({}));
    scene.forget();
    let status = |seq| event(seq, json!({ "event": "status", "key": "k" }));
    scene.hear(&frame(1, &status(9)));
    scene.hear(&frame(1, &status(10)));
    scene.hear(&frame(1, &status(11)));
    scene.hear(&frame(2, &status(12)));
    assert_eq!(scene.names(), ["status"]);
    assert_eq!(handle(&scene.outputs).to_string(), "s/e:11");
    scene.forget();
    scene.attach(2, 11, json!({}));
    scene.hear(&frame(1, &status(12)));
    scene.hear(&frame(2, &status(12)));
    assert_eq!(scene.names(), ["status"]);
}

#[test]
fn an_input_whose_fate_is_not_known_is_sent_again_under_the_same_id_and_one_that_was_taken_is_not() {
    let mut scene = Scene::ready(None, 10, json!({}));
    scene.input(input(1, InputKind::Prompt, "first"));
    scene.hear("{\"type\":\"lost\",\"connection\":1}\n");
    scene.input(input(2, InputKind::Steer, "second"));
    assert_eq!(scene.written().iter().filter(|(_, command)| command["cmd"] == "steer").count(), 0, "there is nobody to send it to");
    scene.attach(2, 10, json!({}));
    let prompts = scene.sent("prompt");
    assert_eq!(prompts.len(), 2);
    assert_eq!(prompts[0], prompts[1]);
    assert_eq!(scene.sent("steer").len(), 1);
    // The event says that it was taken, although the response never came.
    let accepted = json!({ "event": "input.accepted", "kind": "prompt", "client_id": prompts[0]["client_id"], "message": "first" });
    scene.hear(&frame(2, &of_turn(11, accepted)));
    assert!(scene.outputs.contains(&Output::Taken { token: 1 }));
    scene.hear("{\"type\":\"lost\",\"connection\":2}\n");
    scene.attach(3, 11, json!({ "turnId": "t1" }));
    assert_eq!(scene.sent("prompt").len(), 2, "once is enough");
    assert_eq!(scene.sent("steer").len(), 2);
}

#[test]
fn after_a_lost_connection_an_abort_is_repeated_only_while_the_turn_goes_on_and_other_commands_are_refused() {
    let mut scene = Scene::ready(None, 10, json!({}));
    scene.hear(&frame(1, &of_turn(11, json!({ "event": "agent.working", "phase": "generating" }))));
    scene.command(7, &Command::Abort);
    scene.command(8, &Command::GetCommands);
    scene.hear("{\"type\":\"lost\",\"connection\":1}\n");
    let refused = scene
        .outputs
        .iter()
        .any(|output| matches!(output, Output::Reply { token: 8, result: Err(error) } if error.to_string().contains("not known")));
    assert!(refused, "{:?}", scene.outputs);
    scene.command(9, &Command::GetCommands);
    assert!(scene.outputs.iter().any(|output| matches!(output, Output::Reply { token: 9, result: Err(_) })));
    scene.attach(2, 11, json!({ "turnId": "t1" }));
    assert_eq!(scene.sent("abort").len(), 2, "the turn goes on");
    scene.hear("{\"type\":\"lost\",\"connection\":2}\n");
    scene.hear(&connected(3));
    scene.hear(&frame(3, &of_turn(12, json!({ "event": "stream.done", "reason": "aborted" }))));
    scene.hear(&frame(3, &of_turn(13, json!({ "event": "agent.idle" }))));
    let ask = scene.sent("session.attach").pop().unwrap();
    scene.hear(&brackets(3, 13));
    scene.hear(&frame(3, &response(ask["id"].as_str().unwrap(), opened(13, json!({})))));
    assert_eq!(scene.sent("abort").len(), 2, "another turn would be aborted");
    assert!(scene.outputs.contains(&Output::Reply { token: 7, result: Ok(Value::Null) }));
    assert!(!scene.bridge.is_working());
}

#[test]
fn an_answer_that_was_on_its_way_is_given_again_while_the_question_is_open() {
    let request = json!({ "type": "confirm", "request_id": "q1", "title": "?", "message": "!" });
    let mut scene = Scene::ready(None, 10, json!({}));
    scene.hear(&frame(1, &of_turn(11, json!({ "event": "agent.input_needed", "request": request }))));
    scene.hear("{\"type\":\"lost\",\"connection\":1}\n");
    let answer = InputAnswer { confirmed: Some(true), ..InputAnswer::default() };
    scene.command(5, &Command::InputResponse { request_id: "q1".into(), answer: answer.clone() });
    assert!(scene.sent("input_response").is_empty());
    scene.attach(2, 11, json!({ "turnId": "t1" }));
    assert_eq!(scene.sent("input_response").len(), 1);
    scene.hear(&frame(2, &of_turn(12, json!({ "event": "agent.input_resolved", "request_id": "q1", "by": "user" }))));
    scene.hear("{\"type\":\"lost\",\"connection\":2}\n");
    scene.attach(3, 12, json!({ "turnId": "t1" }));
    assert_eq!(scene.sent("input_response").len(), 1, "it was answered");
    assert!(scene.outputs.contains(&Output::Reply { token: 5, result: Ok(Value::Null) }));
    scene.command(6, &Command::InputResponse { request_id: "q1".into(), answer });
    assert!(scene.outputs.iter().any(|output| matches!(output, Output::Reply { token: 6, result: Err(_) })));
}

#[test]
fn a_process_that_comes_into_a_turn_takes_stock_and_does_not_tell_what_it_did_not_see_begin() {
    let request = json!({ "type": "confirm", "request_id": "q1", "title": "?", "message": "!" });
    let state = json!({ "turnId": "t1", "runningTools": [{ "toolCallId": "c1", "name": "bash" }], "pendingInput": [request] });
    let mut scene = Scene::ready(Some("s/e:10"), 10, state);
    assert_eq!(scene.names(), ["agent.working", "tool.start", "agent.input_needed"]);
    assert!(scene.bridge.is_working());
    scene.forget();
    let delta = json!({ "event": "stream.text_delta", "message_id": "m1", "delta": "…end", "content_index": 0 });
    scene.hear(&frame(1, &of_turn(11, delta)));
    scene.hear(&frame(1, &of_turn(12, json!({ "event": "stream.message_end", "message": message("m1", "assistant", "The end", None) }))));
    // A prompt of the process before is in the runner's history, and a message that steered is not.
    for (seq, id, client_id) in [(13, "u1", "octo.p.1.1"), (14, "u2", "octo.s.1.2"), (15, "u3", "somebody")] {
        let said = json!({ "event": "stream.message_end", "message": message(id, "user", id, Some(client_id)) });
        scene.hear(&frame(1, &of_turn(seq, said)));
    }
    let told: Vec<(&str, bool, u64)> = scene
        .outputs
        .iter()
        .filter_map(|output| match output {
            Output::Event(Event::MessageEnd { message }) => Some((message.id.as_str(), message.client_id.is_some(), message.idx)),
            _ => None,
        })
        .collect();
    assert_eq!(told, [("m1", false, 0), ("u2", false, 0), ("u3", false, 0)]);
}

#[test]
fn a_bridge_that_asks_nobody_is_told_to_ask_and_octo_keeps_its_own_word() {
    let scene = Scene::ready(None, 10, json!({}));
    assert_eq!(scene.sent("set_permissions")[0]["mode"], "ask");
    assert!(scene.bridge.asks_for_every_call());
    assert!(!scene.bridge.capabilities().iter().any(|name| name == "fork"), "a fork at the bridge is no session here");
    let scene = Scene::ready(None, 10, json!({ "permissions": "ask" }));
    assert!(scene.sent("set_permissions").is_empty());
}

#[test]
fn when_the_connector_dies_everything_open_is_closed_and_nothing_that_the_bridge_may_have_is_sent_again() {
    let mut scene = Scene::ready(None, 10, json!({}));
    scene.input(input(1, InputKind::Prompt, "hello"));
    turn("hello").iter().take(8).for_each(|line| scene.hear(line));
    scene.input(input(2, InputKind::Steer, "left"));
    scene.command(3, &Command::GetCommands);
    scene.hear("{\"type\":\"lost\",\"connection\":1}\n");
    scene.input(input(4, InputKind::Steer, "right"));
    scene.forget();
    let report = ExitReport { code: Some(1), stderr_tail: "pi-bridge: the bridge refuses\n".into(), ..ExitReport::default() };
    scene.bridge.exited(&report, 0, &mut scene.out);
    scene.outputs.extend(scene.out.drain());
    assert_eq!(scene.names(), ["tool.end", "notify"], "the tool is closed, and the message on its way is named");
    assert!(scene.outputs.contains(&Output::Returned { token: 4 }), "what was never sent comes back");
    assert!(!scene.outputs.iter().any(|output| matches!(output, Output::Returned { token: 2 } | Output::Rejected { token: 2, .. })));
    let settled = scene.outputs.iter().find_map(|output| if let Output::Settled { error, .. } = output { error.clone() } else { None });
    assert_eq!(settled.as_deref(), Some("pi-bridge: the bridge refuses"));
    assert!(!scene.bridge.is_working());
}

#[test]
fn garbage_costs_a_notice_and_no_neighbour() {
    let mut scene = Scene::ready(None, 10, json!({}));
    scene.forget();
    scene.hear("nonsense\n{\"type\":\"frame\",\"connection\":1,\"frame\":[]}\n{\"type\":\"frame\"}\n{}\n{\"type\":\"later\"}\n");
    scene.hear(&frame(1, &event(11, json!({ "event": "status", "key": "k" }))));
    assert_eq!(scene.names(), ["notify", "notify", "notify", "notify", "status"]);
}
