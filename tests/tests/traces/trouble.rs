//! A collector that is away, wrong or silent harms nobody.

use crate::collector::{Collector, configured};
use crate::turn::{SPAN, TRACE};
use octo_e2e::{Client, Instance, Options, Script, request, until};
use serde_json::{Value, json};

async fn turn(client: &mut Client, trace: &str) {
    let traceparent = format!("00-{trace}-{SPAN}-01");
    client.command("ses_1", json!({"cmd": "prompt", "message": Script::deltas(3).prompt("Go."), "traceparent": traceparent})).await;
    client.idle("ses_1").await;
}

/// Waits until the actor says of itself what `wanted` looks for.
async fn said(what: &str, instance: &Instance, client: &Client, wanted: impl Fn(&Value) -> bool) {
    let url = format!("{}/api/admin/actors/inspect?path=/telemetry", instance.url());
    let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
    loop {
        let seen = request("GET", &url, Some(client.token()), None).await.unwrap().json();
        if wanted(&seen["snapshot"]) {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "waited in vain: {what}; {seen}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_its_spans_and_is_named_by_the_actor() {
    // Nobody listens there any more.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut instance = Instance::new(configured(Options::scripted(), &url));
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    for _ in 0..3 {
        turn(&mut client, TRACE).await;
    }
    said("the collector is away", &instance, &client, |snapshot| snapshot["failing"].is_string()).await;
    turn(&mut client, TRACE).await;
    assert!(instance.stop_octo().await.success(), "{}", instance.stderr());
    assert_eq!(instance.stderr().matches("the collector takes no spans").count(), 1, "said once: {}", instance.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_collector_does_not_take_now_it_gets_later_and_what_it_refuses_is_given_up() {
    let collector = Collector::start().await;
    collector.answer(&[503, 429]);
    let mut instance = Instance::new(collector.of(Options::scripted()));
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    turn(&mut client, TRACE).await;
    collector.trace(TRACE, &["octo.command", "runner.turn"]).await;
    assert_eq!(collector.refused(), 2);
    let before = collector.spans().len();
    collector.answer(&[400]);
    let refused = "22222222222222222222222222222222";
    turn(&mut client, refused).await;
    until("the refusal", || (collector.refused() == 3).then_some(())).await;
    let next = "33333333333333333333333333333333";
    turn(&mut client, next).await;
    collector.trace(next, &["octo.command", "runner.turn"]).await;
    assert!(collector.spans().len() > before);
    said("what was refused is counted", &instance, &client, |snapshot| snapshot["rejected"].as_u64() > Some(0)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_when_octo_is_told_to_end_is_sent_before_it_ends() {
    let collector = Collector::start().await;
    let mut instance = Instance::new(collector.of(Options::scripted()));
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    turn(&mut client, TRACE).await;
    assert!(instance.stop_octo().await.success());
    let names: Vec<String> = collector.spans().into_iter().map(|span| span.name).collect();
    assert!(names.iter().any(|name| name == "octo.command"), "{names:?}");
    // What the runner had by then and octo had not fetched is there for the next one.
    instance.start().await;
    collector.trace(TRACE, &["runner.accept", "runner.turn"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_never_answers_holds_nobody_up_and_no_end_either() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = silent.accept().await {
            held.push(stream);
        }
    });
    let mut instance = Instance::new(configured(Options::scripted(), &url));
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    for _ in 0..3 {
        turn(&mut client, TRACE).await;
    }
    assert!(instance.stop_octo().await.success(), "{}", instance.stderr());
    holding.abort();
}
