//! A disk that is full: input is refused with a sentence, reading goes on, agents are held back, and everything recovers by itself.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::disk::{SmallDisk, elsewhere};
use octo_e2e::{Client, Instance, Options, Process, Script, request, until};
use serde_json::{Value, json};
use std::time::Duration;

/// Room for an instance and what these tests write, in MiB.
const DISK_MIB: u64 = 48;
/// What a daemon may take more than before while its disk is full.
const MORE_MEMORY: u64 = 32 << 20;

/// An instance, not started, with all that octo keeps (stores, journal, logs, audit, sockets) on a small disk.
fn on_a_small_disk() -> (SmallDisk, Instance) {
    let instance = Instance::new(Options::scripted());
    (SmallDisk::mount(&instance.home().join(".local"), DISK_MIB), instance)
}

/// Fills the disk until the journal of `session` takes nothing any more.
async fn fill(disk: &SmallDisk, client: &mut Client, session: &str) {
    for attempt in 0.. {
        // Whatever gives room back meanwhile (a log of a database that begins anew) is taken too.
        disk.fill();
        let rename = json!({"cmd": "set_session_name", "name": format!("attempt {attempt}")});
        let response = client.try_command(session, rename).await.unwrap();
        if response["success"] == false {
            assert_full(&response);
            return;
        }
        assert!(attempt < 2000, "the journal still takes writes: {} bytes are free", disk.free());
    }
}

fn assert_full(response: &Value) {
    let sentence = response["error"].as_str().unwrap_or_default();
    assert!(response["code"] == "limit_exceeded" && sentence.contains("make room"), "{response}");
}

/// The newest event that the journal has of `session`.
async fn head(client: &mut Client, session: &str) -> u64 {
    client.attach(session).await.unwrap()["data"]["seq"].as_u64().unwrap()
}

fn daemons(instance: &Instance) -> Vec<Process> {
    ["octo", "octo-eavs", "octo-runner"].iter().flat_map(|name| instance.daemons(name)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_disk_is_full_agents_are_held_back_reading_goes_on_and_nothing_is_lost() {
    if elsewhere() {
        return;
    }
    let (disk, mut instance) = on_a_small_disk();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    client.create("ses_2", &instance.workspace()).await;
    let before = daemons(&instance);
    assert_eq!(before.len(), 3, "{before:?}");
    let agents = instance.agents();
    let memory: Vec<u64> = before.iter().map(Process::memory).collect();

    let script = Script::deltas(20_000).paced(2000.0).size(40);
    client.command("ses_1", json!({"cmd": "prompt", "message": script.prompt("Stream."), "client_id": "stream"})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    fill(&disk, &mut client, "ses_1").await;
    let streaming = agents.iter().max_by_key(|agent| agent.written()).unwrap().clone();
    streaming.quiet().await;
    fill(&disk, &mut client, "ses_2").await;

    // Nothing is shown that is not in the journal, and all of that is shown.
    let mut late = Client::connect(&instance).await;
    let stalled = head(&mut late, "ses_1").await;
    let cursor = |client: &Client| client.checker.cursor("ses_1").unwrap()["seq"].as_u64().unwrap();
    while cursor(&client) < stalled {
        client.next().await.unwrap();
    }
    assert_eq!(cursor(&client), stalled);
    while late.checker.cursor("ses_1").is_none() || cursor(&late) < stalled {
        late.next().await.unwrap();
    }
    assert_eq!(late.history("ses_1").await.len(), 1, "history is read");
    let state = late.command("ses_1", json!({"cmd": "get_state"})).await;
    assert_eq!(state["status"], "working");
    late.command("ses_1", json!({"cmd": "get_stats"})).await;
    late.command("ses_1", json!({"cmd": "get_models"})).await;

    // What has to be written is refused with a sentence that says what to do, and none of it happens.
    let inputs = [
        json!({"cmd": "prompt", "message": "refused", "client_id": "refused"}),
        json!({"cmd": "steer", "message": "refused too"}),
        json!({"cmd": "follow_up", "message": "refused as well"}),
        json!({"cmd": "set_session_name", "name": "a name that finds no room"}),
    ];
    let ends = ["session.close", "session.restart", "session.delete"].map(|cmd| json!({"cmd": cmd}));
    for (session, command) in inputs.iter().map(|c| ("ses_2", c)).chain(inputs.iter().chain(&ends).map(|c| ("ses_1", c))) {
        let response = late.try_command(session, command.clone()).await.unwrap();
        assert_eq!(response["success"], false, "{session}: {command} → {response}");
        assert_full(&response);
    }
    let (code, sentence) = late.refused("ses_1", json!({"cmd": "compact"})).await;
    assert!(code == "limit_exceeded" && sentence.contains("make room"), "its answer could not be read: {sentence}");
    let config = json!({"harness": "pi", "cwd": instance.workspace(), "provider": "demo", "model": "scripted"});
    let (code, sentence) = late.refused("ses_3", json!({"cmd": "session.create", "config": config})).await;
    assert!(code == "limit_exceeded" && sentence.contains("make room"), "{code}: {sentence}");
    // People get in, also to make room. What they cannot have they are told.
    let (username, password) = instance.credentials();
    let token = Client::log_in(&instance.url(), &username, &password).await.unwrap();
    let change = format!("{}/api/auth/change-password", instance.url());
    let body = json!({"current_password": password, "new_password": "a new password of some length"});
    let answer = request("POST", &change, Some(&token), Some(&body)).await.unwrap();
    assert!(answer.status == 507 && answer.json()["error"].as_str().unwrap().contains("make room"), "{} {}", answer.status, answer.json());

    assert_eq!(head(&mut late, "ses_1").await, stalled, "nothing came to the journal meanwhile");
    assert_eq!(daemons(&instance), before, "nobody died of it");
    for (daemon, memory) in before.iter().zip(memory) {
        assert!(daemon.memory() < memory + MORE_MEMORY, "{} had {memory} bytes and has {}", daemon.name, daemon.memory());
    }

    disk.make_room();
    client.idle("ses_1").await;
    late.idle("ses_1").await;
    let history = client.history("ses_1").await;
    assert_eq!(history.len(), 2, "what was refused was not done: {history:?}");
    assert_eq!(history[1]["parts"][0]["text"], script.text());
    client.checker.agrees_with("ses_1", &history);
    late.checker.agrees_with("ses_1", &history);
    assert_eq!(instance.agents(), agents, "no agent was started again");

    // And everything works again: input, a new session, the password, the audit.
    for session in ["ses_1", "ses_2"] {
        client.command(session, json!({"cmd": "prompt", "message": Script::deltas(3).prompt("Again."), "client_id": "refused"})).await;
        client.idle(session).await;
    }
    client.create("ses_3", &instance.workspace()).await;
    let answer = request("POST", &change, Some(&token), Some(&body)).await.unwrap();
    assert_eq!(answer.status, 204, "{}", answer.json());
    let audit = instance.home().join(".local/state/octo/audit.log.jsonl");
    let entries = until("the audit catches up", || {
        let text = std::fs::read_to_string(&audit).unwrap();
        let entries: Vec<Value> = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let changed = entries.iter().filter(|e| e["event"] == "change_password").count();
        (changed == 2).then_some(entries)
    })
    .await;
    assert!(entries.iter().filter(|e| e["event"] == "login").count() >= 3, "{entries:?}");
    assert_eq!(daemons(&instance), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_reaches_the_agent_that_fills_the_disk_and_parks_nothing_that_could_be_lost() {
    if elsewhere() {
        return;
    }
    let (disk, mut instance) = on_a_small_disk();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let hang = Script { hang: true, ..Script::deltas(3) };
    client.command("ses_1", json!({"cmd": "prompt", "message": hang.prompt("Fill it."), "client_id": "hang"})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    client.command("ses_1", json!({"cmd": "follow_up", "message": Script::deltas(2).prompt("Later."), "client_id": "later"})).await;
    fill(&disk, &mut client, "ses_1").await;
    let agent = instance.agents()[0].clone();
    let before = agent.written();
    let answer = client.try_command("ses_1", json!({"cmd": "abort"})).await.unwrap();
    // The journal may have found room for one more small thing in what it has; then what waited is the client's again.
    let parked = answer["success"] == true;
    if parked {
        assert_eq!(answer["data"]["parked"][0]["client_id"], "later", "{answer}");
    } else {
        let sentence = answer["error"].as_str().unwrap();
        assert!(answer["code"] == "limit_exceeded" && sentence.contains("is being stopped") && sentence.contains("make room"), "{answer}");
    }
    until("the agent ends its run", || (agent.written() > before).then_some(())).await;
    disk.make_room();
    let done = client.event("ses_1", |frame| frame["event"] == "stream.done").await.unwrap();
    assert_eq!(done["reason"], "aborted");
    client.idle("ses_1").await;
    if !parked {
        // What waited was not parked, so it runs.
        client.idle("ses_1").await;
    }
    let history = client.history("ses_1").await;
    let inputs: Vec<_> = history.iter().filter(|m| m["role"] == "user").map(|m| m["client_id"].as_str().unwrap()).collect();
    assert_eq!(inputs, if parked { vec!["hang"] } else { vec!["hang", "later"] });
    client.checker.agrees_with("ses_1", &history);
}

/// Runs `octo serve`, which must end; what it said. No panic, and nobody is told to throw a store away.
fn refuses_to_serve(instance: &Instance) -> String {
    let output = instance.command("octo").args(["serve", "--port", "0"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !said.contains("panicked") && !said.contains("damaged"), "{said}");
    said
}

async fn end(daemons: Vec<Process>) {
    daemons.iter().for_each(|daemon| daemon.signal(nix::sys::signal::Signal::SIGTERM));
    until("it has ended", || (!daemons.iter().any(Process::is_alive)).then_some(())).await;
}

/// Asks until the runner answers, or says that its disk is full: that refusal.
async fn answered_at_last(client: &mut Client, session: &str, disk: &SmallDisk) -> Option<Value> {
    let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
    loop {
        let response = client.try_command(session, json!({"cmd": "get_messages"})).await.unwrap();
        if response["success"] == true {
            return None;
        }
        if disk.free() == 0 && response["error"].as_str().is_some_and(|error| error.contains("make room")) {
            return Some(response);
        }
        assert!(tokio::time::Instant::now() < end, "it is not tried again: {response}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_started_again_on_a_full_disk_says_so_and_works_when_there_is_room() {
    if elsewhere() {
        return;
    }
    let (disk, mut instance) = on_a_small_disk();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    client.command("ses_1", json!({"cmd": "prompt", "message": Script::deltas(5).prompt("Before."), "client_id": "before"})).await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;

    // The runner: what was reserved for it is still there after a kill, so it reads; or it says why it does not, and is tried again.
    disk.fill();
    instance.runner().kill();
    let refused = answered_at_last(&mut client, "ses_1", &disk).await;
    println!("the runner: {refused:?}");
    if let Some(refused) = refused {
        let sentence = refused["error"].as_str().unwrap_or_default();
        assert!(refused["code"] == "runner_unavailable" && sentence.contains("full"), "{refused}");
    }
    disk.make_room();
    assert!(answered_at_last(&mut client, "ses_1", &disk).await.is_none());
    assert_eq!(client.history("ses_1").await, history);
    client.attach("ses_1").await.unwrap();

    // octo-eavs: sessions go on, new ones are refused with its sentence.
    let (username, password) = instance.credentials();
    let leaving = Client::log_in(&instance.url(), &username, &password).await.unwrap();
    disk.fill();
    end(instance.daemons("octo-eavs")).await;
    let config = json!({"harness": "pi", "cwd": instance.workspace(), "provider": "demo", "model": "scripted"});
    let (code, sentence) = client.refused("ses_2", json!({"cmd": "session.create", "config": config})).await;
    println!("octo-eavs: {code}: {sentence}");
    assert!(sentence.contains("full") && sentence.contains("make room"), "{code}: {sentence}");
    assert_eq!(client.history("ses_1").await, history);
    // Who logs out is out, now and after a restart.
    let log_out = request("POST", &format!("{}/api/auth/logout", instance.url()), Some(&leaving), None).await.unwrap();
    assert_eq!(log_out.status, 204);
    let me = async |instance: &Instance| request("GET", &format!("{}/api/me", instance.url()), Some(&leaving), None).await.unwrap().status;
    assert_eq!(me(&instance).await, 401);
    disk.make_room();
    client.create("ses_2", &instance.workspace()).await;
    until("the log out is written down", || instance.stderr().contains("found no room is written down").then_some(())).await;

    // octo itself.
    instance.stop_octo().await;
    disk.fill();
    let said = refuses_to_serve(&instance);
    assert!(said.contains("disk is full") && said.contains("make room"), "{said}");
    disk.make_room();
    instance.start().await;
    assert_eq!(me(&instance).await, 401);
    client.reconnect_to(&instance).await;
    client.attach("ses_1").await.unwrap();
    client.command("ses_1", json!({"cmd": "prompt", "message": Script::deltas(5).prompt("After."), "client_id": "after"})).await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;
    assert_eq!(history.len(), 4);
    client.checker.agrees_with("ses_1", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_on_a_full_disk_fails_with_a_sentence_and_succeeds_when_there_is_room() {
    if elsewhere() {
        return;
    }
    let (disk, mut instance) = on_a_small_disk();
    disk.fill();
    let said = refuses_to_serve(&instance);
    assert!(said.contains("No space left") || said.contains("disk is full"), "{said}");
    disk.make_room();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
}
