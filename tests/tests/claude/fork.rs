//! A fork is another session: it begins with what was said before the message, its agent knows that and nothing else, and the one that it comes from
//! knows nothing of it.

use super::{SESSION, event, opened, prompt, said};
use octo_e2e::{Client, Instance, Turn, demo_prompt};
use serde_json::{Value, json};

/// A script that goes on with every message: who says the next part of it knows all that was said before, and nothing else.
fn parts() -> [Turn; 5] {
    ["part one", "part two", "part three", "part four", "part five"].map(Turn::text)
}

async fn talked(client: &mut Client) {
    prompt(client, "Begin.", &parts()).await;
    client.idle(SESSION).await;
    for _ in 0..2 {
        client.command(SESSION, json!({"cmd": "prompt", "message": "go on"})).await;
        client.idle(SESSION).await;
    }
    assert_eq!(said(client).await, "part three");
}

async fn points(client: &mut Client, session: &str) -> Vec<Value> {
    client.command(session, json!({"cmd": "get_fork_points"})).await.as_array().unwrap().clone()
}

/// Forks the session at this place, and gives the new one.
async fn forked(client: &mut Client, instance: &Instance, session: &str, point: &Value) -> String {
    let forked = client.command(session, json!({"cmd": "fork", "entry_id": point["entry_id"]})).await;
    assert_eq!(forked["cancelled"], false, "{forked}");
    assert!(point["preview"].as_str().unwrap().starts_with(forked["text"].as_str().unwrap().split(" @demo").next().unwrap()), "{forked}");
    let fork = forked["session_id"].as_str().unwrap().to_owned();
    assert_ne!(fork, session);
    client.create_of("claude", &fork, &instance.workspace()).await;
    fork
}

async fn goes_on(client: &mut Client, session: &str) -> String {
    client.command(session, json!({"cmd": "prompt", "message": "go on"})).await;
    client.idle(session).await;
    last(&client.history(session).await)
}

fn last(history: &[Value]) -> String {
    let last = history.iter().rfind(|message| message["role"] == "assistant").expect("an answer");
    last["parts"].as_array().unwrap().iter().filter_map(|part| part["text"].as_str()).collect()
}

fn texts(history: &[Value]) -> Vec<String> {
    let text = |message: &Value| message["parts"][0]["text"].as_str().unwrap_or_default().split(" @demo").next().unwrap().to_owned();
    history.iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fork_goes_on_from_before_a_message_and_its_origin_stays_as_it_is() {
    let (instance, mut client) = opened().await;
    assert!(points(&mut client, SESSION).await.is_empty());
    talked(&mut client).await;
    let all = points(&mut client, SESSION).await;
    assert_eq!(all.len(), 3, "{all:?}");
    let (code, _) = client.refused(SESSION, json!({"cmd": "fork", "entry_id": "nonsense"})).await;
    assert_eq!(code, "invalid_request");

    let fork = forked(&mut client, &instance, SESSION, &all[1]).await;
    assert_eq!(texts(&client.history(&fork).await), ["Begin.", "part one"]);
    assert_eq!(goes_on(&mut client, &fork).await, "part two", "it knows nothing of what came later");
    // Each of the two goes on by itself, and a fork can be forked.
    assert_eq!(goes_on(&mut client, SESSION).await, "part four");
    assert_eq!(goes_on(&mut client, &fork).await, "part three");
    let again = points(&mut client, &fork).await;
    assert_eq!(again.len(), 3, "{again:?}");
    let of_fork = forked(&mut client, &instance, &fork, &again[1]).await;
    assert_eq!(goes_on(&mut client, &of_fork).await, "part two");
    let places = points(&mut client, &of_fork).await;
    let at_once = forked(&mut client, &instance, &of_fork, &places[1]).await;
    assert_eq!(texts(&client.history(&at_once).await), ["Begin.", "part one"]);

    // At the first message there is nothing before it.
    let fork = forked(&mut client, &instance, SESSION, &all[0]).await;
    assert!(client.history(&fork).await.is_empty());
    client.command(&fork, json!({"cmd": "prompt", "message": demo_prompt("fresh", &[Turn::text("a fresh answer")])})).await;
    client.idle(&fork).await;
    assert_eq!(last(&client.history(&fork).await), "a fresh answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_forked_after_everything_was_killed_and_not_while_it_works() {
    let (mut instance, mut client) = opened().await;
    talked(&mut client).await;
    client
        .command(SESSION, json!({"cmd": "prompt", "message": demo_prompt("Talk.", &[Turn::text("x ".repeat(300)).slowly(300, 50)])}))
        .await;
    event(&mut client, "stream.text_delta").await;
    let working = points(&mut client, SESSION).await;
    let (code, _) = client.refused(SESSION, json!({"cmd": "fork", "entry_id": working[1]["entry_id"]})).await;
    assert_eq!(code, "busy");
    instance.kill_everything();
    instance.start().await;
    client.reconnect_to(&instance).await;
    client.attach(SESSION).await.unwrap();
    // No agent runs: the places are known all the same.
    let all = points(&mut client, SESSION).await;
    assert_eq!(all[..3], working[..3]);
    let fork = forked(&mut client, &instance, SESSION, &all[1]).await;
    assert_eq!(goes_on(&mut client, &fork).await, "part two");
    // The fork's own agent is killed: it comes back with the forked conversation.
    let agent = instance.agents().pop().expect("an agent runs");
    agent.kill();
    client.event(&fork, |frame| frame["event"] == "session.restarted").await.expect("it comes back");
    assert_eq!(goes_on(&mut client, &fork).await, "part three");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_compacted_is_no_place_and_what_came_since_is_one() {
    let (instance, mut client) = opened().await;
    prompt(&mut client, "Say it.", &[Turn::text("Said."), Turn::text("In short: it was said.")]).await;
    client.idle(SESSION).await;
    let before = points(&mut client, SESSION).await;
    client.command(SESSION, json!({"cmd": "compact"})).await;
    prompt(&mut client, "Again.", &parts()).await;
    client.idle(SESSION).await;
    client.command(SESSION, json!({"cmd": "prompt", "message": "go on"})).await;
    client.idle(SESSION).await;
    let all = points(&mut client, SESSION).await;
    assert_eq!(all.len(), 2, "{all:?}");
    let (code, _) = client.refused(SESSION, json!({"cmd": "fork", "entry_id": before[0]["entry_id"]})).await;
    assert_eq!(code, "invalid_request");
    for (point, expected) in [(&all[0], "fresh"), (&all[1], "part two")] {
        let fork = forked(&mut client, &instance, SESSION, point).await;
        let message = if expected == "fresh" { demo_prompt("x", &[Turn::text("fresh")]) } else { "go on".to_owned() };
        client.command(&fork, json!({"cmd": "prompt", "message": message})).await;
        client.idle(&fork).await;
        let history = client.history(&fork).await;
        assert_eq!(last(&history), expected);
        assert!(!history.iter().any(|message| message["metadata"]["kind"] == "new_conversation"), "{history:?}");
    }
}
