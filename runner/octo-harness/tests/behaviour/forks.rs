//! Forks: pi goes over to the new conversation and comes back.

use crate::scene::{Scene, reply};
use octo_harness::{Output, StartOptions};
use octo_protocol::event::InputKind;
use octo_protocol::{Command, ErrorCode};
use serde_json::json;

/// A scene in which pi has said something and is idle.
fn talked() -> Scene {
    let mut scene = Scene::fresh(StartOptions { resume: Some("/s/a.jsonl".into()), ..StartOptions::default() });
    scene.answer_state(json!({"messageCount": 4}));
    scene
}

#[test]
fn a_fork_comes_back_with_the_handle_of_the_new_conversation_and_inputs_wait_until_then() {
    let mut scene = talked();
    scene.command(1, Command::Fork { entry_id: "e2".into() });
    scene.input(2, InputKind::Prompt, "meanwhile");
    let messages = json!([{"entryId": "e1", "text": "hi"}, {"entryId": "e2", "text": "again"}, {"entryId": "e3", "text": "again"}, {"entryId": "e4", "text": "bye"}]);
    scene.answer("get_fork_messages", json!({"messages": messages}));
    assert_eq!(scene.written().pop().unwrap()["entryId"], "e2");
    assert_eq!(reply(&scene.answer("fork", json!({"text": "again", "cancelled": false})), 1), None);
    let outputs = scene.answer_state(json!({"sessionFile": "/s/fork.jsonl", "messageCount": 2}));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Resume(_))), "the session keeps its own conversation: {outputs:?}");
    assert_eq!(scene.written().pop().unwrap()["sessionPath"], "/s/a.jsonl");
    let outputs = scene.answer("switch_session", json!({"cancelled": false}));
    let forked = json!({"text": "again", "cancelled": false, "resume": "/s/fork.jsonl", "after": 2, "same_after": 1});
    assert_eq!(reply(&outputs, 1), Some(Ok(forked)));
    assert_eq!(scene.written().pop().unwrap()["message"], "meanwhile");
    scene.end();
}

#[test]
fn a_fork_that_cannot_be_is_refused_and_one_that_pi_does_not_come_back_from_is_told() {
    let mut scene = Scene::ready();
    assert_eq!(reply(&scene.command(1, Command::Fork { entry_id: "e".into() }), 1), Some(Err(ErrorCode::InvalidState)));
    scene.end();
    let mut scene = Scene::running(1);
    assert_eq!(reply(&scene.command(2, Command::Fork { entry_id: "e".into() }), 2), Some(Err(ErrorCode::Busy)));
    scene.end();
    let mut scene = talked();
    scene.command(1, Command::Fork { entry_id: "nope".into() });
    assert_eq!(reply(&scene.answer("get_fork_messages", json!({"messages": []})), 1), Some(Err(ErrorCode::InvalidRequest)));
    scene.command(2, Command::Fork { entry_id: "e".into() });
    scene.answer("get_fork_messages", json!({"messages": [{"entryId": "e", "text": "hi"}]}));
    let outputs = scene.answer("fork", json!({"text": "", "cancelled": true}));
    assert_eq!(reply(&outputs, 2).unwrap().unwrap()["cancelled"], true, "an extension may cancel it");
    scene.command(3, Command::Fork { entry_id: "e".into() });
    scene.answer("get_fork_messages", json!({"messages": [{"entryId": "e", "text": "hi"}]}));
    scene.answer("fork", json!({"text": "hi", "cancelled": false}));
    let outputs = scene.answer_state(json!({"sessionFile": "/s/fork.jsonl"}));
    assert_eq!(reply(&outputs, 3), None);
    assert_eq!(reply(&scene.refuse("switch_session", "not found"), 3), Some(Err(ErrorCode::Internal)));
    scene.end();
}
