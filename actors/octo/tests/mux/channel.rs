//! Frames, responses, limits, keep-alive and the system channel.

use crate::support::{Client, Instance};
use octo::auth::{Role, UserId};
use octo_protocol::Command;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_greeted() {
    let instance = Instance::start().await;
    let client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let [first, second] = &client.others[..] else { panic!("{:?}", client.others) };
    assert_eq!(
        (&first["channel"], &first["type"], &first["resume"], &first["protocol"]),
        (&json!("system"), &json!("connected"), &json!(true), &json!(1))
    );
    assert!(first["connection_id"].is_string() && first["server_version"].is_string());
    assert_eq!(*second, json!({"channel": "session", "type": "connected"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_gets_its_one_response_with_its_id_and_name() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let payload = json!({
        "session_path": "/x", "message": "hi", "request_id": "r", "confirmed": true, "entry_id": "e", "provider": "p", "model_id": "m",
        "level": "low", "enabled": true, "name": "n", "target_session_id": "t", "config": {},
        "rule": { "mode": "ask" }, "rule_id": "r", "client_id": "c", "new_client_id": "d", "command": "true",
    });
    for cmd in Command::NAMES {
        if cmd == "session.attach" {
            client.checkers.entry("s".to_owned()).or_default().attach();
        }
        if cmd == "session.delete" {
            continue;
        }
        let mut payload = payload.clone();
        if cmd == "set_permissions" {
            payload["mode"] = json!("ask");
        }
        let response = client.ask("s", cmd, payload).await;
        assert_eq!(response["cmd"], cmd);
        // Without octo-eavs a session cannot be made; everything else goes through.
        assert_eq!(response["success"], !["session.create", "session.new", "session.switch", "fork"].contains(&cmd), "{response}");
    }
    let response = client.ask("s", "session.delete", json!({})).await;
    assert_eq!(response["cmd"], "session.delete");
    let response = client.ask("nowhere", "prompt", json!({"message": "x"})).await;
    assert_eq!(response["code"], "session_not_found");
    let response = client.ask("s", "prompt", json!({"message": "x", "runner_id": "elsewhere"})).await;
    assert_eq!(response["code"], "runner_unavailable");
    // Without an id the response carries an empty one.
    client.send(json!({"channel": "agent", "session_id": "", "cmd": "list_sessions"})).await;
    client.until(|c| c.responses.contains_key("")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_that_cannot_be_read_gets_its_own_error_and_the_connection_lives() {
    let instance = Instance::start().await;
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let deep =
        format!(r#"{{"channel":"agent","id":"deep","cmd":"prompt","session_id":"s","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let deep_id = format!(r#"{{"channel":"system","type":"ping","id":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    for bad in
        ["", "null", "[]", "{", "\u{0}", "{}", r#"{"channel":"nope"}"#, r#"{"channel":"system","type":"nope","id":"x"}"#, &deep, &deep_id]
    {
        client.send_text(bad.to_owned()).await;
        let error = client.other(|f| f["type"] == "error").await;
        assert_eq!(error["channel"], "system");
        assert!(error["error"].as_str().unwrap().starts_with("Invalid command: "), "{error}");
    }
    client.send(json!({"channel": "agent", "id": "a1", "session_id": "s", "cmd": "nope"})).await;
    assert_eq!(client.other(|f| f["type"] == "error").await["id"], "a1");
    client.until(|c| c.responses.contains_key("a1")).await;
    assert_eq!((&client.responses["a1"]["code"], &client.responses["a1"]["cmd"]), (&json!("invalid_request"), &json!("nope")));
    client.send(json!({"channel": "agent", "id": "a2", "session_id": "s", "cmd": "prompt"})).await;
    client.until(|c| c.responses.contains_key("a2")).await;
    client.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    client.other(|f| f["error"].as_str().is_some_and(|e| e.contains("binary"))).await;
    for (channel, kind) in [("files", "tree"), ("terminal", "list"), ("trx", "list")] {
        let path = json!({"channel": channel, "type": kind, "id": "f", "workspace_path": "/w", "path": "."});
        client.send(path).await;
        let reply = client.other(|f| f["channel"] == channel).await;
        assert!(reply["error"].as_str().unwrap().contains(channel), "{reply}");
        assert_eq!(reply["id"], "f");
    }
    client.send(json!({"channel": "system", "type": "ping", "id": "p"})).await;
    assert_eq!(client.other(|f| f["type"] == "pong").await["id"], "p");
}

use futures_util::{SinkExt as _, StreamExt as _};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sizes_are_limited_by_what_a_frame_is() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let large = "x".repeat(5 * 1024 * 1024);
    assert_eq!(client.ask("s", "prompt", json!({ "message": large })).await["success"], true);
    assert_eq!(client.ask("s", "steer", json!({ "message": large })).await["code"], "limit_exceeded");
    assert_eq!(client.ask("s", "prompt", json!({"message": "still here"})).await["success"], true);
    let (mut sink, mut stream) = client.socket.split();
    let huge = tokio::spawn(async move {
        let _ = sink.send(Message::text("x".repeat(17 * 1024 * 1024))).await;
    });
    let code = loop {
        match stream.next().await {
            Some(Ok(Message::Close(frame))) => break frame.map(|f| f.code),
            Some(Ok(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(code, Some(CloseCode::Size));
    huge.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abort_overtakes_a_slow_query_and_too_many_commands_are_busy() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    runner.hold("get_stats");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let slow = client.command("s", "get_stats", json!({})).await;
    assert_eq!(client.ask("s", "abort", json!({})).await["success"], true);
    assert!(!client.responses.contains_key(&slow));
    for _ in 1..octo::mux::MAX_IN_FLIGHT {
        client.command("s", "get_stats", json!({})).await;
    }
    let refused = client.ask("s", "get_state", json!({})).await;
    assert_eq!(refused["code"], "busy");
    runner.release();
    client.until(|c| c.responses.len() == octo::mux::MAX_IN_FLIGHT + 2).await;
    assert_eq!(client.responses[&slow]["success"], true);
    assert_eq!(client.ask("s", "get_state", json!({})).await["success"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_commands_of_a_session_reach_the_runner_in_the_order_sent() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    for round in 0..10 {
        for n in 0..50 {
            client.command("s", "prompt", json!({"message": format!("{}", round * 50 + n)})).await;
        }
        client.until(|c| c.responses.len() == (round + 1) * 50).await;
    }
    let order: Vec<String> = runner
        .seen()
        .into_iter()
        .filter_map(|frame| match frame.command {
            Command::Prompt { message, .. } => Some(message),
            // octo asks for it itself while it has not been told which sessions there are.
            Command::ListSessions => None,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(order, (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopping_server_says_so_and_closes_with_1012() {
    let instance = Instance::start().await;
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    instance.state.shutdown.cancel();
    let farewell = client.other(|f| f["type"] == "shutdown").await;
    assert!(farewell["retry_after_ms"].is_u64());
    assert_eq!(client.until_closed().await, Some(CloseCode::Restart));
    instance.state.connections.close();
    instance.state.connections.wait().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_whose_rights_end_is_closed_at_once() {
    let instance = Instance::start().await;
    let mut alice = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let mut bob = Client::connect(&instance, &instance.token("bob", Role::User).await).await;
    let id = UserId::new("alice").unwrap();
    instance.state.accounts.update(&id, |account| account.token_epoch += 1).await.unwrap();
    assert_eq!(alice.until_closed().await, Some(CloseCode::Policy));
    bob.send(json!({"channel": "system", "type": "ping"})).await;
    bob.other(|f| f["type"] == "pong").await;
    let mut admin = Client::connect(&instance, &instance.token("root", Role::Admin).await).await;
    instance.state.accounts.update(&UserId::new("root").unwrap(), |account| account.role = Role::User).await.unwrap();
    assert_eq!(admin.until_closed().await, Some(CloseCode::Policy));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn history_is_asked_of_the_runner_of_whoever_asks() {
    let instance = Instance::start().await;
    let _runner = instance.runner("alice");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    client.send(json!({"channel": "hstry", "type": "query", "id": "h", "query": "needle", "limit": 7})).await;
    let reply = client.other(|f| f["channel"] == "hstry").await;
    assert_eq!(reply["data"]["asked"]["q"], "needle");
    client.send(json!({"channel": "hstry", "type": "query", "id": "h", "session_id": "bob/s"})).await;
    let reply = client.other(|f| f["channel"] == "hstry").await;
    assert_eq!(reply["type"], "error");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upgrade_without_a_login_or_from_a_foreign_page_is_refused_before_it_happens() {
    let instance = Instance::start().await;
    let token = instance.token("alice", Role::User).await;
    let status = async |headers: &[(&'static str, String)], query: &str| match Client::try_connect(&instance, headers, query).await {
        Err(tokio_tungstenite::tungstenite::Error::Http(response)) => response.status().as_u16(),
        other => panic!("{:?}", other.map(|_| "connected")),
    };
    assert_eq!(status(&[], "").await, 401);
    assert_eq!(status(&[("authorization", "Bearer nonsense".to_owned())], "").await, 401);
    assert_eq!(status(&[], &format!("?token={token}")).await, 401);
    assert_eq!(status(&[], "?ticket=nonsense").await, 401);
    for origin in ["http://evil.example", "null", "http://127.0.0.1.evil.example", "http://evil-127.0.0.1"] {
        let bearer = ("authorization", format!("Bearer {token}"));
        assert_eq!(status(&[bearer, ("origin", origin.to_owned())], "").await, 403, "{origin}");
        assert_eq!(status(&[("cookie", format!("auth_token={token}")), ("origin", origin.to_owned())], "").await, 403, "{origin}");
    }
    assert_eq!(status(&[("cookie", format!("auth_token={token}"))], "").await, 403, "a cookie without an Origin");
}

/// Frames that an existing client sent to an existing server.
const RECORDED: &str = include_str!("recorded/client-frames.jsonl");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_existing_client_sends_is_taken_and_answered() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let mut answered = 0;
    for line in RECORDED.lines() {
        let frame: Value = serde_json::from_str(line).unwrap();
        if frame["cmd"] == "session.create" {
            runner.open(frame["session_id"].as_str().unwrap());
        }
        client.send_text(line.to_owned()).await;
        let id = frame["id"].as_str().unwrap_or_default().to_owned();
        if frame["channel"] == "files" {
            client.other(|f| f["channel"] == "files" && f["id"] == id.as_str()).await;
        } else {
            client.until(|c| c.responses.contains_key(&id)).await;
            let response = &client.responses[&id];
            assert_eq!(response["cmd"], frame["cmd"], "{response}");
            let refused = match frame["cmd"].as_str().unwrap() {
                "nope" => Some("invalid_request"),
                _ if frame["session_id"] == "no-such-session" => Some("session_not_found"),
                // No octo-eavs here, so no keys for new sessions.
                "session.create" => Some("not_ready"),
                _ => None,
            };
            assert_eq!(response.get("code").and_then(Value::as_str), refused, "{response}");
        }
        answered += 1;
    }
    assert_eq!(answered, 27);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_runner_that_does_not_start_is_told_of_after_its_first_attempt_in_its_own_words() {
    let instance = Instance::start().await;
    let attempts = instance.install(
        "octo-runner",
        "#!/bin/sh\necho started >> \"$0.attempts\"\necho 'some line of the log' >&2\necho 'octo-runner: the journal is not whole; restore it' >&2\nexit 1\n",
    );
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    let response = client.ask("s", "get_messages", json!({})).await;
    assert_eq!(response["code"], "runner_unavailable", "{response}");
    let error = response["error"].as_str().unwrap();
    assert!(error.contains("octo-runner does not start: the journal is not whole; restore it (its log is /"), "{error}");
    let count = std::fs::read_to_string(attempts.with_extension("attempts")).unwrap().lines().count();
    assert!(count <= 2, "whoever waits is told when the first attempt has failed, not after {count}");
}

/// An answer of the runner may take longer than one that comes after it: what the client sent last counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attach_that_is_overtaken_by_a_detach_follows_nothing() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let mut client = Client::connect(&instance, &instance.token("alice", Role::User).await).await;
    runner.hold("session.attach");
    let attached = client.command("s", "session.attach", json!({})).await;
    let detached = client.ask("s", "session.detach", json!({})).await;
    assert_eq!(detached["success"], true);
    assert!(!client.responses.contains_key(&attached), "it is held");
    runner.release();
    client.until(|c| c.responses.contains_key(&attached)).await;
    assert_eq!(client.responses[&attached]["success"], true);
    // The client would not know what to do with an event: no session is attached for it.
    runner.begin("s", "m1", 3);
    client.ask("", "list_sessions", json!({})).await;
    client.attach("s").await;
    runner.begin("s", "m2", 1);
    let end = runner.finish("s", "m2", "text");
    client.reach("s", end).await;
}
