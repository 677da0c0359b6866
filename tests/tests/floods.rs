//! Floods: one agent's output costs a bounded amount of memory, is held back instead of heaped up, and delays no other session.
//!
//! `OCTO_FULL=1` takes a gibibyte where the quick run takes 64 MiB, and a minute where it takes a second.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Process, Script};
use serde_json::{Value, json};

/// What octo and octo-runner may each take more, at their peak, than before a flood: a line and an event of 8 MiB, some copies of it, and the rings.
const MORE_MEMORY: u64 = 96 << 20;

fn full() -> bool {
    std::env::var_os("OCTO_FULL").is_some()
}

fn flood_bytes() -> u64 {
    if full() { 1 << 30 } else { 64 << 20 }
}

/// octo and its runner, with what they had before.
struct Bounded(Vec<(Process, u64)>);

impl Bounded {
    fn begin(instance: &Instance) -> Self {
        let octo = Process::of(instance.octo_pid().unwrap()).unwrap();
        Self([octo, instance.runner()].into_iter().map(|p| (p.clone(), p.memory())).collect())
    }

    /// They are still there and were never larger than they may be.
    fn end(&self, what: &str) {
        for (process, before) in &self.0 {
            assert!(process.is_alive(), "{} is gone", process.name);
            let peak = process.peak_memory();
            println!("{what}: {} {} MiB before, {} MiB at its peak", process.name, before >> 20, peak >> 20);
            assert!(peak < before + MORE_MEMORY, "{what}: {} had {before} bytes and came to {peak}", process.name);
        }
    }
}

async fn prompt(client: &mut Client, session: &str, script: &Script, id: &str) {
    client.command(session, json!({"cmd": "prompt", "message": script.prompt("Flood."), "client_id": id})).await;
}

/// Has the second session answer again and again until the first is done; how often it did before that.
async fn answers_beside(client: &mut Client) -> u32 {
    for answered in 0.. {
        prompt(client, "quick", &Script::deltas(3), &format!("quick-{answered}")).await;
        let mut flooding = true;
        loop {
            let frame = client.next().await.expect("the connection holds");
            if frame["channel"] != "agent" || (frame["event"] != "agent.idle" && frame["event"] != "agent.error") {
                continue;
            }
            assert_eq!(frame["event"], "agent.idle", "{frame}");
            if frame["session_id"] == "quick" {
                break;
            }
            flooding = false;
        }
        if !flooding {
            return answered;
        }
    }
    unreachable!("there are enough numbers")
}

/// Waits until the turn is over, without watching it.
async fn settled(client: &mut Client) {
    let end = tokio::time::Instant::now() + octo_e2e::PATIENCE * 5;
    while client.command("flood", json!({"cmd": "get_state"})).await["isStreaming"] == true {
        assert!(tokio::time::Instant::now() < end, "the flood does not end");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn with_two_sessions() -> (Instance, Client) {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("flood", &instance.workspace()).await;
    client.create("quick", &instance.workspace()).await;
    (instance, client)
}

async fn garbage(script: Script, what: &str, notices: std::ops::RangeInclusive<usize>) {
    let (instance, mut client) = with_two_sessions().await;
    let agents = instance.agents();
    let bounded = Bounded::begin(&instance);
    prompt(&mut client, "flood", &script, "flood").await;
    let answered = answers_beside(&mut client).await;
    bounded.end(what);
    println!("{what}: the other session answered {answered} times meanwhile");
    assert!(answered > 0);
    // Its neighbours on the line are all there, and the session goes on with the same agent.
    let history = client.history("flood").await;
    assert_eq!(history.last().unwrap()["parts"][0]["text"], Script::deltas(script.deltas).text());
    client.checker.agrees_with("flood", &history);
    prompt(&mut client, "flood", &Script::deltas(2), "after").await;
    client.idle("flood").await;
    assert_eq!(instance.agents(), agents);
    let mut late = Client::connect(&instance).await;
    let mut said = Vec::new();
    late.checker = octo_e2e::Checker::default();
    late.command(
        "flood",
        json!({"cmd": "session.attach", "cursor": {"epoch": client.checker.cursor("flood").unwrap()["epoch"], "seq": 0}}),
    )
    .await;
    let end = |f: &Value| f["event"] == "replay.end";
    late.event("flood", |f| {
        said.extend((f["event"] == "notify").then(|| f["message"].as_str().unwrap().to_owned()));
        end(f)
    })
    .await
    .unwrap();
    assert!(notices.contains(&said.len()), "{} notices: {:?}", said.len(), said.first());
    println!("{what}: said {:?}", said.first().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_an_end_is_skipped_said_once_and_harms_nobody() {
    garbage(Script { raw_bytes: flood_bytes(), ..Script::deltas(20) }, "one endless line", 1..=1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_mean_nothing_are_cut_off_after_some_notices_and_harm_nobody() {
    let script = Script { raw_bytes: flood_bytes(), newline_every: Some(200), ..Script::deltas(20) };
    garbage(script, "short lines of nothing", 2..=60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_just_below_the_limit_cost_bounded_memory() {
    let script = Script { raw_bytes: flood_bytes(), newline_every: Some(8 * 1024 * 1024 - 1), ..Script::deltas(20) };
    garbage(script, "lines of almost 8 MiB", 1..=60).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_on_stderr_is_read_and_only_its_end_is_kept() {
    let (instance, mut client) = with_two_sessions().await;
    let bounded = Bounded::begin(&instance);
    prompt(&mut client, "flood", &Script { stderr_bytes: flood_bytes(), ..Script::deltas(5) }, "flood").await;
    answers_beside(&mut client).await;
    bounded.end("stderr");
    let history = client.history("flood").await;
    assert_eq!(history[1]["parts"][0]["text"], Script::deltas(5).text());
}

#[tokio::test(flavor = "multi_thread")]
async fn live_output_of_a_tool_is_shown_now_and_then_and_never_heaped_up() {
    let (instance, mut client) = with_two_sessions().await;
    let bounded = Bounded::begin(&instance);
    let script = Script { tools: 1, tool_updates: flood_bytes() / 65_536, tool_update_bytes: 65_536, ..Script::deltas(2) };
    prompt(&mut client, "flood", &script, "flood").await;
    let mut shown = 0;
    client
        .event("flood", |frame| {
            shown += u32::from(frame["event"] == "tool.progress");
            frame["event"] == "agent.idle"
        })
        .await
        .unwrap();
    bounded.end("live output of a tool");
    println!("live output of a tool: {} updates, {shown} shown", script.tool_updates);
    assert!(shown > 0 && u64::from(shown) < script.tool_updates / 2, "{shown}");
    let history = client.history("flood").await;
    client.checker.agrees_with("flood", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn deltas_at_50_000_a_second_reach_every_watcher_whole() {
    let (instance, mut client) = with_two_sessions().await;
    let mut watchers = Vec::new();
    for _ in 0..3 {
        let mut watcher = Client::connect(&instance).await;
        watcher.attach("flood").await.unwrap();
        watchers.push(watcher);
    }
    let bounded = Bounded::begin(&instance);
    let deltas = if full() { 3_000_000 } else { 50_000 };
    let script = Script::deltas(deltas).paced(50_000.0).size(24);
    prompt(&mut client, "flood", &script, "flood").await;
    let watching: Vec<_> = watchers
        .into_iter()
        .map(|mut watcher| {
            tokio::spawn(async move {
                watcher.idle("flood").await;
                watcher
            })
        })
        .collect();
    let answered = answers_beside(&mut client).await;
    assert!(answered > 0);
    let history = client.history("flood").await;
    let said: String = history[1..].iter().map(|m| m["parts"][0]["text"].as_str().unwrap()).collect();
    assert!(said == script.text(), "the whole text, in order");
    client.checker.agrees_with("flood", &history);
    for watcher in watching {
        watcher.await.unwrap().checker.agrees_with("flood", &history);
    }
    bounded.end("50 000 deltas a second");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_that_nobody_watches_is_there_for_whoever_comes_later() {
    let (instance, mut client) = with_two_sessions().await;
    let bounded = Bounded::begin(&instance);
    let script = Script::deltas(if full() { 500_000 } else { 50_000 }).size(40);
    prompt(&mut client, "flood", &script, "flood").await;
    client.cut();
    client.reconnect().await;
    settled(&mut client).await;
    client.attach("flood").await.unwrap();
    client.idle("flood").await;
    let history = client.history("flood").await;
    let said: String = history[1..].iter().map(|m| m["parts"][0]["text"].as_str().unwrap()).collect();
    assert!(said == script.text(), "the whole text, in order");
    client.checker.agrees_with("flood", &history);
    bounded.end("nobody watches");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_while_octo_is_away_waits_in_the_journal() {
    let (mut instance, mut client) = with_two_sessions().await;
    let runner = instance.runner();
    let before = runner.memory();
    let agents = instance.agents();
    let script = Script::deltas(if full() { 500_000 } else { 50_000 }).size(40);
    prompt(&mut client, "flood", &script, "flood").await;
    instance.kill_octo();
    client.cut();
    for agent in &agents {
        agent.quiet().await;
    }
    instance.start().await;
    client.reconnect_to(&instance).await;
    client.attach("flood").await.unwrap();
    client.idle("flood").await;
    let history = client.history("flood").await;
    let said: String = history[1..].iter().map(|m| m["parts"][0]["text"].as_str().unwrap()).collect();
    assert!(said == script.text(), "the whole text, in order");
    client.checker.agrees_with("flood", &history);
    assert!(instance.runner() == runner && instance.agents() == agents, "neither runner nor agents noticed");
    let peak = runner.peak_memory();
    println!("octo is away: the runner had {} MiB and came to {} MiB", before >> 20, peak >> 20);
    assert!(peak < before + MORE_MEMORY, "the runner had {before} bytes and came to {peak}");
}
