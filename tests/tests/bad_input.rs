//! Bad input gets a sentence that says what to do, and harms nothing else.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Options, Turn, demo_prompt};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

async fn frame(client: &mut Client, mut wanted: impl FnMut(&Value) -> bool) -> Value {
    loop {
        let frame = client.next().await.expect("the connection lives");
        if wanted(&frame) {
            return frame;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_read_gets_its_own_error_and_the_connection_lives() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    let deep = format!("{{\"channel\":\"agent\",\"id\":\"deep\",\"x\":{}1{}}}", "[".repeat(5000), "]".repeat(5000));
    for (text, id) in [
        ("no json".to_owned(), None),
        ("[1,2]".to_owned(), None),
        (deep, Some("deep")),
        (r#"{"channel":"agent","id":"7","session_id":"s","cmd":"nope"}"#.to_owned(), Some("7")),
        (r#"{"channel":"nope","id":"8"}"#.to_owned(), Some("8")),
    ] {
        client.send_text(text.clone()).await;
        let error = frame(&mut client, |f| f["channel"] == "system" && f["type"] == "error").await;
        assert!(error["error"].as_str().unwrap().starts_with("Invalid command: "), "{text}: {error}");
        assert_eq!(error["id"].as_str(), id, "{text}: {error}");
    }
    client.send_text(r#"{"channel":"system","type":"ping","id":"p"}"#.to_owned()).await;
    let pong = frame(&mut client, |f| f["type"] == "pong").await;
    assert_eq!(pong["id"], "p");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_frame_closes_with_1009() {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest};
    let instance = Instance::started().await;
    let client = Client::connect(&instance).await;
    let mut request = format!("{}/api/ws/mux", instance.url().replace("http", "ws")).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", client.token()).parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let huge = format!("{{\"channel\":\"agent\",\"cmd\":\"prompt\",\"message\":\"{}\"}}", "x".repeat(17 * 1024 * 1024));
    let _ = socket.send(Message::text(huge)).await;
    let code = loop {
        match socket.next().await {
            Some(Ok(Message::Close(Some(close)))) => break Some(u16::from(close.code)),
            Some(Ok(_)) => {}
            Some(Err(_)) | None => break None,
        }
    };
    assert_eq!(code, Some(1009));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_cannot_be_made_says_why() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    let create = |config: Value| json!({"cmd": "session.create", "config": config});
    let (code, sentence) = client.refused("s1", create(json!({"cwd": "/does/not/exist"}))).await;
    assert_eq!(code, "invalid_request");
    assert!(sentence.contains("/does/not/exist"), "{sentence}");
    let (code, sentence) = client.refused("s1", create(json!({"cwd": "relative"}))).await;
    assert_eq!(code, "invalid_request", "{sentence}");
    let (code, sentence) = client.refused("s1", create(json!({"cwd": instance.workspace(), "harness": "nope"}))).await;
    assert!(code == "invalid_request" || code == "unsupported", "{code}");
    assert!(sentence.contains("nope"), "{sentence}");
    let (code, sentence) = client.refused("s1", create(json!({"cwd": instance.workspace(), "provider": "nope", "model": "x"}))).await;
    assert_eq!(code, "invalid_request", "{sentence}");
    let (code, sentence) = client.refused("bad id", create(json!({"cwd": instance.workspace()}))).await;
    assert_eq!(code, "invalid_request", "{sentence}");
    let (code, sentence) = client.refused("unknown", json!({"cmd": "prompt", "message": "hello"})).await;
    assert_eq!(code, "session_not_found");
    assert!(sentence.contains("SessionNotFound"), "existing clients look for the word: {sentence}");
    // And the next good one works.
    client.create("s1", &instance.workspace()).await;
    client.command("s1", json!({"cmd": "prompt", "message": demo_prompt("Fine.", &[Turn::text("fine")])})).await;
    client.idle("s1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_not_installed_says_how_to_get_it() {
    let empty = tempfile::tempdir().unwrap();
    let mut instance = Instance::new(Options { agents_dir: Some(empty.path().to_owned()), ..Options::default() });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let (code, sentence) = client.refused("s1", json!({"cmd": "session.create", "config": {"cwd": instance.workspace()}})).await;
    assert_eq!(code, "agent_failed");
    assert!(sentence.contains("pi") && sentence.contains("octo agents install"), "{sentence}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_exits_at_start_shows_what_it_said() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("broken-pi");
    std::fs::write(&program, "#!/bin/sh\necho 'the frobnicator is missing' >&2\nexit 3\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut instance = Instance::new(Options::default());
    // In the instance's own home: /tmp is private to each sandbox.
    let inside = instance.home().join("broken-pi");
    std::fs::copy(&program, &inside).unwrap();
    std::fs::write(instance.home().join(".config/octo/config.toml"), format!("[pi]\nexecutable = \"{}\"\n", inside.display())).unwrap();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let (code, sentence) = client.refused("s1", json!({"cmd": "session.create", "config": {"cwd": instance.workspace()}})).await;
    assert_eq!(code, "agent_failed");
    assert!(sentence.contains("the frobnicator is missing"), "{sentence}");
}

/// Runs `octo serve` that must fail; what it said.
fn fails_to_serve(instance: &Instance, arguments: &[&str]) -> String {
    let output = instance.command("octo").arg("serve").args(arguments).output().unwrap();
    assert!(!output.status.success(), "octo served");
    let text = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!text.contains("panicked"), "{text}");
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_in_use_and_a_second_server_on_one_store_are_refused_with_a_sentence() {
    let instance = Instance::started().await;
    let other = Instance::new(Options::default());
    let text = fails_to_serve(&other, &["--port", &instance.port().to_string()]);
    assert!(text.contains(&instance.port().to_string()) && text.contains("in use"), "{text}");
    let text = fails_to_serve(&instance, &["--port", "0"]);
    assert!(text.contains("another") && text.contains("octo"), "{text}");
    // The first one did not notice.
    Client::connect(&instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_with_an_unknown_key_is_refused_by_name() {
    let instance = Instance::new(Options { config: "[server]\nprot = 80\n".to_owned(), ..Options::default() });
    let text = fails_to_serve(&instance, &["--port", "0"]);
    assert!(text.contains("server.prot") && text.contains("server.port"), "it names the key and the nearest one: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_store_is_refused_and_left_as_it_is() {
    let mut instance = Instance::started().await;
    instance.stop_octo().await;
    let store = instance.home().join(".local/share/octo/store");
    let file = std::fs::read_dir(&store)
        .unwrap()
        .flatten()
        .map(|e| e.path())
        .find(|p| p.file_name().is_some_and(|n| n == "conf"))
        .expect("sled's conf");
    std::fs::write(&file, b"this is not a store").unwrap();
    let before = std::fs::read(&file).unwrap();
    let text = fails_to_serve(&instance, &["--port", "0"]);
    assert!(text.contains("store"), "{text}");
    assert_eq!(std::fs::read(&file).unwrap(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_journal_is_said_to_the_client_and_left_as_it_is() {
    let mut instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    instance.stop_octo().await;
    let runner = instance.runner();
    runner.signal(nix::sys::signal::Signal::SIGTERM);
    octo_e2e::until("the runner ends", || (!runner.is_alive()).then_some(())).await;
    let journal = instance.home().join(".local/share/octo/runners/admin/journal.db");
    assert!(journal.exists(), "{}", journal.display());
    for extra in ["journal.db-wal", "journal.db-shm"] {
        let _ = std::fs::remove_file(journal.with_file_name(extra));
    }
    std::fs::write(&journal, vec![0x5a; 64 * 1024]).unwrap();
    let before = std::fs::read(&journal).unwrap();
    instance.start().await;
    client.reconnect_to(&instance).await;
    let (code, sentence) = client.refused("s1", json!({"cmd": "list_sessions"})).await;
    assert_eq!(code, "runner_unavailable", "{sentence}");
    assert!(sentence.contains("journal"), "it names what is wrong: {sentence}");
    assert_eq!(std::fs::read(&journal).unwrap(), before);
}
