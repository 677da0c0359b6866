//! Idle agents sleep, and whoever needs one wakes it.

use crate::support::*;
use serde_json::json;
use std::time::Duration;

const QUICK: [&str; 4] = ["--idle-after-secs", "1", "--idle-check-secs", "1"];

async fn start() -> TestRunner {
    let mut runner = TestRunner::prepare();
    runner.arguments(&QUICK);
    runner.spawn().await;
    runner
}

fn texts(events: &[(octo_protocol::link::Event, serde_json::Value)], role: &str) -> Vec<String> {
    let of_role = events.iter().filter(|(_, p)| p["event"] == "stream.message_end" && p["message"]["role"] == role);
    of_role.map(|(_, p)| p["message"]["parts"][0]["text"].as_str().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn an_idle_agent_sleeps_under_the_eyes_of_a_viewer_and_the_next_prompt_wakes_it_with_its_conversation() {
    let runner = start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say first").await.unwrap();
    let mut events = client.until(1, "agent.idle").await;
    client.asleep("s1").await;
    let state = client.command("s1", json!({ "cmd": "get_state" })).await.unwrap();
    assert_eq!((&state["status"], &state["messageCount"]), (&json!("idle"), &json!(2)));
    let page = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    assert_eq!(page["messages"].as_array().unwrap().len(), 2);
    client.asleep("s1").await;
    client.prompt("s1", "say second").await.unwrap();
    events.extend(client.until(1, "agent.idle").await);
    assert_contiguous(&events, 1);
    assert_eq!(texts(&events, "assistant"), ["you said: first", "you said: second (resumed)"]);
    let names = names(&events);
    assert!(!names.iter().any(|n| n == "agent.error" || n == "session.restarted" || n == "notify"), "{names:?}");
    // A runner that ends while it sleeps changes nothing.
    client.asleep("s1").await;
    let mut runner = runner;
    runner.kill().await;
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", 0).await;
    client.until(1, "agent.idle").await;
    client.until(1, "agent.idle").await;
    client.prompt("s1", "say third").await.unwrap();
    assert_eq!(texts(&client.until(1, "agent.idle").await, "assistant"), ["you said: third (resumed)"]);
}

#[tokio::test]
async fn what_comes_while_the_agent_falls_asleep_is_handed_over_once_in_order_and_nobody_hears_of_an_error() {
    let runner = start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    // It takes a while to end, so that there is time in between.
    client.prompt("s1", "doze 1.5").await.unwrap();
    let mut events = client.until(1, "agent.idle").await;
    while !runner.log().contains("the agent falls asleep") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let prompt = client.post(Client::command_body("s1", json!({ "cmd": "prompt", "message": "say one", "client_id": "c1" }))).await;
    let steer = client.post(Client::command_body("s1", json!({ "cmd": "steer", "message": "say two", "client_id": "c2" }))).await;
    let again = client.post(Client::command_body("s1", json!({ "cmd": "prompt", "message": "say one", "client_id": "c1" }))).await;
    let command = client.post(Client::command_body("s1", json!({ "cmd": "set_auto_compaction", "enabled": false }))).await;
    for id in [prompt, steer, again, command] {
        client.answer(id).await.unwrap();
    }
    while texts(&events, "assistant").len() < 3 {
        events.extend(client.until(1, "agent.idle").await);
    }
    assert_contiguous(&events, 1);
    assert_eq!(texts(&events, "user"), ["doze 1.5", "say one", "say two"]);
    assert_eq!(texts(&events, "assistant"), ["will doze", "you said: one (resumed)", "you said: two (resumed)"]);
    let names = names(&events);
    assert!(!names.iter().any(|n| n == "agent.error" || n == "session.restarted"), "{names:?}");
    let reasons: Vec<_> = events.iter().filter(|(_, p)| p["event"] == "stream.done").map(|(_, p)| p["reason"].clone()).collect();
    assert!(!reasons.contains(&json!("aborted")), "no turn was cut off: {reasons:?}");
}

#[tokio::test]
async fn an_abort_while_it_falls_asleep_or_wakes_gives_the_input_back_and_runs_nothing() {
    let runner = start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "doze 1.5").await.unwrap();
    client.until(1, "agent.idle").await;
    while !runner.log().contains("the agent falls asleep") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for round in 0..2 {
        // First it falls asleep, then it is woken from its sleep.
        if round == 1 {
            client.asleep("s1").await;
        }
        let prompt = client.post(Client::command_body("s1", json!({ "cmd": "prompt", "message": "say no" }))).await;
        let abort = client.post(Client::command_body("s1", json!({ "cmd": "abort" }))).await;
        client.answer(prompt).await.unwrap();
        let aborted = client.answer(abort).await.unwrap();
        assert_eq!(aborted["parked"][0]["message"], "say no", "round {round}: {aborted}");
        let events = client.until(1, "agent.idle").await;
        assert!(texts(&events, "user").is_empty(), "{:?}", names(&events));
    }
    client.prompt("s1", "say yes").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert_eq!(
        (texts(&events, "user"), texts(&events, "assistant")),
        (vec!["say yes".to_owned()], vec!["you said: yes (resumed)".to_owned()])
    );
}

#[tokio::test]
async fn a_command_that_needs_the_agent_wakes_it_and_one_that_only_asks_does_not() {
    let runner = start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.prompt("s1", "say first").await.unwrap();
    client.asleep("s1").await;
    for query in ["get_state", "get_messages", "get_stats", "get_models", "get_commands", "abort_retry", "session.attach", "abort"] {
        client.command("s1", json!({ "cmd": query })).await.unwrap();
    }
    client.asleep("s1").await;
    client.command("s1", json!({ "cmd": "set_model", "provider": "demo", "model_id": "scripted" })).await.unwrap();
    client.asleep("s1").await;
    client.command("s1", json!({ "cmd": "set_auto_compaction", "enabled": false })).await.unwrap();
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    assert!(list["sessions"][0]["pid"].is_u64(), "{list}");
    // What was closed by name stays closed.
    client.command("s1", json!({ "cmd": "session.close" })).await.unwrap();
    assert!(client.command("s1", json!({ "cmd": "set_auto_compaction", "enabled": true })).await.is_err());
}

#[tokio::test]
async fn an_agent_that_works_or_has_left_a_process_running_does_not_sleep() {
    let runner = start().await;
    let mut client = runner.client().await;
    for (session, prompt, until) in [("left", "leave", "agent.idle"), ("busy", "hang", "stream.text_delta")] {
        client.open(session, &runner.work()).await;
        let sub = u32::try_from(session.len()).unwrap() + u32::from(session == "busy");
        client.subscribe(sub, session, 0).await;
        client.prompt(session, prompt).await.unwrap();
        client.until(sub, until).await;
    }
    client.looks(4).await;
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    for session in list["sessions"].as_array().unwrap() {
        assert!(session["pid"].is_u64(), "{session}");
    }
}

#[tokio::test]
async fn a_session_that_sleeps_and_that_nobody_watches_has_no_actor_until_somebody_asks() {
    let runner = start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "stream 50").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    client.asleep("s1").await;
    client.looks(3).await;
    assert!(client.actors().await.contains_key("/sessions/s1"), "somebody watches");
    drop(client);
    let mut client = runner.client().await;
    while client.actors().await.contains_key("/sessions/s1") {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let before = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap()["sessions"][0].clone();
    // Its events are in the journal, for whoever comes, without an actor.
    client.subscribe(1, "s1", 0).await;
    let again = client.until(1, "agent.idle").await;
    let finished = |events: &[(octo_protocol::link::Event, serde_json::Value)]| -> Vec<_> {
        events
            .iter()
            .filter(|(e, p)| e.seq > 0 && !p["event"].as_str().unwrap().contains("delta"))
            .map(|(e, p)| (e.seq, p.clone()))
            .collect()
    };
    let (then, now) = (finished(&events), finished(&again));
    assert!(now.iter().all(|event| then.contains(event)) && now.last() == then.last(), "{then:?} {now:?}");
    assert!(!client.actors().await.contains_key("/sessions/s1"), "reading needs none");
    // Many at once find it again, and looking makes it no newer.
    let mut asked = Vec::new();
    for _ in 0..20 {
        asked.push(client.post(Client::command_body("s1", json!({ "cmd": "get_state" }))).await);
    }
    for id in asked {
        assert_eq!(client.answer(id).await.unwrap()["messageCount"], 2);
    }
    let after = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap()["sessions"][0].clone();
    assert_eq!(before["seq"], after["seq"]);
    // The journal's own time of the last commit is a moment before that of its announcement.
    assert!(after["last_activity"].as_i64() <= before["last_activity"].as_i64(), "{before} {after}");
    client.prompt("s1", "say on").await.unwrap();
    assert_eq!(texts(&client.until(1, "agent.idle").await, "assistant"), ["you said: on (resumed)"]);
}

#[tokio::test]
async fn a_journal_that_is_too_large_loses_its_oldest_turns_and_says_so_everywhere() {
    let mut runner = TestRunner::prepare();
    runner.arguments(&["--journal-max-bytes", "2000000", "--journal-check-secs", "1", "--keep-events-secs", "86400"]);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("small", &runner.work()).await;
    client.subscribe(1, "small", 0).await;
    client.prompt("small", "say keep me").await.unwrap();
    client.until(1, "agent.idle").await;
    client.open("large", &runner.work()).await;
    client.subscribe(2, "large", 0).await;
    let mut first = Vec::new();
    for n in 0..8 {
        client.prompt("large", "flood 600").await.unwrap();
        let events = client.until(2, "agent.idle").await;
        if n == 0 {
            first = events;
        }
    }
    let began = std::time::Instant::now();
    let page = loop {
        let page = client.command("large", json!({ "cmd": "get_messages", "limit": 1 })).await.unwrap();
        let bytes: u64 =
            ["", "-wal"].iter().map(|s| std::fs::metadata(format!("{}{s}", runner.journal().display())).map_or(0, |m| m.len())).sum();
        if page["removed"]["messages"].as_u64().is_some_and(|n| n >= 8) {
            eprintln!("the journal has {bytes} bytes");
            break page;
        }
        assert!(began.elapsed() < PATIENCE, "{page}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let removed = &page["removed"];
    assert_eq!((&removed["reasons"], removed["messages"].as_u64().unwrap()), (&json!(["size"]), removed["turns"].as_u64().unwrap() * 2));
    // Whoever comes back with an old cursor is told where what is kept begins.
    client.subscribe(3, "large", first[1].0.seq).await;
    while !client.begun.contains_key(&3) {
        client.step().await;
    }
    assert!(client.begun[&3].after > first[1].0.seq, "{:?}", client.begun[&3]);
    let history = |query: serde_json::Value| octo_protocol::link::RequestBody::History { json: serde_json::to_vec(&query).unwrap() };
    let chat = client.request(history(json!({ "query": "session", "id": "large" }))).await.unwrap();
    assert_eq!(&chat["removed"], removed);
    let all = client.request(history(json!({ "query": "removed" }))).await.unwrap();
    assert_eq!(&all, removed, "the small session gave nothing");
    let small = client.command("small", json!({ "cmd": "get_messages" })).await.unwrap();
    assert_eq!((small["messages"].as_array().unwrap().len(), &small["removed"]), (2, &json!(null)));
    let snapshot = client.request(octo_protocol::link::RequestBody::Snapshot { session: "large".parse().unwrap() }).await.unwrap();
    assert_eq!(&snapshot["removed"], removed);
    // And it goes on.
    client.prompt("large", "say on").await.unwrap();
    client.until(2, "agent.idle").await;
}
