//! The connection cut in the middle of a turn: whoever comes back with a cursor gets the rest, each event once.

use crate::proxy::Proxy;
use crate::reader::{By, Reader};
use crate::room::{Room, post};
use octo_e2e::{Turn, demo_prompt};
use serde_json::json;

/// An answer, a tool and another answer, with a cut in each of them, and one while nobody reads.
async fn cut_in_mid_turn(harness: &str, by: By) {
    let room = Room::new().await;
    let bridge = room.bridge(harness, 0, &["--permissions", "allow"]).await;
    let way = Proxy::to(bridge.port).await;
    let url = format!("http://127.0.0.1:{}", way.port());
    let mut reader = Reader::connected(by, &url).await;
    let turns = [
        Turn::text("one two three four five six seven eight nine ten").slowly(10, 60).bash("echo begun; sleep 1; printf made > made.txt"),
        Turn::text("eleven twelve thirteen fourteen fifteen sixteen").slowly(6, 60),
    ];
    let prompt = json!({"cmd": "prompt", "message": demo_prompt("Work.", &turns), "client_id": "p1"});
    match by {
        By::WebSocket => assert_eq!(reader.command(prompt.clone()).await.unwrap()["success"], true),
        By::Sse => drop(post(&url, &prompt).await),
    }
    reader.event("stream.text_delta").await;
    way.cut();
    reader.event("tool.start").await;
    way.cut();
    // Sent again it runs once.
    post(&url, &prompt).await;
    reader.event("tool.end").await;
    reader.event("stream.text_delta").await;
    way.close();
    // Everything comes to its end while nobody is there.
    let state = || bridge.command(json!({"cmd": "get_state"}));
    while state().await["isStreaming"] == true {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    way.open();
    reader.idle().await;
    assert!(reader.connections >= 4, "it was cut: {} connections", reader.connections);
    assert_eq!(std::fs::read_to_string(room.work().join("made.txt")).unwrap(), "made");
    let messages = reader.messages();
    let roles: Vec<&str> = messages.iter().map(|(role, _)| role.as_str()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "assistant"], "{messages:?}");
    assert_eq!(messages[1].1, turns[0].said());
    assert_eq!(messages[3].1, turns[1].said());
    reader.agrees_with_the_journal().await;
    assert!(bridge.stop().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn pi_by_websocket_is_cut_in_mid_turn_and_nothing_is_lost() {
    cut_in_mid_turn("pi", By::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pi_by_http_and_server_sent_events_is_cut_in_mid_turn_and_nothing_is_lost() {
    cut_in_mid_turn("pi", By::Sse).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_by_websocket_is_cut_in_mid_turn_and_nothing_is_lost() {
    cut_in_mid_turn("claude", By::WebSocket).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn claude_code_by_http_and_server_sent_events_is_cut_in_mid_turn_and_nothing_is_lost() {
    cut_in_mid_turn("claude", By::Sse).await;
}
