//! octo's own tools: a title, and a question to the person.

use crate::scene::{Scene, names, reply, written};
use octo_harness::{ExitReport, Output};
use octo_protocol::event::Event;
use octo_protocol::{ErrorCode, InputAnswer};
use serde_json::{Value, json};

/// A message for the server that octo is, in a request with this id.
fn mcp(scene: &mut Scene, id: &str, message: Value) -> Vec<Output> {
    scene.says(json!({"type": "control_request", "request_id": id, "request": {"subtype": "mcp_message", "server_name": "octo", "message": message}}))
}

fn calls(scene: &mut Scene, id: &str, call: u64, tool: &str, arguments: Value) -> Vec<Output> {
    mcp(scene, id, json!({"jsonrpc": "2.0", "id": call, "method": "tools/call", "params": {"name": tool, "arguments": arguments}}))
}

/// What the server answered, in the answer to the request with this id.
fn answered(outputs: &[Output], id: &str) -> Option<Value> {
    let line = written(outputs).into_iter().find(|line| line["response"]["request_id"] == id)?;
    Some(line["response"]["response"]["mcp_response"].clone())
}

fn asked(scene: &mut Scene) -> Vec<Output> {
    calls(scene, "q", 4, "ask", json!({"question": "Which?", "options": ["red", "blue"]}))
}

#[test]
fn the_server_is_offered_and_greeted_before_the_handshake_is_answered() {
    let mut scene = Scene::fresh(crate::scene::options());
    assert_eq!(scene.request("initialize")["request"]["sdkMcpServers"], json!(["octo"]));
    let outputs =
        mcp(&mut scene, "i", json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": "2025-11-25"}}));
    assert_eq!(answered(&outputs, "i").unwrap()["result"]["serverInfo"]["name"], "octo");
    assert!(
        answered(&mcp(&mut scene, "n", json!({"jsonrpc": "2.0", "method": "notifications/initialized"})), "n").unwrap()["result"]
            .is_object()
    );
    let listed = answered(&mcp(&mut scene, "l", json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})), "l").unwrap();
    assert_eq!(listed["result"]["tools"][0]["inputSchema"]["type"], "object");
    assert_eq!(answered(&mcp(&mut scene, "u", json!({"jsonrpc": "2.0", "id": 2, "method": "x"})), "u").unwrap()["error"]["code"], -32601);
    let other =
        json!({"type": "control_request", "request_id": "o", "request": {"subtype": "mcp_message", "server_name": "other", "message": {}}});
    assert_eq!(written(&scene.says(other))[0]["response"]["subtype"], "error");
    scene.end();
}

#[test]
fn octos_own_tools_are_not_asked_for_and_those_of_others_with_its_name_are() {
    let mut scene = Scene::running(1);
    let ask = |tool: &str, source: &str| json!({"tool_name": tool, "input": {"title": "x"}, "tool_use_id": "t", "mcp_server": {"name": "octo", "source": source}});
    let outputs = scene.asks("a", ask("mcp__octo__title", "sdk"));
    let allowed = json!({"behavior": "allow", "updatedInput": {"title": "x"}});
    assert_eq!((written(&outputs)[0]["response"]["response"].clone(), names(&outputs).len()), (allowed, 0));
    for (id, tool, source) in [("b", "mcp__octo__title", "project"), ("c", "mcp__octo__rm", "sdk"), ("d", "title", "sdk")] {
        assert_eq!(names(&scene.asks(id, ask(tool, source))), ["agent.input_needed"], "{tool} of {source}");
    }
    scene.end();
}

#[test]
fn a_title_names_the_session_and_is_answered_at_once() {
    let mut scene = Scene::running(1);
    let outputs = calls(&mut scene, "t", 3, "title", json!({"title": "Paint the shed"}));
    assert!(outputs.contains(&Output::Event(Event::SessionTitleChanged { title: "Paint the shed".into(), readable_id: None })));
    let answer = answered(&outputs, "t").unwrap();
    assert_eq!((&answer["id"], &answer["result"]["isError"]), (&json!(3), &json!(false)));
    let wrong = calls(&mut scene, "w", 5, "title", json!({"title": ""}));
    assert_eq!(answered(&wrong, "w").unwrap()["result"]["isError"], true);
    assert!(names(&wrong).is_empty());
    scene.end();
}

#[test]
fn a_question_reaches_the_person_and_their_answer_is_the_result() {
    let mut scene = Scene::running(1);
    let outputs = asked(&mut scene);
    let Output::Event(Event::AgentInputNeeded { request }) = &outputs[0] else { panic!("{outputs:?}") };
    let expected = json!({"type": "select", "request_id": "q", "title": "Which?", "options": ["red", "blue"]});
    assert_eq!((serde_json::to_value(request).unwrap(), outputs.len()), (expected, 1));
    assert_eq!(
        reply(&scene.respond(2, "q", InputAnswer { confirmed: Some(true), ..InputAnswer::default() }), 2),
        Some(Err(ErrorCode::InvalidRequest))
    );
    let outputs = scene.respond(3, "q", InputAnswer { value: Some("blue".into()), ..InputAnswer::default() });
    let answer = answered(&outputs, "q").unwrap();
    assert_eq!((&answer["id"], &answer["result"]["content"][0]["text"]), (&json!(4), &json!("blue")));
    assert_eq!(
        reply(&scene.respond(4, "q", InputAnswer { value: Some("red".into()), ..InputAnswer::default() }), 4),
        Some(Err(ErrorCode::InvalidRequest))
    );
    scene.end();
}

#[test]
fn a_question_that_nobody_answers_is_an_error_of_the_tool() {
    let refused =
        |outputs: &[Output]| answered(outputs, "q").is_some_and(|answer| answer["result"]["isError"] == true && answer["id"] == 4);
    let resolved = |outputs: &[Output]| names(outputs).contains(&"agent.input_resolved");
    let mut scene = Scene::running(1);
    asked(&mut scene);
    let outputs = scene.respond(2, "q", InputAnswer { cancelled: Some(true), ..InputAnswer::default() });
    assert!(refused(&outputs) && resolved(&outputs), "dismissed: {outputs:?}");
    asked(&mut scene);
    let outputs = scene.command(3, octo_protocol::Command::Abort);
    assert!(refused(&outputs) && resolved(&outputs), "aborted: {outputs:?}");
    scene.answer("interrupt", json!({}));
    asked(&mut scene);
    let outputs = scene.aborted();
    assert!(refused(&outputs) && resolved(&outputs), "the turn ended: {outputs:?}");
    asked(&mut scene);
    let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 4}});
    assert!(resolved(&mcp(&mut scene, "c", cancelled)), "Claude Code waits no more");
    asked(&mut scene);
    let outputs = scene.exit(ExitReport { signal: Some(9), ..ExitReport::default() });
    assert!(resolved(&outputs), "it died: {outputs:?}");
}

#[test]
fn too_many_questions_are_refused() {
    let mut scene = Scene::running(1);
    for n in 0..64_u64 {
        assert_eq!(names(&calls(&mut scene, &format!("q{n}"), n, "ask", json!({"question": "?"}))), ["agent.input_needed"]);
    }
    let outputs = calls(&mut scene, "last", 99, "ask", json!({"question": "?"}));
    assert_eq!(answered(&outputs, "last").unwrap()["result"]["isError"], true);
    scene.end();
}
