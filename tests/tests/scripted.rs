//! The scripted agent in a real instance: what tests and benches build on does what it says.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Script, Stamp};
use serde_json::{Value, json};

async fn prompt(client: &mut Client, script: &Script, id: &str) {
    client.command("ses_1", json!({"cmd": "prompt", "message": script.prompt("Speak."), "client_id": id})).await;
}

fn delta(frame: &Value) -> Option<Stamp> {
    (frame["event"] == "stream.text_delta").then(|| Stamp::of(frame["delta"].as_str().unwrap()).expect("a delta of the script"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_is_said_delta_by_delta_with_its_tools_and_is_what_history_has() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    let opened = client.create("ses_1", &instance.workspace()).await;
    assert_eq!(opened["harness"], "pi");
    assert_eq!(instance.agents().len(), 1, "{:?}", instance.tree());
    client.event("ses_1", |frame| frame["event"] == "replay.end").await.unwrap();

    let script = Script { thinking: 3, tools: 2, ..Script::deltas(50).paced(500.0).size(40) };
    prompt(&mut client, &script, "first").await;
    let mut indexes = Vec::new();
    let mut names = Vec::new();
    let end = client.event("ses_1", |frame| {
        indexes.extend(delta(frame).map(|stamp| stamp.index));
        names.push(frame["event"].as_str().unwrap().to_owned());
        frame["event"] == "agent.idle"
    });
    end.await.unwrap();
    let expected: Vec<u64> = (0..50).chain([0]).collect();
    assert_eq!(indexes, expected, "all deltas, then the answer after the tools");
    for (name, times) in [("stream.thinking_delta", 3), ("tool.start", 2), ("tool.end", 2), ("stream.message_end", 5), ("stream.done", 1)] {
        assert_eq!(names.iter().filter(|n| *n == name).count(), times, "{name} in {names:?}");
    }
    let history = client.history("ses_1").await;
    let roles: Vec<_> = history.iter().map(|m| m["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool", "assistant"]);
    assert_eq!(history[1]["parts"][0]["text"], script.text());
    client.checker.agrees_with("ses_1", &history);
    assert_eq!(client.checker.totals.whole_messages, 2, "{:?}", client.checker.totals);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unpaced_flood_with_garbage_in_it_arrives_whole() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let script = Script {
        garbage: 9,
        raw_bytes: 100_000,
        newline_every: Some(10_000),
        stderr_bytes: 100_000,
        // More than one message can hold.
        ..Script::deltas(20_000).size(60).stamped()
    };
    prompt(&mut client, &script, "flood").await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;
    client.checker.agrees_with("ses_1", &history);
    let said: String = history[1..].iter().map(|m| m["parts"][0]["text"].as_str().unwrap()).collect();
    assert_eq!(history.len(), 3, "one mebibyte in a message");
    let stamps: Vec<Stamp> = said.as_bytes().chunks(60).map(|d| Stamp::of(std::str::from_utf8(d).unwrap()).unwrap()).collect();
    assert!(stamps.iter().map(|s| s.index).eq(0..20_000), "every delta once, in order");
    let now = octo_e2e::monotonic_ns();
    assert!(stamps.windows(2).all(|two| two[0].written <= two[1].written) && stamps[0].written > 0 && stamps[19_999].written < now);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_steered_aborted_crashes_and_comes_back_like_a_real_one() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let hang = Script { hang: true, ..Script::deltas(3) };
    prompt(&mut client, &hang, "hang").await;
    client.event("ses_1", |frame| delta(frame).is_some_and(|stamp| stamp.index == 2)).await.unwrap();
    client.command("ses_1", json!({"cmd": "follow_up", "message": "later", "client_id": "later"})).await;
    let aborted = client.command("ses_1", json!({"cmd": "abort"})).await;
    assert_eq!(aborted["parked"][0]["client_id"], "later", "{aborted}");
    client.idle("ses_1").await;

    let slow = Script { tools: 1, ..Script::deltas(20).paced(100.0) };
    prompt(&mut client, &slow, "slow").await;
    client.event("ses_1", |frame| delta(frame).is_some()).await.unwrap();
    client.command("ses_1", json!({"cmd": "steer", "message": Script::deltas(2).size(30).prompt("Instead:"), "client_id": "steer"})).await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;
    let last = history.last().unwrap();
    assert_eq!(last["parts"][0]["text"], Script::deltas(2).size(30).text(), "the steer's own script");
    client.checker.agrees_with("ses_1", &history);

    let before = instance.agents();
    prompt(&mut client, &Script { exit: Some(7), ..Script::deltas(2) }, "crash").await;
    let crash = client.event("ses_1", |frame| frame["event"] == "agent.error").await.unwrap();
    assert!(crash["error"].as_str().unwrap().contains("code 7"), "{crash}");
    prompt(&mut client, &Script::deltas(4), "after").await;
    client.idle("ses_1").await;
    assert_ne!(instance.agents(), before, "another process");
    let history = client.history("ses_1").await;
    client.checker.agrees_with("ses_1", &history);
    assert_eq!(history.last().unwrap()["parts"][0]["text"], Script::deltas(4).text());
    // It had a session file, and the new process knew it: nothing was said of a conversation that is lost.
    assert!(!history.iter().any(|m| m["role"] == "system"), "{history:?}");
}
