//! A disk that is full.

use crate::small_disk::{SmallDisk, elsewhere};
use crate::support::*;
use octo_protocol::ErrorCode;
use serde_json::json;

#[tokio::test]
async fn a_full_disk_refuses_input_keeps_reading_and_recovers_by_itself() {
    if elsewhere() {
        return;
    }
    let mut runner = TestRunner::prepare();
    let disk = SmallDisk::mount(&runner.data_dir(), 3);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say one").await.unwrap();
    let mut seen = client.until(1, "agent.idle").await;

    disk.fill();
    // Some of what SQLite has reserved may still take a few: then it is full.
    let mut refused = None;
    for n in 0..2000 {
        let filler = "y".repeat(20_000);
        match client.prompt("s1", &format!("say {n} {filler}")).await {
            Err((code, sentence)) if sentence.contains("make room") => {
                refused = Some(code);
                break;
            }
            // Or the queue is full for a moment.
            Ok(_) | Err(_) => {}
        }
    }
    assert_eq!(refused, Some(ErrorCode::LimitExceeded));
    // Reading goes on.
    client.subscribe(2, "s1", 0).await;
    client.until(2, "agent.idle").await;
    assert!(client.command("s1", json!({ "cmd": "get_messages" })).await.is_ok());
    assert_eq!(client.command("s1", json!({ "cmd": "get_state" })).await.unwrap()["sessionId"], "s1");

    disk.make_room();
    let began = std::time::Instant::now();
    loop {
        match client.command("s1", json!({ "cmd": "prompt", "message": "say again", "client_id": "again" })).await {
            Ok(_) => break,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    loop {
        let more = client.until(1, "agent.idle").await;
        let done = more.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: again");
        seen.extend(more);
        if done {
            break;
        }
    }
    assert_contiguous(&seen, 1);
}
