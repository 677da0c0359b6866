//! Forks: which line of Claude Code's conversation every message is, and how a fork goes on from one.

use crate::scene::{Scene, messages, options};
use octo_harness::claude::Claude;
use octo_harness::{COMPACTION_SUMMARY, ENTRY_ID, ExitReport, Harness, NEW_CONVERSATION, Output, StartOptions};
use octo_protocol::event::InputKind;
use octo_protocol::message::{Message, Role};
use serde_json::{Value, json};

fn entries(outputs: &[Output]) -> Vec<(Role, Option<String>)> {
    let entry = |message: &Message| message.metadata.as_ref().and_then(|metadata| metadata[ENTRY_ID].as_str()).map(str::to_owned);
    messages(outputs).iter().map(|message| (message.role, entry(message))).collect()
}

fn line(mut line: Value, uuid: &str) -> Value {
    line["uuid"] = uuid.into();
    line
}

fn block(id: &str, block: Value) -> Value {
    json!({"type": "assistant", "message": {"id": id, "model": "scripted", "role": "assistant", "content": [block]}, "parent_tool_use_id": null})
}

fn result_of(call: &str) -> Value {
    json!({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": call, "content": "x"}]}, "parent_tool_use_id": null})
}

#[test]
fn every_message_has_the_id_of_its_newest_line_and_the_next_prompt_one_that_is_known_before() {
    let mut scene = Scene::ready();
    let known = scene.claude.next_entry("go");
    scene.input(1, InputKind::Prompt, "go");
    assert_eq!(known.as_deref(), scene.uuid(1).as_str());
    assert_ne!(scene.claude.next_entry("more"), known);
    assert_eq!(scene.claude.next_entry(" /compact"), None, "Claude Code keeps a slash command in another form");
    scene.turn(1);
    scene.message_start("m1");
    scene.says(line(block("m1", json!({"type": "text", "text": "one"})), "a-1"));
    scene.says(line(block("m1", json!({"type": "tool_use", "id": "t", "name": "Bash", "input": {}})), "a-2"));
    let outputs = scene.stream(json!({"type": "message_stop"}));
    assert_eq!(entries(&outputs), [(Role::Assistant, Some("a-2".into()))]);
    assert_eq!(entries(&scene.says(line(result_of("t"), "a-3"))), [(Role::Tool, Some("a-3".into()))]);
    // The report of a failed request is in no conversation, nor is an id that is none.
    let report = json!({"type": "assistant", "message": {"id": "x", "model": "<synthetic>", "content": [{"type": "text", "text": "no"}]},
        "is_api_error_message": true, "parent_tool_use_id": null});
    scene.says(line(report, "a-4"));
    let outputs = scene.result(json!({"is_error": true}));
    assert_eq!(entries(&outputs), [(Role::Assistant, Some("a-3".into()))]);
    scene.says(line(block("m2", json!({"type": "text", "text": "two"})), "--dangerous"));
    assert_eq!(entries(&scene.result(json!({}))), [(Role::Assistant, Some("a-3".into()))]);
    scene.end();
}

#[test]
fn a_message_that_is_asked_for_again_leaves_no_id_behind() {
    let mut scene = Scene::running(1);
    scene.message_start("m1");
    scene.says(line(block("m1", json!({"type": "text", "text": "one"})), "a-1"));
    scene.says(json!({"type": "stream_event", "event": {"type": "message_stop"}, "parent_tool_use_id": null, "abandoned_blocks": [0]}));
    scene.says(json!({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 3, "retry_delay_ms": 5}));
    let report = json!({"type": "assistant", "message": {"id": "x", "model": "<synthetic>", "content": [{"type": "text", "text": "no"}]},
        "is_api_error_message": true, "parent_tool_use_id": null});
    scene.says(report);
    assert_eq!(entries(&scene.result(json!({"is_error": true}))), [(Role::Assistant, None)]);
    scene.end();
}

#[test]
fn a_compaction_and_a_new_conversation_are_told_in_the_conversation() {
    let mut scene = Scene::running(1);
    scene.says(json!({"type": "system", "subtype": "status", "status": "compacting"}));
    scene.says(json!({"type": "system", "subtype": "status", "status": null, "compact_result": "success"}));
    scene.says(
        json!({"type": "system", "subtype": "compact_boundary", "uuid": "b", "compact_metadata": {"trigger": "auto", "pre_tokens": 9}}),
    );
    let summary =
        json!({"type": "user", "message": {"role": "user", "content": "in short"}, "isSynthetic": true, "parent_tool_use_id": null});
    let told = messages(&scene.says(line(summary, "s-1")));
    assert_eq!(told[0].metadata, Some(json!({"kind": COMPACTION_SUMMARY, "entry_id": "s-1"})));
    assert_eq!(serde_json::to_value(&told[0].parts).unwrap()[0]["text"], "in short");
    let told = messages(&scene.says(json!({"type": "conversation_reset", "new_conversation_id": "n"})));
    assert_eq!((told[0].role, told[0].metadata.as_ref().unwrap()), (Role::System, &json!({"kind": NEW_CONVERSATION})));
    scene.says(block("m9", json!({"type": "text", "text": "hi"})));
    assert_eq!(entries(&scene.result(json!({}))), [(Role::Assistant, None)], "what was before is in another conversation");
    scene.end();
}

#[test]
fn a_compaction_without_a_summary_is_told_too_also_when_claude_code_dies_then() {
    let mut scene = Scene::running(1);
    scene.says(json!({"type": "system", "subtype": "compact_boundary", "compact_metadata": {"trigger": "auto"}}));
    let told = messages(&scene.exit(ExitReport { code: Some(1), ..ExitReport::default() }));
    assert_eq!(told[0].metadata, Some(json!({"kind": COMPACTION_SUMMARY})));
}

#[test]
fn a_fork_gets_a_handle_of_its_own_when_its_conversation_has_a_message() {
    let handle = Claude::new(options()).fork_handle("s-0", "a-7");
    let mut scene = Scene::fresh(StartOptions { resume: Some(handle.clone()), ..options() });
    let outputs = scene.answer("initialize", json!({}));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Resume(_))), "it goes on in no conversation that there is: {outputs:?}");
    scene.input(1, InputKind::Prompt, "go");
    scene.turn(1);
    let outputs = scene.message_start("m1");
    assert!(outputs.contains(&Output::Resume("s-1".into())), "{outputs:?}");
    scene.end();
}

#[test]
fn a_fork_at_a_line_that_is_missing_says_so_and_begins_anew() {
    let handle = Claude::new(options()).fork_handle("s-0", "a-7");
    let mut scene = Scene::fresh(StartOptions { resume: Some(handle), ..options() });
    let outputs = scene.result(json!({"is_error": true, "result": null, "errors": ["No message found with message.uuid of: a-7"]}));
    assert!(outputs.contains(&Output::Resume(String::new())), "{outputs:?}");
    assert_eq!(messages(&outputs)[0].metadata, Some(json!({"kind": NEW_CONVERSATION})));
    scene.exit(ExitReport { code: Some(1), ..ExitReport::default() });
}
