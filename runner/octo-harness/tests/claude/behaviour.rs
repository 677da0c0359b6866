//! What the harness does, step by step.

use crate::scene::{Scene, messages, names, options, reply, settled, written};
use octo_harness::{ExitReport, Harness, Input, Output, StartOptions};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::{ImageInput, Role, StopReason};
use octo_protocol::{Command, ErrorCode, InputAnswer, InputRequest, ThinkingLevel};
use serde_json::{Value, json};

fn option(id: &str) -> InputAnswer {
    InputAnswer { option_id: Some(id.to_owned()), ..InputAnswer::default() }
}

fn value(text: &str) -> InputAnswer {
    InputAnswer { value: Some(text.to_owned()), ..InputAnswer::default() }
}

#[test]
fn requests_of_claude_code_are_answered_before_the_handshake_is_done() {
    let mut scene = Scene::fresh(options());
    let request = json!({"subtype": "mcp_message", "server_name": "x", "message": {"method": "initialize"}});
    let refused = written(&scene.says(json!({"type": "control_request", "request_id": "m", "request": request})));
    assert_eq!((&refused[0]["response"]["subtype"], &refused[0]["response"]["request_id"]), (&json!("error"), &json!("m")));
    let request = json!({"subtype": "hook_callback", "callback_id": "h", "input": {}});
    let hook = written(&scene.says(json!({"type": "control_request", "request_id": "h", "request": request})));
    assert_eq!(hook[0]["response"]["response"], json!({"continue": true}));
    let outputs = scene.answer("initialize", json!({"commands": [{"name": "compact", "description": "shorter"}]}));
    assert!(outputs.contains(&Output::Ready));
    let commands = scene.command(1, Command::GetCommands);
    assert_eq!(reply(&commands, 1), Some(Ok(json!([{"name": "compact", "description": "shorter", "type": "command"}]))));
    scene.end();
}

#[test]
fn a_continued_conversation_gives_its_handle_at_once_and_one_that_is_gone_takes_it_back() {
    let resumed = StartOptions { resume: Some("s-9".into()), ..options() };
    let mut scene = Scene::fresh(resumed.clone());
    assert!(scene.answer("initialize", json!({})).contains(&Output::Resume("s-9".into())));
    scene.end();

    let mut scene = Scene::fresh(resumed);
    let outputs = scene.result(json!({"is_error": true, "result": null, "errors": ["No conversation found with session ID: s-9"]}));
    assert!(outputs.contains(&Output::Resume(String::new())));
    assert!(matches!(&outputs[0], Output::Event(Event::Notify { message, .. }) if message.contains("a new one begins")), "{outputs:?}");
    scene.exit(ExitReport { code: Some(1), ..ExitReport::default() });
}

#[test]
fn the_handle_comes_with_the_first_message_of_the_model_and_a_new_one_after_clear() {
    let mut scene = Scene::running(1);
    assert!(!scene.all.iter().any(|output| matches!(output, Output::Resume(_))));
    assert!(scene.text("m1", "hello").contains(&Output::Resume("s-1".into())));
    scene.result(json!({}));
    scene.input(2, InputKind::Prompt, "/clear");
    scene.turn(2);
    scene.says(json!({"type": "system", "subtype": "init", "session_id": "s-2", "model": "scripted"}));
    let outputs = scene.result(json!({"session_id": "s-2", "local_command": "clear", "result": ""}));
    assert!(outputs.contains(&Output::Resume("s-2".into())));
    assert_eq!(settled(&outputs), [(StopReason::Stop, None)]);
    scene.end();
}

#[test]
fn an_input_is_taken_when_it_is_queued_and_delivered_when_its_turn_starts() {
    let mut scene = Scene::ready();
    let written = written(&scene.input(1, InputKind::Prompt, "go"));
    assert_eq!(written[0]["message"], json!({"role": "user", "content": "go"}));
    assert!(written[0]["uuid"].as_str().unwrap().len() == 36 && written[0]["priority"].is_null());
    assert_eq!(scene.lifecycle(1, "queued"), [Output::Taken { token: 1 }]);
    assert!(scene.lifecycle(1, "started").contains(&Output::Delivered { token: 1 }));
    scene.text("m", "hello");
    assert_eq!(settled(&scene.result(json!({}))), [(StopReason::Stop, None)]);
    assert!(scene.lifecycle(1, "completed").is_empty());
    scene.end();
}

#[test]
fn images_go_with_a_prompt() {
    let mut scene = Scene::ready();
    let images = vec![ImageInput { data: "QUJD".into(), media_type: "image/png".into() }];
    let input = Input { token: 1, kind: InputKind::Prompt, message: "see".into(), images };
    let outputs = scene.act(|claude, now, out| claude.input(input, now, out));
    let content = written(&outputs)[0]["message"]["content"].clone();
    let source = json!({"type": "base64", "media_type": "image/png", "data": "QUJD"});
    assert_eq!(content, json!([{"type": "text", "text": "see"}, {"type": "image", "source": source}]));
}

#[test]
fn a_steer_message_joins_the_turn_and_one_that_does_not_makes_the_run_longer() {
    let mut scene = Scene::running(1);
    scene.calls("m1", "t1", "Bash", json!({"command": "ls"}));
    let line = written(&scene.input(2, InputKind::Steer, "left"));
    assert!(line[0]["priority"].is_null());
    scene.lifecycle(2, "queued");
    scene.tool_result("t1", "a\nb");
    assert!(scene.lifecycle(2, "started").contains(&Output::Delivered { token: 2 }));
    scene.message_start("m2");
    // Too late for this turn.
    scene.input(3, InputKind::Steer, "right");
    scene.lifecycle(3, "queued");
    scene.block("m2", json!({"type": "text", "text": "done"}));
    scene.stream(json!({"type": "message_stop"}));
    assert!(settled(&scene.result(json!({"queued_turn_count": 1}))).is_empty());
    assert!(scene.claude.is_working());
    assert!(scene.lifecycle(3, "started").contains(&Output::Delivered { token: 3 }));
    scene.text("m3", "turned right");
    assert_eq!(settled(&scene.result(json!({}))), [(StopReason::Stop, None)]);
    scene.end();
}

#[test]
fn a_follow_up_that_comes_while_a_turn_runs_is_kept_for_a_turn_of_its_own() {
    let mut scene = Scene::running(1);
    assert_eq!(written(&scene.input(2, InputKind::FollowUp, "then"))[0]["priority"], "later");
    scene.end();
}

#[test]
fn an_abort_gives_queued_messages_back_and_is_answered_when_the_run_is_over() {
    let mut scene = Scene::running(1);
    scene.message_start("m1");
    scene.delta("word ");
    scene.input(2, InputKind::Steer, "left");
    scene.lifecycle(2, "queued");
    let lines = written(&scene.command(9, Command::Abort));
    assert_eq!(lines[0]["request"], json!({"subtype": "interrupt", "cancel_queued": true}));
    assert_eq!(scene.lifecycle(2, "cancelled"), [Output::Returned { token: 2 }]);
    assert_eq!(reply(&scene.answer("interrupt", json!({"still_queued": []})), 9), None);
    scene.says(json!({"type": "assistant", "aborted": true, "parent_tool_use_id": null,
        "message": {"id": "m1", "content": [{"type": "text", "text": "word "}]}}));
    scene
        .says(json!({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "[Request interrupted by user]"}]}}));
    let ended = scene.says(json!({"type": "stream_event", "event": {"type": "message_stop"}, "abandoned_blocks": {"from_block_index": 1}}));
    assert_eq!(messages(&ended)[0].stop_reason, Some(StopReason::Aborted));
    let over = scene.aborted();
    assert_eq!(settled(&over), [(StopReason::Aborted, None)]);
    assert_eq!(reply(&over, 9), Some(Ok(Value::Null)));
    // What is said of the message that was aborted is not a message that came back.
    assert!(scene.lifecycle(1, "cancelled").is_empty());
    scene.end();
}

#[test]
fn an_abort_before_the_turn_began_returns_the_prompt_and_settles() {
    let mut scene = Scene::ready();
    scene.input(1, InputKind::Prompt, "go");
    scene.command(9, Command::Abort);
    scene.lifecycle(1, "queued");
    let cancelled = scene.lifecycle(1, "cancelled");
    assert!(cancelled.contains(&Output::Returned { token: 1 }));
    assert_eq!(settled(&cancelled), [(StopReason::Aborted, None)]);
    assert_eq!(reply(&scene.answer("interrupt", json!({"cancelled": ["x"]})), 9), Some(Ok(Value::Null)));
    scene.end();
}

#[test]
fn an_abort_that_nothing_runs_for_is_answered_at_once() {
    let mut scene = Scene::ready();
    scene.command(9, Command::Abort);
    assert_eq!(reply(&scene.answer("interrupt", json!({})), 9), Some(Ok(Value::Null)));
    scene.end();
}

#[test]
fn a_turn_that_begins_after_the_interrupt_that_was_to_end_it_is_interrupted_too() {
    let mut scene = Scene::running(1);
    scene.input(2, InputKind::Steer, "left");
    scene.lifecycle(2, "queued");
    scene.command(9, Command::Abort);
    scene.answer("interrupt", json!({}));
    // An older one that does not cancel what is queued.
    assert!(settled(&scene.aborted()).is_empty());
    assert_eq!(written(&scene.lifecycle(2, "started"))[0]["request"]["subtype"], "interrupt");
    let over = scene.aborted();
    assert_eq!(settled(&over), [(StopReason::Aborted, None)]);
    assert_eq!(reply(&over, 9), Some(Ok(Value::Null)));
    scene.answer("interrupt", json!({}));
    scene.end();
}

#[test]
fn a_permission_shows_what_is_asked_for_and_is_answered_once_always_or_not() {
    let rule = json!({"type": "addRules", "rules": [{"toolName": "Bash", "ruleContent": "ls *"}], "behavior": "allow", "destination": "localSettings"});
    let ask = json!({"tool_name": "Bash", "input": {"command": "ls -1"}, "description": "list", "tool_use_id": "t1",
        "permission_suggestions": [rule, {"type": "setMode", "mode": "acceptEdits", "destination": "session"}]});
    let mut always = rule.clone();
    always["destination"] = "session".into();
    let cases = [
        ("allow_once", json!({"behavior": "allow", "updatedInput": {"command": "ls -1"}})),
        ("allow_always", json!({"behavior": "allow", "updatedInput": {"command": "ls -1"}, "updatedPermissions": [always]})),
        ("deny_once", json!({"behavior": "deny", "message": "The user refused."})),
    ];
    for (chosen, response) in cases {
        let mut scene = Scene::running(1);
        scene.calls("m1", "t1", "Bash", json!({"command": "ls -1"}));
        let asked = scene.asks("p1", ask.clone());
        let Output::Event(Event::AgentInputNeeded { request: InputRequest::Permission { title, metadata, .. } }) = &asked[0] else {
            panic!("{asked:?}")
        };
        assert_eq!(title, "Allow Bash?");
        assert_eq!(metadata, &Some(json!({"tool": "Bash", "command": "ls -1", "tool_call_id": "t1"})));
        assert_eq!(scene.claude.state().pending_input.len(), 1);
        let answered = scene.respond(2, "p1", option(chosen));
        assert_eq!(written(&answered)[0]["response"]["response"], response);
        assert_eq!(reply(&answered, 2), Some(Ok(Value::Null)));
        assert!(scene.claude.state().pending_input.is_empty());
        // The first answer wins.
        assert_eq!(reply(&scene.respond(3, "p1", option("deny_once")), 3), Some(Err(ErrorCode::InvalidRequest)));
        scene.end();
    }
}

#[test]
fn an_answer_that_does_not_fit_leaves_the_question_open() {
    let mut scene = Scene::running(1);
    scene.asks("p1", json!({"tool_name": "Bash", "input": {"command": "ls"}}));
    for (token, answer) in [(2, option("allow_always")), (3, InputAnswer::default()), (4, value("yes"))] {
        assert_eq!(reply(&scene.respond(token, "p1", answer), token), Some(Err(ErrorCode::InvalidRequest)));
    }
    assert_eq!(written(&scene.respond(5, "p1", InputAnswer { cancelled: Some(true), ..InputAnswer::default() })).len(), 1);
    scene.end();
}

#[test]
fn questions_of_one_call_are_asked_in_turn_and_their_answers_put_where_claude_code_expects_them() {
    let questions = json!([
        {"question": "Which?", "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": ""}], "multiSelect": false},
        {"question": "Several?", "options": [{"label": "A", "description": ""}, {"label": "B", "description": ""}], "multiSelect": true},
    ]);
    let mut scene = Scene::running(1);
    scene.asks("q1", json!({"tool_name": "AskUserQuestion", "input": {"questions": questions}}));
    let next = scene.respond(2, "q1", value("Red: warm"));
    assert!(written(&next).is_empty());
    assert_eq!(names(&next), ["agent.input_resolved", "agent.input_needed"]);
    let done = scene.respond(3, "q1.1", value("A, B"));
    let response = written(&done)[0]["response"]["response"].clone();
    assert_eq!(response["behavior"], "allow");
    assert_eq!(response["updatedInput"], json!({"questions": questions, "answers": {"Which?": "Red", "Several?": "A, B"}}));
    scene.end();
}

#[test]
fn a_plan_is_a_question_with_the_plan_in_it() {
    let mut scene = Scene::running(1);
    scene.calls("m1", "t1", "ExitPlanMode", json!({"plan": "1. do it"}));
    let asked = scene.asks("q1", json!({"tool_name": "ExitPlanMode", "input": {}, "tool_use_id": "t1"}));
    assert!(
        matches!(&asked[0], Output::Event(Event::AgentInputNeeded { request: InputRequest::Confirm { message, .. } }) if message == "1. do it")
    );
    let no = InputAnswer { confirmed: Some(false), value: Some("smaller steps".into()), ..InputAnswer::default() };
    assert_eq!(written(&scene.respond(2, "q1", no))[0]["response"]["response"], json!({"behavior": "deny", "message": "smaller steps"}));
    scene.asks("q2", json!({"tool_name": "ExitPlanMode", "input": {"plan": "1. a"}, "tool_use_id": "t1"}));
    let yes = InputAnswer { confirmed: Some(true), ..InputAnswer::default() };
    let answer = written(&scene.respond(3, "q2", yes))[0]["response"]["response"].clone();
    assert_eq!(answer, json!({"behavior": "allow", "updatedInput": {"plan": "1. a"}}));
    scene.end();
}

#[test]
fn a_question_that_is_withdrawn_or_left_behind_is_closed() {
    let mut scene = Scene::running(1);
    scene.asks("p1", json!({"tool_name": "Bash", "input": {"command": "ls"}}));
    let withdrawn = scene.says(json!({"type": "control_cancel_request", "request_id": "p1"}));
    assert_eq!(names(&withdrawn), ["agent.input_resolved"]);
    scene.asks("p2", json!({"tool_name": "Bash", "input": {"command": "ls"}}));
    let over = scene.result(json!({}));
    assert_eq!(names(&over), ["agent.input_resolved"]);
    // Nobody is left waiting for it.
    assert_eq!(written(&over)[0]["response"]["response"]["behavior"], "deny");
    scene.end();
}

#[test]
fn a_message_of_which_nothing_was_finished_is_discarded_and_the_next_stands() {
    let mut scene = Scene::running(1);
    scene.message_start("m1");
    scene.delta("one ");
    let cut = scene.says(json!({"type": "stream_event", "event": {"type": "message_stop"}, "abandoned_blocks": {"from_block_index": 0}}));
    assert_eq!(names(&cut), ["stream.message_discarded"]);
    let retry = scene.says(json!({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 5, "retry_delay_ms": 500,
        "error_status": null, "error": "unknown"}));
    assert_eq!(names(&retry), ["retry.start", "agent.working"]);
    let whole = scene.text("m2", "one two");
    assert_eq!(names(&whole)[0], "retry.end");
    assert_eq!(messages(&whole).len(), 1);
    scene.result(json!({}));
    scene.end();
}

#[test]
fn a_message_that_broke_off_later_is_discarded_when_it_is_asked_for_again_and_stays_when_not() {
    for again in [true, false] {
        let mut scene = Scene::running(1);
        scene.message_start("m1");
        scene.block("m1", json!({"type": "thinking", "thinking": "hm"}));
        let cut = json!({"type": "stream_event", "event": {"type": "message_stop"}, "abandoned_blocks": {"from_block_index": 1}});
        assert!(names(&scene.says(cut)).is_empty(), "it is held");
        if again {
            let retry = scene.says(json!({"type": "system", "subtype": "api_retry", "attempt": 1, "error": "overloaded"}));
            assert_eq!(names(&retry)[0], "stream.message_discarded");
        } else {
            let notice =
                json!({"type": "user", "message": {"role": "user", "content": [{"type": "text", "text": "cut off"}]}, "isSynthetic": true});
            assert_eq!(names(&scene.says(notice)), ["stream.message_end"]);
        }
        scene.text("m2", "answer");
        assert_eq!(settled(&scene.result(json!({}))).len(), 1);
        scene.end();
    }
}

#[test]
fn is_error_is_the_truth_and_the_report_of_a_failed_request_is_no_text() {
    let mut scene = Scene::running(1);
    scene.says(json!({"type": "system", "subtype": "api_retry", "attempt": 1, "max_retries": 1, "retry_delay_ms": 5, "error_status": 529,
        "error": "overloaded"}));
    scene.says(json!({"type": "assistant", "is_api_error_message": true, "message": {"id": "x", "model": "<synthetic>",
        "content": [{"type": "text", "text": "API Error: 529"}]}}));
    let over = scene.result(json!({"is_error": true, "terminal_reason": "api_error", "result": "API Error: 529"}));
    let failed = &messages(&over)[0];
    assert_eq!((failed.stop_reason, failed.parts.len()), (Some(StopReason::Error), 0));
    assert_eq!(failed.metadata, Some(json!({"error": "API Error: 529"})));
    assert!(names(&over).contains(&"retry.end"));
    assert_eq!(settled(&over), [(StopReason::Error, Some("API Error: 529".into()))]);
    scene.end();
}

#[test]
fn the_result_of_a_tool_comes_after_the_message_that_calls_it() {
    let mut scene = Scene::running(1);
    scene.message_start("m1");
    scene.block("m1", json!({"type": "tool_use", "id": "t1", "name": "Read", "input": {"file_path": "/a"}}));
    assert!(scene.tool_result("t1", "text").is_empty(), "it waits");
    let ended = scene.stream(json!({"type": "message_stop"}));
    assert_eq!(names(&ended), ["stream.message_end", "tool.start", "tool.end", "stream.message_end", "agent.working"][..4].to_vec());
    let roles: Vec<Role> = messages(&ended).iter().map(|message| message.role).collect();
    assert_eq!(roles, [Role::Assistant, Role::Tool]);
    scene.result(json!({}));
    scene.end();
}

#[test]
fn the_change_of_a_file_is_in_the_output_of_its_tool() {
    let mut scene = Scene::running(1);
    scene.calls("m1", "t1", "Edit", json!({"file_path": "/a"}));
    let hunk = json!({"oldStart": 1, "oldLines": 2, "newStart": 1, "newLines": 2, "lines": [" one", "-two", "+2"]});
    let outputs = scene.says(
        json!({"type": "user", "message": {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "updated"}]},
        "tool_use_result": {"originalFile": "one\ntwo\n", "structuredPatch": [hunk]}}),
    );
    let Some(Output::Event(Event::ToolEnd { output, .. })) = outputs.first() else { panic!("{outputs:?}") };
    assert_eq!(
        output,
        &json!({"content": [{"type": "text", "text": "updated"}], "details": {"diff": "@@ -1,2 +1,2 @@\n one\n-two\n+2\n"}})
    );
    scene.result(json!({}));
    scene.end();
}

#[test]
fn what_a_sub_agent_says_is_the_progress_of_its_tool() {
    let mut scene = Scene::running(1);
    scene.calls("m1", "t1", "Task", json!({"prompt": "sub"}));
    let said = scene.says(json!({"type": "assistant", "message": {"id": "s1", "content": [{"type": "text", "text": "sub says"}]}, "parent_tool_use_id": "t1"}));
    assert!(matches!(&said[..], [Output::Event(Event::ToolProgress { tool_call_id, .. })] if tool_call_id == "t1"), "{said:?}");
    let stream = json!({"type": "message_start", "message": {"id": "s2"}});
    assert!(scene.says(json!({"type": "stream_event", "event": stream, "parent_tool_use_id": "t1"})).is_empty());
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "other", "content": "x"}]});
    assert!(scene.says(json!({"type": "user", "message": result, "parent_tool_use_id": "t1"})).is_empty());
    assert_eq!(names(&scene.tool_result("t1", "sub done"))[0], "tool.end");
    scene.result(json!({}));
    scene.end();
}

#[test]
fn a_turn_that_claude_code_begins_by_itself_is_a_run() {
    let mut scene = Scene::ready();
    let began = scene.says(json!({"type": "system", "subtype": "init", "session_id": "s-1"}));
    assert_eq!(names(&began), ["agent.working"]);
    scene.text("m1", "the work in the background is done");
    assert_eq!(settled(&scene.result(json!({}))), [(StopReason::Stop, None)]);
    scene.end();
}

#[test]
fn a_compaction_on_command_is_no_run_and_is_answered_by_its_end() {
    let mut scene = Scene::ready();
    let line = written(&scene.command(1, Command::Compact { instructions: Some("be\nshort".into()) }));
    assert_eq!(line[0]["message"]["content"], "/compact be short");
    assert_eq!(reply(&scene.command(2, Command::Compact { instructions: None }), 2), Some(Err(ErrorCode::Busy)));
    let uuid = line[0]["uuid"].clone();
    scene.says(json!({"type": "command_lifecycle", "command_uuid": uuid, "state": "started"}));
    assert_eq!(names(&scene.says(json!({"type": "system", "subtype": "status", "status": "compacting"}))), ["compact.start"]);
    assert!(scene.claude.state().is_compacting && !scene.claude.is_working());
    scene.says(json!({"type": "system", "subtype": "status", "status": null, "compact_result": "success"}));
    scene.says(json!({"type": "system", "subtype": "init", "session_id": "s-1"}));
    scene.says(json!({"type": "system", "subtype": "compact_boundary", "compact_metadata": {"trigger": "manual", "pre_tokens": 900}}));
    let summary = scene.says(json!({"type": "user", "isSynthetic": true, "message": {"role": "user", "content": "in short"}}));
    let Output::Event(Event::CompactEnd { success, summary, tokens_before, .. }) = &summary[0] else { panic!("{summary:?}") };
    assert_eq!((*success, summary.as_deref(), *tokens_before), (true, Some("in short"), Some(900)));
    scene.says(json!({"type": "user", "isReplay": true, "message": {"role": "user", "content": "<local-command-stdout>Compacted </local-command-stdout>"}}));
    let over = scene.result(json!({"local_command": "compact", "user_message_uuid": uuid, "result": ""}));
    assert_eq!(reply(&over, 1), Some(Ok(Value::Null)));
    assert!(settled(&over).is_empty());
    scene.end();
}

#[test]
fn a_compaction_that_fails_says_why() {
    let mut scene = Scene::running(1);
    assert_eq!(reply(&scene.command(5, Command::Compact { instructions: None }), 5), Some(Err(ErrorCode::Busy)));
    scene.says(json!({"type": "system", "subtype": "status", "status": "compacting"}));
    let failed =
        scene.says(json!({"type": "system", "subtype": "status", "status": null, "compact_result": "failed", "compact_error": "no key"}));
    assert!(matches!(&failed[0], Output::Event(Event::CompactEnd { success: false, error: Some(error), .. }) if error == "no key"));
    scene.result(json!({"is_error": true, "result": "Prompt is too long"}));
    scene.end();
}

#[test]
fn a_model_is_set_within_its_provider_and_thinking_by_budget_and_effort() {
    let mut scene = Scene::ready();
    let other = scene.command(1, Command::SetModel { provider: "else".into(), model_id: "m".into() });
    assert_eq!(reply(&other, 1), Some(Err(ErrorCode::InvalidState)));
    scene.command(2, Command::SetModel { provider: "demo".into(), model_id: "m".into() });
    let printed = json!({"role": "user", "content": "<local-command-stdout>Set model to `m`</local-command-stdout>"});
    assert!(scene.says(json!({"type": "user", "isReplay": true, "message": printed})).is_empty());
    let set = scene.answer("set_model", json!({"model": "m"}));
    assert_eq!(names(&set), ["config.model_changed"]);
    assert_eq!(reply(&set, 2), Some(Ok(json!({"provider": "demo", "model_id": "m"}))));

    scene.command(3, Command::SetThinkingLevel { level: ThinkingLevel::Off });
    assert_eq!(scene.request("set_max_thinking_tokens")["request"]["max_thinking_tokens"], 0);
    scene.answer("set_max_thinking_tokens", json!({}));
    assert_eq!(reply(&scene.answer("apply_flag_settings", json!({})), 3), Some(Ok(json!({"level": "off"}))));
    scene.command(4, Command::CycleThinkingLevel);
    assert_eq!(scene.request("apply_flag_settings")["request"]["settings"], json!({"effortLevel": "low"}));
    assert_eq!(reply(&scene.answer("apply_flag_settings", json!({})), 4), Some(Ok(json!({"level": "low"}))));
    scene.command(5, Command::SetThinkingLevel { level: ThinkingLevel::High });
    assert_eq!(reply(&scene.refuse("apply_flag_settings", "no such request", "unsupported_request"), 5), Some(Err(ErrorCode::Unsupported)));
    scene.end();
}

#[test]
fn a_level_that_was_chosen_before_is_set_when_it_is_ready() {
    let mut scene = Scene::fresh(StartOptions { thinking: Some(ThinkingLevel::Minimal), ..options() });
    scene.answer("initialize", json!({}));
    assert_eq!(scene.request("apply_flag_settings")["request"]["settings"], json!({"effortLevel": "low"}));
    scene.answer("apply_flag_settings", json!({}));
    assert_eq!(scene.claude.state().thinking_level, ThinkingLevel::Low);
    scene.end();
}

#[test]
fn a_probe_is_answered_by_whatever_answers_and_what_it_cannot_do_is_unsupported() {
    let mut scene = Scene::ready();
    scene.probe(1);
    assert_eq!(reply(&scene.refuse("get_session_cost", "what?", "unsupported_request"), 1), Some(Ok(Value::Null)));
    let cannot = [Command::CycleModel, Command::SetAutoRetry { enabled: true }, Command::AbortRetry];
    for (token, command) in (2..).zip(cannot) {
        assert!(!scene.claude.capabilities().iter().any(|known| known == command.name()), "{}", command.name());
        assert_eq!(reply(&scene.command(token, command), token), Some(Err(ErrorCode::Unsupported)));
    }
    scene.end();
}

#[test]
fn usage_is_what_the_turn_spent_and_a_guessed_price_is_none() {
    let mut scene = Scene::running(1);
    scene.text("m1", "hello");
    let used = |input: u64, basis: &str| json!({"m": {"inputTokens": input, "outputTokens": 5, "cacheReadInputTokens": 1, "costUSD": 0.5, "costBasis": basis}});
    let over = scene.result(json!({"modelUsage": used(30, "list"), "model_usage_since_last_result": used(10, "list")}));
    let usage = |outputs: &[Output]| {
        outputs.iter().find_map(|o| {
            if let Output::Event(Event::Usage { usage, session_total }) = o { Some((usage.clone(), session_total.clone())) } else { None }
        })
    };
    let (turn, total) = usage(&over).unwrap();
    assert_eq!((turn.input_tokens, turn.cost_usd, total.input_tokens), (10, Some(0.5), 30));
    scene.input(2, InputKind::Prompt, "more");
    scene.turn(2);
    let over = scene.result(json!({"modelUsage": used(40, "unknown"), "model_usage_since_last_result": used(10, "unknown")}));
    let (turn, total) = usage(&over).unwrap();
    assert_eq!((turn.cost_usd, total.input_tokens), (None, 40));
    scene.end();
}

#[test]
fn a_death_closes_everything_and_says_why() {
    let mut scene = Scene::running(1);
    scene.calls("m1", "t1", "Bash", json!({"command": "sleep 9"}));
    scene.asks("p1", json!({"tool_name": "Bash", "input": {"command": "ls"}}));
    scene.message_start("m2");
    scene.delta("half");
    scene.input(2, InputKind::Steer, "left");
    scene.lifecycle(2, "queued");
    scene.command(3, Command::SetSessionName { name: "n".into() });
    let report =
        ExitReport { signal: Some(9), stderr_tail: "[claude-code:unrecognized_model] {}\nout of memory\n".into(), ..ExitReport::default() };
    let outputs = scene.exit(report);
    assert_eq!(settled(&outputs), [(StopReason::Error, Some("Claude Code was ended by signal 9: out of memory".into()))]);
    assert!(outputs.contains(&Output::Returned { token: 2 }));
    assert_eq!(reply(&outputs, 3), Some(Err(ErrorCode::AgentFailed)));
    assert!(names(&outputs).contains(&"agent.input_resolved") && names(&outputs).contains(&"tool.end"));
}

#[test]
fn what_a_slash_command_prints_is_shown_and_a_task_in_the_background_has_a_status() {
    let mut scene = Scene::running(1);
    let printed = json!({"role": "user", "content": "<local-command-stdout>Total: 3</local-command-stdout>"});
    let shown = scene.says(json!({"type": "user", "isReplay": true, "message": printed}));
    assert_eq!(messages(&shown)[0].role, Role::System);
    let started = scene.says(json!({"type": "system", "subtype": "task_started", "task_id": "a", "description": "sub"}));
    assert!(matches!(&started[0], Output::Event(Event::Status { key, text: Some(text) }) if key == "task:a" && text == "sub"));
    let done = scene.says(json!({"type": "system", "subtype": "task_notification", "task_id": "a"}));
    assert!(matches!(&done[0], Output::Event(Event::Status { text: None, .. })));
    scene.result(json!({}));
    scene.end();
}
