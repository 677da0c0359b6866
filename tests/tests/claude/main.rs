//! The whole path with the real Claude Code on the demo model, over the wire that clients use.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod fork;
mod tools;

use octo_e2e::{Client, Instance, Turn, demo_prompt, until};
use serde_json::{Value, json};

const SESSION: &str = "ses_c";

async fn opened() -> (Instance, Client) {
    opened_as("claude").await
}

async fn opened_as(name: &str) -> (Instance, Client) {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    let opened = client.create_of(name, SESSION, &instance.workspace()).await;
    assert_eq!(opened["harness"], "claude", "{opened}");
    (instance, client)
}

async fn prompt(client: &mut Client, lead: &str, turns: &[Turn]) {
    client.command(SESSION, json!({"cmd": "prompt", "message": demo_prompt(lead, turns)})).await;
}

async fn event(client: &mut Client, name: &str) -> Value {
    client.event(SESSION, |frame| frame["event"] == name).await.expect("the connection holds")
}

/// Waits for a question, and answers it.
async fn answer(client: &mut Client, answer: Value) -> Value {
    let request = event(client, "agent.input_needed").await["request"].clone();
    let mut command = answer;
    command["cmd"] = json!("input_response");
    command["request_id"] = request["request_id"].clone();
    client.command(SESSION, command).await;
    request
}

/// What the last message of the model says.
async fn said(client: &mut Client) -> String {
    let history = client.history(SESSION).await;
    client.checker.agrees_with(SESSION, &history);
    let last = history.iter().rfind(|message| message["role"] == "assistant").expect("an answer").clone();
    last["parts"].as_array().unwrap().iter().filter_map(|part| part["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn it_answers_asks_runs_a_tool_and_its_reply_streams() {
    let (instance, mut client) = opened().await;
    let turns = [
        Turn::text("I will write it.").thinking("A file is asked for.").bash("printf 'made by an agent' > made.txt && echo written"),
        Turn::text("The file is there, and this sentence came in pieces.").slowly(12, 5),
    ];
    prompt(&mut client, "Write the file.", &turns).await;
    let request = answer(&mut client, json!({"option_id": "allow_once"})).await;
    assert_eq!(request["type"], "permission");
    assert_eq!(request["metadata"]["tool"], "Bash");
    assert!(request["metadata"]["command"].as_str().unwrap().contains("made.txt"), "{request}");
    let mut deltas = 0;
    let over = client.event(SESSION, |frame| {
        deltas += u32::from(frame["event"] == "stream.text_delta");
        frame["event"] == "agent.idle" || frame["event"] == "agent.error"
    });
    assert_eq!(over.await.unwrap()["event"], "agent.idle");
    assert!(deltas >= 8, "the reply streams: {deltas} deltas");
    assert_eq!(std::fs::read_to_string(instance.workspace().join("made.txt")).unwrap(), "made by an agent");
    let history = client.history(SESSION).await;
    let roles: Vec<_> = history.iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"]);
    assert_eq!(history[1]["parts"][0]["type"], "thinking");
    assert!(history[2]["parts"][0]["output"].to_string().contains("written"), "{}", history[2]);
    client.checker.agrees_with(SESSION, &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permission_is_denied_once_and_given_for_always() {
    let (instance, mut client) = opened().await;
    let write = |text: &str| Turn::text("Now.").bash(&format!("python3 -c \"print('{text}')\" > {text}.txt"));
    prompt(&mut client, "Write it.", &[write("no"), Turn::text("I was not allowed to.")]).await;
    answer(&mut client, json!({"option_id": "deny_once"})).await;
    client.idle(SESSION).await;
    assert!(!instance.workspace().join("no.txt").exists());
    assert_eq!(said(&mut client).await, "I was not allowed to.");

    let edit = json!([{"text": "Edit.", "tools": [{"name": "write", "input": {"path": instance.workspace().join("a.txt"), "content": "one\n"}}]},
        {"text": "Again.", "tools": [{"name": "write", "input": {"path": instance.workspace().join("b.txt"), "content": "two\n"}}]}, {"text": "Both."}]);
    client.command(SESSION, json!({"cmd": "prompt", "message": format!("Edit. @demo {edit}")})).await;
    let request = answer(&mut client, json!({"option_id": "allow_always"})).await;
    assert!(request["metadata"]["diff"].as_str().unwrap().contains("+one"), "{request}");
    // The second one is not asked for.
    client.idle(SESSION).await;
    assert_eq!(std::fs::read_to_string(instance.workspace().join("b.txt")).unwrap(), "two\n");
    assert_eq!(said(&mut client).await, "Both.");
}

#[tokio::test(flavor = "multi_thread")]
async fn its_question_is_answered_by_a_person() {
    // The name of its package means the same.
    let (_instance, mut client) = opened_as("claude-code").await;
    let question = json!({"question": "Which colour?", "header": "Colour", "multiSelect": false,
        "options": [{"label": "Red", "description": "warm"}, {"label": "Blue", "description": "cold"}]});
    let script = json!([{"tools": [{"name": "AskUserQuestion", "input": {"questions": [question]}}]}, {"text": "Thanks."}]);
    client.command(SESSION, json!({"cmd": "prompt", "message": format!("Ask. @demo {script}")})).await;
    let request = answer(&mut client, json!({"value": "Blue: cold"})).await;
    assert_eq!((&request["type"], &request["title"]), (&json!("select"), &json!("Which colour?")));
    client.idle(SESSION).await;
    let history = client.history(SESSION).await;
    let told = history.iter().find(|message| message["role"] == "tool").unwrap();
    assert!(told.to_string().contains("Blue"), "{told}");
    assert_eq!(said(&mut client).await, "Thanks.");
}

#[tokio::test(flavor = "multi_thread")]
async fn steering_joins_the_turn_and_a_follow_up_comes_after_it() {
    let (_instance, mut client) = opened().await;
    prompt(&mut client, "Work.", &[Turn::text("Working.").bash("echo begun; sleep 1; echo done"), Turn::text("After the steer.")]).await;
    event(&mut client, "tool.start").await;
    client
        .command(SESSION, json!({"cmd": "follow_up", "message": demo_prompt("Then.", &[Turn::text("And then.")]), "client_id": "f"}))
        .await;
    client.command(SESSION, json!({"cmd": "steer", "message": "a little to the left", "client_id": "s"})).await;
    client.idle(SESSION).await;
    client.idle(SESSION).await;
    let history = client.history(SESSION).await;
    let at = |id: &str| history.iter().position(|message| message["client_id"] == id).unwrap_or_else(|| panic!("{id}: {history:?}"));
    assert!(at("s") < at("f"), "{history:?}");
    assert_eq!(said(&mut client).await, "And then.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_ends_a_stream_and_a_tool_and_parks_what_was_queued() {
    let (instance, mut client) = opened().await;
    prompt(&mut client, "Talk.", &[Turn::text("x ".repeat(400)).slowly(400, 50)]).await;
    event(&mut client, "stream.text_delta").await;
    client.command(SESSION, json!({"cmd": "steer", "message": "stop that", "client_id": "s"})).await;
    let aborted = client.command(SESSION, json!({"cmd": "abort"})).await;
    assert_eq!(aborted["parked"][0]["client_id"], "s", "{aborted}");
    assert_eq!(event(&mut client, "stream.done").await["reason"], "aborted");
    client.idle(SESSION).await;

    prompt(&mut client, "Wait.", &[Turn::text("Waiting.").bash("echo begun; sleep 300"), Turn::text("never")]).await;
    event(&mut client, "tool.start").await;
    until("the tool runs", || instance.tree().iter().any(|p| p.command_line().contains("sleep 300")).then_some(())).await;
    client.command(SESSION, json!({"cmd": "abort"})).await;
    assert_eq!(event(&mut client, "stream.done").await["reason"], "aborted");
    client.idle(SESSION).await;
    until("the tool is gone", || (!instance.tree().iter().any(|p| p.command_line().starts_with("sleep"))).then_some(())).await;

    prompt(&mut client, "Go on.", &[Turn::text("Alive.")]).await;
    client.idle(SESSION).await;
    assert_eq!(said(&mut client).await, "Alive.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_fails_is_asked_again_and_one_that_keeps_failing_ends_the_turn() {
    let (_instance, mut client) = opened().await;
    prompt(&mut client, "Try.", &[Turn::text("Recovered.").failing(529, 1)]).await;
    let retry = event(&mut client, "retry.start").await;
    assert!(retry["error"].as_str().unwrap().contains("529"), "{retry}");
    assert_eq!(event(&mut client, "retry.end").await["success"], true);
    client.idle(SESSION).await;
    assert_eq!(said(&mut client).await, "Recovered.");

    // What was said of an answer that broke off is discarded.
    prompt(&mut client, "Break.", &[Turn::text("one two three four").slowly(4, 100).cut_after(2)]).await;
    let mut names = Vec::new();
    client
        .event(SESSION, |frame| {
            names.push(frame["event"].as_str().unwrap_or_default().to_owned());
            frame["event"] == "agent.error" || frame["event"] == "agent.idle"
        })
        .await
        .unwrap();
    let count = |name: &str| names.iter().filter(|seen| *seen == name).count();
    assert!(count("stream.message_discarded") > 0 && count("retry.start") > 0, "{names:?}");

    prompt(&mut client, "Fail.", &[Turn::text("never").failing(400, 9)]).await;
    let failed = event(&mut client, "agent.error").await;
    assert!(failed["error"].as_str().unwrap().contains("400"), "{failed}");
    prompt(&mut client, "Again.", &[Turn::text("Fine.")]).await;
    client.idle(SESSION).await;
    assert_eq!(said(&mut client).await, "Fine.");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_agent_comes_back_with_its_conversation() {
    let (instance, mut client) = opened().await;
    prompt(&mut client, "Remember.", &[Turn::text("First."), Turn::text("x ".repeat(300)).slowly(300, 50), Turn::text("Third.")]).await;
    client.idle(SESSION).await;
    client.command(SESSION, json!({"cmd": "prompt", "message": "go on"})).await;
    event(&mut client, "stream.text_delta").await;
    let agent = instance.agents().pop().expect("an agent runs");
    agent.kill();
    event(&mut client, "agent.error").await;
    // The script is in the conversation: who plays the next turn of it remembers.
    client.command(SESSION, json!({"cmd": "prompt", "message": "and on"})).await;
    let next =
        client.event(SESSION, |frame| frame["event"] == "stream.text_delta" || frame["event"] == "stream.message_end").await.unwrap();
    assert!(["x", "Third"].iter().any(|word| next.to_string().contains(word)), "{next}");
    client.command(SESSION, json!({"cmd": "abort"})).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_conversation_goes_on_after_a_restart_of_everything() {
    let (mut instance, mut client) = opened().await;
    prompt(&mut client, "Remember.", &[Turn::text("First."), Turn::text("Second.")]).await;
    client.idle(SESSION).await;
    instance.kill_everything();
    instance.start().await;
    client.reconnect_to(&instance).await;
    client.attach(SESSION).await.unwrap();
    client.command(SESSION, json!({"cmd": "prompt", "message": "go on"})).await;
    client.idle(SESSION).await;
    assert_eq!(said(&mut client).await, "Second.");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_compacted_named_and_told_how_much_to_think_and_says_what_it_cannot() {
    let (_instance, mut client) = opened().await;
    // The second turn is the summary.
    prompt(&mut client, "Say it.", &[Turn::text("Said."), Turn::text("In short: it was said.")]).await;
    client.idle(SESSION).await;
    client.command(SESSION, json!({"cmd": "compact"})).await;
    assert_eq!(event(&mut client, "compact.end").await["success"], true);
    let level = client.command(SESSION, json!({"cmd": "set_thinking_level", "level": "low"})).await;
    assert_eq!(level["level"], "low");
    client.command(SESSION, json!({"cmd": "set_session_name", "name": "a name"})).await;
    let models = client.command(SESSION, json!({"cmd": "get_models"})).await;
    assert!(models.as_array().unwrap().iter().all(|model| model["api"] == "anthropic-messages"), "{models}");
    let commands = client.command(SESSION, json!({"cmd": "get_commands"})).await;
    assert!(commands.as_array().unwrap().len() > 3, "{commands}");
    let (code, _) = client.refused(SESSION, json!({"cmd": "set_auto_retry", "enabled": true})).await;
    assert_eq!(code, "unsupported");
    prompt(&mut client, "Again.", &[Turn::text("Still here.")]).await;
    client.idle(SESSION).await;
    assert_eq!(said(&mut client).await, "Still here.");
}
