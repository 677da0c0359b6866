//! The whole path with real pi on the demo model, over the wire that clients use.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Turn, demo_prompt, request};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn real_pi_answers_runs_a_tool_and_its_reply_streams() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    let opened = client.create("ses_1", &instance.workspace()).await;
    assert_eq!(opened["session_id"], "ses_1");
    assert_eq!(opened["harness"], "pi");
    assert_eq!(opened["resumed"], false);
    assert_eq!(opened["state"]["isStreaming"], false);
    assert!(opened["capabilities"].as_array().unwrap().iter().any(|c| c == "set_model"), "{opened}");
    // The snapshot of before: what follows is live, however slow the machine is.
    client.event("ses_1", |frame| frame["event"] == "replay.end").await.unwrap();

    let prompt = demo_prompt(
        "Write the file.",
        &[
            Turn::text("I will write it.").thinking("A file is asked for.").bash("printf 'made by an agent' > made.txt && echo written"),
            Turn::text("The file is there, and this sentence came in pieces.").slowly(12, 5),
        ],
    );
    client.command("ses_1", json!({"cmd": "prompt", "message": prompt, "client_id": "first"})).await;
    let mut names = Vec::new();
    let mut deltas = 0;
    client
        .event("ses_1", |frame| {
            let name = frame["event"].as_str().unwrap().to_owned();
            deltas += u32::from(name == "stream.text_delta");
            if frame["seq"].is_u64() && !name.starts_with("replay.") {
                assert!(
                    frame["turn_id"].is_string() || name == "input.accepted" || name.starts_with("session."),
                    "events of a turn say which: {frame}"
                );
            }
            let done = name == "agent.idle";
            names.push(name);
            done
        })
        .await
        .unwrap();
    assert!(deltas >= 8, "the reply streams, it does not arrive whole: {deltas} deltas in {names:?}");
    for expected in [
        "input.accepted",
        "agent.working",
        "stream.thinking_delta",
        "stream.tool_call_end",
        "tool.start",
        "tool.end",
        "usage",
        "stream.done",
    ] {
        assert!(names.iter().any(|name| name == expected), "{expected} is missing in {names:?}");
    }
    assert_eq!(std::fs::read_to_string(instance.workspace().join("made.txt")).unwrap(), "made by an agent");

    let history = client.history("ses_1").await;
    let roles: Vec<_> = history.iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert_eq!(history[0]["client_id"], "first");
    assert!(history[2]["parts"][0]["output"].to_string().contains("written"), "{}", history[2]);
    client.checker.agrees_with("ses_1", &history);
    assert!(client.checker.totals.whole_messages >= 2, "{:?}", client.checker.totals);

    // What REST says of it.
    let get = async |path: &str| request("GET", &format!("{}{path}", instance.url()), Some(client.token()), None).await.unwrap();
    let sessions = get("/api/chat-history").await;
    assert_eq!(sessions.status, 200);
    assert_eq!(sessions.json()[0]["id"], "ses_1", "{}", sessions.json());
    assert_eq!(get("/api/chat-history/ses_1").await.json()["workspace_path"], instance.workspace().to_str().unwrap());
    assert_eq!(get("/api/chat-history/ses_1/messages").await.json().as_array().unwrap().len(), 4);
    let hits = get("/api/search?q=pieces").await.json();
    assert!(hits.to_string().contains("ses_1"), "full text finds it: {hits}");
    assert_eq!(get("/api/chat-history/other").await.status, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_attaches_without_a_cursor_in_mid_message_sees_all_of_it() {
    let instance = Instance::started().await;
    let mut first = Client::connect(&instance).await;
    first.create("ses_1", &instance.workspace()).await;
    let text = "one two three four five six seven eight nine ten eleven twelve";
    first.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Count.", &[Turn::text(text).slowly(30, 40)])})).await;
    first.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    first.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    let mut second = Client::connect(&instance).await;
    second.attach("ses_1").await.unwrap();
    second.idle("ses_1").await;
    first.idle("ses_1").await;
    let history = second.history("ses_1").await;
    assert_eq!(history[1]["parts"][0]["text"], text);
    second.checker.agrees_with("ses_1", &history);
    first.checker.agrees_with("ses_1", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn steering_reaches_a_working_agent_and_abort_ends_the_turn() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let turns = [Turn::text("Working.").bash("sleep 0.7; echo done"), Turn::text("After the steer.")];
    client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Work.", &turns)})).await;
    client.event("ses_1", |frame| frame["event"] == "tool.start").await.unwrap();
    client.command("ses_1", json!({"cmd": "steer", "message": "a little to the left", "client_id": "steer-1"})).await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;
    assert!(history.iter().any(|m| m["role"] == "user" && m["client_id"] == "steer-1"), "{history:?}");

    client
        .command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Talk.", &[Turn::text("x ".repeat(400)).slowly(400, 50)])}))
        .await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    client.command("ses_1", json!({"cmd": "follow_up", "message": "and then?", "client_id": "follow-1"})).await;
    let aborted = client.command("ses_1", json!({"cmd": "abort"})).await;
    assert_eq!(aborted["parked"][0]["client_id"], "follow-1", "{aborted}");
    assert_eq!(aborted["parked"][0]["message"], "and then?");
    let done = client.event("ses_1", |frame| frame["event"] == "stream.done").await;
    let history = client.history("ses_1").await;
    assert!(done.is_none_or(|done| done["reason"] == "aborted"));
    assert!(!history.iter().any(|m| m["client_id"] == "follow-1"), "what was parked did not run");
    client.checker.agrees_with("ses_1", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_sent_twice_runs_once_and_other_content_is_a_conflict() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let prompt = json!({"cmd": "prompt", "message": demo_prompt("Say it.", &[Turn::text("said")]), "client_id": "once"});
    client.command("ses_1", prompt.clone()).await;
    client.command("ses_1", prompt.clone()).await;
    client.idle("ses_1").await;
    client.command("ses_1", prompt).await;
    let (code, sentence) = client.refused("ses_1", json!({"cmd": "prompt", "message": "something else", "client_id": "once"})).await;
    assert_eq!(code, "conflict", "{sentence}");
    let history = client.history("ses_1").await;
    assert_eq!(history.len(), 2, "{history:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_made_from_another_outlives_it_with_a_key_of_its_own() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let made = client.command("ses_1", json!({"cmd": "session.new"})).await;
    let new = made["session_id"].as_str().unwrap().to_owned();
    client.command("ses_1", json!({"cmd": "session.delete"})).await;
    client.attach(&new).await.unwrap();
    client.command(&new, json!({"cmd": "prompt", "message": demo_prompt("Go on.", &[Turn::text("My key is my own.")])})).await;
    client.idle(&new).await;
    let history = client.history(&new).await;
    assert_eq!(history.last().unwrap()["parts"][0]["text"], "My key is my own.");
    client.checker.agrees_with(&new, &history);
}
