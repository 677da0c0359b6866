//! `octoctl doctor --bundle`: what is in it, and what is not.

use crate::run::{run, stderr, stdout};
use octo_e2e::{Client, Instance, Options, Script, until};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What is planted: in the configuration, in a log, in prompts, in files.
const PLANTED: [&str; 10] = [
    "sk-planted-4711",
    "planted-header-value",
    "plantedcredentials",
    "7f3b1c9d2e8a4f605b7c1d2e3f4a5b6c",
    "Pq8sWv3xYz1aBc5dEf7gHi9jKl2mNo4r",
    "MARMALADE-PROMPT",
    "MARMALADE-ANSWER",
    "MARMALADE-FILE",
    "MARMALADE-TITLE",
    "carol.planted@example.com",
];

fn config() -> String {
    let scripted = Options::scripted().config;
    format!(
        "{scripted}[auth]\njwt_secret = \"{}\"\n[server]\nmetrics_token = \"{}\"\n[providers.planted]\napi = \"openai-completions\"\n\
         base_url = \"http://127.0.0.1:9/v1\"\napi_key = \"{}\"\nheaders = {{ x-planted = \"{}\" }}\nmodels = [{{ id = \"m\" }}]\n",
        PLANTED[4], PLANTED[3], PLANTED[0], PLANTED[1]
    )
}

/// Unpacks a bundle, and reads every part.
fn unpack(instance: &Instance, file: &Path) -> Vec<(String, String)> {
    let into = instance.home().join("unpacked");
    std::fs::create_dir_all(&into).unwrap();
    let done = std::process::Command::new("tar").arg("xzf").arg(file).arg("-C").arg(&into).status().unwrap();
    assert!(done.success());
    let (mut parts, mut open): (Vec<(String, String)>, Vec<PathBuf>) = (Vec::new(), vec![into.clone()]);
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(into.join("octo-bundle")).unwrap().display().to_string();
                parts.push((name, std::fs::read_to_string(path).unwrap()));
            }
        }
    }
    std::fs::remove_dir_all(&into).unwrap();
    parts.sort();
    parts
}

fn part<'a>(parts: &'a [(String, String)], name: &str) -> &'a str {
    let names: Vec<&String> = parts.iter().map(|(name, _)| name).collect();
    &parts.iter().find(|(there, _)| there == name).unwrap_or_else(|| panic!("{name} is missing: {names:?}")).1
}

fn nothing_planted(parts: &[(String, String)], more: &[&str]) {
    for secret in PLANTED.iter().chain(more) {
        for (name, text) in parts {
            assert!(!text.contains(secret) && !name.contains(secret), "{secret} is in {name}");
        }
    }
}

/// An instance in which people have worked, and whose logs hold what they should not.
async fn lived_in() -> (Instance, Client) {
    let mut instance = Instance::new(Options { config: config(), ..Options::scripted() });
    instance.start().await;
    std::fs::write(instance.workspace().join("notes.txt"), PLANTED[7]).unwrap();
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    let prompt = Script { stderr_bytes: 64, ..Script::deltas(3) }.prompt(&format!("{} say {}", PLANTED[5], PLANTED[6]));
    client.command("s1", json!({ "cmd": "prompt", "message": prompt, "client_id": "c1" })).await;
    client.event("s1", |frame| frame["event"] == "agent.idle").await.unwrap();
    let url = format!("{}/api/chat-history/s1", instance.url());
    let renamed = octo_e2e::request("PATCH", &url, Some(client.token()), Some(&json!({ "title": PLANTED[8] }))).await.unwrap();
    assert_eq!(renamed.status, 200);
    let log = instance.home().join(".local/state/octo/logs/octo-runner-admin.log");
    let mut log = std::fs::File::options().append(true).open(log).unwrap();
    writeln!(log, "2026-11-30T13:15:00.000000Z  WARN octo_runner: planted error=\"401 for {} of {}\"", PLANTED[0], PLANTED[9]).unwrap();
    writeln!(log, "2026-11-30T13:15:00.000000Z  WARN octo_runner: planted Authorization: Bearer {}", client.token()).unwrap();
    writeln!(log, "2026-11-30T13:15:00.000000Z  WARN octo_runner: planted url=http://user:{}@127.0.0.1:9/v1", PLANTED[2]).unwrap();
    writeln!(log, "the agent said {} and {}", PLANTED[5], PLANTED[7]).unwrap();
    (instance, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bundle_has_what_helps_and_nothing_that_is_secret_or_somebodys_work() {
    let (instance, client) = lived_in().await;
    let output = run(&instance, &["doctor", "--bundle", "bundle.tar.gz"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    let file = instance.home().join("bundle.tar.gz");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let parts = unpack(&instance, &file);
    let (_, password) = instance.credentials();
    nothing_planted(&parts, &[client.token(), &password]);

    let status: Value = serde_json::from_str(part(&parts, "status.json")).unwrap();
    assert_eq!(status["sessions"]["idle"], 1, "{status}");
    let actors: Value = serde_json::from_str(part(&parts, "actors.json")).unwrap();
    assert!(actors["rows"].as_array().unwrap().iter().any(|row| row["path"] == "/users/admin/runner/sessions/s1/agent"));
    let shown = part(&parts, "config.json");
    assert!(shown.contains("providers.planted.api_key") && shown.contains("…"), "{shown}");
    let readme = part(&parts, "README.txt");
    for key in ["auth.jwt_secret", "server.metrics_token", "providers.planted.api_key", "providers.planted.headers"] {
        assert!(readme.contains(key) && stdout(&output).contains(key), "{key} is masked, and that is said: {readme}");
    }
    assert!(part(&parts, "metrics.txt").contains("octo_runner_up{user=\"admin\"} 1.0"));
    assert!(part(&parts, "runners.json").contains("\"linked\": true"));
    assert!(part(&parts, "doctor.json").contains("octo-eavs"));
    assert!(part(&parts, "journals/admin.json").contains("\"damaged\": 0"));
    assert!(part(&parts, "machine.txt").contains("max_user_namespaces"));
    let log = part(&parts, "logs/octo-runner-admin.log");
    assert!(
        log.contains("serving") && log.contains("planted error") && log.contains("[1 lines that octo did not write are left out]"),
        "{log}"
    );
    assert!(part(&parts, "logs/octo-eavs.log").contains("octo-eavs is listening"));

    // It replaces nothing, and says so before it asks anybody.
    let again = run(&instance, &["doctor", "--bundle", "bundle.tar.gz"]);
    assert_eq!(again.status.code(), Some(5), "{}", stderr(&again));
    assert!(stderr(&again).contains("is there already"));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_octo_down_a_bundle_has_the_rest_and_names_what_is_missing() {
    let (mut instance, client) = lived_in().await;
    let token = client.token().to_owned();
    drop(client);
    assert!(instance.stop_octo().await.success());
    let output = run(&instance, &["doctor", "--json", "--bundle", "bundle.tar.gz"]);
    assert_eq!(output.status.code(), Some(69), "{}", stdout(&output));
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    let missing: Vec<&str> = said["missing"].as_array().unwrap().iter().map(|missing| missing["part"].as_str().unwrap()).collect();
    assert_eq!(missing, ["status.json", "actors.json", "snapshots", "metrics.txt", "journals"], "{said}");
    let parts = unpack(&instance, &instance.home().join("bundle.tar.gz"));
    let (_, password) = instance.credentials();
    nothing_planted(&parts, &[&token, &password]);
    let runners: Value = serde_json::from_str(part(&parts, "runners.json")).unwrap();
    assert_eq!((&runners["runners"][0]["running"], &runners["runners"][0]["sessions"]), (&json!(true), &json!(1)), "{runners}");
    assert!(part(&parts, "config.json").contains("providers.planted.api_key"));
    assert!(part(&parts, "logs/octo-runner-admin.log").contains("serving"));
    assert!(part(&parts, "README.txt").contains("metrics.txt: octo is down"), "{}", part(&parts, "README.txt"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_is_not_well_is_in_the_bundle_with_what_it_said_last() {
    let (instance, _client) = lived_in().await;
    let runner = instance.runner();
    runner.signal(nix::sys::signal::Signal::SIGSTOP);
    until("the link is given up", || {
        let status: Value = serde_json::from_str(&stdout(&run(&instance, &["status", "--json"]))).unwrap();
        let told = status["trouble"]
            .as_array()
            .unwrap()
            .iter()
            .any(|trouble| trouble["what"] == "/users/admin/runner" && trouble["sentence"].as_str().unwrap().contains("started again"));
        told.then_some(())
    })
    .await;
    let output = run(&instance, &["doctor", "--bundle", "bundle.tar.gz"]);
    runner.signal(nix::sys::signal::Signal::SIGCONT);
    assert!(output.status.success(), "{}", stderr(&output));
    let parts = unpack(&instance, &instance.home().join("bundle.tar.gz"));
    nothing_planted(&parts, &[]);
    let snapshot = part(&parts, "snapshots/1.json");
    assert!(snapshot.contains("/users/admin/runner"), "{snapshot}");
}
