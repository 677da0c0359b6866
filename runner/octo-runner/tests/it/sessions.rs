//! Conversations, from the link to the agent and back.

use crate::support::*;
use octo_protocol::ErrorCode;
use serde_json::json;

#[tokio::test]
async fn a_prompt_is_accepted_streamed_finished_and_idle_and_history_holds_it() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    let opened = client.open("s1", &runner.work()).await;
    assert_eq!(opened["harness"], "pi");
    assert_eq!(opened["state"]["status"], "idle");
    client.subscribe(1, "s1", 0).await;
    let prompted = client.command("s1", json!({ "cmd": "prompt", "message": "say hello there", "client_id": "c1" })).await;
    assert_eq!(prompted, Ok(json!(null)));
    let events = client.until(1, "agent.idle").await;
    assert_contiguous(&events, 1);
    let names = names(&events);
    let at = |name: &str| names.iter().position(|n| n == name).unwrap_or_else(|| panic!("{name} is missing in {names:?}"));
    assert_eq!(at("session.created"), 0);
    assert!(at("input.accepted") < at("stream.message_end") && at("stream.message_start") < at("stream.text_delta"));
    assert!(at("stream.done") < at("agent.idle"));
    let user = &events[at("stream.message_end")].1;
    assert_eq!(user["message"]["role"], "user");
    assert_eq!(user["message"]["client_id"], "c1");
    let turn = user["turn_id"].as_str().unwrap();
    assert_eq!(events.last().unwrap().1["turn_id"], turn);
    assert_eq!(events.last().unwrap().1["message_version"]["message_count"], 2);

    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    assert_eq!(page["messages"][1]["parts"][0]["text"], "you said: hello there");
    assert_eq!(page["messages"][1]["idx"], 1);
    let stats = client.command("s1", json!({ "cmd": "get_stats" })).await.unwrap();
    assert_eq!((&stats["userMessages"], &stats["tokens"]["output"], &stats["cost"]), (&json!(1), &json!(5), &json!(0.5)));
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    assert_eq!(list["sessions"][0]["title"], "say hello there");
    assert_eq!(list["sessions"][0]["state"], "idle");
}

#[tokio::test]
async fn a_repeated_client_id_runs_nothing_and_another_content_is_a_conflict_also_after_a_restart() {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let prompt = |text: &str| json!({ "cmd": "prompt", "message": text, "client_id": "once" });
    client.command("s1", prompt("say a")).await.unwrap();
    client.until(1, "agent.idle").await;
    for _ in 0..2 {
        assert_eq!(client.command("s1", prompt("say a")).await, Ok(json!(null)));
        assert_eq!(client.command("s1", prompt("say b")).await.unwrap_err().0, ErrorCode::Conflict);
        runner.kill().await;
        runner.spawn().await;
        client = runner.client().await;
    }
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn an_abort_ends_the_turn_and_gives_the_queue_back() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    client.command("s1", json!({ "cmd": "steer", "message": "left", "client_id": "st" })).await.unwrap();
    client.command("s1", json!({ "cmd": "follow_up", "message": "say more", "client_id": "fu" })).await.unwrap();
    let aborted = client.command("s1", json!({ "cmd": "abort" })).await.unwrap();
    assert_eq!(aborted["parked"], json!([{ "kind": "follow_up", "message": "say more", "client_id": "fu" }]));
    let events = client.until(1, "agent.idle").await;
    let done = events.iter().find(|(_, p)| p["event"] == "stream.done").unwrap();
    assert_eq!(done.1["reason"], "aborted");
    let steered = events.iter().any(|(_, p)| p["message"]["client_id"] == "st");
    assert!(steered, "the steer message entered the conversation: {:?}", names(&events));
}

#[tokio::test]
async fn a_question_waits_for_the_first_answer_and_a_second_one_is_refused() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "ask").await.unwrap();
    let events = client.until(1, "agent.input_needed").await;
    let request = events.last().unwrap().1["request"]["request_id"].clone();
    let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!(state["status"], "needs_input");
    assert_eq!(state["pendingInput"][0]["request_id"], request);
    let answer = json!({ "cmd": "input_response", "request_id": request, "confirmed": true });
    assert_eq!(client.command("s1", answer.clone()).await, Ok(json!(null)));
    assert!(client.command("s1", answer).await.is_err());
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "answered True"), "{events:?}");
}

#[tokio::test]
async fn a_crashed_agent_comes_back_with_its_conversation_and_its_turn_ends_in_an_error() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say first").await.unwrap();
    client.until(1, "agent.idle").await;
    client.prompt("s1", "crash").await.unwrap();
    let mut events = client.until(1, "agent.error").await;
    assert!(events.last().unwrap().1["error"].as_str().unwrap().contains("asked to crash"));
    assert!(names(&events).contains(&"stream.message_discarded".to_owned()));
    events = client.until(1, "session.restarted").await;
    assert_eq!(events.last().unwrap().1["attempt"], 1);
    client.prompt("s1", "say again").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: again (resumed)"));
}

#[tokio::test]
async fn a_session_that_cannot_be_says_why_and_leaves_nothing() {
    let mut runner = TestRunner::prepare();
    runner.agents_dir(runner.root.join("nowhere"));
    runner.spawn().await;
    let mut client = runner.client().await;
    for (config, word) in [
        (json!({}), "config.cwd"),
        (json!({ "cwd": "relative" }), "absolute"),
        (json!({ "cwd": "/nonexistent-folder" }), "does not exist"),
        (json!({ "cwd": runner.work(), "model": "nope" }), "no model"),
        (json!({ "cwd": runner.work(), "harness": "nope" }), "does not know the agent"),
    ] {
        let (_, sentence) = client.request(Client::open_body("s1", config)).await.unwrap_err();
        assert!(sentence.contains(word), "{sentence}");
    }
    if std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|d| d.join("pi").exists())) {
        eprintln!("skipped in part: pi is in PATH, so it cannot be missing");
        return;
    }
    let (code, sentence) = client.request(Client::open_body("s1", json!({ "cwd": runner.work() }))).await.unwrap_err();
    assert_eq!(code, ErrorCode::AgentFailed);
    assert!(sentence.contains("octo agents install"), "{sentence}");
    let (code, sentence) = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap_err();
    assert_eq!(code, ErrorCode::SessionNotFound);
    assert!(sentence.contains("SessionNotFound"));
}

#[tokio::test]
async fn close_keeps_the_history_the_next_prompt_resumes_and_delete_removes_everything() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say one").await.unwrap();
    client.until(1, "agent.idle").await;
    client.command("s1", json!({ "cmd": "session.close" })).await.unwrap();
    client.until(1, "session.closed").await;
    let attached = client.command("s1", json!({ "cmd": "session.attach" })).await.unwrap();
    assert_eq!(attached["state"]["status"], "closed");
    client.prompt("s1", "say two").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: two (resumed)"));
    client.command("s1", json!({ "cmd": "session.delete" })).await.unwrap();
    assert_eq!(client.end_of(1).await, octo_protocol::link::EndReason::NoSession);
    assert_eq!(client.command("s1", json!({ "cmd": "get_state" })).await.unwrap_err().0, ErrorCode::SessionNotFound);
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    assert_eq!(list["sessions"], json!([]));
}

#[tokio::test]
async fn a_prompt_that_the_agent_refuses_ends_its_turn_with_the_reason() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "refuse").await.unwrap();
    let events = client.until(1, "agent.error").await;
    assert!(names(&events).contains(&"stream.done".to_owned()), "{:?}", names(&events));
    client.prompt("s1", "say fine").await.unwrap();
    client.until(1, "agent.idle").await;
}

#[tokio::test]
async fn prompts_sent_while_one_runs_are_run_after_it_in_order() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let mut posted = Vec::new();
    for n in 0..8 {
        posted.push(client.post(Client::command_body("s1", json!({ "cmd": "prompt", "message": format!("say {n}") }))).await);
    }
    for id in posted {
        client.answer(id).await.unwrap();
    }
    let mut all = Vec::new();
    for _ in 0..8 {
        all.extend(client.until(1, "agent.idle").await);
    }
    assert_contiguous(&all, 1);
    let said: Vec<String> = all
        .iter()
        .filter(|(_, p)| p["event"] == "stream.message_end" && p["message"]["role"] == "assistant")
        .map(|(_, p)| p["message"]["parts"][0]["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(said, (0..8).map(|n| format!("you said: {n}")).collect::<Vec<_>>());
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    assert_eq!(page["messages"].as_array().unwrap().len(), 16);
}

#[tokio::test]
async fn a_closed_session_stays_closed_over_what_waits_for_it_and_the_next_prompt_brings_both() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    client.command("s1", json!({ "cmd": "follow_up", "message": "say later", "client_id": "fu" })).await.unwrap();
    client.command("s1", json!({ "cmd": "session.close" })).await.unwrap();
    client.until(1, "session.closed").await;
    let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!((&state["status"], &state["pendingMessageCount"]), (&json!("closed"), &json!(1)), "{state}");
    client.prompt("s1", "say now").await.unwrap();
    let mut said = Vec::new();
    while said.len() < 2 {
        let (_, event) = client.event(1).await;
        if event["event"] == "stream.message_end" && event["message"]["role"] == "assistant" {
            said.push(event["message"]["parts"][0]["text"].as_str().unwrap().to_owned());
        }
    }
    assert_eq!(said, ["you said: later (resumed)", "you said: now (resumed)"]);
}

#[tokio::test]
async fn an_agent_that_cannot_start_ends_the_turn_once() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.command("s1", json!({ "cmd": "session.close" })).await.unwrap();
    let program = runner.root.join("data/octo/agents/node_modules/.bin/pi");
    let good = std::fs::read(&program).unwrap();
    std::fs::write(&program, "#!/bin/sh\necho no such luck >&2\nexit 3\n").unwrap();
    client.prompt("s1", "say a").await.unwrap();
    let mut events = client.until(1, "agent.error").await;
    assert!(events.last().unwrap().1["error"].as_str().unwrap().contains("no such luck"), "{events:?}");
    assert!(events.last().unwrap().1["turn_id"].is_string(), "the error ends the turn");
    std::fs::write(&program, good).unwrap();
    client.prompt("s1", "say b").await.unwrap();
    events.extend(client.until(1, "agent.idle").await);
    assert_eq!(names(&events).iter().filter(|name| *name == "agent.error").count(), 1);
}

#[tokio::test]
async fn an_accepted_input_shows_its_images_and_one_that_nobody_could_show_is_refused() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let prompt = |data: String| json!({ "cmd": "prompt", "message": "say hi", "images": [{ "data": data, "media_type": "image/png" }] });
    client.command("s1", prompt("aGk=".into())).await.unwrap();
    let accepted = client.until(1, "input.accepted").await.pop().unwrap().1;
    assert_eq!(accepted["images"], json!([{ "data": "aGk=", "media_type": "image/png" }]));
    client.until(1, "agent.idle").await;
    let refused = client.command("s1", prompt("A".repeat(7 * 1024 * 1024))).await.unwrap_err();
    assert_eq!(refused.0, ErrorCode::LimitExceeded);
}

#[tokio::test]
async fn looking_at_a_session_is_no_activity_of_it() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let list = json!({ "cmd": "list_sessions" });
    let before = client.command("", list.clone()).await.unwrap()["sessions"][0]["last_activity"].clone();
    for _ in 0..20 {
        client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
        client.command("s1", json!({ "cmd": "session.attach" })).await.unwrap();
    }
    assert_eq!(client.command("", list).await.unwrap()["sessions"][0]["last_activity"], before);
}
