//! What is kept and what sleeps, with real pi, from outside.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Options, PATIENCE, Turn, demo_prompt, request, until};
use serde_json::{Value, json};

async fn instance(config: &str) -> Instance {
    let mut instance = Instance::new(Options { config: config.to_owned(), ..Options::default() });
    instance.start().await;
    instance
}

async fn get(instance: &Instance, client: &Client, path: &str) -> Value {
    let answer = request("GET", &format!("{}{path}", instance.url()), Some(client.token()), None).await.unwrap();
    assert_eq!(answer.status, 200, "{path}");
    answer.json()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_agent_is_gone_while_somebody_watches_and_the_next_prompt_brings_it_back() {
    let instance = instance("[pi]\nidle_timeout_secs = 1\n[sessions]\nidle_check_interval_seconds = 1\n").await;
    let mut client = Client::connect(&instance).await;
    client.create("ses_1", &instance.workspace()).await;
    for round in 0..3 {
        client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Say.", &[Turn::text(format!("round {round}"))])})).await;
        assert_eq!(client.idle("ses_1").await["event"], "agent.idle");
        loop {
            let listed = client.command("", json!({"cmd": "list_sessions"})).await;
            let row = &listed["sessions"][0];
            assert_eq!(row["subscriber_count"], 1);
            if row["state"] == "idle" && row["pid"].is_null() {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
    }
    let history = client.history("ses_1").await;
    assert_eq!(history.len(), 6);
    client.checker.agrees_with("ses_1", &history);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_over_its_size_loses_its_oldest_turns_and_says_so_on_every_way_to_history() {
    let mut instance = instance("[journal]\nmax_size_mb = 1\ncheck_interval_seconds = 1\n").await;
    let mut early = Client::connect(&instance).await;
    early.create("ses_1", &instance.workspace()).await;
    early.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("First.", &[Turn::text("findable")])})).await;
    early.idle("ses_1").await;
    early.cut();
    let mut client = Client::connect(&instance).await;
    client.attach("ses_1").await;
    let long = "words ".repeat(30_000);
    for n in 0..8 {
        client.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt(&format!("{n} {long}"), &[Turn::text("read")])})).await;
        client.idle("ses_1").await;
    }
    let began = std::time::Instant::now();
    while get(&instance, &client, "/api/chat-history/ses_1").await["removed"]["messages"].as_u64().is_none_or(|n| n < 4) {
        assert!(began.elapsed() < PATIENCE, "the oldest turns are removed");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    // All of it is looked at between two cuts.
    let removed = loop {
        let removed = get(&instance, &client, "/api/chat-history/ses_1").await["removed"].clone();
        let rest = get(&instance, &client, "/api/chat-history/ses_1/messages").await;
        let found = get(&instance, &client, "/api/search?q=findable").await;
        let page = client.command("ses_1", json!({"cmd": "get_messages"})).await;
        if get(&instance, &client, "/api/chat-history/ses_1").await["removed"] != removed {
            assert!(began.elapsed() < PATIENCE, "the cutting ends");
            continue;
        }
        assert_eq!(removed["reasons"], json!(["size"]));
        assert_eq!(rest[0]["role"], "system");
        let sentence = rest[0]["parts"][0]["text"].as_str().unwrap();
        assert!(sentence.contains(&format!("{} messages", removed["messages"])) && sentence.contains("removed"), "{sentence}");
        assert_eq!((&found["hits"], &found["removed"]["messages"]), (&json!([]), &removed["messages"]));
        assert_eq!(page["removed"]["messages"], removed["messages"]);
        assert_eq!(page["messages"][0]["idx"], removed["messages"]);
        break removed;
    };

    // Whoever was away is told, and sees what is kept; as long as a ring holds what is missing, nobody has to be.
    drop(client);
    let runner = instance.runner();
    instance.kill_octo();
    runner.kill();
    until("the runner is gone", || (!runner.is_alive()).then_some(())).await;
    instance.start().await;
    early.checker.may_resync("ses_1");
    early.reconnect_to(&instance).await;
    early.attach("ses_1").await;
    let mut told = None;
    let messages = early
        .event("ses_1", |frame| {
            if frame["event"] == "stream.resync_required" {
                told = Some(frame.clone());
            }
            frame["event"] == "messages"
        })
        .await
        .unwrap();
    let told = told.expect("a resync before the messages");
    assert!(
        told["dropped_count"].as_u64().is_some_and(|n| n > 0) && told["reason"].as_str().unwrap().contains("older than what is kept"),
        "{told}"
    );
    // It may have been cut once more since.
    let number = |removed: &Value| removed["messages"].as_u64().unwrap();
    let now = get(&instance, &early, "/api/chat-history/ses_1").await["removed"].clone();
    let told = number(&messages["removed"]);
    assert!((number(&removed)..=number(&now)).contains(&told), "{removed} {told} {now}");
    early.command("ses_1", json!({"cmd": "prompt", "message": demo_prompt("Go on.", &[Turn::text("on")])})).await;
    early.idle("ses_1").await;
}
