//! Clients that want too much.

use crate::raw::{PING, Raw, TEXT, frame, head, upgrade};
use crate::room::{agrees, alone, answers, attached, back_to, catches_up, descriptors, full, healthy, instance, prompt, resident, turn};
use futures_util::{SinkExt, StreamExt};
use octo_e2e::{Client, Instance, PATIENCE, Path, Script};
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

/// Sends everything as fast as the server takes it, and reads until `done` of what came.
async fn flood(instance: &Instance, token: &str, frames: Vec<String>, mut done: impl FnMut(&Value) -> bool) {
    let mut request = format!("{}/api/ws/mux", instance.url().replace("http://", "ws://")).into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let stream = Path::default().dial(instance.port()).await.unwrap();
    let (socket, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
    let (mut sink, mut stream) = socket.split();
    let sending = tokio::spawn(async move {
        for frame in frames {
            sink.feed(Message::text(frame)).await.unwrap();
        }
        sink.flush().await.unwrap();
        sink
    });
    loop {
        let message = tokio::time::timeout(PATIENCE, stream.next()).await.expect("something comes");
        match message.expect("the connection holds").expect("the connection holds") {
            Message::Text(text) if done(&serde_json::from_str(&text).unwrap()) => break,
            Message::Close(frame) => panic!("closed: {frame:?}"),
            _ => {}
        }
    }
    drop(sending.await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_commands_gets_an_answer_to_each_and_nobody_waits_for_it() {
    let instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let before = descriptors(&instance);
    let commands = if full() { 20_000 } else { 3500 };
    let kinds = ["get_state", "list_sessions", "get_messages", "session.attach", "session.detach", "get_stats", "abort", "nonsense"];
    let frames: Vec<String> = (0..commands)
        .map(|n| json!({"channel": "agent", "id": format!("f{n}"), "session_id": "ses", "cmd": kinds[n % kinds.len()]}).to_string())
        .chain([json!({"channel": "system", "type": "ping", "id": "last"}).to_string()])
        .collect();
    // `abort` would end the turn, so it is told of a session of its own.
    let frames = frames.into_iter().map(|frame| if frame.contains("\"abort\"") { frame.replace("\"ses\"", "\"other\"") } else { frame });
    let mut answered: HashMap<String, Value> = HashMap::new();
    let (mut ponged, mut busy) = (false, 0);
    let token = reader.token().to_owned();
    let flooding = flood(&instance, &token, frames.collect(), |frame| {
        if frame["event"] == "response" {
            let id = frame["id"].as_str().unwrap().to_owned();
            busy += usize::from(frame["code"] == "busy");
            let known =
                frame["success"] == true || matches!(frame["code"].as_str(), Some("busy" | "invalid_request" | "session_not_found"));
            assert!(known, "{frame}");
            assert!(answered.insert(id, frame.clone()).is_none(), "a second answer: {frame}");
        }
        ponged |= frame["type"] == "pong" && frame["id"] == "last";
        ponged && answered.len() == commands
    });
    let mut second = attached(&instance, &token, Path::default()).await;
    let working = async {
        for round in 0..5 {
            turn(&mut reader, &Script::deltas(50).paced(200.0), &format!("turn-{round}")).await;
            second.idle("ses").await;
        }
    };
    tokio::join!(flooding, working);
    println!("{commands} commands, {busy} of them busy");
    agrees(&mut reader).await;
    agrees(&mut second).await;
    drop(second);
    back_to(&instance, before).await;
    alone(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_attaches_leave_one_cursor_and_no_trace() {
    let instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let before = descriptors(&instance);
    turn(&mut reader, &Script::deltas(100), "first").await;
    let token = reader.token().to_owned();
    let times = if full() { 20_000 } else { 1500 };
    let mut client = attached(&instance, &token, Path::default()).await;
    let churning = async {
        for n in 0..times {
            let cursor = client.checker.cursor("ses").unwrap();
            let command = if n % 2 == 0 { json!({"cmd": "session.detach"}) } else { json!({"cmd": "session.attach", "cursor": cursor}) };
            let response = client.try_command("ses", command).await.unwrap();
            assert_eq!(response["success"], true, "{response}");
            if n % 2 == 1 {
                client.event("ses", |frame| frame["event"] == "replay.end").await.unwrap();
            }
        }
    };
    let script = Script::deltas(400).paced(200.0);
    tokio::join!(churning, turn(&mut reader, &script, "meanwhile"));
    turn(&mut reader, &Script::deltas(10), "last").await;
    catches_up(&mut client, &reader).await;
    agrees(&mut client).await;
    let listed = client.command("", json!({"cmd": "list_sessions"})).await;
    assert_eq!(listed["sessions"][0]["subscriber_count"], 2, "{listed}");
    drop(client);
    agrees(&mut reader).await;
    back_to(&instance, before).await;
    alone(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pings_strangers_and_empty_connections_by_the_thousand_disturb_nobody() {
    let instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let before = descriptors(&instance);
    let (token, port) = (reader.token().to_owned(), instance.port());
    let mut pinging = Raw::open(&instance, &token, Path::default()).await;
    let pings = tokio::spawn(async move {
        let many = frame(PING, b"are you there").repeat(3000);
        assert!(pinging.write(&many).await);
        assert!(pinging.write(&frame(TEXT, br#"{"channel":"system","type":"ping","id":"last"}"#)).await);
        let mut pongs = 0;
        loop {
            match pinging.read().await.expect("the connection holds") {
                (0x8A, payload) => {
                    assert_eq!(payload, b"are you there");
                    pongs += 1;
                }
                (_, payload) if String::from_utf8_lossy(&payload).contains("pong") => break,
                _ => {}
            }
        }
        // Pings that come together may share a pong (RFC 6455, 5.5.3).
        assert!(pongs > 0);
    });
    // Upgrades by whoever has no token, one with a wrong one, and connections that only come and go.
    let strangers = (0..20).map(|n| {
        tokio::spawn(async move {
            let path = Path { source: Some([127, 0, 1, n].into()), receive_buffer: None };
            for round in 0..50 {
                let mut stream = path.dial(port).await.unwrap();
                if round % 3 == 0 {
                    continue;
                }
                let token = (round % 3 == 1).then_some("nonsense");
                stream.write_all(upgrade(token).as_bytes()).await.unwrap();
                let head = head(&mut stream).await;
                assert!(head.starts_with("HTTP/1.1 401"), "{head}");
            }
        })
    });
    let strangers: Vec<_> = strangers.collect();
    turn(&mut reader, &Script::deltas(300).paced(150.0), "meanwhile").await;
    for stranger in strangers {
        stranger.await.unwrap();
    }
    pings.await.unwrap();
    agrees(&mut reader).await;
    back_to(&instance, before).await;
    alone(&mut reader).await;
}

/// More than may be under way.
const ASKED: usize = 80;

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_that_are_not_read_are_not_kept() {
    let instance = instance("ping_seconds = 3600").await;
    let mut reader = healthy(&instance).await;
    // A page of history of about 2 MiB.
    for n in 0..2 {
        turn(&mut reader, &Script::deltas(1000).size(1000), &format!("page-{n}")).await;
    }
    let token = reader.token().to_owned();
    let mut greedy = Client::new(&instance.url(), &token).by(Path { source: None, receive_buffer: Some(4096) });
    greedy.reconnect().await;
    let before = resident(&instance);
    for n in 0..ASKED {
        let ask = json!({"channel": "agent", "id": format!("g{n}"), "session_id": "ses", "cmd": "get_messages", "limit": 200});
        assert!(greedy.send_text(ask.to_string()).await);
    }
    // Whoever comes later is answered, so these were looked at.
    prompt(&mut reader, &Script::deltas(200).paced(100.0), "meanwhile").await;
    reader.idle("ses").await;
    let grown = resident(&instance).saturating_sub(before);
    println!("{ASKED} pages of 2 MiB asked for and none read: {} KiB kept", grown / 1024);
    assert!(grown < 160 * 1024 * 1024, "{grown} bytes are kept");
    let (mut answered, mut pages, mut busy) = (0, 0, 0);
    let mut refused = Vec::new();
    while answered < ASKED {
        let frame = greedy.next().await.expect("the connection holds");
        if frame["event"] == "response" {
            answered += 1;
            pages += usize::from(frame["success"] == true);
            busy += usize::from(frame["code"] == "busy");
            refused.extend(frame["code"].as_str().filter(|code| *code != "busy").map(str::to_owned));
        }
    }
    println!("{pages} pages, {busy} busy");
    assert!(pages > 0 && busy > 0 && pages + busy == ASKED, "{pages} pages, {busy} busy, {refused:?}");
    answers(&mut greedy).await;
    agrees(&mut reader).await;
}
