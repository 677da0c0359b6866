//! The context of a trace: every input has one, also where nothing is exported, and keeps it over a restart.

use crate::turn::{SPAN, TRACE};
use octo_e2e::{Client, Instance, Script};
use serde_json::{Value, json};

fn context(frame: &Value) -> Option<String> {
    frame["traceparent"].as_str().map(str::to_owned)
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_a_turn_has_its_trace_and_nobody_records_it() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    for given in [json!(format!("00-{TRACE}-{SPAN}-01")), json!("nonsense"), Value::Null] {
        let mut command = json!({"cmd": "prompt", "message": Script::deltas(3).prompt("Go.")});
        if !given.is_null() {
            command["traceparent"] = given.clone();
        }
        client.command("ses_1", command).await;
        let mut stamped = Vec::new();
        let end = client.event("ses_1", |frame| {
            stamped.extend(context(frame).map(|context| (frame["event"].as_str().unwrap().to_owned(), context)));
            frame["event"] == "agent.idle"
        });
        end.await.unwrap();
        let names: Vec<&str> = stamped.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["input.accepted", "agent.idle"], "{stamped:?}");
        assert_eq!(stamped[0].1, stamped[1].1, "one span for both");
        assert!(stamped[0].1.ends_with("-00"), "not sampled, whatever the client says: {stamped:?}");
        let is_given = stamped[0].1.contains(TRACE);
        assert_eq!(is_given, given.as_str().is_some_and(|given| given.contains(TRACE)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_waits_keeps_its_trace_when_the_runner_is_killed() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let hang = Script { hang: true, ..Script::deltas(3) };
    client.command("ses_1", json!({"cmd": "prompt", "message": hang.prompt("Hang.")})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    let follow_up = json!({
        "cmd": "follow_up", "message": Script::deltas(2).prompt("Later."), "client_id": "later", "traceparent": format!("00-{TRACE}-{SPAN}-01"),
    });
    client.command("ses_1", follow_up).await;
    let accepted = client.event("ses_1", |frame| frame["event"] == "input.accepted" && frame["client_id"] == "later").await.unwrap();
    let kept = context(&accepted).unwrap();
    assert!(kept.contains(TRACE) && !kept.contains(SPAN), "its own span in the client's trace: {kept}");
    instance.runner().kill();
    let aborted = client.event("ses_1", |frame| frame["event"] == "agent.idle").await.unwrap();
    assert_ne!(context(&aborted), Some(kept.clone()), "the turn that the kill ended is another one");
    let idle = client.event("ses_1", |frame| frame["event"] == "agent.idle").await.unwrap();
    assert_eq!(context(&idle), Some(kept), "{idle}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_turn_keeps_its_trace_when_the_runner_is_replaced_under_it() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let slow = Script::deltas(40).paced(20.0);
    let traceparent = format!("00-{TRACE}-{SPAN}-01");
    client.command("ses_1", json!({"cmd": "prompt", "message": slow.prompt("Slowly."), "traceparent": traceparent})).await;
    let accepted = client.event("ses_1", |frame| frame["event"] == "input.accepted").await.unwrap();
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    instance.runner().signal(nix::sys::signal::Signal::SIGUSR2);
    let idle = client.event("ses_1", |frame| frame["event"] == "agent.idle").await.unwrap();
    assert_eq!(context(&idle), context(&accepted), "{idle}");
    assert!(context(&idle).unwrap().contains(TRACE));
    assert!(!instance.files_with("taking over").is_empty(), "the runner was replaced meanwhile");
}
