//! octo's own tools, called by the real agent.

use super::{SESSION, answer, event, opened, said};
use octo_e2e::Client;
use serde_json::{Value, json};

async fn calls(client: &mut Client, tool: &str, input: Value, then: &str) {
    let script = json!([{"text": "Now.", "tools": [{"name": format!("mcp__octo__{tool}"), "input": input}]}, {"text": then}]);
    client.command(SESSION, json!({"cmd": "prompt", "message": format!("Do. @demo {script}")})).await;
}

/// What the model got from the tool.
async fn result(client: &mut Client) -> Value {
    let history = client.history(SESSION).await;
    history.iter().rfind(|message| message["role"] == "tool").expect("a result").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agent_names_its_session_unasked_unless_a_person_has_done_so() {
    let (_instance, mut client) = opened().await;
    calls(&mut client, "title", json!({"title": "Paint the shed"}), "Named.").await;
    let named = client.event(SESSION, |frame| frame["event"] == "session.title_changed" && frame["title"] == "Paint the shed");
    named.await.expect("the session is named");
    client.idle(SESSION).await;
    assert_eq!(client.command(SESSION, json!({"cmd": "get_state"})).await["sessionName"], "Paint the shed");
    client.command(SESSION, json!({"cmd": "set_session_name", "name": "My shed"})).await;
    calls(&mut client, "title", json!({"title": "Another"}), "Tried.").await;
    client.idle(SESSION).await;
    assert_eq!(client.command(SESSION, json!({"cmd": "get_state"})).await["sessionName"], "My shed");
    assert_eq!(said(&mut client).await, "Tried.");
    calls(&mut client, "title", json!({"title": ""}), "Wrong.").await;
    client.idle(SESSION).await;
    assert_eq!(result(&mut client).await["is_error"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn its_question_reaches_the_person_and_nobody_is_asked_whether_it_may_ask() {
    let (_instance, mut client) = opened().await;
    calls(&mut client, "ask", json!({"question": "Which colour?", "options": ["red", "blue"]}), "Thanks.").await;
    let request = answer(&mut client, json!({"value": "blue"})).await;
    assert_eq!(
        (&request["type"], &request["title"], &request["options"]),
        (&json!("select"), &json!("Which colour?"), &json!(["red", "blue"]))
    );
    client.idle(SESSION).await;
    assert!(result(&mut client).await.to_string().contains("blue"));
    assert_eq!(said(&mut client).await, "Thanks.");

    calls(&mut client, "ask", json!({"question": "Why?"}), "As you like.").await;
    assert_eq!(answer(&mut client, json!({"cancelled": true})).await["type"], "input");
    client.idle(SESSION).await;
    let told = result(&mut client).await;
    assert!(told["is_error"] == true && told.to_string().contains("dismissed"), "{told}");

    // An abort takes the question back.
    calls(&mut client, "ask", json!({"question": "Still?"}), "never").await;
    event(&mut client, "agent.input_needed").await;
    client.command(SESSION, json!({"cmd": "abort"})).await;
    client.idle(SESSION).await;
    let pending = client.command(SESSION, json!({"cmd": "get_state"})).await["pendingInput"].clone();
    assert_eq!(pending, json!([]));
    calls(&mut client, "title", json!({"title": "Goes on"}), "On.").await;
    client.idle(SESSION).await;
    assert_eq!(said(&mut client).await, "On.");
}
