//! Requests as spans of the turn that their key's runner names.

use serde_json::{Value, json};

use crate::instance::Instance;

const HELLO: &str = "{\"model\":\"scripted\",\"messages\":[{\"role\":\"user\",\"content\":\"marker-of-a-prompt\"}]}";
const TURN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

async fn told(eavs: &Instance, method: &str, key: &str, context: &str) -> u16 {
    eavs.request(method, key, "/octo/trace").header("traceparent", context).send().await.unwrap().status().as_u16()
}

async fn ask(eavs: &Instance, key: &str, context: Option<&str>) {
    let mut request = eavs.post(key, "/demo/v1/messages", HELLO);
    if let Some(context) = context {
        request = request.header("traceparent", context);
    }
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    answer.bytes().await.unwrap();
}

async fn spans(eavs: &Instance, wait_ms: u32) -> Vec<Value> {
    let (status, batch) = eavs.admin("GET", &format!("/admin/spans?wait_ms={wait_ms}"), Value::Null).await;
    assert_eq!(status, 200);
    batch["spans"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_request_is_a_span_of_the_turn_of_its_key_while_there_is_one() {
    let eavs = Instance::start("").await;
    let (alice, bob) = (eavs.key("alice", json!({})).await, eavs.key("bob", json!({})).await);
    // Nobody has asked for spans: nothing is recorded.
    assert_eq!(told(&eavs, "PUT", &alice, TURN).await, 204);
    ask(&eavs, &alice, None).await;
    assert!(spans(&eavs, 0).await.is_empty());

    ask(&eavs, &alice, None).await;
    ask(&eavs, &bob, None).await;
    let found = spans(&eavs, 10_000).await;
    assert_eq!(found.len(), 1, "alice's, and only hers: {found:?}");
    let span = &found[0];
    assert_eq!((span["name"].as_str(), span["trace"].as_str()), (Some("llm.request"), Some(&TURN[3..35])));
    assert_eq!(span["parent"], TURN[36..52], "below the turn");
    assert_eq!(span["events"][0]["name"], "first_byte");
    assert!(span["error"].is_null() && span["end"].as_u64() >= span["events"][0]["at"].as_u64(), "{span}");
    let text = span.to_string();
    assert!(text.contains("scripted") && text.contains("gen_ai.usage.output_tokens"), "{text}");
    assert!(!text.contains("marker") && !text.contains(&alice), "{text}");

    assert_eq!(told(&eavs, "DELETE", &alice, TURN).await, 204);
    ask(&eavs, &alice, None).await;
    assert!(spans(&eavs, 0).await.is_empty(), "the turn is over");
}

#[tokio::test]
async fn the_agents_own_span_is_the_parent_when_it_is_of_the_same_trace() {
    let eavs = Instance::start("").await;
    let key = eavs.key("alice", json!({})).await;
    spans(&eavs, 0).await;
    told(&eavs, "PUT", &key, TURN).await;
    let (own, foreign) = (TURN.replace("00f067aa0ba902b7", "1111111111111111"), TURN.replace("4bf92f", "000000"));
    for (context, parent) in [(own.as_str(), "1111111111111111"), (foreign.as_str(), &TURN[36..52]), ("nonsense", &TURN[36..52])] {
        ask(&eavs, &key, Some(context)).await;
        let found = spans(&eavs, 10_000).await;
        assert_eq!((found.len(), found[0]["parent"].as_str()), (1, Some(parent)), "{context}");
        assert_eq!(found[0]["trace"], TURN[3..35]);
    }
}

#[tokio::test]
async fn who_has_no_key_or_no_context_says_nothing_and_an_older_turns_end_ends_no_newer_one() {
    let eavs = Instance::start("").await;
    let key = eavs.key("alice", json!({})).await;
    spans(&eavs, 0).await;
    assert_eq!(told(&eavs, "PUT", "eavs-00000000000000000000000000000000", TURN).await, 401);
    assert_eq!(told(&eavs, "PUT", &key, "nonsense").await, 400);
    assert_eq!(told(&eavs, "POST", &key, TURN).await, 405);
    ask(&eavs, &key, None).await;
    assert!(spans(&eavs, 0).await.is_empty());
    let newer = TURN.replace("4bf92f", "111111");
    told(&eavs, "PUT", &key, TURN).await;
    told(&eavs, "PUT", &key, &newer).await;
    told(&eavs, "DELETE", &key, TURN).await;
    ask(&eavs, &key, None).await;
    assert_eq!(spans(&eavs, 10_000).await[0]["trace"], newer[3..35]);
    // One that is not to be recorded is not.
    told(&eavs, "PUT", &key, &TURN.replace("-01", "-00")).await;
    ask(&eavs, &key, None).await;
    assert!(spans(&eavs, 0).await.is_empty());
}
