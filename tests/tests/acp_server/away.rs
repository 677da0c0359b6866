//! octo is killed, stopped, away; the client is killed: nothing is lost, and nothing is told twice.

use crate::puppet::{Puppet, Sdk, Way, token};
use crate::sdks::asking;
use octo_e2e::{Instance, Options, Turn, binary, demo_prompt};
use serde_json::json;
use std::process::Command;

const PIECES: u32 = 60;

/// A text that would be seen to have a gap, or something twice.
fn long() -> String {
    (0..PIECES * 2).map(|n| format!("word{n} ")).collect()
}

fn slowly() -> String {
    demo_prompt("Tell me much.", &[Turn::text(long()).thinking("Let me think.").slowly(PIECES, 50)])
}

fn is_chunk(said: &serde_json::Value) -> bool {
    said["params"]["update"]["sessionUpdate"] == "agent_message_chunk"
}

async fn killed_in_mid_answer(sdk: Sdk) {
    let mut instance = Instance::new(Options::default());
    instance.start().await;
    let token = token(&instance).await;
    let mut client = Puppet::start(sdk, Way::Stdio, &instance, &token);
    client.initialize();
    let session = client.new_session(&instance);
    let prompt = client.begin_prompt(&session, &slowly());
    for _ in 0..2 {
        client.until(is_chunk);
        client.until(is_chunk);
        instance.kill_octo();
        instance.start().await;
    }
    let end = client.end(prompt);
    assert_eq!(end["result"]["stopReason"], "end_turn", "{end}");
    assert_eq!(client.text(&session, "agent_message_chunk"), long());
    assert_eq!(client.text(&session, "agent_thought_chunk"), "Let me think.");
    assert_eq!(client.prompt(&session, &demo_prompt("And?", &[Turn::text("That was all.")])), "end_turn");
    assert_eq!(client.text(&session, "agent_message_chunk"), long() + "That was all.");
}

#[tokio::test(flavor = "multi_thread")]
async fn octo_is_killed_in_mid_answer_under_the_typescript_sdk() {
    killed_in_mid_answer(Sdk::TypeScript).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn octo_is_killed_in_mid_answer_under_the_python_sdk() {
    killed_in_mid_answer(Sdk::Python).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_after_octo_was_killed_under_it_and_what_is_asked_meanwhile_waits() {
    let mut instance = Instance::new(asking());
    instance.start().await;
    let token = token(&instance).await;
    let mut client = Puppet::start(Sdk::TypeScript, Way::Stdio, &instance, &token);
    client.initialize();
    let session = client.new_session(&instance);
    let turns = [Turn::text("Now.").bash("printf it > made"), Turn::text("Done.")];
    let prompt = client.begin_prompt(&session, &demo_prompt("Write.", &turns));
    let question = client.asked();
    instance.kill_octo();
    client.choose(&question, "allow_once");
    let listed = client.begin("session/list", &json!({}));
    instance.start().await;
    assert_eq!(client.end(prompt)["result"]["stopReason"], "end_turn");
    assert_eq!(client.end(listed)["result"]["sessions"][0]["sessionId"], session.as_str());
    assert!(instance.workspace().join("made").exists());
    assert_eq!(client.text(&session, "agent_message_chunk"), "Now.Done.");
    assert_eq!(client.log.iter().filter(|said| said["said"] == "asked").count(), 1, "it is asked once");
    assert!(!client.log.iter().any(|said| said["said"] == "withdrawn"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_whose_turn_died_with_everything_is_answered_and_the_session_goes_on() {
    let mut instance = Instance::new(Options::default());
    instance.start().await;
    let token = token(&instance).await;
    let mut client = Puppet::start(Sdk::TypeScript, Way::Stdio, &instance, &token);
    client.initialize();
    let session = client.new_session(&instance);
    let prompt = client.begin_prompt(&session, &slowly());
    client.until(is_chunk);
    instance.kill_everything();
    instance.start().await;
    assert_eq!(client.end(prompt)["result"]["stopReason"], "cancelled", "its turn was broken off");
    assert_eq!(client.prompt(&session, &demo_prompt("Again.", &[Turn::text("Here I am.")])), "end_turn");
    assert!(client.text(&session, "agent_message_chunk").ends_with("Here I am."));
    assert!(instance.stop_octo().await.success());
    instance.start().await;
    assert_eq!(client.prompt(&session, &demo_prompt("Still?", &[Turn::text("Yes.")])), "end_turn");
}

/// A client that knows where it stands goes on there.
async fn resumed_with_its_cursor(way: Way) {
    let mut instance = Instance::new(Options::default());
    instance.start().await;
    let token = token(&instance).await;
    let mut first = Puppet::start(Sdk::TypeScript, way, &instance, &token);
    first.initialize();
    let session = first.new_session(&instance);
    first.begin_prompt(&session, &slowly());
    for _ in 0..5 {
        first.until(is_chunk);
    }
    first.kill();
    let cursor = first.cursor(&session);
    let mut second = Puppet::start(Sdk::TypeScript, way, &instance, &token);
    second.initialize();
    let resume = json!({"sessionId": session, "cwd": instance.workspace(), "mcpServers": [], "_meta": {"octo": {"cursor": cursor}}});
    second.request("session/resume", &resume);
    // Behind the turn that runs; with its end all of that was told.
    assert_eq!(second.prompt(&session, &demo_prompt("And?", &[Turn::text("That was all.")])), "end_turn");
    let told = first.text(&session, "agent_message_chunk") + &second.text(&session, "agent_message_chunk");
    assert_eq!(told, long() + "That was all.");
    // Without a cursor it is told what comes, and nothing of what was.
    let mut third = Puppet::start(Sdk::TypeScript, way, &instance, &token);
    third.initialize();
    third.request("session/resume", &json!({"sessionId": session, "cwd": instance.workspace(), "mcpServers": []}));
    assert_eq!(third.prompt(&session, &demo_prompt("More?", &[Turn::text("No.")])), "end_turn");
    assert_eq!(third.text(&session, "agent_message_chunk"), "No.");
    assert_eq!(third.text(&session, "user_message_chunk"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_a_websocket_resumes_with_its_cursor() {
    resumed_with_its_cursor(Way::Socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_over_stdio_resumes_with_its_cursor() {
    resumed_with_its_cursor(Way::Stdio).await;
}

#[test]
fn where_octo_was_never_started_it_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary("octo"));
    command.arg("acp").env("HOME", home.path()).env_remove("OCTO_SERVER_URL").env_remove("XDG_STATE_HOME").env_remove("XDG_CONFIG_HOME");
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{stderr}");
    assert!(stderr.contains("octo serve") && stderr.contains("--url"), "{stderr}");
}
