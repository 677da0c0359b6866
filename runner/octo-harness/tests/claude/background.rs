//! Sub-agents that outlive their turn, and the mode that Claude Code is in.

use crate::scene::{Scene, names, settled, written};
use octo_harness::Output;
use octo_protocol::event::Event;
use octo_protocol::{Command, InputAnswer};
use serde_json::{Value, json};

fn task(subtype: &str, more: Value) -> Value {
    let mut line = json!({"type": "system", "subtype": subtype, "task_id": "a1", "tool_use_id": "t", "description": "look"});
    line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    line
}

fn of_agent(agent: Option<&str>) -> Value {
    json!({"tool_name": "Bash", "input": {"command": "ls"}, "tool_use_id": "u", "agent_id": agent})
}

fn resolved(outputs: &[Output], id: &str) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Event(Event::AgentInputResolved { request_id, .. }) if request_id == id))
}

#[test]
fn a_question_of_a_sub_agent_in_the_background_is_open_while_it_lives() {
    let mut scene = Scene::running(1);
    scene.says(task("task_started", json!({"is_backgrounded": true})));
    scene.asks("own", of_agent(None));
    scene.asks("q1", of_agent(Some("a1")));
    scene.asks("other", of_agent(Some("unknown")));
    let outputs = scene.result(json!({}));
    assert!(resolved(&outputs, "own") && resolved(&outputs, "other") && !resolved(&outputs, "q1"), "{outputs:?}");
    assert_eq!(settled(&outputs).len(), 1);
    // Somebody answers when the turn is long over.
    let outputs = scene.respond(2, "q1", InputAnswer { confirmed: Some(true), ..InputAnswer::default() });
    assert_eq!(written(&outputs)[0]["response"]["response"]["behavior"], "allow");
    scene.asks("q2", of_agent(Some("a1")));
    let outputs = scene.says(task("task_notification", json!({"status": "completed"})));
    assert!(resolved(&outputs, "q2"), "it is over: {outputs:?}");
    assert_eq!(written(&outputs)[0]["response"]["response"]["behavior"], "deny");
    scene.end();
}

#[test]
fn an_abort_leaves_the_question_of_one_that_lives_on_and_one_that_stopped_has_none() {
    let mut scene = Scene::running(1);
    scene.says(task("task_started", json!({"is_backgrounded": false})));
    scene.says(task("task_updated", json!({"patch": {"is_backgrounded": true}})));
    scene.asks("q1", of_agent(Some("a1")));
    assert!(!resolved(&scene.command(2, Command::Abort), "q1"));
    scene.answer("interrupt", json!({}));
    scene.aborted();
    let outputs = scene.says(task("task_updated", json!({"patch": {"status": "killed"}})));
    assert!(resolved(&outputs, "q1"));
    scene.end();
}

#[test]
fn a_retry_of_a_sub_agent_is_the_progress_of_its_tool() {
    let mut scene = Scene::running(1);
    scene.calls("m", "t", "Task", json!({}));
    let retry =
        json!({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 3, "retry_delay_ms": 5, "parent_tool_use_id": "t"});
    assert_eq!(names(&scene.says(retry)), ["tool.progress"]);
    scene.end();
}

fn mode(scene: &mut Scene, mode: &str) -> Vec<Output> {
    scene.says(json!({"type": "system", "subtype": "status", "status": null, "permissionMode": mode}))
}

fn shown(outputs: &[Output]) -> Vec<Option<String>> {
    let texts = outputs.iter().filter_map(|output| match output {
        Output::Event(Event::Status { key, text }) if key == "mode" => Some(text.clone()),
        _ => None,
    });
    texts.collect()
}

#[test]
fn planning_is_shown_until_it_is_over() {
    let mut scene = Scene::running(1);
    let outputs = mode(&mut scene, "plan");
    assert!(shown(&outputs)[0].as_ref().unwrap().contains("plans") && written(&outputs).is_empty());
    assert!(mode(&mut scene, "plan").is_empty());
    assert_eq!(shown(&mode(&mut scene, "default")), [None]);
    scene.end();
}

#[test]
fn a_mode_that_acts_without_asking_is_taken_back_unless_a_person_chose_it() {
    for acts in ["bypassPermissions", "acceptEdits", "auto", "whatever"] {
        let mut scene = Scene::running(1);
        let outputs = mode(&mut scene, acts);
        let request = written(&outputs)[0]["request"].clone();
        assert_eq!(request, json!({"subtype": "set_permission_mode", "mode": "default"}), "{acts}");
        assert!(names(&outputs).contains(&"notify"));
        // It is told once, until it has answered.
        assert!(written(&mode(&mut scene, "plan")).is_empty());
        assert!(written(&mode(&mut scene, acts)).is_empty());
        assert_eq!(names(&scene.refuse("set_permission_mode", "no", "x")), ["notify"]);
        scene.end();
    }
    let mut scene = Scene::running(1);
    let ask = json!({"tool_name": "Edit", "input": {"file_path": "/w/a"}, "tool_use_id": "t",
        "permission_suggestions": [{"type": "setMode", "mode": "acceptEdits", "destination": "session"}]});
    scene.asks("e", ask);
    scene.respond(2, "e", InputAnswer { option_id: Some("allow_always".into()), ..InputAnswer::default() });
    let outputs = mode(&mut scene, "acceptEdits");
    assert!(written(&outputs).is_empty() && shown(&outputs)[0].is_some(), "{outputs:?}");
    scene.end();
}
