//! What waits: in pi's queue, and before pi.

use crate::scene::{Scene, reply, settled};
use octo_harness::{ExitReport, Harness, Output};
use octo_protocol::event::InputKind;
use octo_protocol::message::StopReason;
use octo_protocol::{Command, ErrorCode};
use serde_json::{Value, json};

#[test]
fn what_gets_into_the_queue_behind_an_abort_comes_back_with_it() {
    // As pi 0.87.1 was recorded: it reads the next lines while it works on a message.
    let mut scene = Scene::running(1);
    scene.input(2, InputKind::Steer, "left");
    scene.command(9, Command::Abort);
    scene.says(json!({"type": "queue_update", "steering": [], "followUp": []}));
    scene.says(json!({"type": "queue_update", "steering": ["left"], "followUp": []}));
    assert!(scene.answer("clear_queue", json!({"steering": [], "followUp": []})).is_empty());
    scene.answer("prompt", Value::Null);
    scene.assistant("aborted");
    scene.says(json!({"type": "agent_end", "willRetry": false}));
    let outputs = scene.says(json!({"type": "agent_settled"}));
    assert_eq!(settled(&outputs), [StopReason::Aborted]);
    assert!(!outputs.contains(&Output::Delivered { token: 2 }), "it is in no conversation");
    assert_eq!(reply(&scene.answer("abort", Value::Null), 9), None, "the next run would begin with it");
    scene.says(json!({"type": "queue_update", "steering": [], "followUp": []}));
    let outputs = scene.answer("clear_queue", json!({"steering": ["left"], "followUp": []}));
    assert_eq!(outputs, [Output::Returned { token: 2 }, Output::Reply { token: 9, result: Ok(Value::Null) }]);
    scene.end();
}

#[test]
fn queued_messages_are_matched_by_the_queue_that_became_shorter() {
    let mut scene = Scene::running(1);
    for (token, kind) in [(2, InputKind::FollowUp), (3, InputKind::Steer)] {
        scene.input(token, kind, "same words");
        scene.answer("prompt", json!({"disposition": "queued"}));
    }
    scene.says(json!({"type": "queue_update", "steering": ["same words"], "followUp": ["same words"]}));
    scene.says(json!({"type": "queue_update", "steering": [], "followUp": ["same words"]}));
    assert_eq!(scene.echo("same words"), [Output::Delivered { token: 3 }]);
    scene.says(json!({"type": "queue_update", "steering": [], "followUp": []}));
    assert_eq!(scene.echo("same words"), [Output::Delivered { token: 2 }]);
    scene.end();
}

#[test]
fn inputs_given_while_it_compacts_are_kept_back_until_it_is_done() {
    let mut scene = Scene::ready();
    scene.command(1, Command::Compact { instructions: None });
    scene.says(json!({"type": "compaction_start", "reason": "manual"}));
    assert!(scene.input(2, InputKind::Prompt, "next").is_empty());
    scene.says(json!({"type": "compaction_end", "reason": "manual", "result": {"summary": "s", "tokensBefore": 9}}));
    let outputs = scene.answer("compact", json!({"summary": "s"}));
    assert_eq!(reply(&outputs, 1), Some(Ok(Value::Null)));
    assert_eq!(scene.written().pop().unwrap()["message"], "next");
    scene.end();
}

#[test]
fn an_input_is_kept_back_until_pi_has_taken_the_one_before_and_begun_with_it() {
    let prompts = |scene: &Scene| -> Vec<Value> {
        let mut lines = scene.written();
        lines.retain(|line| line["type"] == "prompt");
        lines.into_iter().map(|line| line["message"].clone()).collect()
    };
    let mut scene = Scene::ready();
    scene.input(1, InputKind::Prompt, "first");
    assert!(scene.input(2, InputKind::Steer, "second").is_empty());
    assert!(scene.input(3, InputKind::Steer, "third").is_empty());
    scene.answer("prompt", json!({}));
    assert_eq!(prompts(&scene), ["first"], "pi took it and prepares it");
    scene.says(json!({"type": "agent_start"}));
    assert_eq!(prompts(&scene), ["first", "second"]);
    scene.echo("first");
    assert_eq!(prompts(&scene), ["first", "second"], "whether pi is still busy when it comes to the second nobody knows yet");
    scene.says(json!({"type": "queue_update", "steering": ["second"], "followUp": []}));
    scene.answer("prompt", json!({}));
    assert_eq!(prompts(&scene), ["first", "second", "third"]);
    // What is kept back when pi is told to abort goes to nobody.
    assert!(scene.input(4, InputKind::Steer, "fourth").is_empty());
    let outputs = scene.command(5, Command::Abort);
    assert!(outputs.contains(&Output::Returned { token: 4 }));
    scene.end();
}

#[test]
fn a_refused_input_makes_room_for_the_one_that_was_kept_back() {
    let mut scene = Scene::ready();
    scene.input(1, InputKind::Prompt, "first");
    scene.input(2, InputKind::Prompt, "second");
    let outputs = scene.refuse("prompt", "no key");
    assert!(matches!(&outputs[0], Output::Rejected { token: 1, .. }));
    assert_eq!(scene.written().pop().unwrap()["message"], "second");
    scene.end();
}

#[test]
fn what_pi_has_not_put_into_its_queue_yet_is_taken_back_when_it_has() {
    let clears = |scene: &Scene| scene.written().iter().filter(|line| line["type"] == "clear_queue").count();
    let mut scene = Scene::running(1);
    scene.input(2, InputKind::Steer, "one");
    scene.input(3, InputKind::Steer, "two");
    scene.commands.push(4);
    let outputs = scene.act(|pi, now, out| pi.withdraw(4, now, out));
    assert_eq!(outputs, [Output::Returned { token: 3 }], "what was kept back comes back at once");
    scene.says(json!({"type": "queue_update", "steering": ["one"], "followUp": []}));
    assert_eq!(clears(&scene), 0);
    let outputs = scene.answer("prompt", json!({"disposition": "queued"}));
    assert!(outputs.contains(&Output::Taken { token: 2 }));
    assert_eq!(clears(&scene), 1);
    let outputs = scene.answer("clear_queue", json!({"steering": ["one"], "followUp": []}));
    assert_eq!(outputs, [Output::Returned { token: 2 }, Output::Reply { token: 4, result: Ok(Value::Null) }]);

    // A pi that ends before it says anything answers for it.
    scene.input(5, InputKind::Steer, "three");
    scene.commands.push(6);
    scene.act(|pi, now, out| pi.withdraw(6, now, out));
    let last = scene.exit(ExitReport { signal: Some(9), ..ExitReport::default() });
    assert!(reply(&last, 6).unwrap().is_err());
}

#[test]
fn what_waits_in_pis_queue_comes_back_and_a_pi_that_keeps_it_says_so() {
    let mut scene = Scene::running(1);
    scene.input(2, InputKind::Steer, "one");
    scene.answer("prompt", json!({"disposition": "queued"}));
    scene.says(json!({"type": "queue_update", "steering": ["one"], "followUp": []}));
    scene.commands.push(3);
    scene.act(|pi, now, out| pi.withdraw(3, now, out));
    let outputs = scene.answer("clear_queue", json!({"steering": ["one"], "followUp": []}));
    assert_eq!(outputs, [Output::Returned { token: 2 }, Output::Reply { token: 3, result: Ok(Value::Null) }]);
    scene.end();
    let mut scene = Scene::running(1);
    scene.commands.extend([2, 3]);
    scene.act(|pi, now, out| pi.withdraw(2, now, out));
    assert_eq!(reply(&scene.refuse("clear_queue", "Unknown command: clear_queue"), 2), Some(Err(ErrorCode::Unsupported)));
    assert_eq!(reply(&scene.act(|pi, now, out| pi.withdraw(3, now, out)), 3), Some(Err(ErrorCode::Unsupported)));
    scene.end();
}
