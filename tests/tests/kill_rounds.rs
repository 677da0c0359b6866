//! Nothing is lost, doubled or reordered, and agents outlive everything above them: kill -9 in mid-stream, seeded.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Turn, demo_prompt, seed};
use rand::{Rng, SeedableRng};
use serde_json::json;

const ROUNDS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn twenty_rounds_of_kill_9_on_octo_the_client_and_both_lose_nothing() {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed("kill_rounds"));
    let mut instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let agents = instance.agents();
    assert_eq!(agents.len(), 1, "one agent runs: {agents:?}");
    let runner = instance.runner();

    let mut expected = Vec::new();
    for round in 0..ROUNDS {
        let text: String = (0..60).map(|word| format!("r{round}w{word} ")).collect();
        let prompt = json!({"cmd": "prompt", "message": demo_prompt(&format!("Round {round}."), &[Turn::text(text.trim()).slowly(60, 15)]), "client_id": format!("round-{round}")});
        // In some rounds the connection goes before the response: then the client cannot know, and sends it again.
        let unsure = round >= 6 && random.random_bool(0.3);
        if unsure {
            let mut frame = prompt.clone();
            frame["channel"] = json!("agent");
            frame["session_id"] = json!("ses_1");
            client.send_text(frame.to_string()).await;
        } else {
            client.command("ses_1", prompt.clone()).await;
            let mut left = random.random_range(1..40);
            client
                .event("ses_1", |frame| {
                    left -= i32::from(frame["event"] == "stream.text_delta");
                    left <= 0
                })
                .await
                .unwrap();
        }
        // Each kind comes up for certain; the rest is chance.
        let kind = if round < 6 { round as usize % 3 } else { random.random_range(0..3) };
        println!("round {round}: {} {}", ["octo", "client", "both"][kind], if unsure { "before the response" } else { "in mid-stream" });
        match kind {
            0 => {
                instance.kill_octo();
                instance.start().await;
            }
            1 => client.cut(),
            _ => {
                client.cut();
                instance.kill_octo();
                instance.start().await;
            }
        }
        if kind != 0 && !unsure && (round < 6 || random.random_bool(0.5)) {
            // Comes back only when the turn is over, and nobody else was attached meanwhile.
            let mut other = Client::connect(&instance).await;
            while other.command("", json!({"cmd": "list_sessions"})).await["sessions"][0]["state"] != "idle" {
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
        client.reconnect().await;
        let attached = client.attach("ses_1").await.expect("the new connection holds");
        assert_eq!(attached["success"], true, "{attached}");
        if unsure {
            client.command("ses_1", prompt).await;
        }
        client.idle("ses_1").await;
        assert_eq!(instance.agents(), agents, "the agent goes on under the same pid");
        assert_eq!(instance.runner(), runner, "the runner goes on");
        expected.push(text.trim().to_owned());
    }

    let history = client.history("ses_1").await;
    client.checker.agrees_with("ses_1", &history);
    let answers: Vec<_> =
        history.iter().filter(|m| m["role"] == "assistant").map(|m| m["parts"][0]["text"].as_str().unwrap().to_owned()).collect();
    assert_eq!(answers, expected, "each answer once, whole, in order");
    assert_eq!(history.len(), 2 * ROUNDS as usize);
    assert!(client.checker.totals.replays >= 5, "the rounds did replay: {:?}", client.checker.totals);
    println!("{:?}", client.checker.totals);
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

/// What a round of the mixed test kills.
const VICTIMS: [&str; 5] = ["runner", "agent", "eavs", "octo", "client"];
const MIXED_ROUNDS: u32 = 12;

/// One round's prompt: an answer in pieces, or a tool that would outlive a mere process group; either ends by itself in a second or two.
fn mixed_prompt(round: u32, tool: bool) -> serde_json::Value {
    let words = |n: u32| (0..n).map(|word| format!("r{round}w{word}")).collect::<Vec<_>>().join(" ");
    let turns = if tool {
        vec![
            Turn::text(words(5)).slowly(5, 10).bash("(setsid sleep 300 >/dev/null 2>&1 &) ; sleep 1; echo done"),
            Turn::text(words(20)).slowly(20, 10),
        ]
    } else {
        vec![Turn::text(words(50)).slowly(50, 15)]
    };
    json!({"cmd": "prompt", "message": demo_prompt(&format!("Round {round}."), &turns), "client_id": format!("round-{round}")})
}

/// Sends `command` until it is answered with success, over as many connections as it takes.
async fn insist(client: &mut Client, command: &serde_json::Value) -> serde_json::Value {
    let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
    loop {
        match client.try_command("ses_1", command.clone()).await {
            Some(response) if response["success"] == true => return response["data"].clone(),
            response => {
                assert!(tokio::time::Instant::now() < end, "{command} is never taken: {response:?}");
                if response.is_none() {
                    client.reconnect().await;
                }
                tokio::time::sleep(std::time::Duration::from_millis(50)).await;
            }
        }
    }
}

/// Attaches where the client stands, on a new connection, and reads until it has seen all that the runner had when it answered. That may come
/// after the brackets: a server that has just found its runner again says what it has, and then goes on.
async fn catch_up(client: &mut Client) {
    let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
    loop {
        client.reconnect().await;
        let attached = client.attach("ses_1").await;
        if let Some(head) =
            attached.as_ref().filter(|response| response["success"] == true).and_then(|response| response["data"]["seq"].as_u64())
            && client.event("ses_1", |frame| frame["event"] == "replay.end").await.is_some()
            && reaches(client, head).await
        {
            return;
        }
        assert!(tokio::time::Instant::now() < end, "the session does not come back: {attached:?}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

/// Reads until the client stands at `head`; false when the connection goes away first.
async fn reaches(client: &mut Client, head: u64) -> bool {
    while client.checker.cursor("ses_1").is_none_or(|cursor| cursor["seq"].as_u64() < Some(head)) {
        if client.next().await.is_none() {
            return false;
        }
    }
    true
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_killed_in_mid_stream_and_in_mid_tool_the_session_comes_back_whole() {
    let mut random = rand::rngs::StdRng::seed_from_u64(seed("mixed_kills"));
    let mut instance = Instance::started().await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    let mut expected = Vec::new();
    for round in 0..MIXED_ROUNDS {
        let tool = random.random_bool(0.4);
        let prompt = mixed_prompt(round, tool);
        expected.push(format!("round-{round}"));
        let unsure = random.random_bool(0.3);
        if unsure {
            let mut frame = prompt.clone();
            frame["channel"] = json!("agent");
            frame["session_id"] = json!("ses_1");
            client.send_text(frame.to_string()).await;
            tokio::time::sleep(std::time::Duration::from_millis(random.random_range(0..30))).await;
        } else {
            insist(&mut client, &prompt).await;
            let mut left = random.random_range(1..if tool { 4 } else { 30 });
            // An agent that was killed once too often is started by this prompt; one that cannot be started ends the turn.
            client
                .event("ses_1", |frame| {
                    left -= i32::from(frame["event"] == "stream.text_delta");
                    let begun = if tool { frame["event"] == "tool.start" } else { left <= 0 };
                    begun || frame["event"] == "agent.idle" || frame["event"] == "agent.error"
                })
                .await;
        }
        // Each one alone first, then any of them together, in any order.
        let mut victims: Vec<&str> = if (round as usize) < VICTIMS.len() {
            vec![VICTIMS[round as usize]]
        } else {
            VICTIMS.into_iter().filter(|_| random.random_bool(0.4)).collect()
        };
        rand::seq::SliceRandom::shuffle(victims.as_mut_slice(), &mut random);
        println!(
            "round {round}: {victims:?} {}{}",
            if tool { "in mid-tool" } else { "in mid-stream" },
            if unsure { ", unsure" } else { "" }
        );
        let tree = instance.tree();
        for victim in &victims {
            match *victim {
                "runner" => instance.daemons("octo-runner").iter().for_each(octo_e2e::Process::kill),
                "agent" => instance.agents().iter().for_each(octo_e2e::Process::kill),
                "eavs" => instance.daemons("octo-eavs").iter().for_each(octo_e2e::Process::kill),
                "octo" => instance.kill_octo(),
                _ => client.cut(),
            }
            if random.random_bool(0.3) {
                tokio::time::sleep(std::time::Duration::from_millis(random.random_range(0..40))).await;
            }
        }
        if victims.contains(&"octo") {
            instance.start().await;
        }
        if victims.contains(&"runner") {
            octo_e2e::until("everything the runner started is gone", || tree.iter().all(|process| !process.is_alive()).then_some(())).await;
        }
        catch_up(&mut client).await;
        // Whoever does not know whether it arrived sends it again: it runs once.
        insist(&mut client, &prompt).await;
        let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
        loop {
            let state = insist(&mut client, &json!({"cmd": "get_state"})).await;
            if state["isStreaming"] == false && state["pendingMessageCount"] == 0 && state["status"] != "starting" {
                break;
            }
            assert!(tokio::time::Instant::now() < end, "the turn hangs: {state}");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        catch_up(&mut client).await;
        let history = client.history("ses_1").await;
        client.checker.agrees_with("ses_1", &history);
        let asked: Vec<_> = history.iter().filter(|m| m["role"] == "user").map(|m| m["client_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(asked, expected, "each prompt once, in order");
        let answer = history.last().unwrap();
        if !tool && !["runner", "agent", "eavs"].iter().any(|victim| victims.contains(victim)) {
            assert_eq!(answer["role"], "assistant", "{answer}");
            assert!(
                answer["parts"][0]["text"].as_str().unwrap().ends_with(&format!("r{round}w49")),
                "nothing of the agent's was killed: {answer}"
            );
        }
        assert!(instance.agents().len() <= 1, "one agent at most: {:?}", instance.agents());
    }
    // All is well again, and the conversation is one.
    insist(&mut client, &json!({"cmd": "prompt", "message": demo_prompt("End.", &[Turn::text("All is well.")]), "client_id": "end"})).await;
    client.idle("ses_1").await;
    let history = client.history("ses_1").await;
    client.checker.agrees_with("ses_1", &history);
    assert_eq!(history.last().unwrap()["parts"][0]["text"], "All is well.");
    println!("{:?}", client.checker.totals);

    let tree = instance.tree();
    assert!(!tree.is_empty());
    instance.runner().kill();
    octo_e2e::until("no orphan is left", || tree.iter().all(|process| !process.is_alive()).then_some(())).await;
}
