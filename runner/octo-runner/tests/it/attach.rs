//! Attaching: snapshots, running tools, and what cursors bring.

use crate::support::*;
use octo_protocol::link::RequestBody;
use serde_json::json;

#[tokio::test]
async fn a_snapshot_and_the_replay_after_it_are_the_whole_state() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say one").await.unwrap();
    client.until(1, "agent.idle").await;
    client.prompt("s1", "hang").await.unwrap();
    let open = client.until(1, "stream.text_delta").await;
    let start = open.iter().find(|(_, p)| p["event"] == "stream.message_start").unwrap();
    let snapshot = client.request(RequestBody::Snapshot { session: "s1".parse().unwrap() }).await.unwrap();
    assert_eq!(snapshot["as_of"], start.0.seq - 1, "it ends before the message under way");
    assert_eq!(snapshot["messages"].as_array().unwrap().len(), 3);
    assert_eq!(snapshot["has_more"], false);
    assert_eq!(snapshot["state"]["status"], "working");
    let epoch = snapshot["epoch"].as_str().unwrap().parse().unwrap();
    client.subscribe_with(2, "s1", Some(epoch), snapshot["as_of"].as_u64(), None, 100_000).await;
    let (first, payload) = client.event(2).await;
    assert_eq!((first.seq, payload["event"].as_str()), (start.0.seq, Some("stream.message_start")));
}

#[tokio::test]
async fn progress_of_a_tool_is_coalesced_never_journalled_and_part_of_the_state() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "tool").await.unwrap();
    let mut shown = 0;
    loop {
        let (event, payload) = client.event(1).await;
        if payload["event"] == "tool.progress" {
            assert_eq!(event.seq, 0);
            shown += 1;
            if payload["partial_output"]["content"][0]["text"] == "line 499" {
                break;
            }
        }
    }
    assert!(shown < 100, "500 updates were shown {shown} times");
    let snapshot = client.request(RequestBody::Snapshot { session: "s1".parse().unwrap() }).await.unwrap();
    let tool = &snapshot["state"]["runningTools"][0];
    assert_eq!((&tool["toolCallId"], &tool["partialOutput"]["content"][0]["text"]), (&json!("call_1"), &json!("line 499")));
    client.subscribe_with(2, "s1", None, snapshot["as_of"].as_u64(), None, 100_000).await;
    client.command("s1", json!({ "cmd": "abort" })).await.unwrap();
    let replayed = client.until(2, "agent.idle").await;
    assert_eq!(names(&replayed)[0], "tool.start");
    assert!(!names(&replayed).contains(&"tool.progress".to_owned()));
    assert!(names(&replayed).contains(&"tool.end".to_owned()));
}

#[tokio::test]
async fn history_is_listed_searched_paged_and_renamed() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    for n in 0..3 {
        client.prompt("s1", &format!("say marmalade {n}")).await.unwrap();
        client.until(1, "agent.idle").await;
    }
    let query = |q: serde_json::Value| RequestBody::History { json: serde_json::to_vec(&q).unwrap() };
    let sessions = client.request(query(json!({ "query": "sessions", "limit": 10 }))).await.unwrap();
    assert_eq!(sessions[0]["title"], "say marmalade 0");
    let hits = client.request(query(json!({ "query": "search", "q": "marmalade 2", "limit": 10 }))).await.unwrap();
    assert_eq!(hits.as_array().unwrap().len(), 2);
    assert_eq!(hits[0]["session_id"], "s1");
    let page =
        client.request(query(json!({ "query": "messages", "id": sessions[0]["readable_id"], "before_idx": 4, "limit": 3 }))).await.unwrap();
    let idx: Vec<u64> = page["messages"].as_array().unwrap().iter().map(|m| m["idx"].as_u64().unwrap()).collect();
    assert_eq!((idx, &page["has_more"]), (vec![1, 2, 3], &json!(true)));
    let renamed = client.request(query(json!({ "query": "rename", "id": "s1", "title": "jam" }))).await.unwrap();
    assert_eq!(renamed["title"], "jam");
    client.prompt("s1", "say more").await.unwrap();
    client.until(1, "agent.idle").await;
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    assert_eq!(list["sessions"][0]["title"], "jam", "a title that was given stays");
}

#[tokio::test]
async fn models_are_answered_at_once_and_chosen_also_while_no_agent_runs() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.command("s1", json!({ "cmd": "session.close" })).await.unwrap();
    let bad = client.command("s1", json!({ "cmd": "set_model", "provider": "demo", "model_id": "nope" })).await;
    assert!(bad.is_err());
    let frame = json!({ "cmd": "delegate", "target_session_id": "x", "message": "x" });
    assert_eq!(client.command("s1", frame).await.unwrap_err().0, octo_protocol::ErrorCode::Unsupported);
    let attached = client.command("s1", json!({ "cmd": "session.attach" })).await.unwrap();
    let capabilities = attached["capabilities"].as_array().unwrap();
    assert!(!capabilities.contains(&json!("delegate")) && capabilities.contains(&json!("fork")));
}

#[tokio::test]
async fn a_session_made_from_another_has_its_folder_and_a_key_of_its_own() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let refused = client.command("s1", json!({ "cmd": "session.new" })).await.unwrap_err();
    assert_eq!(refused.0, octo_protocol::ErrorCode::InvalidRequest, "there is no key for it");
    let new = client.request(Client::beside_body("s1", json!({ "cmd": "session.new" }), "s2", "sk-of-the-second")).await.unwrap();
    assert_eq!(new, json!({ "session_id": "s2" }));
    client.subscribe(7, "s2", 0).await;
    client.prompt("s2", "say hi").await.unwrap();
    client.until(7, "agent.idle").await;
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    for (session, key) in list["sessions"].as_array().unwrap().iter().zip([KEY, "sk-of-the-second"]) {
        assert_eq!(session["cwd"], runner.work());
        let environment = std::fs::read(format!("/proc/{}/environ", session["pid"])).unwrap();
        let named = format!("OCTO_EAVS_KEY={key}");
        assert!(environment.split(|b| *b == 0).any(|entry| entry == named.as_bytes()), "{session} has its own key");
    }
    let here = client.request(Client::beside_body("s1", json!({ "cmd": "session.switch", "session_path": "s2" }), "s3", "x")).await;
    assert_eq!(here, Ok(json!({ "session_id": "s2" })), "a session that is there is not made again");
}
