//! The bridge killed in the middle of a turn.

use crate::reader::{By, Reader};
use crate::room::Room;
use octo_e2e::{Turn, demo_prompt};
use serde_json::json;

async fn killed_in_mid_turn(harness: &str) {
    let room = Room::new().await;
    let bridge = room.bridge(harness, 0, &[]).await;
    let port = bridge.port;
    let mut reader = Reader::connected(By::WebSocket, &bridge.url()).await;
    let turns = [Turn::text("First."), Turn::text("x ".repeat(300)).slowly(300, 50), Turn::text("Third.")];
    reader.command(json!({"cmd": "prompt", "message": demo_prompt("Remember.", &turns)})).await.unwrap();
    reader.idle().await;
    reader.command(json!({"cmd": "prompt", "message": "go on"})).await.unwrap();
    reader.event("stream.text_delta").await;
    bridge.kill().await;
    let bridge = room.bridge(harness, port, &[]).await;
    assert_eq!(reader.event("stream.done").await["reason"], "aborted");
    reader.idle().await;
    // The conversation is the agent's own, and goes on.
    reader.command(json!({"cmd": "prompt", "message": "and on"})).await.unwrap();
    let next = reader.until(|frame| frame["event"] == "stream.text_delta").await;
    assert!(["x", "Third"].iter().any(|word| next["delta"].as_str().unwrap().contains(word)), "{next}");
    reader.command(json!({"cmd": "abort"})).await.unwrap();
    reader.agrees_with_the_journal().await;
    assert!(bridge.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_a_bridge_with_pi_in_mid_turn_loses_nothing_that_was_seen() {
    killed_in_mid_turn("pi").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_a_bridge_with_claude_code_in_mid_turn_loses_nothing_that_was_seen() {
    killed_in_mid_turn("claude").await;
}
