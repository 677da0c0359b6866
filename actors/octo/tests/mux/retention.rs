//! What a runner does not keep any more is said, never passed over.

use crate::support::{Client, Instance};
use octo::auth::Role;
use octo_protocol::history::{RemovalReason, Removed};

fn removed(messages: u64) -> Removed {
    Removed { messages, turns: messages, first_at: 1, last_at: 2, removed_at: 3, reasons: vec![RemovalReason::Age] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cursor_older_than_what_is_kept_is_told_how_much_and_gets_the_messages_with_what_was_removed() {
    let instance = Instance::start().await;
    let runner = instance.runner("alice");
    runner.open("s");
    let token = instance.token("alice", Role::User).await;
    let mut client = Client::connect(&instance, &token).await;
    runner.begin("s", "m1", 2);
    runner.finish("s", "m1", "one");
    client.attach("s").await;
    let cursor = client.seen("s").cursor.clone().unwrap();
    let mut client = client.reconnect(&instance, &token).await;
    let mut floor = 0;
    for n in 2..6 {
        runner.begin("s", &format!("m{n}"), 2);
        floor = runner.finish("s", &format!("m{n}"), "more");
    }
    runner.cut_down("s", floor, Some(removed(2)));
    let instance = instance.killed_and_started().await;
    let token = instance.token("alice", Role::User).await;
    client = client.reconnect(&instance, &token).await;
    client.begin_attach("s").await;
    let (mut told, mut messages) = (None, None);
    while messages.is_none() {
        let frame = client.read().await.unwrap();
        match frame["event"].as_str() {
            Some("stream.resync_required") => told = Some(frame),
            Some("messages") => messages = Some(frame),
            _ => {}
        }
    }
    let (told, messages) = (told.unwrap(), messages.unwrap());
    assert_eq!(told["dropped_count"].as_u64(), Some(floor - cursor.seq));
    let reason = told["reason"].as_str().unwrap();
    assert!(reason.contains(&format!("cursor {}", cursor.seq)) && reason.contains("removed"), "{reason}");
    assert_eq!(messages["removed"], serde_json::to_value(removed(2)).unwrap());
    assert_eq!(messages["messages"].as_array().unwrap().len(), 3);
    // It goes on from there.
    runner.begin("s", "m6", 2);
    let end = runner.finish("s", "m6", "last");
    client.reach("s", end).await;
    client.seen("s").agrees(&runner.messages("s"));
    // A cursor that is not older is not bothered.
    let mut client = client.reconnect(&instance, &token).await;
    client.attach("s").await;
    assert_eq!(client.seen("s").resyncs.len(), 1);
}
