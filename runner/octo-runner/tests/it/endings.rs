//! Agents that end, at every state of the protocol and as often as they can.

use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use octo_protocol::link::Event;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

async fn agent(client: &mut Client, session: &str) -> i32 {
    let began = std::time::Instant::now();
    loop {
        let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
        let row = list["sessions"].as_array().unwrap().iter().find(|row| row["session_id"] == session).cloned();
        if let Some(pid) = row.and_then(|row| row["pid"].as_i64()) {
            return i32::try_from(pid).unwrap();
        }
        assert!(began.elapsed() < PATIENCE, "{session} has no agent");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

/// Neither running nor a zombie.
async fn reaped(pid: i32) {
    let began = std::time::Instant::now();
    while std::path::Path::new(&format!("/proc/{pid}")).exists() {
        assert!(began.elapsed() < PATIENCE, "process {pid} is still there: {:?}", std::fs::read_to_string(format!("/proc/{pid}/stat")));
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Whatever was opened in these events was closed in them.
fn assert_closed(events: &[(Event, Value)], what: &str) {
    let mut open = BTreeSet::new();
    for (_, payload) in events {
        let id = |field: &str| payload[field].as_str().unwrap_or_default().to_owned();
        match payload["event"].as_str().unwrap() {
            "stream.message_start" => drop(open.insert(("message", id("message_id")))),
            "stream.message_end" => drop(open.remove(&("message", payload["message"]["id"].as_str().unwrap().to_owned()))),
            "stream.message_discarded" => drop(open.remove(&("message", id("message_id")))),
            "tool.start" => drop(open.insert(("tool", id("tool_call_id")))),
            "tool.end" => drop(open.remove(&("tool", id("tool_call_id")))),
            "agent.input_needed" => drop(open.insert(("question", payload["request"]["request_id"].as_str().unwrap().to_owned()))),
            "agent.input_resolved" => drop(open.remove(&("question", id("request_id")))),
            _ => {}
        }
    }
    assert!(open.is_empty(), "{what}: left open: {open:?}");
}

#[tokio::test]
async fn an_agent_killed_at_any_state_is_told_once_closes_what_it_had_open_and_comes_back() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    let states = [
        ("idle", None),
        ("streams", Some(("hang", "stream.text_delta"))),
        ("runs-a-tool", Some(("tool", "tool.start"))),
        ("asks", Some(("ask", "agent.input_needed"))),
        ("has-a-child", Some(("sleep", "stream.text_delta"))),
        ("is-stubborn", Some(("stubborn", "stream.text_delta"))),
    ];
    for (sub, (state, turn)) in (1u32..).zip(states) {
        client.open(state, &runner.work()).await;
        client.subscribe(sub, state, 0).await;
        let mut events = Vec::new();
        if let Some((prompt, reached)) = turn {
            client.prompt(state, prompt).await.unwrap();
            events = client.until(sub, reached).await;
        }
        let pid = agent(&mut client, state).await;
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        events.extend(client.until(sub, "session.restarted").await);
        reaped(pid).await;
        assert!(events.last().unwrap().1["reason"].as_str().unwrap().contains("signal 9"), "{state}: {:?}", events.last());
        assert_closed(&events, state);
        let told = |name: &str| events.iter().filter(|(_, payload)| payload["event"] == name).count();
        let turns = usize::from(turn.is_some());
        assert_eq!(
            (told("agent.error"), told("stream.done"), told("session.restarted")),
            (turns, turns, 1),
            "{state}: {:?}",
            names(&events)
        );
        client.prompt(state, "say on").await.unwrap();
        events.extend(client.until(sub, "agent.idle").await);
        assert_contiguous(&events, 1);
    }
}

#[tokio::test]
async fn an_agent_killed_before_its_handshake_says_so_and_is_not_started_again() {
    let runner = TestRunner::prepare();
    let pi = runner.root.join("data/octo/agents/node_modules/.bin/pi");
    std::fs::write(&pi, "#!/bin/sh\necho start >> starts.log\nexec sleep 600\n").unwrap();
    let mut runner = runner;
    runner.spawn().await;
    let mut client = runner.client().await;
    let opened = client.post(Client::open_body("s1", json!({ "cwd": runner.work() }))).await;
    let pid = agent(&mut client, "s1").await;
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let (_, sentence) = client.answer(opened).await.unwrap_err();
    assert!(sentence.contains("signal 9"), "{sentence}");
    reaped(pid).await;
    // It may have been killed before its first word.
    let starts = std::fs::read_to_string(runner.root.join("work/starts.log")).unwrap_or_default();
    assert!(starts.lines().count() <= 1, "{starts}");
}

#[tokio::test]
async fn an_agent_that_hangs_at_its_start_is_given_up_with_a_sentence_and_the_next_one_is_not() {
    let mut runner = TestRunner::prepare();
    let pi = runner.root.join("data/octo/agents/node_modules/.bin/pi");
    let good = std::fs::read_to_string(&pi).unwrap();
    runner.arguments(&["--handshake-secs", "2"]);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.command("s1", json!({ "cmd": "session.close" })).await.unwrap();
    client.subscribe(1, "s1", 0).await;
    client.until(1, "session.closed").await;
    std::fs::write(&pi, "#!/bin/sh\nexec sleep 600\n").unwrap();
    client.prompt("s1", "say hello").await.unwrap();
    let events = client.until(1, "agent.error").await;
    let error = &events.last().unwrap().1;
    assert!(error["error"].as_str().unwrap().contains("did not answer its handshake within 2 s"), "{error}");
    std::fs::write(&pi, good).unwrap();
    client.prompt("s1", "say again").await.unwrap();
    // What no agent had got is not lost: it comes first.
    for said in ["you said: hello", "you said: again"] {
        let events = client.until(1, "agent.idle").await;
        assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == said), "{events:?}");
    }
}

/// What the runner has used of the processor, in clock ticks.
fn ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[tokio::test]
async fn an_agent_that_ends_as_soon_as_it_is_ready_is_started_four_times_and_then_costs_nothing() {
    let mut runner = TestRunner::prepare();
    let pi = runner.root.join("data/octo/agents/node_modules/.bin/pi");
    let agent = include_str!("scripted_pi.py");
    // Ready, and then at once gone.
    let agent = agent.replace("while True:\n    command = lines.get()\n    if command is None:\n        time.sleep(state[\"doze\"])", "open(\"starts.log\", \"a\").write(\"start\\n\")\nanswer(lines.get())\nos._exit(3)\nwhile True:\n    command = lines.get()\n    if command is None:\n        time.sleep(state[\"doze\"])");
    assert!(agent.contains("os._exit(3)\nwhile"));
    std::fs::write(&pi, agent).unwrap();
    std::fs::set_permissions(&pi, PermissionsExt::from_mode(0o755)).unwrap();
    runner.spawn().await;
    let mut client = runner.client().await;
    let _ = client.request(Client::open_body("s1", json!({ "cwd": runner.work() }))).await;
    client.subscribe(1, "s1", 0).await;
    let mut sentence = String::new();
    while !sentence.contains("again and again") {
        sentence = client.until(1, "agent.error").await.last().unwrap().1["error"].as_str().unwrap().to_owned();
    }
    let starts = || std::fs::read_to_string(runner.root.join("work/starts.log")).unwrap().lines().count();
    assert_eq!(starts(), 4, "the first, and three more within a minute");
    let before = ticks(runner.pid());
    tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    assert!(ticks(runner.pid()) - before < 10, "a twentieth of one processor");
    assert_eq!(starts(), 4);
}

/// An agent that reads nothing: what is sent to it waits up to a limit, then people are told; nobody else waits for it.
#[tokio::test]
async fn an_agent_that_does_not_read_holds_up_nobody_and_what_waits_for_it_is_bounded() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    for (sub, session) in [(1, "deaf"), (2, "beside")] {
        client.open(session, &runner.work()).await;
        client.subscribe(sub, session, 0).await;
    }
    client.prompt("deaf", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    let pid = agent(&mut client, "deaf").await;
    kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
    let (mut sent, filler) = (0, "z".repeat(8000));
    loop {
        let said = client.command("deaf", json!({ "cmd": "steer", "message": format!("{sent} {filler}") })).await;
        sent += 1;
        let told = client.events.get(&1).is_some_and(|events| {
            events.iter().any(|event| String::from_utf8_lossy(&event.payload).contains("does not take what is sent to it"))
        });
        if told || said.is_err() {
            break;
        }
        assert!(sent < 1000, "{sent} messages wait for an agent that reads none");
    }
    client.prompt("beside", "say hello").await.unwrap();
    client.until(2, "agent.idle").await;
    client.command("deaf", json!({ "cmd": "session.close" })).await.unwrap();
    reaped(pid).await;
    client.prompt("deaf", "say back").await.unwrap();
    client.until(1, "session.closed").await;
    client.until(1, "agent.idle").await;
}
