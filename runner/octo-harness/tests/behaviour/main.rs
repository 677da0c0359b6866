//! What pi's translator does in a conversation with pi, line by line.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../common/mod.rs"]
mod common;
mod forks;
mod queue;
#[path = "../scene/mod.rs"]
mod scene;
mod shell;

use common::invariants::check;
use octo_harness::pi::dialogs::PERMISSION_MARKER;
use octo_harness::{ExitReport, Harness, Input, Output, StartOptions};
use octo_protocol::event::{Event, InputKind, Level};
use octo_protocol::input::InputRequest;
use octo_protocol::message::{ImageInput, Role, StopReason};
use octo_protocol::{Command, ErrorCode, InputAnswer};
use scene::{Scene, reply, settled};
use serde_json::{Value, json};

#[test]
fn the_answer_to_the_first_question_makes_it_ready_and_fetches_what_is_cached() {
    let mut scene = Scene::fresh(StartOptions::default());
    assert_eq!(scene.written().len(), 1);
    let outputs = scene.answer_state(json!({"sessionName": "a name", "thinkingLevel": "max"}));
    assert!(outputs.contains(&Output::Ready));
    assert_eq!(scene.pi.state().session_name.as_deref(), Some("a name"));
    assert!(!outputs.iter().any(|output| matches!(output, Output::Resume(_))), "pi's file does not exist yet");
    let outputs =
        scene.answer("get_available_models", json!({"models": [{"id": "m", "provider": "p", "api": "a", "contextWindow": 1000}]}));
    assert!(matches!(&outputs[0], Output::Models(models) if models[0].name == "m" && models[0].context_window == 1000));
    let cached = scene.command(7, Command::GetModels { workdir: None });
    assert_eq!(reply(&cached, 7).unwrap().unwrap()[0]["id"], "m");
    scene.end();
}

#[test]
fn a_continued_conversation_gives_its_handle_at_once_and_counts_on_from_its_totals() {
    let mut scene = Scene::fresh(StartOptions { resume: Some("/s/a.jsonl".into()), ..StartOptions::default() });
    let outputs = scene.answer_state(json!({"messageCount": 3}));
    assert!(outputs.contains(&Output::Resume("/s/a.jsonl".into())));
    let tokens = json!({"input": 100, "output": 10, "cacheRead": 0, "cacheWrite": 0, "total": 110});
    let stats = json!({"sessionId": "abc", "userMessages": 1, "assistantMessages": 1, "toolCalls": 0, "toolResults": 0, "totalMessages": 2,
        "tokens": tokens, "cost": 0.5});
    scene.answer("get_session_stats", stats);
    let outputs = scene.says(json!({"type": "message_end", "message": {"role": "assistant", "content": [], "stopReason": "stop",
        "usage": {"input": 5, "output": 1, "cacheRead": 0, "cacheWrite": 0, "cost": {"total": 0.25}}}}));
    let total = outputs.iter().find_map(|output| match output {
        Output::Event(Event::Usage { session_total, .. }) => Some(session_total.clone()),
        _ => None,
    });
    assert_eq!(total.unwrap().input_tokens, 105);
    scene.end();
}

#[test]
fn a_conversation_that_cannot_be_continued_is_said() {
    let mut scene = Scene::fresh(StartOptions { resume: Some("/s/gone.jsonl".into()), ..StartOptions::default() });
    let outputs = scene.answer_state(json!({}));
    let said = |output: &Output| matches!(output, Output::Event(Event::Notify { level: Level::Warning, message }) if message.contains("/s/gone.jsonl"));
    assert!(outputs.iter().any(said));
    scene.end();
}

#[test]
fn the_handle_comes_with_the_first_message_of_the_model() {
    let mut scene = Scene::running(1);
    scene.assistant("stop");
    let outputs = scene.says(json!({"type": "turn_end"}));
    assert_eq!(outputs, [Output::Resume("/s/a.jsonl".into())]);
    scene.end();
}

#[test]
fn images_go_with_a_prompt_and_every_prompt_says_what_to_do_when_busy() {
    let mut scene = Scene::ready();
    scene.inputs.push(1);
    let images = vec![ImageInput { data: "QUJD".into(), media_type: "image/png".into() }];
    let input = Input { token: 1, kind: InputKind::Prompt, message: "see".into(), images };
    scene.act(|pi, now, out| pi.input(input, now, out));
    let line = scene.written().pop().unwrap();
    assert_eq!(line["images"], json!([{"type": "image", "data": "QUJD", "mimeType": "image/png"}]));
    assert_eq!(line["streamingBehavior"], "followUp");
    scene.end();
}

#[test]
fn abort_cancels_open_questions_then_clears_the_queue_then_aborts() {
    let mut scene = Scene::running(1);
    scene.says(json!({"type": "extension_ui_request", "id": "q1", "method": "confirm", "title": "Run?", "message": "rm"}));
    assert_eq!(scene.pi.state().pending_input.len(), 1);
    for (token, kind, text) in [(2, InputKind::Steer, "left"), (3, InputKind::FollowUp, "then")] {
        scene.input(token, kind, text);
        scene.answer("prompt", json!({"disposition": "queued"}));
    }
    scene.says(json!({"type": "queue_update", "steering": ["left"], "followUp": ["then"]}));
    let written = scene.written().len();
    let outputs = scene.command(9, Command::Abort);
    assert!(outputs.contains(&Output::Event(Event::AgentInputResolved { request_id: "q1".into(), by: Some("abort".into()) })));
    let lines: Vec<Value> = scene.written().split_off(written);
    assert_eq!(lines[0], json!({"type": "extension_ui_response", "id": "q1", "cancelled": true}));
    assert_eq!(lines[1]["type"], "clear_queue");
    assert_eq!(lines[2]["type"], "abort");
    assert!(scene.pi.state().pending_input.is_empty());
    let outputs = scene.answer("clear_queue", json!({"steering": ["left"], "followUp": ["then"]}));
    assert_eq!(outputs, [Output::Returned { token: 2 }, Output::Returned { token: 3 }]);
    scene.assistant("aborted");
    scene.says(json!({"type": "agent_end", "willRetry": false}));
    let outputs = scene.says(json!({"type": "agent_settled", "aborted": true}));
    assert_eq!(settled(&outputs), [StopReason::Aborted]);
    let outputs = scene.answer("abort", Value::Null);
    assert_eq!(reply(&outputs, 9), Some(Ok(Value::Null)));
    assert!(settled(&outputs).is_empty());
    scene.end();
}

#[test]
fn what_fails_because_of_an_abort_is_aborted_and_no_error() {
    let mut scene = Scene::running(1);
    scene.command(2, Command::Abort);
    let outputs = scene.assistant("error");
    let aborted = |output: &Output| matches!(output, Output::Event(Event::MessageEnd { message }) if message.stop_reason == Some(StopReason::Aborted));
    assert!(outputs.iter().any(aborted));
    scene.says(json!({"type": "agent_end", "willRetry": false}));
    let outputs = scene.says(json!({"type": "agent_settled"}));
    assert_eq!(outputs.last(), Some(&Output::Settled { reason: StopReason::Aborted, error: None }));
    scene.answer("abort", Value::Null);
    scene.input(3, InputKind::Prompt, "again");
    scene.answer("prompt", Value::Null);
    scene.says(json!({"type": "agent_start"}));
    scene.echo("again");
    scene.assistant("error");
    scene.says(json!({"type": "agent_end", "willRetry": false}));
    assert_eq!(settled(&scene.says(json!({"type": "agent_settled"}))), [StopReason::Error], "the next run is another");
    scene.end();
}

#[test]
fn a_retry_that_an_abort_ends_is_an_aborted_run() {
    let mut scene = Scene::running(1);
    scene.assistant("error");
    scene.says(json!({"type": "agent_end", "willRetry": true}));
    scene.says(json!({"type": "auto_retry_start", "attempt": 1, "maxAttempts": 3, "delayMs": 5000, "errorMessage": "529"}));
    scene.command(2, Command::Abort);
    scene.says(json!({"type": "auto_retry_end", "success": false, "attempt": 1, "finalError": "Retry cancelled"}));
    assert_eq!(settled(&scene.says(json!({"type": "agent_settled"}))), [StopReason::Aborted]);
    scene.answer("abort", Value::Null);
    scene.end();
}

#[test]
fn an_old_pi_is_asked_to_clear_its_queue_only_once() {
    let mut scene = Scene::running(1);
    scene.command(2, Command::Abort);
    scene.says(json!({"type": "response", "command": "clear_queue", "success": false, "error": "Unknown command: clear_queue"}));
    scene.assistant("aborted");
    scene.says(json!({"type": "agent_end"}));
    let outputs = scene.answer("abort", Value::Null);
    assert_eq!(settled(&outputs), [StopReason::Aborted], "an old pi answers an abort when it is idle");
    scene.command(3, Command::Abort);
    assert_eq!(scene.written().iter().filter(|line| line["type"] == "clear_queue").count(), 1);
    scene.end();
}

#[test]
fn an_abort_that_comes_before_its_run_begins_ends_the_run_when_it_does() {
    let mut scene = Scene::ready();
    scene.input(1, InputKind::Prompt, "go");
    scene.command(2, Command::Abort);
    let outputs = scene.answer("abort", Value::Null);
    assert_eq!(reply(&outputs, 2), None, "pi was idle: nothing is aborted yet");
    scene.answer("prompt", Value::Null);
    let outputs = scene.says(json!({"type": "agent_start"}));
    assert!(outputs.iter().any(|output| matches!(output, Output::Write(bytes) if bytes.windows(7).any(|part| part == b"\"abort\""))));
    scene.echo("go");
    scene.assistant("aborted");
    scene.says(json!({"type": "agent_end", "willRetry": false}));
    let outputs = scene.says(json!({"type": "agent_settled", "aborted": true}));
    assert_eq!(settled(&outputs), [StopReason::Aborted]);
    assert_eq!(reply(&outputs, 2), Some(Ok(Value::Null)));
    scene.end();
}

#[test]
fn a_slash_command_that_an_extension_dealt_with_is_delivered_and_settled() {
    let mut scene = Scene::ready();
    scene.input(1, InputKind::Prompt, "/ask now");
    let outputs = scene.answer("prompt", json!({"disposition": "handled"}));
    assert_eq!(outputs[0], Output::Taken { token: 1 });
    assert_eq!(outputs[1], Output::Delivered { token: 1 });
    assert_eq!(settled(&outputs), [StopReason::Stop]);
    // Versions without a disposition are asked, twice.
    scene.input(2, InputKind::Prompt, "/ask again");
    assert!(settled(&scene.answer("prompt", Value::Null)).is_empty());
    assert!(settled(&scene.answer_state(json!({}))).is_empty());
    let outputs = scene.answer_state(json!({}));
    assert_eq!(outputs[0], Output::Delivered { token: 2 });
    assert_eq!(settled(&outputs), [StopReason::Stop]);
    scene.end();
}

#[test]
fn a_refused_prompt_is_rejected_with_the_sentence_of_pi_and_no_run_follows() {
    let mut scene = Scene::ready();
    scene.input(1, InputKind::Prompt, "go");
    assert!(scene.pi.is_working());
    let outputs = scene.refuse("prompt", "No API key found for demo.");
    assert!(matches!(&outputs[..], [Output::Rejected { token: 1, error }] if error.message == "No API key found for demo."));
    assert!(!scene.pi.is_working());
    scene.end();
}

#[test]
fn a_summary_a_note_and_a_shell_command_are_messages_of_the_system_and_hidden_notes_are_none() {
    let mut scene = Scene::running(1);
    let text = |outputs: &[Output]| match outputs {
        [Output::Event(Event::MessageEnd { message })] => {
            assert_eq!(message.role, Role::System);
            serde_json::to_value(&message.parts).unwrap()[0]["text"].as_str().unwrap().to_owned()
        }
        other => panic!("{other:?}"),
    };
    let mut says = |message: Value| scene.says(json!({"type": "message_end", "message": message}));
    assert_eq!(text(&says(json!({"role": "compactionSummary", "summary": "so far", "tokensBefore": 5}))), "so far");
    assert_eq!(text(&says(json!({"role": "custom", "customType": "x", "content": "a note", "display": true}))), "a note");
    assert_eq!(text(&says(json!({"role": "bashExecution", "command": "ls", "output": "a", "exitCode": 0}))), "$ ls\na");
    assert!(says(json!({"role": "custom", "content": "hidden", "display": false})).is_empty());
    assert!(says(json!({"role": "system", "content": "", "sections": {}})).is_empty());
    scene.end();
}

#[test]
fn images_of_a_tool_stay_in_its_output() {
    let mut scene = Scene::running(1);
    let content = json!([{"type": "text", "text": "shot"}, {"type": "image", "data": "QUJD", "mimeType": "image/png"}]);
    let call = |more: Value| {
        let mut line = json!({"toolCallId": "t", "toolName": "read"});
        line.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        line
    };
    scene.says(call(json!({"type": "tool_execution_start", "args": {}})));
    scene.now += 40;
    let outputs =
        scene.says(call(json!({"type": "tool_execution_end", "result": {"content": content, "details": {"a": 1}}, "isError": false})));
    let Output::Event(Event::ToolEnd { output, duration_ms, .. }) = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!((output, *duration_ms), (&json!({"content": content, "details": {"a": 1}}), 40));
    let message = call(json!({"role": "toolResult", "content": content, "isError": false}));
    let outputs = scene.says(json!({"type": "message_end", "message": message}));
    let Output::Event(Event::MessageEnd { message }) = &outputs[0] else { panic!("{outputs:?}") };
    assert_eq!((message.role, message.tool_call_id.as_deref()), (Role::Tool, Some("t")));
    assert_eq!(serde_json::to_value(&message.parts).unwrap()[0]["output"]["content"], content);
    scene.end();
}

#[test]
fn a_template_that_pi_expanded_is_still_the_input_that_was_given() {
    let mut scene = Scene::ready();
    scene.input(1, InputKind::Prompt, "/review main");
    scene.answer("prompt", json!({"disposition": "started"}));
    scene.says(json!({"type": "agent_start"}));
    assert_eq!(scene.echo("Review the branch main carefully."), [Output::Delivered { token: 1 }]);
    // What nobody gave is shown.
    let outputs = scene.echo("An extension speaks for the user.");
    assert!(matches!(&outputs[0], Output::Event(Event::MessageEnd { message }) if message.role == Role::User));
    scene.end();
}

#[test]
fn an_old_pi_is_settled_by_two_quiet_answers_and_not_while_it_may_go_on() {
    let mut scene = Scene::running(1);
    scene.assistant("stop");
    scene.says(json!({"type": "agent_end"}));
    assert!(settled(&scene.answer_state(json!({"pendingMessageCount": 1}))).is_empty(), "a queued message follows");
    scene.says(json!({"type": "agent_start"}));
    scene.assistant("stop");
    scene.says(json!({"type": "agent_end"}));
    assert!(settled(&scene.answer_state(json!({}))).is_empty());
    scene.says(json!({"type": "compaction_start", "reason": "threshold"}));
    assert!(settled(&scene.answer_state(json!({}))).is_empty(), "it compacts");
    scene.says(json!({"type": "compaction_end", "reason": "threshold", "result": {"summary": "s"}, "willRetry": true}));
    scene.commands.push(50);
    scene.act(|pi, now, out| pi.probe(50, now, out));
    assert!(settled(&scene.answer_state(json!({}))).is_empty(), "it said that it goes on");
    scene.says(json!({"type": "agent_start"}));
    scene.assistant("stop");
    scene.says(json!({"type": "agent_end"}));
    assert!(settled(&scene.answer_state(json!({}))).is_empty());
    assert_eq!(settled(&scene.answer_state(json!({}))), [StopReason::Stop]);
    assert!(settled(&scene.says(json!({"type": "agent_settled"}))).is_empty(), "never twice");
    scene.end();
}

#[test]
fn a_failed_message_is_discarded_when_it_is_asked_for_again_and_ends_when_not() {
    let mut scene = Scene::running(1);
    let outputs = scene.assistant("error");
    assert!(!outputs.iter().any(|output| matches!(output, Output::Event(Event::MessageEnd { .. }))));
    scene.says(json!({"type": "agent_end", "willRetry": true}));
    let outputs = scene.says(json!({"type": "auto_retry_start", "attempt": 1, "maxAttempts": 2, "delayMs": 200, "errorMessage": "529"}));
    assert!(matches!(&outputs[0], Output::Event(Event::MessageDiscarded { .. })));
    scene.says(json!({"type": "agent_start"}));
    scene.assistant("error");
    scene.says(json!({"type": "agent_end", "willRetry": false}));
    scene.says(json!({"type": "auto_retry_end", "success": false, "attempt": 1, "finalError": "529"}));
    let outputs = scene.says(json!({"type": "agent_settled"}));
    assert!(matches!(&outputs[0], Output::Event(Event::MessageEnd { message }) if message.stop_reason == Some(StopReason::Error)));
    assert_eq!(outputs[1], Output::Settled { reason: StopReason::Error, error: Some("529 overloaded".into()) });
    scene.end();
}

#[test]
fn a_permission_of_our_extension_has_its_options_and_is_answered_by_one() {
    let options = json!([{"option_id": "allow_once", "label": "Allow once", "kind": "allow_once"},
        {"option_id": "deny_once", "label": "Deny", "kind": "deny_once"}]);
    let question = json!({"title": "Allow bash?", "description": "ls", "metadata": {"tool": "bash"}, "options": options});
    let ask = |id: &str| {
        json!({"type": "extension_ui_request", "id": id, "method": "select", "title": format!("{PERMISSION_MARKER}{question}"),
            "options": ["allow_once", "deny_once"]})
    };
    let mut scene = Scene::running(1);
    let outputs = scene.says(ask("p1"));
    let Output::Event(Event::AgentInputNeeded { request: InputRequest::Permission { title, metadata, options, .. } }) = &outputs[0] else {
        panic!("{outputs:?}")
    };
    assert_eq!((title.as_str(), metadata.as_ref().unwrap()["tool"].as_str()), ("Allow bash?", Some("bash")));
    assert_eq!(options.as_ref().unwrap().len(), 2);
    let respond = |request_id: &str, answer: InputAnswer| Command::InputResponse { request_id: request_id.into(), answer };
    let wrong = scene.command(2, respond("p1", InputAnswer { option_id: Some("nonsense".into()), ..InputAnswer::default() }));
    assert_eq!(reply(&wrong, 2), Some(Err(ErrorCode::InvalidRequest)));
    let right = scene.command(3, respond("p1", InputAnswer { option_id: Some("deny_once".into()), ..InputAnswer::default() }));
    assert_eq!(reply(&right, 3), Some(Ok(Value::Null)));
    assert_eq!(scene.written().pop().unwrap(), json!({"type": "extension_ui_response", "id": "p1", "value": "deny_once"}));
    let again = scene.command(4, respond("p1", InputAnswer { confirmed: Some(true), ..InputAnswer::default() }));
    assert_eq!(reply(&again, 4), Some(Err(ErrorCode::InvalidRequest)), "the first answer wins");
    scene.says(ask("p2"));
    scene.command(5, respond("p2", InputAnswer { confirmed: Some(true), ..InputAnswer::default() }));
    assert_eq!(scene.written().pop().unwrap()["value"], "allow_once");
    scene.end();
}

#[test]
fn a_question_with_a_time_limit_is_over_when_that_has_passed() {
    let mut scene = Scene::running(1);
    scene.says(json!({"type": "extension_ui_request", "id": "t", "method": "select", "title": "Pick", "options": ["a"], "timeout": 700}));
    scene.now += 699;
    assert!(scene.says(json!({"type": "turn_start"})).is_empty());
    scene.now += 1;
    let outputs = scene.says(json!({"type": "turn_start"}));
    assert_eq!(outputs, [Output::Event(Event::AgentInputResolved { request_id: "t".into(), by: Some("timeout".into()) })]);
    scene.end();
}

#[test]
fn queries_in_flight_at_once_each_get_their_own_answer_in_any_order() {
    let mut scene = Scene::ready();
    scene.command(1, Command::GetForkPoints);
    scene.command(2, Command::GetCommands);
    scene.command(3, Command::SetModel { provider: "a".into(), model_id: "b".into() });
    scene.command(4, Command::SetModel { provider: "c".into(), model_id: "d".into() });
    let ids: Vec<Value> = scene.written().iter().map(|line| line["id"].clone()).collect();
    let unique: std::collections::HashSet<String> = ids.iter().map(Value::to_string).collect();
    assert_eq!(unique.len(), ids.len());
    let outputs = scene.answer("set_model", json!({"id": "d", "provider": "c"}));
    assert_eq!(reply(&outputs, 4), Some(Ok(json!({"provider": "c", "model_id": "d"}))));
    let outputs = scene.answer("get_commands", json!({"commands": [{"name": "x", "source": "skill"}]}));
    assert_eq!(reply(&outputs, 2), Some(Ok(json!([{"name": "x", "description": "", "type": "skill"}]))));
    let outputs = scene.answer("get_fork_messages", json!({"messages": [{"entryId": "e", "text": "hi"}]}));
    assert_eq!(reply(&outputs, 1), Some(Ok(json!([{"entry_id": "e", "role": "user", "preview": "hi"}]))));
    let first = ids[ids.len() - 2].clone();
    let outputs =
        scene.says(json!({"id": first, "type": "response", "command": "set_model", "success": false, "error": "Model not found: a/b"}));
    assert_eq!(reply(&outputs, 3), Some(Err(ErrorCode::InvalidRequest)));
    assert!(scene.says(json!({"id": "octo-999", "type": "response", "command": "x", "success": true})).is_empty());
    assert!(scene.says(json!({"id": 7, "type": "response", "command": "x", "success": true})).is_empty());
    assert_eq!(reply(&scene.command(5, Command::ListSessions), 5), Some(Err(ErrorCode::Unsupported)));
    scene.end();
}

#[test]
fn a_thinking_level_is_answered_as_the_model_took_it() {
    let mut scene = Scene::ready();
    scene.command(1, Command::SetThinkingLevel { level: octo_protocol::ThinkingLevel::Xhigh });
    assert_eq!(reply(&scene.answer("set_thinking_level", Value::Null), 1), None);
    let outputs = scene.answer_state(json!({"thinkingLevel": "high"}));
    assert_eq!(reply(&outputs, 1), Some(Ok(json!({"level": "high"}))));
    assert!(matches!(outputs[0], Output::Event(Event::ThinkingLevelChanged { .. })));
    scene.end();
}

#[test]
fn a_denial_is_given_with_its_reason() {
    let mut scene = Scene::running(1);
    let question = json!({"title": "Allow bash?", "metadata": {"tool": "bash", "command": "ls"},
        "options": [{"option_id": "allow_once", "label": "y", "kind": "allow_once"}, {"option_id": "deny_once", "label": "n", "kind": "deny_once"}]});
    let ask = |id: &str| json!({"type": "extension_ui_request", "id": id, "method": "select", "title": format!("octo:permission:{question}"), "options": []});
    let answer = |id: &str, allowed| Command::InputResponse {
        request_id: id.into(),
        answer: InputAnswer { confirmed: Some(allowed), value: Some("not\nnow".into()), ..InputAnswer::default() },
    };
    for (token, id, allowed, value) in [(2, "a", false, "deny_once\nnot\nnow"), (3, "b", true, "allow_once")] {
        scene.says(ask(id));
        scene.command(token, answer(id, allowed));
        assert_eq!(scene.written().pop().unwrap()["value"], value);
    }
    scene.end();
}

#[test]
fn a_death_closes_everything_and_says_why() {
    let mut scene = Scene::running(1);
    scene.says(json!({"type": "message_start", "message": {"role": "assistant"}}));
    scene.says(json!({"type": "tool_execution_start", "toolCallId": "t", "toolName": "bash", "args": {}}));
    scene.says(json!({"type": "extension_ui_request", "id": "q", "method": "input", "title": "?"}));
    scene.command(2, Command::GetStats);
    scene.input(4, InputKind::Steer, "queued");
    scene.answer("prompt", json!({"disposition": "queued"}));
    scene.input(3, InputKind::Steer, "unanswered");
    scene.input(5, InputKind::Steer, "kept back");
    let report = ExitReport { signal: Some(9), stderr_tail: "a\n\nOut of memory\n".into(), ..ExitReport::default() };
    let outputs = scene.exit(report);
    let sentence = "pi was ended by signal 9: a / Out of memory";
    assert!(outputs.contains(&Output::Settled { reason: StopReason::Error, error: Some(sentence.into()) }));
    assert!(outputs.contains(&Output::Event(Event::AgentInputResolved { request_id: "q".into(), by: Some("agent_exit".into()) })));
    assert!(outputs.contains(&Output::Returned { token: 4 }) && outputs.contains(&Output::Returned { token: 5 }));
    assert_eq!(reply(&outputs, 2), Some(Err(ErrorCode::AgentFailed)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Rejected { token: 3, error } if error.code == ErrorCode::AgentFailed)));
}

#[test]
fn an_end_that_was_asked_for_is_no_error() {
    let mut scene = Scene::running(1);
    let outputs = scene.act(|pi, now, out| pi.exited(&ExitReport { code: Some(143), expected: true, ..ExitReport::default() }, now, out));
    assert_eq!(settled(&outputs), [StopReason::Aborted]);
    assert!(!scene.pi.is_working());
    let outputs = scene.command(5, Command::GetStats);
    assert_eq!(reply(&outputs, 5), Some(Err(ErrorCode::AgentFailed)));
    let outputs = scene.input(6, InputKind::Prompt, "hello?");
    assert!(matches!(outputs[0], Output::Rejected { token: 6, .. }));
}

#[test]
fn a_run_that_was_shown_settles_although_pi_dies_before_it_takes_the_prompt() {
    let mut scene = Scene::ready();
    let token = 77;
    scene.inputs.push(token);
    let input = Input { token, kind: InputKind::Prompt, message: "p".into(), images: Vec::new() };
    scene.act(|pi, now, out| pi.input(input, now, out));
    let shown = scene.says(json!({"type": "message_update", "assistantMessageEvent": {"type": "text_start", "contentIndex": 0}}));
    assert!(shown.iter().any(|output| matches!(output, Output::Event(Event::AgentWorking { .. }))), "{shown:?}");
    let outputs = scene.act(|pi, now, out| pi.exited(&ExitReport { code: Some(1), ..ExitReport::default() }, now, out));
    assert!(outputs.iter().any(|output| matches!(output, Output::Rejected { token: 77, .. })), "{outputs:?}");
    assert!(matches!(outputs.last(), Some(Output::Settled { reason: StopReason::Error, .. })), "{outputs:?}");
    check("shown", &scene.all, &scene.inputs, &scene.commands);
}

#[test]
fn a_run_that_was_shown_settles_although_pi_refuses_the_prompt() {
    let mut scene = Scene::ready();
    scene.inputs.push(77);
    let input = Input { token: 77, kind: InputKind::Prompt, message: "p".into(), images: Vec::new() };
    scene.act(|pi, now, out| pi.input(input, now, out));
    scene.says(json!({"type": "compaction_start", "reason": "threshold"}));
    scene.says(json!({"type": "tool_execution_start", "toolCallId": "t", "toolName": "n"}));
    let id = scene.id("prompt");
    let outputs = scene.says(json!({"id": id, "type": "response", "command": "prompt", "success": false, "error": "no api key"}));
    assert!(matches!(outputs.first(), Some(Output::Rejected { token: 77, .. })), "{outputs:?}");
    assert!(matches!(outputs.last(), Some(Output::Settled { .. })), "{outputs:?}");
    scene.act(|pi, now, out| pi.exited(&ExitReport { code: Some(1), ..ExitReport::default() }, now, out));
    check("shown", &scene.all, &scene.inputs, &scene.commands);
}
