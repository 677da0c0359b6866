//! Clients that want too much get a bounded amount of it, and everybody else what they came for.

use crate::support::{Client, Instance};
use futures_util::{SinkExt as _, StreamExt as _};
use octo::auth::Role;
use octo::mux::{BURST_FRAMES, MAX_ANSWER_BYTES, MAX_IN_FLIGHT, OUTBOX_BYTES};
use octo_protocol::{Command, Cursor};
use serde_json::{Value, json};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Error, Message};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_floods_is_read_more_slowly_and_lives() {
    let instance = Instance::start().await;
    let token = instance.token("alice", Role::User).await;
    let mut flooding = Client::connect(&instance, &token).await;
    let frames = BURST_FRAMES as usize + 300;
    let (mut sink, mut stream) = flooding.socket.split();
    let flood = tokio::spawn(async move {
        for n in 0..frames {
            sink.send(Message::text(json!({"channel": "system", "type": "ping", "id": n.to_string()}).to_string())).await.unwrap();
        }
        sink
    });
    // Meanwhile another one is answered at once.
    let mut other = Client::connect(&instance, &token).await;
    other.send(json!({"channel": "system", "type": "ping", "id": "other"})).await;
    other.other(|f| f["id"] == "other").await;
    for n in 0..frames {
        let answer: Value = match stream.next().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).unwrap(),
            other => panic!("{other:?}"),
        };
        assert_eq!(answer, json!({"channel": "system", "type": "pong", "id": n.to_string()}), "every frame is answered, in order");
    }
    flooding.socket = stream.reunite(flood.await.unwrap()).unwrap();
    flooding.send(json!({"channel": "system", "type": "ping", "id": "still here"})).await;
    flooding.other(|f| f["id"] == "still here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_a_client_does_not_read_are_busy_instead_of_kept() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let page = 1024 * 1024;
    runner.tell("get_messages", json!({"messages": [], "filler": "x".repeat(page)}));
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    // What waits for this client: some of it in the outbox, a little on the way to it.
    for _ in 0..MAX_IN_FLIGHT {
        client.command("s", "get_messages", json!({})).await;
    }
    let mut other = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let asked = || runner.seen().iter().filter(|frame| matches!(frame.command, Command::GetMessages { .. })).count();
    while asked() < MAX_IN_FLIGHT {
        assert_eq!(other.ask("s", "get_state", json!({})).await["success"], true);
    }
    // What comes to another one on the same link comes after what comes to this one, which reads nothing meanwhile.
    for _ in 0..100 {
        other.ask("s", "get_state", json!({})).await;
    }
    assert_eq!(asked(), MAX_IN_FLIGHT);
    client.until(|c| c.responses.len() == MAX_IN_FLIGHT).await;
    let pages = client.responses.values().filter(|r| r["success"] == true).count();
    let busy = client.responses.values().filter(|r| r["code"] == "busy").count();
    assert_eq!(pages + busy, MAX_IN_FLIGHT);
    assert!(pages >= 1 && busy > 0, "{pages} pages");
    assert_eq!(client.ask("s", "get_messages", json!({})).await["success"], true, "read, there is room again");
}

#[test]
fn the_largest_answer_fits_an_empty_outbox() {
    const { assert!(OUTBOX_BYTES > MAX_ANSWER_BYTES) };
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_commands_under_way_are_bounded_by_their_bytes() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.hold("prompt");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let large = "x".repeat(12 * 1024 * 1024);
    let first = client.command("s", "prompt", json!({ "message": large })).await;
    let second = client.command("s", "prompt", json!({ "message": large })).await;
    let third = client.ask("s", "prompt", json!({ "message": large })).await;
    assert_eq!(third["code"], "busy", "{}", third["error"]);
    assert_eq!(client.ask("s", "get_state", json!({})).await["success"], true, "small ones pass");
    runner.release();
    client.until(|c| c.responses.contains_key(&first) && c.responses.contains_key(&second)).await;
    assert_eq!(client.responses[&first]["success"], true);
    assert_eq!(client.responses[&second]["success"], true);
    assert_eq!(client.ask("s", "prompt", json!({ "message": large })).await["success"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_sessions_are_short_or_refused() {
    let instance = Instance::start().await;
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    for n in 0..200 {
        let response = client.ask(&format!("{n}{}", "s".repeat(100_000)), "get_state", json!({})).await;
        assert_eq!(response["code"], "invalid_request");
    }
}

fn attaches(runner: &crate::support::FakeRunner) -> usize {
    runner.seen().iter().filter(|frame| matches!(frame.command, Command::SessionAttach { .. })).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_who_attach_at_once_share_one_question_to_the_runner() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.begin("s", "m1", 3);
    let end = runner.finish("s", "m1", "text");
    let token = instance.token("alice", Role::User).await;
    let mut clients = Vec::new();
    for _ in 0..100 {
        clients.push(Client::connect(&instance, &token).await);
    }
    runner.hold("session.attach");
    for client in &mut clients {
        client.checkers.entry("s".to_owned()).or_default().attach();
        client.command("s", "session.attach", json!({})).await;
        // Looked at: what comes after it is answered.
        client.ask("", "list_sessions", json!({})).await;
    }
    assert_eq!(attaches(&runner), 1);
    runner.release();
    for client in &mut clients {
        client.reach("s", end).await;
        client.seen("s").agrees(&runner.messages("s"));
    }
    // Whoever comes later asks anew.
    let mut late = Client::connect(&instance, &token).await;
    late.attach("s").await;
    assert_eq!(attaches(&runner), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_attaches_while_the_runner_is_busy_waits_for_it() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    runner.be_busy(5);
    client.attach("s").await;
    assert_eq!(attaches(&runner), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_too_many_of_an_account_is_refused_before_the_upgrade_and_others_get_in() {
    let instance = Instance::start_with(&[("server.max_connections_per_account", "3")]).await;
    let (alice, bob) = (instance.token("alice", Role::User).await, instance.token("bob", Role::User).await);
    let bearer = [("authorization", format!("Bearer {alice}"))];
    let mut clients = Vec::new();
    for _ in 0..3 {
        clients.push(Client::connect(&instance, &alice).await);
    }
    for _ in 0..3 {
        match Client::try_connect(&instance, &bearer, "").await {
            Err(Error::Http(response)) => {
                assert_eq!(response.status().as_u16(), 429);
                let body: Value = serde_json::from_slice(response.body().as_ref().unwrap()).unwrap();
                assert!(body["error"].as_str().unwrap().contains("server.max_connections_per_account"), "{body}");
            }
            other => panic!("{:?}", other.map(|_| "connected")),
        }
    }
    Client::connect(&instance, &bob).await;
    clients.pop().unwrap().socket.close(None).await.unwrap();
    loop {
        // The place is given back when the socket is done with.
        if Client::try_connect(&instance, &bearer, "").await.is_ok() {
            break;
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_says_nothing_is_given_up_and_one_that_answers_pings_is_not() {
    let instance = Instance::start_with(&[("server.ping_seconds", "1")]).await;
    let token = instance.token("alice", Role::User).await;
    let mut silent = Client::connect(&instance, &token).await;
    let mut alive = Client::connect(&instance, &token).await;
    let mut pings = 0;
    // The library answers the pings of WebSocket while it is read from; `silent` is not read from.
    while pings < 5 {
        alive.other(|f| f["channel"] == "session" && f["type"] == "ping").await;
        pings += 1;
    }
    while silent.read().await.is_some() {}
    alive.send(json!({"channel": "system", "type": "ping", "id": "here"})).await;
    alive.other(|f| f["id"] == "here").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_is_not_read_keeps_nothing_under_way_and_goes_on_when_it_is() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let filler = "x".repeat(10_000);
    runner.begin("s", "m1", 0);
    for _ in 0..2000 {
        runner.delta("s", "m1", &filler);
    }
    let token = instance.token("alice", Role::User).await;
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = Client::connect(&instance, &token).await;
        client.checkers.entry("s".to_owned()).or_default().cursor = Some(Cursor { epoch: "e1".parse().unwrap(), seq: 0 });
        client.begin_attach("s").await;
        // It has begun; from here on nothing is read.
        client.until(|c| c.seen("s").seen.len() > 10).await;
        clients.push(client);
    }
    // What was under way to them is given back; what is left is the session's own, live.
    while runner.subscriptions() != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for client in &mut clients {
        client.reach("s", runner.head("s")).await;
        assert_eq!(client.seen("s").seen.len(), 2001, "every event of the open message");
        assert_eq!(client.seen("s").brackets, 1);
    }
}
