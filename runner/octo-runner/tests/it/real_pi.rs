//! A real pi, against a scripted model behind the relay of its sandbox.

use crate::support::*;
use serde_json::json;
use std::path::{Path, PathBuf};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// The prefix with a real pi, or why there is none.
fn agents() -> Option<PathBuf> {
    let prefix = std::env::var_os("OCTO_AGENTS_DIR").map(PathBuf::from).filter(|p| p.join("node_modules/.bin/pi").exists());
    if prefix.is_none() {
        eprintln!("skipped: OCTO_AGENTS_DIR names no prefix with an installed pi");
    }
    prefix
}

/// Speaks Anthropic's messages as a stream: says "hello from the model", and never ends when the newest prompt holds the word "slow".
fn serve_model(socket: &Path) {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream));
        }
    });
}

async fn answer(mut stream: UnixStream) {
    let mut request = Vec::new();
    let mut piece = [0u8; 8192];
    let body = loop {
        let read = stream.read(&mut piece).await.unwrap_or(0);
        if read == 0 {
            return;
        }
        request.extend_from_slice(&piece[..read]);
        let text = String::from_utf8_lossy(&request).to_string();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|l| l.to_ascii_lowercase().strip_prefix("content-length: ").map(str::to_owned));
        if body.len() >= length.and_then(|l| l.trim().parse().ok()).unwrap_or(0) {
            assert!(text.contains(KEY), "the request carries the session's virtual key");
            break body.to_owned();
        }
    };
    // The conversation so far is in the request too: what counts is the newest message.
    let words: &[&str] = if body.contains("my pet is a pangolin") && body.contains("what is my pet") {
        &["a ", "pangolin"]
    } else {
        &["hello ", "from ", "the ", "model"]
    };
    let slow = body.rsplit("\"role\":\"user\"").next().is_some_and(|newest| newest.contains("slow"));
    let mut out = String::from("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n");
    let event = |name: &str, mut data: serde_json::Value| {
        data["type"] = name.into();
        format!("event: {name}\ndata: {data}\n\n")
    };
    let usage = json!({ "input_tokens": 7, "output_tokens": 1 });
    let message = json!({ "id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": [], "stop_reason": null, "usage": usage });
    out += &event("message_start", json!({ "message": message }));
    out += &event("content_block_start", json!({ "index": 0, "content_block": { "type": "text", "text": "" } }));
    let _ = stream.write_all(out.as_bytes()).await;
    for word in words {
        let delta = event("content_block_delta", json!({ "index": 0, "delta": { "type": "text_delta", "text": word } }));
        let _ = stream.write_all(delta.as_bytes()).await;
        if slow {
            std::future::pending::<()>().await;
        }
    }
    let mut end = event("content_block_stop", json!({ "index": 0 }));
    end += &event("message_delta", json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 4 } }));
    end += &event("message_stop", json!({}));
    let _ = stream.write_all(end.as_bytes()).await;
}

#[tokio::test]
async fn a_real_pi_answers_through_the_relay_and_resumes_after_a_kill() {
    let Some(agents) = agents() else { return };
    let mut runner = TestRunner::prepare();
    runner.agents_dir(agents);
    serve_model(&runner.root.join("run/llm/eavs.sock"));
    runner.spawn().await;
    let mut client = runner.client().await;
    let opened = client.open("s1", &runner.work()).await;
    assert_eq!(opened["state"]["model"]["id"], "scripted");
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "hello").await.unwrap();
    let mut events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "hello from the model"), "{events:?}");
    assert!(names(&events).contains(&"usage".to_owned()));
    client.prompt("s1", "slow").await.unwrap();
    events.extend(client.until(1, "stream.text_delta").await);
    assert_contiguous(&events, 1);
    runner.kill().await;
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", events.last().unwrap().0.seq).await;
    client.until(1, "agent.idle").await;
    client.prompt("s1", "hello again").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "hello from the model"), "{events:?}");
    client.prompt("s1", "slow").await.unwrap();
    client.until(1, "stream.text_delta").await;
    let aborted = client.command("s1", json!({ "cmd": "abort" })).await.unwrap();
    assert_eq!(aborted["parked"], json!([]));
    let events = client.until(1, "agent.idle").await;
    assert_eq!(events.iter().find(|(_, p)| p["event"] == "stream.done").unwrap().1["reason"], "aborted");
    let secret = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(Result::ok)
        .any(|e| std::fs::read(e.path().join("cmdline")).is_ok_and(|c| c.windows(KEY.len()).any(|w| w == KEY.as_bytes())));
    assert!(!secret, "the virtual key is in no command line");
}

/// It is the agent's own session file that brings the conversation back: the model is asked with everything from before the sleep.
#[tokio::test]
async fn a_real_pi_sleeps_and_wakes_with_what_was_said_before() {
    let Some(agents) = agents() else { return };
    let mut runner = TestRunner::prepare();
    runner.agents_dir(agents);
    runner.arguments(&["--idle-after-secs", "1", "--idle-check-secs", "1"]);
    serve_model(&runner.root.join("run/llm/eavs.sock"));
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    // Also before it was ever asked anything.
    client.asleep("s1").await;
    client.prompt("s1", "my pet is a pangolin").await.unwrap();
    let mut events = client.until(1, "agent.idle").await;
    client.asleep("s1").await;
    client.prompt("s1", "what is my pet").await.unwrap();
    events.extend(client.until(1, "agent.idle").await);
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "a pangolin"), "{events:?}");
    assert_contiguous(&events, 1);
    let names = names(&events);
    assert!(!names.iter().any(|n| n == "agent.error" || n == "session.restarted" || n == "notify"), "{names:?}");
    // A sleep and a runner that ends: nothing is different.
    client.asleep("s1").await;
    runner.kill().await;
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", events.last().unwrap().0.seq).await;
    client.prompt("s1", "and what is my pet").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "a pangolin"), "{events:?}");
}
