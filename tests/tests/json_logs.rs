//! Logs for programs: each process of octo writes one object a line, and `octoctl logs` shows them to people.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use octo_e2e::{Client, Instance, Options, Script};
use serde_json::{Value, json};

fn objects(text: &str, of: &str) -> Vec<Value> {
    let lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{of}: {error}: {line}"))).collect();
    for line in &lines {
        assert!(line["timestamp"].is_string() && line["level"].is_string() && line["target"].is_string(), "{of}: {line}");
    }
    assert!(!lines.is_empty(), "{of} wrote nothing");
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn every_process_writes_one_object_a_line_with_ids_as_members_and_people_can_read_them() {
    let scripted = Options::scripted();
    let config = format!("{}[logging]\nformat = \"json\"\nfile = \"$HOME/octo.log\"\n", scripted.config);
    let mut instance = Instance::new(Options { config, ..scripted });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    client.create("s1", &instance.workspace()).await;
    client.command("s1", json!({ "cmd": "prompt", "message": Script::deltas(3).prompt("Speak."), "client_id": "c1" })).await;
    client.event("s1", |frame| frame["event"] == "agent.idle").await.unwrap();

    let read = |path: &str| std::fs::read_to_string(instance.home().join(path)).unwrap();
    let octo = objects(&read("octo.log"), "octo");
    let linked = octo.iter().find(|line| line["message"] == "runner linked").expect("octo says that the runner is linked");
    assert_eq!((&linked["user"], &linked["pid"]), (&json!("admin"), &json!(instance.runner().pid)), "{linked}");
    let runner = objects(&read(".local/state/octo/logs/octo-runner-admin.log"), "octo-runner");
    assert!(runner.iter().any(|line| line["message"] == "connected" && line["connection"].is_u64()), "{runner:?}");
    objects(&read(".local/state/octo/logs/octo-eavs.log"), "octo-eavs");

    let shown = instance.command("octoctl").args(["logs", "octo-runner-admin", "-n", "1000"]).output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    let line = text.lines().find(|line| line.contains(": serving ")).unwrap_or_else(|| panic!("{text}"));
    assert!(line.contains(" INFO octo_runner: serving") && line.contains(" pid=") && !line.contains('{'), "{line}");
    let raw = instance.command("octoctl").args(["--json", "logs", "octo"]).output().unwrap();
    let raw: Value = serde_json::from_slice(&raw.stdout).unwrap();
    assert!(raw["lines"][0].as_str().unwrap().starts_with('{'), "a program gets what was written: {raw}");
}
