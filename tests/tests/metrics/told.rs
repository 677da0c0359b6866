//! `/metrics` of a running octo: who may read it, that everything in the table is told, and that it tells what happened.

use octo_e2e::{Client, Instance, Options, Turn, demo_prompt, request};
use octo_protocol::metrics::{METRICS, MetricKind};
use serde_json::json;
use std::collections::BTreeMap;

const TOKEN: &str = "7f3b1c9d2e8a4f605b7c1d2e3f4a5b6c";

/// Metrics that have no line until something goes wrong.
pub const ONLY_AFTER_TROUBLE: [&str; 1] = ["octo_llm_errors_total"];

/// Every line with its value.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut all = BTreeMap::new();
    for line in lines {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap_or_else(|_| panic!("{line} has a number")) };
        assert!(all.insert(name.to_owned(), value).is_none(), "{name} is there twice");
    }
    all
}

async fn read(instance: &Instance, token: &str) -> BTreeMap<String, f64> {
    let answer = request("GET", &format!("{}/metrics", instance.url()), Some(token), None).await.unwrap();
    assert_eq!(answer.status, 200);
    assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    samples(std::str::from_utf8(&answer.body).unwrap())
}

async fn with_token() -> Instance {
    let mut instance = Instance::new(Options { config: format!("[server]\nmetrics_token = {TOKEN:?}\n"), ..Options::default() });
    instance.start().await;
    instance
}

#[tokio::test(flavor = "multi_thread")]
async fn only_an_admin_and_who_shows_the_token_may_read_and_the_token_opens_nothing_else() {
    let instance = with_token().await;
    let client = Client::connect(&instance).await;
    for (path, token, status) in [
        ("/metrics", None, 401),
        ("/metrics", Some("7f3b1c9d2e8a4f605b7c1d2e3f4a5b6d"), 401),
        ("/metrics", Some(TOKEN), 200),
        ("/metrics", Some(client.token()), 200),
        ("/api/metrics", Some(TOKEN), 200),
        ("/api/me", Some(TOKEN), 401),
        ("/api/sessions", Some(TOKEN), 401),
        ("/api/admin/status", Some(TOKEN), 401),
        ("/api/ws/mux", Some(TOKEN), 401),
    ] {
        let answer = request("GET", &format!("{}{path}", instance.url()), token, None).await.unwrap();
        assert_eq!(answer.status, status, "{path} with {token:?}");
    }
    let posted = request("POST", &format!("{}/metrics", instance.url()), Some(TOKEN), None).await.unwrap();
    assert_eq!(posted.status, 405);
    let audit = std::fs::read_to_string(instance.home().join(".local/state/octo/audit.log.jsonl")).unwrap();
    assert!(!audit.contains("\"monitor\"") && !audit.contains(TOKEN), "who reads every few seconds does not fill the audit");
    assert!(instance.files_with(TOKEN).iter().all(|path| path.ends_with("config.toml")), "the token is in no log");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_token_in_the_configuration_nobody_but_an_admin_may() {
    let instance = Instance::scripted().await;
    for token in [None, Some(""), Some(TOKEN)] {
        let answer = request("GET", &format!("{}/metrics", instance.url()), token, None).await.unwrap();
        assert_eq!(answer.status, 401, "{token:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_in_the_table_is_told_and_says_what_happened() {
    let instance = with_token().await;
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    let prompt = demo_prompt("Speak.", &[Turn::text("This sentence came in pieces.").slowly(8, 1)]);
    client.command("s1", json!({ "cmd": "prompt", "message": prompt, "client_id": "c1" })).await;
    client.event("s1", |frame| frame["event"] == "agent.idle").await.unwrap();

    // A runner tells of its sessions a moment after their clients have heard it.
    let text = async {
        loop {
            let answer = request("GET", &format!("{}/metrics", instance.url()), Some(TOKEN), None).await.unwrap();
            let text = String::from_utf8(answer.body).unwrap();
            if text.contains("octo_sessions{state=\"idle\"} 1.0\n") {
                return text;
            }
        }
    };
    let text = tokio::time::timeout(octo_e2e::PATIENCE, text).await.expect("the session is seen to be idle");
    let all = samples(&text);
    for metric in METRICS {
        assert!(text.contains(&format!("# TYPE {} {}\n", metric.name, metric.kind.word())), "{} has no description", metric.name);
        let suffix = if matches!(metric.kind, MetricKind::Histogram(_)) { "_bucket" } else { "" };
        let name = format!("{}{suffix}", metric.name);
        let lines: Vec<&String> = all.keys().filter(|line| line.split('{').next() == Some(&name)).collect();
        assert!(!lines.is_empty() || ONLY_AFTER_TROUBLE.contains(&metric.name), "{name} has no line");
        for line in lines {
            let told: Vec<&str> = line.split(['{', ',']).skip(1).filter_map(|pair| pair.split_once('=')).map(|(label, _)| label).collect();
            let known = metric.shown_labels();
            assert!(told.iter().all(|label| known.contains(label) || *label == "le"), "{line} has other labels than {known:?}");
        }
    }
    let described = text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(described, METRICS.len(), "nothing is told that is not in the table");

    let of = |name: &str| *all.get(name).unwrap_or_else(|| panic!("{name} is missing:\n{text}"));
    assert_eq!(of("octo_connections"), 1.0);
    assert_eq!(of("octo_subscriptions{state=\"live\"}"), 1.0);
    assert_eq!((of("octo_runner_up{user=\"admin\"}"), of("octo_eavs_up")), (1.0, 1.0));
    assert_eq!((of("octo_agents{user=\"admin\"}"), of("octo_agent_starts_total{user=\"admin\"}")), (1.0, 1.0));
    assert!(of("octo_llm_requests_total{provider=\"demo\"}") >= 1.0);
    assert!(of("octo_llm_tokens_total{provider=\"demo\",kind=\"output\"}") > 0.0);
    assert!(of("octo_llm_first_byte_seconds_count{provider=\"demo\"}") >= 1.0);
    let journalled = of("octo_journal_events_total{user=\"admin\"}");
    assert!(journalled >= 10.0, "{journalled}");
    let (live, received) = (of("octo_deliveries_total{state=\"live\"}"), of("octo_events_received_total"));
    assert!(live > 0.0 && received > 0.0 && live <= received, "one socket gets each event once at most: {live} of {received}");
    let full = of("octo_journal_commit_seconds_count{user=\"admin\",sync=\"full\"}");
    assert!(full >= 2.0 && full <= of("octo_journal_commit_events_count{user=\"admin\"}"), "{full}");
    assert!(of("octo_process_resident_memory_bytes{process=\"octo-runner\",user=\"admin\"}") > 1e6);
    for line in all.keys().filter(|line| line.contains("octo_limit_hits_total") || line.contains("octo_actor_restarts_total")) {
        assert_eq!(all[line], 0.0, "{line}");
    }

    // What was attached is let go of.
    drop(client);
    let gone = async {
        loop {
            let all = read(&instance, TOKEN).await;
            if all["octo_connections"] == 0.0 && all["octo_subscriptions{state=\"live\"}"] == 0.0 && all["octo_outbox_bytes"] == 0.0 {
                return;
            }
        }
    };
    tokio::time::timeout(octo_e2e::PATIENCE, gone).await.expect("nothing is left of a connection that is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_that_refuses_and_an_agent_that_crashes_are_counted() {
    let config = format!("{}[server]\nmetrics_token = {TOKEN:?}\nmax_connections_per_account = 1\n", Options::scripted().config);
    let mut instance = Instance::new(Options { config, ..Options::scripted() });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    let before = read(&instance, TOKEN).await;
    let agent = instance.agents().first().expect("an agent runs").clone();
    agent.kill();
    let crashed = async {
        loop {
            let now = read(&instance, TOKEN).await;
            let of = |name: &str| now[name] - before[name];
            let crashes = of("octo_agent_exits_total{user=\"admin\",how=\"crashed\"}");
            let restarts = of("octo_actor_restarts_total{process=\"octo-runner\",user=\"admin\",kind=\"agent\"}");
            if crashes == 1.0 && restarts == 1.0 && of("octo_agent_starts_total{user=\"admin\"}") == 1.0 {
                return;
            }
        }
    };
    tokio::time::timeout(octo_e2e::PATIENCE, crashed).await.expect("the crash and the restart are counted");
    let url = format!("ws://127.0.0.1:{}/api/ws/mux", instance.port());
    let request = tokio_tungstenite::tungstenite::client::ClientRequestBuilder::new(url.parse().unwrap())
        .with_header("authorization", format!("Bearer {}", client.token()));
    assert!(tokio_tungstenite::connect_async(request).await.is_err(), "one more than the account may have");
    let hits = read(&instance, TOKEN).await;
    assert_eq!(hits["octo_limit_hits_total{process=\"octo\",limit=\"connections_per_account\"}"], 1.0);
}
