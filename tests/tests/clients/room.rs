//! What octo has of the machine, seen from outside; and a session with somebody who reads everything.

use octo_e2e::{Client, Instance, Options, Path, Script, until};
use serde_json::{Value, json};

/// An instance with the scripted agent and this `[server]` section.
pub async fn instance(server: &str) -> Instance {
    let mut options = Options::scripted();
    options.config.push_str(&format!("[server]\n{server}\n"));
    let mut instance = Instance::new(options);
    instance.start().await;
    instance
}

/// A client with the session `ses`, live.
pub async fn healthy(instance: &Instance) -> Client {
    let mut client = Client::connect(instance).await;
    client.create("ses", &instance.workspace()).await;
    client.event("ses", |frame| frame["event"] == "replay.end").await.unwrap();
    client
}

/// Another one of the same account, attached to `ses` and live.
pub async fn attached(instance: &Instance, token: &str, path: Path) -> Client {
    let mut client = Client::new(&instance.url(), token).by(path);
    client.reconnect().await;
    let response = client.attach("ses").await.unwrap();
    assert_eq!(response["success"], true, "{response}");
    client.event("ses", |frame| frame["event"] == "replay.end").await.unwrap();
    client
}

/// Sends a prompt that plays `script`.
pub async fn prompt(client: &mut Client, script: &Script, id: &str) {
    client.command("ses", json!({"cmd": "prompt", "message": script.prompt("Speak."), "client_id": id})).await;
}

/// A turn, from the prompt to its end, seen whole by `client`.
pub async fn turn(client: &mut Client, script: &Script, id: &str) {
    prompt(client, script, id).await;
    client.idle("ses").await;
}

/// Reads until `client` has come as far as `other`.
pub async fn catches_up(client: &mut Client, other: &Client) {
    let seq = |client: &Client| client.checker.cursor("ses").and_then(|cursor| cursor["seq"].as_u64()).unwrap_or(0);
    let end = seq(other);
    while seq(client) < end {
        client.next().await.expect("the connection holds");
    }
}

/// Everything that `client` saw is what history has.
pub async fn agrees(client: &mut Client) {
    let history = client.history("ses").await;
    client.checker.agrees_with("ses", &history);
}

/// Open descriptors of octo.
pub fn descriptors(instance: &Instance) -> usize {
    let pid = instance.octo_pid().unwrap();
    std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Bytes of memory that octo has for itself.
pub fn resident(instance: &Instance) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", instance.octo_pid().unwrap())).unwrap();
    let kib = status.lines().find_map(|line| line.strip_prefix("RssAnon:")?.trim().strip_suffix(" kB")).unwrap();
    kib.trim().parse::<u64>().unwrap() * 1024
}

/// Waits until octo has no more descriptors than `before`.
pub async fn back_to(instance: &Instance, before: usize) {
    until(&format!("octo has {before} descriptors again"), || (descriptors(instance) <= before).then_some(())).await;
}

/// The actors below `/users` whose path contains `part`.
pub async fn actors(client: &mut Client, part: &str) -> Vec<String> {
    client.send_text(json!({"channel": "system", "type": "watch_actors", "path": "/users"}).to_string()).await;
    let frame = other(client, |frame| frame["type"] == "actors").await;
    client.send_text(json!({"channel": "system", "type": "unwatch_actors"}).to_string()).await;
    let rows = frame["rows"].as_array().unwrap().iter();
    rows.map(|row| row["path"].as_str().unwrap().to_owned()).filter(|path| path.contains(part)).collect()
}

/// Waits until the only connection left is that of `client`.
pub async fn alone(client: &mut Client) {
    let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
    loop {
        let left = actors(client, "/connections/").await;
        if left.len() == 1 {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "connections stay: {left:?}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

/// The next frame of `system` that satisfies `wanted`. Events that come meanwhile have been judged by the checker.
pub async fn other(client: &mut Client, wanted: impl Fn(&Value) -> bool) -> Value {
    loop {
        let frame = client.next().await.expect("the connection holds");
        if frame["channel"] == "system" && wanted(&frame) {
            return frame;
        }
    }
}

/// The connection answers.
pub async fn answers(client: &mut Client) {
    client.send_text(json!({"channel": "system", "type": "ping", "id": "alive"}).to_string()).await;
    other(client, |frame| frame["type"] == "pong" && frame["id"] == "alive").await;
}

/// Whether the long version was asked for.
pub fn full() -> bool {
    std::env::var_os("OCTO_FULL").is_some()
}
