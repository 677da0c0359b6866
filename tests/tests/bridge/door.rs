//! Who gets in, and what is said to whoever does not, or asks for what there is not.

use crate::reader::{By, Reader};
use crate::room::{Room, TOKEN, post};
use octo_e2e::{Turn, demo_prompt, request};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn a_bridge_without_a_token_does_not_start_and_says_how_to_make_one() {
    let room = Room::new().await;
    let started = |token: Option<&str>, further: &[&str]| {
        let mut command = room.command();
        command
            .arg("serve")
            .arg("--port")
            .arg("0")
            .arg("--cwd")
            .arg(room.work())
            .arg("--data-dir")
            .arg(room.home.path().join("b"))
            .args(further);
        if let Some(token) = token {
            command.env("PI_BRIDGE_TOKEN", token);
        }
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (token, further, want) in [
        (None, vec![], "there is no token"),
        (Some("short"), vec![], "can be guessed"),
        (None, vec!["--token-file", "/nonexistent/token"], "/nonexistent/token cannot be read"),
        (Some(TOKEN), vec!["--harness", "nobody", "--protocol", "pi-rpc", "--command", "no-such-agent"], "no-such-agent is not installed"),
        (Some(TOKEN), vec!["--harness", "nobody"], "needs --protocol and --command"),
    ] {
        let (success, said) = started(token, &further);
        assert!(!success && said.contains(want), "{further:?}: {said}");
    }
    let mut off = room.command();
    let output = off.arg("serve").env("PI_BRIDGE_ENABLED", "false").output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stderr).contains("switched off by PI_BRIDGE_ENABLED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_the_token_and_what_is_no_command_is_refused_with_a_sentence() {
    let room = Room::new().await;
    let bridge = room.bridge("pi", 0, &["--permissions", "ask"]).await;
    let url = bridge.url();
    let ask = async |method: &str, path: &str, token: Option<&str>, body: Option<&Value>| {
        let answer = request(method, &format!("{url}{path}"), token, body).await.expect("the bridge answers");
        let sentence = answer.json()["error"].as_str().unwrap_or_default().to_owned();
        (answer.status, sentence, answer)
    };
    let health = ask("GET", "/health", None, None).await.2;
    assert_eq!((health.status, health.json()["ok"].clone(), health.json()["harness"].clone()), (200, json!(true), json!("pi")));
    assert!(!String::from_utf8_lossy(&health.body).contains(TOKEN));

    let prompt = json!({"cmd": "prompt", "message": "hello"});
    for path in ["/command", "/ws", "/events", "/anything"] {
        let method = if path == "/command" { "POST" } else { "GET" };
        let (status, sentence, answer) = ask(method, path, None, Some(&prompt)).await;
        assert!(status == 401 && sentence.starts_with("there is no token: send"), "{path}: {status} {sentence}");
        assert!(answer.headers.contains_key("www-authenticate"));
        let (status, sentence, _) = ask(method, path, Some("another-token-of-somebody"), Some(&prompt)).await;
        assert!(status == 401 && sentence.starts_with("the token is wrong"), "{path}: {status} {sentence}");
        // A token in a URL stands in logs: it opens nothing.
        let (status, ..) = ask(method, &format!("{path}?token={TOKEN}"), None, Some(&prompt)).await;
        assert_eq!(status, 401);
    }
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    for (method, path, body, status, want) in [
        ("POST", "/command", json!({"cmd": "fly"}), 400, "this is no command"),
        ("POST", "/command", json!({"message": "hello"}), 400, "this is no command"),
        ("POST", "/command", json!([1, 2]), 400, "this is no command"),
        ("POST", "/command", deep, 400, "this is no command"),
        ("POST", "/command", json!({"cmd": "prompt", "message": "x".repeat(17 * 1024 * 1024)}), 413, "larger than"),
        ("GET", "/command", json!(null), 405, "not with this method"),
        ("GET", "/ws", json!(null), 426, "for WebSockets"),
        ("GET", "/events?after=yesterday", json!(null), 400, "no place to go on from"),
        ("GET", "/events?session=-", json!(null), 400, "session id"),
        ("GET", "/nothing", json!(null), 404, "there is nothing here"),
    ] {
        let (got, sentence, _) = ask(method, path, Some(TOKEN), Some(&body)).await;
        assert!(got == status && sentence.contains(want), "{method} {path}: {got} {sentence}");
    }
    // What reaches its session is answered by it: success or not.
    for (command, code) in [
        (json!({"cmd": "abort", "session_id": "nobody"}), "session_not_found"),
        (json!({"cmd": "prompt", "message": " "}), "invalid_request"),
        (json!({"cmd": "input_response", "request_id": "q", "confirmed": true}), "invalid_request"),
        (json!({"cmd": "session.create", "config": {"harness": "claude"}}), "invalid_request"),
        (json!({"cmd": "delegate", "target_session_id": "x", "message": "m"}), "unsupported"),
    ] {
        let (status, _, answer) = ask("POST", "/command", Some(TOKEN), Some(&command)).await;
        let response = answer.json();
        assert_eq!((status, &response["success"], &response["code"]), (200, &json!(false), &json!(code)), "{command}: {response}");
    }
    assert!(!room.said("pi").contains(TOKEN), "the token is in no log");
    assert!(bridge.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_survives_nonsense_and_a_question_is_answered_once_from_anywhere() {
    let room = Room::new().await;
    let bridge = room.bridge("pi", 0, &["--permissions", "ask"]).await;
    let mut reader = Reader::connected(By::WebSocket, &bridge.url()).await;
    for (text, id) in [("hello", ""), ("{\"cmd\":\"fly\",\"id\":\"x1\"}", "x1"), ("[]", "")] {
        reader.send(text.to_owned()).await;
        let response = reader.response().await;
        assert_eq!((&response["success"], &response["code"], &response["id"]), (&json!(false), &json!("invalid_request"), &json!(id)));
    }
    let turns = [Turn::text("Now.").bash("printf it > asked.txt"), Turn::text("Done.")];
    reader.command(json!({"cmd": "prompt", "message": demo_prompt("Write.", &turns)})).await.unwrap();
    let request = reader.event("agent.input_needed").await["request"].clone();
    assert_eq!(request["metadata"]["command"], "printf it > asked.txt");
    // Whoever comes later sees what is open.
    let state = post(&bridge.url(), &json!({"cmd": "get_state"})).await;
    assert_eq!(state["pendingInput"][0]["request_id"], request["request_id"]);
    let answer = json!({"cmd": "input_response", "request_id": request["request_id"], "option_id": "allow_once"});
    post(&bridge.url(), &answer).await;
    let again = reader.command(answer).await.unwrap();
    assert_eq!((&again["success"], &again["code"]), (&json!(false), &json!("invalid_request")), "{again}");
    reader.idle().await;
    assert!(room.work().join("asked.txt").exists());
    // Another name is another conversation.
    let list = post(&bridge.url(), &json!({"cmd": "list_sessions"})).await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 1);
    let other = post(&bridge.url(), &json!({"cmd": "get_messages", "session_id": "other"})).await;
    assert_eq!(other["messages"], json!([]));
    reader.agrees_with_the_journal().await;
    assert!(bridge.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_takes_nothing_holds_up_nobody_and_misses_nothing() {
    let room = Room::new().await;
    let bridge = room.bridge("pi", 0, &[]).await;
    let mut reader = Reader::connected(By::WebSocket, &bridge.url()).await;
    // One that asks for events and never reads.
    let mut dead = tokio::net::TcpStream::connect(("127.0.0.1", bridge.port)).await.unwrap();
    let get = format!("GET /events HTTP/1.1\r\nhost: b\r\nauthorization: Bearer {TOKEN}\r\n\r\n");
    dead.write_all(get.as_bytes()).await.unwrap();
    // One that never says what it wants.
    let mut mute = tokio::net::TcpStream::connect(("127.0.0.1", bridge.port)).await.unwrap();
    mute.write_all(b"GET /events HTTP/1.1\r\n").await.unwrap();
    for _ in 0..3 {
        let turn = Turn::text("many words ".repeat(20_000)).slowly(500, 0);
        reader.command(json!({"cmd": "prompt", "message": demo_prompt("Talk.", &[turn])})).await.unwrap();
        reader.idle().await;
    }
    let mut head = [0; 15];
    dead.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    let mut late = Reader::connected(By::Sse, &bridge.url()).await;
    late.until(|frame| frame["event"] == "replay.end").await;
    late.agrees_with_the_journal().await;
    reader.agrees_with_the_journal().await;
    assert!(bridge.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_octo_eavs_an_agent_has_its_own_providers_and_the_key_that_is_passed_by_name() {
    let room = Room::new().await;
    for harness in ["pi", "claude"] {
        let bridge = room.bridge_of_its_own(harness).await;
        // The handshake is done: pi would refuse a model that it does not have.
        let opened = post(&bridge.url(), &json!({"cmd": "session.create"})).await;
        assert_eq!(opened["state"]["model"]["id"], "claude-sonnet-4-20250514", "{opened}");
        let agent = bridge.tree().into_iter().find(|process| process.environment().contains("ANTHROPIC_API_KEY=sk-of-nobody"));
        assert!(agent.is_some(), "{harness} has the key");
        assert!(bridge.tree().iter().all(|process| !process.environment().contains(TOKEN)), "and not the token");
        assert!(bridge.stop().await.success());
    }
}
