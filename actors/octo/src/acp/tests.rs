//! The machine, without I/O: what a client asks for, what octo is asked, and what is told, over connections that break anywhere.
#![allow(clippy::unwrap_used)]

use super::machine::{Act, Machine};
use super::rpc::{AUTH_REQUIRED, RpcError};
use octo_protocol::{Command, CommandFrame};
use proptest::prelude::*;
use serde_json::{Value, json};

const EPOCH: &str = "e1";

/// A machine, with what came of it.
struct Bench {
    machine: Machine,
    told: Vec<Value>,
    asked: Vec<CommandFrame>,
    ids: u64,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self { machine: Machine::new(None), told: Vec::new(), asked: Vec::new(), ids: 0 };
        let acts = bench.machine.connected();
        bench.take(acts);
        bench.request("initialize", &json!({"protocolVersion": 1, "clientCapabilities": {}}));
        bench
    }

    fn take(&mut self, acts: Vec<Act>) {
        for act in acts {
            match act {
                Act::Client(message) => self.told.push(message),
                Act::Octo(frame) => self.asked.push(*frame),
            }
        }
    }

    fn request(&mut self, method: &str, params: &Value) -> u64 {
        self.ids += 1;
        let acts = self.machine.client(&json!({"jsonrpc": "2.0", "id": self.ids, "method": method, "params": params}).to_string());
        self.take(acts);
        self.ids
    }

    fn client(&mut self, message: &Value) {
        let acts = self.machine.client(&message.to_string());
        self.take(acts);
    }

    fn octo(&mut self, frame: &Value) {
        let acts = self.machine.octo(&frame.to_string());
        self.take(acts);
    }

    /// Answers the newest command of this name.
    fn answer(&mut self, cmd: &str, data: &Value) {
        let frame = self.asked.iter().rfind(|frame| frame.command.name() == cmd).unwrap_or_else(|| panic!("{cmd} was not asked"));
        let (id, session) = (frame.id.clone(), frame.session_id.clone());
        self.octo(&json!({
            "channel": "agent", "session_id": session, "runner_id": "r", "ts": 0, "event": "response", "id": id, "cmd": cmd, "success": true, "data": data,
        }));
    }

    fn event(&mut self, session: &str, seq: Option<u64>, mut event: Value) {
        let envelope = json!({"channel": "agent", "session_id": session, "runner_id": "r", "ts": 0, "epoch": EPOCH});
        event.as_object_mut().unwrap().extend(envelope.as_object().unwrap().clone());
        if let Some(seq) = seq {
            event["seq"] = seq.into();
        }
        self.octo(&event);
    }

    fn asked_last(&self, cmd: &str) -> &Command {
        &self.asked.iter().rfind(|frame| frame.command.name() == cmd).unwrap().command
    }

    /// The answers to a request.
    fn ends(&self, id: u64) -> Vec<&Value> {
        self.told.iter().filter(|message| message["id"] == id && message.get("method").is_none()).collect()
    }

    fn text(&self, kind: &str) -> String {
        let updates = self.told.iter().map(|message| &message["params"]["update"]).filter(|update| update["sessionUpdate"] == kind);
        updates.filter_map(|update| update["content"]["text"].as_str()).collect()
    }

    /// A new session.
    fn session(&mut self) -> String {
        let id = self.request("session/new", &json!({"cwd": "/w", "mcpServers": []}));
        let session = self.asked.last().unwrap().session_id.clone();
        self.answer("session.create", &opened(&session, 0));
        self.answer("get_models", &json!([]));
        assert!(self.ends(id).is_empty(), "not before it is known what there is");
        self.event(&session, None, json!({"event": "messages", "messages": [], "as_of": 0, "has_more": false, "state": state(&session)}));
        self.event(&session, None, json!({"event": "replay.start", "after": 0}));
        self.event(&session, Some(0), json!({"event": "replay.end", "count": 0}));
        assert_eq!(self.ends(id)[0]["result"]["sessionId"], session.as_str());
        session
    }

    /// Live events, up to the `to`th.
    fn tell(&mut self, session: &str, rows: &[Value], told: &mut usize, to: usize) {
        while *told < to.min(rows.len()) {
            *told += 1;
            self.event(session, Some(*told as u64), rows[*told - 1].clone());
        }
    }

    fn prompt(&mut self, session: &str) -> (u64, String) {
        let id = self.request("session/prompt", &json!({"sessionId": session, "prompt": [{"type": "text", "text": "hi"}]}));
        let Command::Prompt { client_id, .. } = self.asked_last("prompt") else { panic!() };
        (id, client_id.clone().unwrap().to_string())
    }
}

fn state(session: &str) -> Value {
    json!({"sessionId": session, "status": "idle"})
}

fn opened(session: &str, seq: u64) -> Value {
    json!({
        "session_id": session, "epoch": EPOCH, "seq": seq, "harness": "pi", "capabilities": ["permissions"], "state": state(session), "resumed": false,
    })
}

fn message(id: &str, idx: u64, role: &str, parts: &Value, client_id: Option<&str>) -> Value {
    json!({"event": "stream.message_end", "message": {
        "id": id, "idx": idx, "role": role, "parts": parts, "created_at": 0, "client_id": client_id,
    }})
}

fn text_part(text: &str) -> Value {
    json!({"type": "text", "id": "p", "text": text})
}

#[test]
fn a_prompt_is_answered_once_at_the_end_of_its_turn() {
    let mut bench = Bench::new();
    let session = bench.session();
    let (prompt, client_id) = bench.prompt(&session);
    bench.answer("prompt", &Value::Null);
    bench.event(&session, Some(1), json!({"event": "input.accepted", "kind": "prompt", "client_id": client_id, "message": "hi"}));
    bench.event(&session, Some(2), message("u", 0, "user", &json!([text_part("hi")]), Some(&client_id)));
    bench.event(&session, Some(3), json!({"event": "stream.message_start", "message_id": "m", "role": "assistant"}));
    bench.event(&session, Some(4), json!({"event": "stream.text_delta", "message_id": "m", "delta": "Hel", "content_index": 0}));
    bench.event(&session, Some(5), message("m", 1, "assistant", &json!([text_part("Hello")]), None));
    bench.event(&session, Some(6), json!({"event": "stream.done", "reason": "length"}));
    assert!(bench.ends(prompt).is_empty());
    bench.event(&session, Some(7), json!({"event": "agent.idle"}));
    let ends = bench.ends(prompt);
    assert_eq!((ends.len(), &ends[0]["result"]["stopReason"]), (1, &json!("max_tokens")));
    assert_eq!(ends[0]["result"]["_meta"]["octo"]["cursor"], json!({"epoch": EPOCH, "seq": 7}));
    assert_eq!((bench.text("agent_message_chunk").as_str(), bench.text("user_message_chunk").as_str()), ("Hello", ""));
}

#[test]
fn what_is_unanswered_is_asked_again_after_each_session_has_gone_on_where_it_was() {
    let mut bench = Bench::new();
    let session = bench.session();
    bench.event(&session, Some(1), json!({"event": "session.title_changed", "title": "t"}));
    let (_, client_id) = bench.prompt(&session);
    bench.machine.disconnected();
    let (_, later) = {
        let id = bench.request("session/prompt", &json!({"sessionId": session, "prompt": [{"type": "text", "text": "hi"}]}));
        (id, bench.asked.len())
    };
    assert_eq!(bench.asked.len(), later, "nothing is sent to nobody");
    bench.asked.clear();
    let acts = bench.machine.connected();
    bench.take(acts);
    let asked: Vec<&str> = bench.asked.iter().map(|frame| frame.command.name()).collect();
    assert_eq!(asked, ["session.attach", "prompt", "prompt"]);
    let Command::SessionAttach { cursor: Some(cursor) } = &bench.asked[0].command else { panic!() };
    assert_eq!((cursor.epoch.as_str(), cursor.seq), (EPOCH, 1));
    let Command::Prompt { client_id: again, .. } = &bench.asked[1].command else { panic!() };
    assert_eq!(again.as_ref().unwrap().as_str(), client_id, "under the same id, so that it is run once");
    // The events of whoever was attached before are none of ours.
    let before = bench.told.len();
    bench.event(&session, Some(2), json!({"event": "session.title_changed", "title": "early"}));
    assert_eq!(bench.told.len(), before);
}

#[test]
fn an_attach_that_octo_cannot_do_now_is_tried_again() {
    let mut bench = Bench::new();
    let session = bench.session();
    bench.machine.disconnected();
    let acts = bench.machine.connected();
    bench.take(acts);
    let id = bench.asked.last().unwrap().id.clone();
    assert!(!bench.machine.wants_again(), "it is under way");
    bench.octo(&json!({
        "channel": "agent", "session_id": session, "runner_id": "r", "ts": 0, "event": "response", "id": id, "cmd": "session.attach", "success": false,
        "error": "busy", "code": "busy",
    }));
    assert!(bench.machine.wants_again());
    let acts = bench.machine.again();
    assert!(matches!(&acts[..], [Act::Octo(frame)] if frame.command.name() == "session.attach"));
}

#[test]
fn when_octo_lets_nobody_in_everything_is_answered_with_why() {
    let mut bench = Bench::new();
    let session = bench.session();
    let (prompt, _) = bench.prompt(&session);
    let acts = bench.machine.refused(&RpcError::new(AUTH_REQUIRED, "log in again"));
    bench.take(acts);
    let after = bench.request("session/list", &json!({}));
    for id in [prompt, after] {
        assert_eq!(bench.ends(id)[0]["error"], json!({"code": AUTH_REQUIRED, "message": "log in again"}));
    }
}

#[test]
fn a_question_is_asked_once_and_taken_back_when_it_was_answered_elsewhere() {
    let mut bench = Bench::new();
    let session = bench.session();
    let request = json!({
        "type": "permission", "request_id": "q", "title": "Run?", "options": [{"option_id": "allow_once", "label": "Yes", "kind": "allow_once"}],
    });
    bench.event(&session, Some(1), json!({"event": "agent.input_needed", "request": request}));
    let asked = bench.told.last().unwrap().clone();
    assert_eq!(asked["method"], "session/request_permission");
    // A reconnection finds it open still.
    bench.machine.disconnected();
    let acts = bench.machine.connected();
    bench.take(acts);
    let mut open = opened(&session, 1);
    open["state"]["pendingInput"] = json!([request]);
    bench.answer("session.attach", &open);
    bench.event(&session, None, json!({"event": "replay.start", "after": 1}));
    bench.event(&session, Some(1), json!({"event": "replay.end", "count": 0}));
    assert_eq!(bench.told.iter().filter(|message| message["method"] == "session/request_permission").count(), 1);
    bench.event(&session, Some(2), json!({"event": "agent.input_resolved", "request_id": "q", "by": "bob"}));
    assert_eq!(bench.told.last().unwrap(), &json!({"jsonrpc": "2.0", "method": "$/cancel_request", "params": {"requestId": asked["id"]}}));
    let commands = bench.asked.len();
    bench.client(&json!({"jsonrpc": "2.0", "id": asked["id"], "result": {"outcome": {"outcome": "selected", "optionId": "allow_once"}}}));
    assert_eq!(bench.asked.len(), commands, "a late answer is no answer to anything");
}

#[test]
fn a_question_that_was_answered_while_octo_was_away_is_not_asked_again() {
    let mut bench = Bench::new();
    let session = bench.session();
    let request = json!({"type": "confirm", "request_id": "q", "title": "Sure?", "message": ""});
    bench.event(&session, Some(1), json!({"event": "agent.input_needed", "request": request}));
    let id = bench.told.last().unwrap()["id"].clone();
    bench.machine.disconnected();
    bench.client(&json!({"jsonrpc": "2.0", "id": id, "result": {"outcome": {"outcome": "selected", "optionId": "yes"}}}));
    let acts = bench.machine.connected();
    bench.take(acts);
    let mut open = opened(&session, 1);
    open["state"]["pendingInput"] = json!([request]);
    bench.answer("session.attach", &open);
    bench.answer("input_response", &Value::Null);
    bench.event(&session, None, json!({"event": "replay.start", "after": 1}));
    bench.event(&session, Some(1), json!({"event": "replay.end", "count": 0}));
    let asked = |bench: &Bench| bench.told.iter().filter(|message| message["method"] == "session/request_permission").count();
    assert_eq!(asked(&bench), 1);
    bench.event(&session, Some(2), json!({"event": "agent.input_resolved", "request_id": "q"}));
    assert!(!bench.told.iter().any(|message| message["method"] == "$/cancel_request"), "there is nothing to take back");
    // The next one of that name is another one.
    bench.event(&session, Some(3), json!({"event": "agent.input_needed", "request": request}));
    assert_eq!(asked(&bench), 2);
}

/// A journal of one turn: rows with their deltas, forgotten once their message has ended.
fn rows(texts: &[String], client_id: &str) -> Vec<Value> {
    let mut rows = vec![
        json!({"event": "input.accepted", "kind": "prompt", "client_id": client_id, "message": "hi"}),
        message("u", 0, "user", &json!([text_part("hi")]), Some(client_id)),
    ];
    for (n, text) in texts.iter().enumerate() {
        let id = format!("m{n}");
        rows.push(json!({"event": "stream.message_start", "message_id": id, "role": "assistant"}));
        for c in text.chars() {
            rows.push(json!({"event": "stream.text_delta", "message_id": id, "delta": c.to_string(), "content_index": 0}));
        }
        let call = format!("call{n}");
        rows.push(json!({"event": "stream.tool_call_start", "message_id": id, "tool_call_id": call, "content_index": 1, "name": "bash"}));
        let parts =
            json!([text_part(text), {"type": "tool_call", "id": "t", "toolCallId": call, "name": "bash", "input": {"command": "ls"}}]);
        rows.push(message(&id, n as u64 + 1, "assistant", &parts, None));
        rows.push(json!({"event": "tool.start", "tool_call_id": call, "name": "bash", "input": {"command": "ls"}}));
        rows.push(json!({"event": "tool.end", "tool_call_id": call, "name": "bash", "output": {"content": []}, "is_error": false}));
    }
    rows.push(json!({"event": "stream.done", "reason": "stop"}));
    rows.push(json!({"event": "agent.idle"}));
    rows
}

/// Whether the journal has a row still, when it has come to `head`.
fn kept(rows: &[Value], at: usize, head: usize) -> bool {
    let id = &rows[at]["message_id"];
    id.is_null() || !rows[..head].iter().any(|row| row["event"] == "stream.message_end" && row["message"]["id"] == *id)
}

proptest! {
    /// Wherever the connection breaks, however often, and however far the agent has come meanwhile: all of it is told, and told once.
    #[test]
    fn nothing_is_lost_or_told_twice(
        texts in prop::collection::vec("[a-zäöü ]{0,12}", 1..4),
        breaks in prop::collection::vec((0usize..12, 0usize..12, 0usize..8), 0..6),
    ) {
        let mut bench = Bench::new();
        let session = bench.session();
        let (prompt, client_id) = bench.prompt(&session);
        bench.answer("prompt", &Value::Null);
        let rows = rows(&texts, &client_id);
        let mut told = 0;
        let mut head = 0;
        for (live, away, under) in breaks {
            head = (head + live).min(rows.len());
            bench.tell(&session, &rows, &mut told, head);
            bench.machine.disconnected();
            let seen = head;
            head = (head + away).min(rows.len());
            let acts = bench.machine.connected();
            bench.take(acts);
            let Command::SessionAttach { cursor: Some(cursor) } = bench.asked_last("session.attach") else { panic!() };
            prop_assert_eq!(cursor.seq, seen as u64);
            bench.answer("session.attach", &opened(&session, head as u64));
            bench.event(&session, None, json!({"event": "replay.start", "after": seen}));
            for at in seen..head {
                // The agent goes on while what was missed is read.
                if kept(&rows, at, (head + under).min(rows.len())) {
                    bench.event(&session, Some(at as u64 + 1), rows[at].clone());
                }
            }
            bench.event(&session, Some(head as u64), json!({"event": "replay.end", "count": 0}));
            told = head;
        }
        bench.tell(&session, &rows, &mut told, rows.len());
        prop_assert_eq!(bench.text("agent_message_chunk"), texts.concat());
        prop_assert_eq!(bench.text("user_message_chunk"), "");
        let ends = bench.ends(prompt);
        prop_assert_eq!(ends.len(), 1);
        prop_assert_eq!(&ends[0]["result"]["stopReason"], "end_turn");
        for n in 0..texts.len() {
            let of = |kind: &str, status: &str| {
                let updates = bench.told.iter().map(|message| &message["params"]["update"]);
                updates.filter(|update| update["toolCallId"] == format!("call{n}") && update["sessionUpdate"] == kind && (status.is_empty() || update["status"] == status)).count()
            };
            prop_assert_eq!((of("tool_call", ""), of("tool_call_update", "completed")), (1, 1));
        }
    }

    /// Whatever the two sides say, the machine lives, and each request has one answer at most.
    #[test]
    fn whatever_is_said_each_request_is_answered_once_at_most(said in prop::collection::vec((any::<bool>(), 0usize..14, "\\PC{0,8}"), 0..40)) {
        let mut bench = Bench::new();
        let session = bench.session();
        let methods = ["session/new", "session/load", "session/resume", "session/list", "session/prompt", "session/close", "session/set_mode", "x", ""];
        for (n, (of_client, what, word)) in said.into_iter().enumerate() {
            if of_client {
                let params = json!({"sessionId": if what % 3 == 0 { &word } else { &session }, "cwd": word, "prompt": [{"type": "text", "text": word}], "modeId": word});
                if what < methods.len() {
                    bench.request(methods[what], &params);
                } else {
                    bench.client(&json!({"jsonrpc": "2.0", "method": "session/cancel", "params": params, "id": if what == 9 { json!(word) } else { Value::Null }}));
                    let acts = bench.machine.client(&word);
                    bench.take(acts);
                }
            } else {
                let events = [
                    json!({"event": "agent.idle"}), json!({"event": "agent.error", "error": word, "recoverable": true}),
                    json!({"event": "session.closed"}), json!({"event": "replay.end", "count": 0}), json!({"event": word}),
                    json!({"event": "stream.text_delta", "message_id": word, "delta": word, "content_index": 0}),
                    json!({"event": "queue.changed", "steering": [], "follow_up": []}),
                    json!({"event": "messages", "messages": [], "as_of": n, "has_more": true, "state": state(&session)}),
                ];
                match events.get(what) {
                    Some(event) => bench.event(&session, (what % 2 == 0).then_some(n as u64 + 1), event.clone()),
                    None => match bench.asked.get(n % bench.asked.len()).cloned() {
                        Some(frame) => bench.octo(&json!({
                            "channel": "agent", "session_id": frame.session_id, "runner_id": "r", "ts": 0, "event": "response", "id": frame.id,
                            "cmd": frame.command.name(), "success": what % 2 == 0, "data": opened(&session, 0), "error": word, "code": "busy",
                        })),
                        None => bench.octo(&json!(word)),
                    },
                }
            }
        }
        for id in 1..=bench.ids {
            prop_assert!(bench.ends(id).len() <= 1);
        }
    }
}
