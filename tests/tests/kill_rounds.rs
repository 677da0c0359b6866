//! Nothing is lost, doubled or reordered, and agents outlive everything above them: seeded rounds of killing whatever there is to kill.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::rounds::{play_all, replay};
use octo_e2e::{Census, Client, Instance, Process, Script, Turn, demo_prompt, until};
use serde_json::json;
use std::process::{Command, Stdio};

/// Rounds when nobody says how many. `./test.sh --full` plays a thousand.
const ROUNDS: u64 = 50;

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
}

/// Where CI begins: it judges a change by the same rounds as the change before; everybody else plays new ones.
const CI_SEED: u64 = 4_000;

/// `OCTO_SEED`: the first seed; `OCTO_ROUNDS`: how many; `OCTO_ROUNDS_AT_ONCE`: as many as there are cores when it is not said.
#[tokio::test(flavor = "multi_thread")]
async fn seeded_rounds_of_killing_whatever_there_is_lose_double_and_reorder_nothing_and_leave_no_orphan() {
    let count = setting("OCTO_ROUNDS").unwrap_or(ROUNDS);
    // One round in five is with real pi, whichever seed comes first.
    let any = || if std::env::var_os("CI").is_some() { CI_SEED } else { u64::from(rand::random::<u32>()) * 1000 };
    let first = setting("OCTO_SEED").unwrap_or_else(any);
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) as u64;
    let at_once = setting("OCTO_ROUNDS_AT_ONCE").unwrap_or(cores).min(count);
    println!("{count} rounds from seed {first} on, {at_once} at once");
    match play_all(first, count, usize::try_from(at_once).unwrap()).await {
        Ok(figures) => println!("{figures}"),
        Err(failed) => {
            let list: Vec<String> =
                failed.iter().map(|round| format!("round {}: {}\n{}", round.seed, round.why, replay(round.seed))).collect();
            panic!("{} of {count} rounds failed:\n{}", failed.len(), list.join("\n"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_of_the_runner_leaves_no_orphan_and_the_session_resumes_with_its_conversation() {
    let instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Remember.", &[Turn::text("The word is heliotrope.")])})).await;
    client.idle("ses_1").await;
    // In the middle of an answer and of a tool that would outlive a mere process group.
    let turns = [Turn::text("Working on it now.").slowly(3, 10).bash("(setsid sleep 300 &) ; sleep 300"), Turn::text("never")];
    client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Work.", &turns)})).await;
    client.event("ses_1", |frame| frame["event"] == "tool.start").await.unwrap();
    let tree = octo_e2e::until("both sleeps run", || {
        let tree = instance.tree();
        (tree.iter().filter(|p| p.name == "sleep").count() >= 2).then_some(tree)
    })
    .await;
    let runner = instance.runner();
    runner.kill();
    octo_e2e::until("everything the runner started is gone", || tree.iter().all(|process| !process.is_alive()).then_some(())).await;

    // The client was told, and is told again when the runner is back.
    client.event("ses_1", |frame| frame["event"] == "agent.idle").await.expect("the turn ends");
    assert_ne!(instance.runner().pid, runner.pid);
    let history = client.history("ses_1").await;
    client.checker.agrees_with("ses_1", &history);
    assert_eq!(history[1]["parts"][0]["text"], "The word is heliotrope.");

    // A prompt wakes the agent, and its model gets the earlier conversation: the demo model counts the assistant's turns since a script.
    client
        .command(
            "ses_1",
            json!({"cmd": "prompt", "message": demo_prompt("Go on.", &[Turn::text("Here I am again.")]), "client_id": "after"}),
        )
        .await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;
    client.checker.agrees_with("ses_1", &history);
    assert_eq!(history.last().unwrap()["parts"][0]["text"], "Here I am again.");
    let state = client.command("ses_1", json!({"cmd": "get_state"})).await;
    let file = state["sessionFile"].as_str().expect("pi has a session file");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains("heliotrope") && text.contains("Here I am again."), "one conversation in one session file");
}

#[tokio::test(flavor = "multi_thread")]
async fn restarting_octo_by_sigterm_says_goodbye_and_leaves_the_agent_to_finish() {
    let mut instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let agents = instance.agents();
    let text = "a b c d e f g h i j k l m n o p";
    client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Spell.", &[Turn::text(text).slowly(16, 60)])})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    let status = instance.stop_octo().await;
    assert!(status.success(), "{status}");
    let mut goodbye = false;
    while let Some(frame) = client.next().await {
        goodbye |= frame["channel"] == "system" && frame["type"] == "shutdown";
    }
    assert!(goodbye, "the server says that it goes");
    instance.start().await;
    client.reconnect().await;
    client.attach("ses_1").await.unwrap();
    client.idle("ses_1").await;
    assert_eq!(instance.agents(), agents);
    let history = client.history("ses_1").await;
    assert_eq!(history[1]["parts"][0]["text"], text, "the answer was not cut");
    client.checker.agrees_with("ses_1", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_census_of_these_rounds_finds_whoever_hides() {
    let instance = Instance::scripted().await;
    let mut census = Census::default();
    census.only_daemons(&instance).await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let before: Vec<Process> = census.strays(&instance).into_iter().map(|member| member.process).collect();
    assert!(before.len() >= 2, "the agent and its sandbox are no daemons: {before:?}");
    // Double-forked, in sessions of their own, without an environment: only where they live gives them away.
    let script = Script { runaways: 3, hang: true, ..Script::deltas(1) };
    client.command("ses_1", json!({"cmd": "prompt", "message": script.prompt("Run away.")})).await;
    client.event("ses_1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    let runaways = until("the runaways are found", || {
        let strays = census.strays(&instance).into_iter().map(|member| member.process);
        let bare: Vec<Process> = strays.filter(|p| !before.contains(p) && p.is_alive() && p.environment().is_empty()).collect();
        (bare.len() >= 3).then_some(bare)
    });
    let runaways = runaways.await;
    client.command("ses_1", json!({"cmd": "session.close"})).await;
    census.only_daemons(&instance).await;
    assert!(runaways.iter().all(|process| !process.is_alive()), "they end with their session");

    // One outside of every sandbox, and a zombie: somebody who ended and is not waited for.
    let mut outside = Command::new("sleep").arg("300").env_clear().current_dir(instance.home()).stdin(Stdio::null()).spawn().unwrap();
    let found: Vec<i32> = census.strays(&instance).iter().map(|member| member.process.pid).collect();
    assert_eq!(found, [outside.id().cast_signed()]);
    outside.kill().unwrap();
    outside.wait().unwrap();
    let mut parent = Command::new("sh");
    parent.args(["-c", "sleep 0.2 & exec sleep 300"]).env_clear().current_dir(instance.home()).stdin(Stdio::null());
    let mut parent = parent.stdout(Stdio::null()).spawn().unwrap();
    until("the zombie is found", || census.strays(&instance).iter().any(octo_e2e::Member::is_zombie).then_some(())).await;
    parent.kill().unwrap();
    parent.wait().unwrap();
    census.only_daemons(&instance).await;
}
