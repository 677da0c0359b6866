//! The next octo-eavs starts while the one before still serves: sockets, store, counters, revoked keys.

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::instance::{Instance, PATIENCE};
use crate::provider::{Exchange, Provider, config};

const BODY: &str = "{\"model\":\"m\",\"max_tokens\":1000}";
const USAGE: &[u8] = b"data: {\"usage\":{\"input_tokens\":5,\"output_tokens\":6}}\n\n";

/// A request in the middle of its answer. What it may cost is reserved when its key has a budget.
async fn under_way(eavs: &Instance, provider: &mut Provider, key: &str) -> (reqwest::Response, Exchange) {
    let answer = tokio::spawn(eavs.post(key, "/ant/v1/messages", BODY).send());
    let mut exchange = provider.next().await;
    exchange.head("200 OK", "content-type: text/event-stream\r\n").await;
    exchange.chunk(b"data: 1\n\n").await;
    let mut answer = answer.await.unwrap().unwrap();
    answer.chunk().await.unwrap();
    (answer, exchange)
}

async fn whole(answer: reqwest::Response) -> String {
    tokio::time::timeout(PATIENCE, answer.text()).await.unwrap().unwrap()
}

/// Files in which ended ones have left something.
fn left(eavs: &Instance) -> usize {
    std::fs::read_dir(eavs.path("data/left")).map_or(0, Iterator::count)
}

async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waiting = async {
        while !is() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("{what}"));
}

#[tokio::test]
async fn the_next_one_starts_beside_an_open_answer_and_every_counter_is_right() {
    let mut provider = Provider::start().await;
    let mut eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("d", json!({"max_budget_usd": 100.0})).await;
    let (answer, mut exchange) = under_way(&eavs, &mut provider, &key).await;
    let first = eavs.give_way().await;
    // Whoever still has the old one's connection is told to try again; the sockets are the next one's.
    eavs.spawn().await;
    let (second_answer, mut second_exchange) = under_way(&eavs, &mut provider, &key).await;
    let usage = eavs.usage("d").await;
    assert!(usage["reserved_usd"].as_f64().unwrap() > 0.03, "both are reserved: {usage}");
    assert_eq!((&usage["total_requests"], &usage["failed_requests"]), (&json!(2), &json!(0)));

    // And a third, while both of them serve.
    let second = eavs.give_way().await;
    eavs.spawn().await;
    exchange.chunk(USAGE).await;
    exchange.end().await;
    assert_eq!(whole(answer).await.as_bytes(), USAGE);
    assert_eq!(first.ended().await.code(), Some(0));
    let usage = eavs.settled("d", |u| u["total_output_tokens"] == 6).await;
    assert!(usage["reserved_usd"].as_f64().unwrap() > 0.015, "one is still reserved: {usage}");
    second_exchange.chunk(USAGE).await;
    second_exchange.end().await;
    assert_eq!(whole(second_answer).await.as_bytes(), USAGE);
    assert_eq!(second.ended().await.code(), Some(0));
    let right = |u: &Value| u["total_output_tokens"] == 12 && u["total_input_tokens"] == 10 && u["reserved_usd"] == 0.0;
    let usage = eavs.settled("d", right).await;
    assert_eq!((&usage["failed_requests"], &usage["estimated_requests"]), (&json!(0), &json!(0)));
    until("what was left is taken in", || left(&eavs) == 0).await;
    // So it is on the disk.
    eavs.signal(Signal::SIGKILL);
    eavs.wait().await;
    eavs.spawn().await;
    assert_eq!(eavs.usage("d").await, usage);
}

#[tokio::test]
async fn whoever_dies_in_between_nothing_counts_twice_and_nothing_is_free() {
    let mut provider = Provider::start().await;
    let mut eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("d", json!({"max_budget_usd": 100.0})).await;
    let (settled, mut settled_exchange) = under_way(&eavs, &mut provider, &key).await;
    let (_cut, _cut_exchange) = under_way(&eavs, &mut provider, &key).await;
    let reserved = eavs.usage("d").await["reserved_usd"].as_f64().unwrap() / 2.0;
    let old = eavs.give_way().await;
    eavs.spawn().await;
    settled_exchange.chunk(USAGE).await;
    settled_exchange.end().await;
    whole(settled).await;
    eavs.settled("d", |u| u["total_output_tokens"] == 6).await;
    // The one that took it in dies before it is surely on the disk; the next one reads the same line again.
    for _ in 0..3 {
        eavs.signal(Signal::SIGKILL);
        eavs.wait().await;
        eavs.spawn().await;
        let usage = eavs.settled("d", |u| u["total_output_tokens"] == 6).await;
        assert_eq!(usage["total_input_tokens"], 5, "{usage}");
    }
    // The one that serves the other dies too: its provider may have charged for it.
    assert_eq!(left(&eavs), 1);
    old.kill().await;
    let usage = eavs.settled("d", |u| u["reserved_usd"] == 0.0).await;
    let price = 5.0 * 3e-6 + 6.0 * 15e-6;
    let spent = usage["total_spend_usd"].as_f64().unwrap();
    assert!((spent - price - reserved).abs() < 1e-9, "{spent} is not {price} and {reserved}");
    assert_eq!((&usage["total_requests"], &usage["failed_requests"]), (&json!(2), &json!(1)));
    until("what was left is taken in", || left(&eavs) == 0).await;
    let sockets =
        std::fs::read_dir(eavs.path("run")).unwrap().filter(|e| e.as_ref().unwrap().path().extension().is_some_and(|e| e == "sock"));
    assert_eq!(sockets.count(), 1, "the socket of the one that was killed is gone");
}

#[tokio::test]
async fn a_key_revoked_at_the_next_one_ends_its_stream_at_the_one_before() {
    let mut provider = Provider::start().await;
    let mut eavs = Instance::start(&config(&provider.url)).await;
    let key = eavs.key("session/d", json!({})).await;
    let other = eavs.key("session/e", json!({})).await;
    let (mut answer, mut exchange) = under_way(&eavs, &mut provider, &key).await;
    let (other_answer, mut other_exchange) = under_way(&eavs, &mut provider, &other).await;
    let old = eavs.give_way().await;
    eavs.spawn().await;
    assert_eq!(eavs.admin("DELETE", "/admin/keys/session%2Fd", Value::Null).await.0, 204);
    let cut = tokio::time::timeout(PATIENCE, answer.chunk()).await.expect("the stream of a revoked key goes on");
    assert!(cut.is_err());
    exchange.closed().await;
    other_exchange.chunk(USAGE).await;
    other_exchange.end().await;
    assert_eq!(whole(other_answer).await.as_bytes(), USAGE);
    assert_eq!(old.ended().await.code(), Some(0));
    eavs.settled("session/e", |u| u["total_output_tokens"] == 6).await;
    until("what was left is taken in", || left(&eavs) == 0).await;
    assert_eq!(eavs.admin("GET", "/admin/keys", Value::Null).await.1.as_array().unwrap().len(), 1, "a deleted key does not come back");
}
