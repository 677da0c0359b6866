//! What an operator asks of a runner, over the link.

use crate::support::{Client, TestRunner};
use octo_protocol::ErrorCode;
use octo_protocol::link::RequestBody;
use serde_json::{Value, json};

async fn ask(client: &mut Client, question: Value) -> Result<Value, (ErrorCode, String)> {
    client.request(RequestBody::Admin { json: question.to_string().into_bytes() }).await
}

#[tokio::test]
async fn an_actor_is_inspected_and_restarted_and_one_that_is_not_there_is_said_to_be_unknown_gone_or_the_root() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let seen = ask(&mut client, json!({ "ask": "inspect", "path": "/history" })).await.unwrap();
    assert_eq!(seen["here"]["row"]["kind"], "history");
    assert!(seen["here"]["snapshot"]["journal"].is_string(), "{seen}");
    let before = ask(&mut client, json!({ "ask": "restart", "path": "/history" })).await.unwrap();
    assert_eq!(before["here"]["restarts"], 0);
    let after = ask(&mut client, json!({ "ask": "inspect", "path": "/history" })).await.unwrap();
    assert_eq!((&after["here"]["row"]["restarts"], &after["here"]["row"]["state"]), (&json!(1), &json!("running")));
    for question in ["inspect", "restart"] {
        assert_eq!(ask(&mut client, json!({ "ask": question, "path": "/nobody" })).await.unwrap(), json!("unknown"));
        assert_eq!(ask(&mut client, json!({ "ask": question, "path": "/" })).await.unwrap(), json!("root"));
        let (code, _) = ask(&mut client, json!({ "ask": question, "path": "no path" })).await.unwrap_err();
        assert_eq!(code, ErrorCode::InvalidRequest);
    }
    let (code, sentence) = ask(&mut client, json!({ "ask": "restart", "path": "/sessions/s1/agent" })).await.unwrap_err();
    assert_eq!(code, ErrorCode::InvalidState);
    assert!(sentence.contains("octoctl session restart s1"), "{sentence}");
    client.command("s1", json!({ "cmd": "session.delete" })).await.unwrap();
    // Its actor ends behind the answer.
    let gone = loop {
        let seen = ask(&mut client, json!({ "ask": "inspect", "path": "/sessions/s1" })).await.unwrap();
        if seen["here"].is_null() {
            break seen;
        }
    };
    assert_eq!(gone["ended"]["path"], "/sessions/s1", "{gone}");
}

#[tokio::test]
async fn a_trace_gives_what_was_handled_until_it_is_closed() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    let opened = ask(&mut client, json!({ "ask": "trace_open", "path": "/history" })).await.unwrap();
    let trace = opened["trace"].as_u64().unwrap();
    let query = json!({ "query": "search", "q": "fox", "limit": 3 }).to_string().into_bytes();
    client.request(RequestBody::History { json: query }).await.unwrap();
    let batch = ask(&mut client, json!({ "ask": "trace_next", "trace": trace, "wait_ms": 10_000 })).await.unwrap();
    assert_eq!((&batch["messages"][0]["path"], &batch["messages"][0]["outcome"]), (&json!("/history"), &json!("ok")), "{batch}");
    assert_eq!(batch["dropped"], 0);
    ask(&mut client, json!({ "ask": "trace_close", "trace": trace })).await.unwrap();
    let (code, sentence) = ask(&mut client, json!({ "ask": "trace_next", "trace": trace, "wait_ms": 0 })).await.unwrap_err();
    assert_eq!(code, ErrorCode::InvalidState, "{sentence}");
}

#[tokio::test]
async fn the_journal_is_verified_and_a_question_that_is_not_known_is_unsupported() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let report = ask(&mut client, json!({ "ask": "verify_journal" })).await.unwrap();
    assert_eq!((&report["sessions"], &report["damaged"], &report["structure"]), (&json!(1), &json!(0), &json!([])), "{report}");
    let (code, sentence) = ask(&mut client, json!({ "ask": "dance" })).await.unwrap_err();
    assert_eq!(code, ErrorCode::Unsupported);
    assert!(sentence.contains("octoctl runner upgrade"), "{sentence}");
}
