//! What an editor does, with each SDK, by each way: initialize, new, prompt with a permission, cancel, load.

use crate::puppet::{Puppet, Sdk, Way, token};
use octo_e2e::{Instance, Options, Turn, demo_prompt};
use serde_json::{Value, json};

pub fn asking() -> Options {
    Options { config: "[permissions]\ndefault = \"ask\"\n".to_owned(), ..Options::default() }
}

fn writes(name: &str) -> String {
    demo_prompt("Write.", &[Turn::text("Now.").bash(&format!("printf it > {name}")), Turn::text("That was it.")])
}

fn kinds(updates: &[Value]) -> Vec<&str> {
    updates.iter().filter_map(|update| update["sessionUpdate"].as_str()).collect()
}

/// The whole life of a session.
async fn life(sdk: Sdk, way: Way) {
    let mut instance = Instance::new(asking());
    instance.start().await;
    let token = token(&instance).await;
    let mut client = Puppet::start(sdk, way, &instance, &token);

    let initialized = client.initialize();
    assert_eq!(initialized["protocolVersion"], 1);
    assert_eq!(initialized["agentInfo"]["name"], "octo");
    assert_eq!(initialized["agentCapabilities"]["loadSession"], true);

    let new = client.request("session/new", &json!({"cwd": instance.workspace(), "mcpServers": []}));
    let session = new["sessionId"].as_str().unwrap().to_owned();
    let options: Vec<&str> = new["configOptions"].as_array().unwrap().iter().filter_map(|option| option["id"].as_str()).collect();
    assert_eq!(options, ["permissions", "model", "thinking_level", "harness"], "{new}");

    // A permission, allowed.
    let prompt = client.begin_prompt(&session, &writes("allowed"));
    let question = client.asked();
    let call = &question["params"]["toolCall"];
    assert_eq!((&call["title"], &call["kind"]), (&json!("printf it > allowed"), &json!("execute")), "{question}");
    assert!(!instance.workspace().join("allowed").exists(), "nothing runs before it is allowed");
    client.choose(&question, "allow_once");
    let end = client.end(prompt);
    assert_eq!(end["result"]["stopReason"], "end_turn", "{end}");
    assert!(instance.workspace().join("allowed").exists());
    assert_eq!(client.text(&session, "agent_message_chunk"), "Now.That was it.");
    let updates = client.updates(&session);
    let done = updates.iter().find(|update| update["status"] == "completed").expect("the call completed");
    assert_eq!(done["toolCallId"], call["toolCallId"]);
    assert!(!kinds(&updates).contains(&"user_message_chunk"), "a client is not told what it said itself");

    // One denied.
    let prompt = client.begin_prompt(&session, &writes("denied"));
    let question = client.asked();
    client.choose(&question, "deny_once");
    assert_eq!(client.end(prompt)["result"]["stopReason"], "end_turn");
    assert!(!instance.workspace().join("denied").exists());
    assert!(client.updates(&session).iter().any(|update| update["status"] == "failed"));

    // Cancelled, with a question open.
    let prompt = client.begin_prompt(&session, &writes("cancelled"));
    let question = client.asked();
    client.notify("session/cancel", &json!({"sessionId": session}));
    client.dismiss(&question);
    assert_eq!(client.end(prompt)["result"]["stopReason"], "cancelled");
    assert!(!instance.workspace().join("cancelled").exists());

    // It goes on.
    assert_eq!(client.prompt(&session, &demo_prompt("And now?", &[Turn::text("All is well.")])), "end_turn");
    let said = client.text(&session, "agent_message_chunk");
    assert!(said.ends_with("All is well."), "{said}");

    // Everything of octo's dies; another client loads the session, and reads it all.
    client.leave();
    instance.kill_everything();
    instance.start().await;
    let mut client = Puppet::start(sdk, way, &instance, &token);
    client.initialize();
    let listed = client.request("session/list", &json!({"cwd": instance.workspace()}));
    assert_eq!(listed["sessions"][0]["sessionId"], session.as_str(), "{listed}");
    client.request("session/load", &json!({"sessionId": session, "cwd": instance.workspace(), "mcpServers": []}));
    assert_eq!(client.text(&session, "agent_message_chunk"), said, "the same, once");
    let asked = client.text(&session, "user_message_chunk");
    assert_eq!(asked.matches("Write.").count(), 3, "{asked}");
    let updates = client.updates(&session);
    let calls = updates.iter().filter(|update| update["sessionUpdate"] == "tool_call").count();
    assert_eq!(calls, 3, "{updates:#?}");
    // And goes on with it.
    assert_eq!(client.prompt(&session, &demo_prompt("Still there?", &[Turn::text("Yes.")])), "end_turn");
    assert!(client.text(&session, "agent_message_chunk").ends_with("All is well.Yes."));
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_over_stdio() {
    life(Sdk::TypeScript, Way::Stdio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_over_a_websocket() {
    life(Sdk::TypeScript, Way::Socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn typescript_over_http() {
    life(Sdk::TypeScript, Way::Http).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_over_stdio() {
    life(Sdk::Python, Way::Stdio).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_over_a_websocket() {
    life(Sdk::Python, Way::Socket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_over_http() {
    life(Sdk::Python, Way::Http).await;
}
