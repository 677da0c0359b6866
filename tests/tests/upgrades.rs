//! The runner is replaced in place and octo is killed, again and again, under many agents at work: no agent ends, nothing is lost, doubled or reordered.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use futures_util::future::join_all;
use octo_e2e::{Client, Instance, Script, Turn, demo_prompt, until};
use serde_json::{Value, json};
use std::process::Output;
use std::time::{Duration, Instant};

/// `octo runner upgrade`, as an operator calls it.
async fn upgrade(instance: &Instance) -> Value {
    let mut command = instance.command("octo");
    command.args(["--json", "runner", "upgrade"]);
    let output: Output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn setting(name: &str) -> Option<usize> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// A connection again, and every session attached where the client stands; how long that took from the first try on.
async fn attach_all(client: &mut Client, sessions: &[String]) -> Duration {
    let began = Instant::now();
    'again: loop {
        client.reconnect().await;
        for session in sessions {
            loop {
                match client.attach(session).await {
                    Some(response) if response["success"] == true => break,
                    Some(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    None => continue 'again,
                }
            }
        }
        return began.elapsed();
    }
}

/// What of the runner's replacement a person sees: from the last sign of the old one to the first of the new one.
async fn reachable_again(client: &mut Client, session: &str) -> Duration {
    let began = Instant::now();
    while client.try_command(session, json!({"cmd": "get_state"})).await.is_none_or(|response| response["success"] != true) {
        assert!(began.elapsed() < octo_e2e::PATIENCE, "the runner is not reachable");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    began.elapsed()
}

fn figures(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let (middle, last) = (times[times.len() / 2], times[times.len() - 1]);
    println!("{what}: {} times, middle {middle:?}, longest {last:?}", times.len());
}

/// `OCTO_AGENTS`, `OCTO_KILLS`, `OCTO_UPGRADES`: how many; with `OCTO_FULL=1` two hundred agents, a hundred kills, twenty upgrades.
#[tokio::test(flavor = "multi_thread")]
async fn agents_at_work_outlive_kills_of_octo_and_upgrades_of_the_runner() {
    let full = std::env::var_os("OCTO_FULL").is_some_and(|value| value == "1");
    let many = |name: &str, few: usize, all: usize| setting(name).unwrap_or(if full { all } else { few });
    let (agents, kills, upgrades) = (many("OCTO_AGENTS", 20, 200), many("OCTO_KILLS", 5, 100), many("OCTO_UPGRADES", 3, 20));
    let mut instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    let sessions: Vec<String> = (0..agents).map(|n| format!("ses_{n}")).collect();
    for session in &sessions {
        client.create(session, &instance.workspace()).await;
    }
    let before = instance.agents();
    assert_eq!(before.len(), agents);
    let runner = instance.runner();

    // They work as long as it takes: whoever has ended is asked anew.
    let script = Script { tools: 1, ..Script::deltas(150).paced(50.0) };
    let mut prompts = 0;
    let (mut back, mut reached) = (Vec::new(), Vec::new());
    let rounds = kills + upgrades;
    let mut replaced = 0;
    for round in 0..rounds {
        for session in &sessions {
            let state = client.command(session, json!({"cmd": "get_state"})).await;
            if state["isStreaming"] == false {
                prompts += 1;
                let prompt = json!({"cmd": "prompt", "message": script.prompt("Work."), "client_id": format!("{session}-{prompts}")});
                client.command(session, prompt).await;
            }
        }
        // Some of what follows falls into each phase of an answer.
        let session = &sessions[round % agents];
        client.event(session, |frame| frame["event"] == "stream.text_delta" || frame["event"] == "tool.start").await.unwrap();
        if replaced * rounds < round * upgrades || round + upgrades >= rounds + replaced {
            replaced += 1;
            let done = upgrade(&instance).await;
            assert_eq!((done["upgraded"].as_bool(), done["pid"].as_i64()), (Some(true), Some(i64::from(runner.pid))), "{done}");
            reached.push(reachable_again(&mut client, session).await);
        } else {
            instance.kill_octo();
            while client.next().await.is_some() {}
            instance.start().await;
            back.push(attach_all(&mut client, &sessions).await);
        }
        assert_eq!(instance.agents(), before, "after {} kills and {replaced} upgrades", back.len());
        assert_eq!(instance.runner(), runner);
    }
    for session in &sessions {
        until_idle(&instance, &mut client, session).await;
        let history = client.history(session).await;
        client.checker.agrees_with(session, &history);
        let ends = history.iter().rfind(|message| message["role"] == "assistant").unwrap();
        assert_eq!(ends["parts"][0]["text"], Script::default().text(), "the last answer is whole");
    }
    client.checker.owes_nothing();
    assert_eq!(instance.agents(), before);
    assert_eq!((back.len(), reached.len()), (kills, upgrades));
    figures("clients attached to all sessions again after a kill of octo", back);
    figures("the runner reachable after an upgrade (goal: 500 ms)", reached);
}

#[tokio::test(flavor = "multi_thread")]
async fn octo_is_replaced_under_load_and_its_clients_go_on_where_they_were() {
    let mut instance = Instance::scripted().await;
    let mut clients = vec![Client::connect(&instance).await];
    let sessions: Vec<String> = (0..8).map(|n| format!("ses_{n}")).collect();
    for session in &sessions {
        clients[0].create(session, &instance.workspace()).await;
    }
    for _ in 0..4 {
        let mut client = Client::connect(&instance).await;
        for session in &sessions {
            client.attach(session).await.unwrap();
        }
        clients.push(client);
    }
    let before = instance.agents();
    for session in &sessions {
        let prompt = Script::deltas(1500).paced(300.0).prompt("Speak.");
        clients[0].command(session, json!({"cmd": "prompt", "message": prompt})).await;
    }
    let mut back = Vec::new();
    for _ in 0..3 {
        clients[0].event(&sessions[0], |frame| frame["event"] == "stream.text_delta").await.unwrap();
        let began = Instant::now();
        let goodbyes = join_all(clients.iter_mut().map(async |client| {
            let mut goodbye = false;
            while let Some(frame) = client.next().await {
                goodbye |= frame["channel"] == "system" && frame["type"] == "shutdown";
            }
            goodbye
        }));
        let (status, goodbyes) = tokio::join!(instance.stop_octo(), goodbyes);
        assert!(status.success() && goodbyes.into_iter().all(|told| told), "every client is told that the server goes");
        instance.start().await;
        back.extend(
            join_all(clients.iter_mut().map(async |client| {
                attach_all(client, &sessions).await;
                began.elapsed()
            }))
            .await,
        );
    }
    for client in &mut clients {
        for session in &sessions {
            until_idle(&instance, client, session).await;
            let history = client.history(session).await;
            client.checker.agrees_with(session, &history);
            assert_eq!(history[1]["parts"][0]["text"], Script::deltas(1500).text(), "the answer is whole");
        }
        client.checker.owes_nothing();
    }
    assert_eq!(instance.agents(), before);
    figures("clients attached again after octo was replaced, from its SIGTERM on", back);
}

/// Until a session rests and the client has seen that: an answer overtakes the events of whoever is behind.
async fn until_idle(instance: &Instance, client: &mut Client, session: &str) {
    let end = Instant::now() + octo_e2e::PATIENCE;
    while client.command(session, json!({"cmd": "get_state"})).await["isStreaming"] == true {
        assert!(Instant::now() < end, "session {session} does not come to rest");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // With the same token: two hundred log ins in a row are refused.
    let mut second = Client::new(&instance.url(), client.token());
    second.reconnect().await;
    let opened = second.attach(session).await.expect("the connection holds");
    let head = opened["data"]["seq"].as_u64().expect("where the session is");
    let behind = |client: &Client| client.checker.cursor(session).expect("it is attached")["seq"].as_u64() < Some(head);
    while behind(client) || client.checker.is_replaying(session) {
        client.next().await.expect("the connection holds");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_pi_is_in_the_middle_of_an_answer_and_then_of_a_tool_when_the_runner_is_replaced() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let agents = instance.agents();
    let text = "a b c d e f g h i j k l m n o p";
    let turns = [Turn::text(text).slowly(16, 60).bash("sleep 1; echo the tool is done"), Turn::text("And that was it.")];
    client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Spell.", &turns)})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    upgrade(&instance).await;
    client.event("ses_1", |frame| frame["event"] == "tool.start").await.unwrap();
    upgrade(&instance).await;
    client.idle("ses_1").await;
    assert_eq!(instance.agents(), agents);
    let history = client.history("ses_1").await;
    client.checker.agrees_with("ses_1", &history);
    assert_eq!(history[1]["parts"][0]["text"], text, "the answer was not cut");
    assert!(history.iter().any(|m| m["role"] == "tool" && m.to_string().contains("the tool is done")), "{history:?}");
    assert_eq!(history.last().unwrap()["parts"][0]["text"], "And that was it.");
    // With what it knows from before.
    client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Again.", &[Turn::text("Here I am.")])})).await;
    client.idle("ses_1").await;
    assert_eq!(instance.agents(), agents);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_cannot_be_says_why_and_changes_nothing() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let (runner, agents) = (instance.runner(), instance.agents());
    let fails = async |arguments: &[&str]| {
        let mut command = instance.command("octo");
        command.args(["runner", "upgrade"]).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = fails(&["--binary", "/nowhere/octo-runner"]).await;
    assert!(said.contains("goes on as before") && said.contains("/nowhere/octo-runner cannot be used"), "{said}");
    let said = fails(&["--binary", "/bin/false"]).await;
    assert!(said.contains("goes on as before") && said.contains("exit status: 1"), "{said}");
    assert_eq!((instance.runner(), instance.agents()), (runner.clone(), agents));
    assert_eq!(client.command("ses_1", json!({"cmd": "get_state"})).await["status"], "idle", "on the same link");
    runner.kill();
    until("the runner is started again", || instance.daemons("octo-runner").iter().any(|p| *p != runner).then_some(())).await;
    let nobody = fails(&["--user", "nobody"]).await;
    assert!(nobody.contains("does not run"), "{nobody}");
}

/// octo-eavs holds every stream of every agent: told to end, it ends none, and the next one is there before the last answer is over.
#[tokio::test(flavor = "multi_thread")]
async fn octo_eavs_is_replaced_in_the_middle_of_an_answer_which_goes_on_while_the_next_one_serves() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    for session in ["ses_1", "ses_2"] {
        client.create(session, &instance.workspace()).await;
    }
    let old = instance.daemons("octo-eavs").pop().expect("octo-eavs runs");
    let answer = Turn::text(["word"; 400].join(" ")).slowly(400, 20);
    let prompt = demo_prompt("Speak at length.", std::slice::from_ref(&answer));
    client.command("ses_1", json!({"cmd": "prompt", "message": prompt})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    old.signal(nix::sys::signal::Signal::SIGTERM);
    // Nobody asks for it: octo does it by itself.
    until("the next one is there beside the old one", || {
        let now = instance.daemons("octo-eavs");
        (now.len() == 2 && now.contains(&old)).then_some(())
    })
    .await;
    // A new session gets its key, and one that was there goes on with its own, while the old one still speaks.
    client.create("ses_3", &instance.workspace()).await;
    for session in ["ses_2", "ses_3"] {
        let prompt = demo_prompt("Speak.", &[Turn::text("Short.")]);
        client.command(session, json!({"cmd": "prompt", "message": prompt})).await;
        until_idle(&instance, &mut client, session).await;
        assert_eq!(client.history(session).await[1]["parts"][0]["text"], "Short.");
    }
    assert!(old.is_alive(), "the answer was over too soon to show anything");
    until_idle(&instance, &mut client, "ses_1").await;
    let history = client.history("ses_1").await;
    assert_eq!(history.len(), 2, "the answer was not tried again: {history:?}");
    assert_eq!(history[1]["parts"][0]["text"], answer.said());
    client.checker.agrees_with("ses_1", &history);
    until("the old one has ended", || (!old.is_alive()).then_some(())).await;
    assert_eq!(instance.daemons("octo-eavs").len(), 1);
}
