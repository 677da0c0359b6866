//! With octo up.

use crate::run::{instance, octoctl, run, same, stderr, stdout, text, whole};
use octo_e2e::{Client, Instance, Process, until};
use serde_json::Value;

fn json(instance: &Instance, arguments: &[&str]) -> Value {
    let output = run(instance, &[&["--json"], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stdout(&output)))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_looks_says_what_there_is() {
    let (instance, client) = instance().await;
    for (name, arguments) in [
        ("status", &["status"][..]),
        ("actor_tree", &["actor", "tree", "/users/admin/runner"]),
        ("actor_list", &["actor", "list", "/users/admin/sessions"]),
        ("actor_inspect_remote", &["actor", "inspect", "/users/admin/runner/idle"]),
        ("actor_inspect_unknown", &["actor", "inspect", "/users/admin/runner/nobody"]),
        ("actor_inspect_bad_path", &["actor", "inspect", "users"]),
        ("actor_tree_unknown", &["actor", "tree", "/users/nobody"]),
        ("actor_trace_quiet", &["actor", "trace", "/users/admin/runner/retention", "--seconds", "1"]),
        ("actor_trace_unknown", &["actor", "trace", "/nobody"]),
        ("actor_top_without_a_terminal", &["actor", "top"]),
        ("session_list", &["session", "list"]),
        ("session_list_unknown_user", &["session", "list", "--user", "nobody"]),
        ("session_show_unknown", &["session", "show", "admin/nothing"]),
        ("session_show_unknown_id", &["session", "show", "nothing"]),
        ("session_delete_without_yes", &["session", "delete", "s1"]),
        ("user_list", &["user", "list"]),
        ("user_show", &["user", "show", "admin"]),
        ("user_show_unknown", &["user", "show", "nobody"]),
        ("user_sleep_connected", &["user", "sleep", "admin"]),
        ("permission_list", &["permission", "list", "admin"]),
        ("permission_list_unknown", &["permission", "list", "nobody"]),
        ("permission_remove_unknown", &["permission", "remove", "admin", "nothing"]),
        ("runner_list", &["runner", "list"]),
        ("runner_restart_unknown", &["runner", "restart", "nobody"]),
        ("runner_upgrade_relative", &["runner", "upgrade", "admin", "--binary", "octo-runner"]),
        ("events_tail_beyond", &["events", "tail", "s1", "--from", "1000000"]),
        ("events_path_unknown", &["events", "path", "admin/nothing"]),
        ("events_path_quiet", &["events", "path", "s1", "--seconds", "1"]),
        ("journal_verify", &["journal", "verify", "admin"]),
        ("logs_unknown", &["logs", "nothing"]),
        ("metrics_none", &["metrics", "--only", "octopus"]),
        ("store_import_without_yes", &["store", "import", ".config/octo/config.toml"]),
        ("doctor", &["doctor"]),
    ] {
        same(name, &whole(&instance, arguments));
    }
    // What is long, or never the same, is looked into.
    let tree = json(&instance, &["actor", "tree"]);
    let paths: Vec<&str> = tree["rows"].as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    for path in ["/services/eavs", "/users/admin/sessions/s1", "/users/admin/runner/sessions/s1/agent"] {
        assert!(paths.contains(&path), "{path} is missing: {paths:?}");
    }
    let seen = json(&instance, &["actor", "inspect", "/users/admin/runner"]);
    assert_eq!(seen["snapshot"]["pid"], instance.runner().pid, "{seen}");
    let shown = json(&instance, &["session", "show", "s1"]);
    assert_eq!((&shown["session"]["user"], &shown["session"]["state"]), (&"admin".into(), &"idle".into()), "{shown}");
    assert_eq!(shown["detail"]["messageCount"], shown["session"]["message_count"]);
    let logs = json(&instance, &["logs"]);
    let names: Vec<&str> = logs["files"].as_array().unwrap().iter().map(|file| file["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["octo-eavs", "octo-runner-admin"]);
    assert!(stdout(&run(&instance, &["logs", "octo-runner-admin", "-n", "1000"])).contains("serving"));
    let top = json(&instance, &["actor", "top", "--once", "--sort", "path", "--rows", "2"]);
    assert_eq!(top["rows"].as_array().unwrap().len(), 2, "{top}");
    assert!(top["rows"][0]["rate"].is_number() && top["rows"][0]["path"] == "/services", "{top}");
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_a_user_has_set_is_listed_and_can_be_forgotten() {
    let (instance, mut client) = instance().await;
    // A person wrote neither the folder nor the command.
    let rule = serde_json::json!({ "mode": "deny", "tool": "bash", "workspace": "/w", "subject": "rm -rf \u{1b}[31m/" });
    let made = client.command("", serde_json::json!({ "cmd": "permission.add", "rule": rule })).await;
    let id = made["id"].as_str().unwrap();
    let shown = stdout(&run(&instance, &["permission", "list", "admin"]));
    let line = shown.lines().find(|line| line.contains(id)).unwrap();
    assert!(["deny", "bash", "/w", "rm -rf"].iter().all(|part| line.contains(part)) && !line.contains('\u{1b}'), "{line:?}");
    assert_eq!(json(&instance, &["permission", "list", "admin"])["rules"][0]["id"], id);
    let forgotten = run(&instance, &["permission", "remove", "admin", id]);
    assert!(forgotten.status.success() && stdout(&forgotten).contains(id), "{}", stderr(&forgotten));
    assert_eq!(json(&instance, &["permission", "list", "admin"])["rules"], serde_json::json!([]));
    let audit = std::fs::read_to_string(instance.home().join(".local/state/octo/audit.log.jsonl")).unwrap();
    assert!(audit.contains("\"action\":\"permission.remove\""), "what an operator does is recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_told_from_the_first_to_the_newest() {
    let (instance, _client) = instance().await;
    let output = run(&instance, &["events", "tail", "s1", "--from", "1", "--once", "--json"]);
    assert!(output.status.success(), "{}", stderr(&output));
    let events: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<&str> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert!(names.contains(&"input.accepted") && names.contains(&"stream.message_end"), "{names:?}");
    let seqs: Vec<u64> = events.iter().filter_map(|event| event["seq"].as_u64()).filter(|seq| *seq > 0).collect();
    assert!(seqs.windows(2).all(|pair| pair[0] <= pair[1]), "{seqs:?}");
    let listed = json(&instance, &["session", "list"]);
    assert_eq!(seqs.last(), listed["sessions"][0]["seq"].as_u64().as_ref(), "to the newest");
    let human = stdout(&run(&instance, &["events", "tail", "admin/s1", "--from", "1", "--once"]));
    assert!(human.lines().any(|line| line.contains("input.accepted")), "{human}");
}

/// Starts `events path`, and gives it something to look at once it looks.
async fn paths(instance: &Instance, client: &mut Client, arguments: &[&str]) -> std::process::Output {
    use std::io::{BufRead as _, Read as _};
    let piped = std::process::Stdio::piped;
    let mut looking = octoctl(instance, arguments).stdout(piped()).stderr(piped()).spawn().unwrap();
    let mut reader = std::io::BufReader::new(looking.stdout.take().unwrap());
    let (first, mut reader) = tokio::task::spawn_blocking(move || {
        let mut first = String::new();
        reader.read_line(&mut first).unwrap();
        (first, reader)
    })
    .await
    .unwrap();
    let script = octo_e2e::Script { tools: 1, ..octo_e2e::Script::deltas(5).paced(50.0) };
    client.command("s1", serde_json::json!({ "cmd": "prompt", "message": script.prompt("Again.") })).await;
    client.event("s1", |frame| frame["event"] == "agent.idle").await.unwrap();
    let status = until("the command has seen enough", || looking.try_wait().unwrap()).await;
    let mut stdout = first.into_bytes();
    reader.read_to_end(&mut stdout).unwrap();
    let mut stderr = Vec::new();
    looking.stderr.take().unwrap().read_to_end(&mut stderr).unwrap();
    std::process::Output { status, stdout, stderr }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_path_of_an_event_leads_from_the_agent_to_the_sockets_with_a_time_for_each_hop() {
    let (instance, mut client) = instance().await;
    let arguments = ["events", "path", "s1", "--limit", "1"];
    let output = paths(&instance, &mut client, &arguments).await;
    let shown = text(&instance, &arguments, &output);
    // Which number it has depends on how the first turn was cut into events.
    let numbered = shown
        .lines()
        .map(|line| if line.contains("input.accepted") { line.trim_start().split_once(' ').map_or(line, |(_, rest)| rest) } else { line });
    same("events_path", &numbered.collect::<Vec<_>>().join("\n"));

    let arguments = ["events", "path", "s1", "--seconds", "5", "--json"];
    let output = paths(&instance, &mut client, &arguments).await;
    assert!(output.status.success(), "{}", text(&instance, &arguments, &output));
    let lines: Vec<Value> = stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["begun"], serde_json::json!({ "user": "admin", "session": "s1", "one_clock": true }));
    let events: Vec<&Value> = lines.iter().filter_map(|line| line.get("event")).collect();
    let seqs: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert!(seqs.windows(2).all(|two| two[0] < two[1]), "each once, in order: {seqs:?}");
    let deltas: Vec<&&Value> = events.iter().filter(|event| event["event"] == "stream.text_delta").collect();
    assert!(deltas.len() >= 5, "{events:?}");
    for delta in deltas {
        let hops = ["translated_us", "committed_us", "sent_us", "received_us", "queued_us"].map(|hop| delta[hop].as_u64().unwrap());
        let socket = &delta["sockets"][0];
        let sum = hops.iter().sum::<u64>() + socket["taken_us"].as_u64().unwrap() + socket["written_us"].as_u64().unwrap();
        let total = delta["total_us"].as_u64().unwrap();
        // Each hop is cut to whole microseconds.
        assert!(sum <= total && total <= sum + 8, "the hops are the whole way: {delta}");
        assert_eq!(delta["sockets"].as_array().unwrap().len(), 1, "one client is attached: {delta}");
        assert!(socket["connection"].as_str().unwrap().parse::<u64>().is_ok(), "{delta}");
    }
    let accepted = events.iter().find(|event| event["event"] == "input.accepted").unwrap();
    assert!(accepted["translated_us"].is_null() && accepted["sent_us"].is_u64(), "it is not the agent's: {accepted}");
    let audit = std::fs::read_to_string(instance.home().join(".local/state/octo/audit.log.jsonl")).unwrap();
    assert!(audit.contains("\"action\":\"session.path\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_that_acts_does_so_and_says_it() {
    let (instance, client) = instance().await;
    drop(client);
    for (name, arguments) in [
        ("actor_restart", &["actor", "restart", "/users/admin/runner/history"][..]),
        ("actor_restart_root", &["actor", "restart", "/"]),
        ("actor_restart_unknown", &["actor", "restart", "/nobody"]),
        ("session_restart", &["session", "restart", "s1"]),
        ("session_stop", &["session", "stop", "admin/s1"]),
        ("session_delete", &["session", "delete", "s1", "--yes"]),
        ("session_list_empty", &["session", "list"]),
        ("store_export", &["store", "export", "kept.jsonl"]),
        ("store_export_again", &["store", "export", "kept.jsonl"]),
        ("store_import_refused", &["store", "import", "kept.jsonl"]),
        ("store_import", &["store", "import", "kept.jsonl", "--yes"]),
    ] {
        same(name, &whole(&instance, arguments));
    }
    // Its actor ends behind the answer.
    let gone = ["actor", "inspect", "/users/admin/runner/sessions/s1"];
    until("the session's actor has ended", || (run(&instance, &gone).status.code() == Some(4)).then_some(())).await;
    same("actor_inspect_gone", &whole(&instance, &gone));
    same("actor_restart_gone", &whole(&instance, &["actor", "restart", gone[2]]));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(std::fs::metadata(instance.home().join("kept.jsonl")).unwrap().permissions().mode() & 0o777, 0o600);
    let restarted = json(&instance, &["actor", "inspect", "/users/admin/runner/history"]);
    assert_eq!(restarted["row"]["restarts"], 1);

    let runner = instance.runner();
    same("runner_upgrade", &whole(&instance, &["runner", "upgrade", "admin"]));
    assert_eq!(instance.runner().pid, runner.pid, "the same process");
    until("the link is back", || json(&instance, &["runner", "list"])["runners"][0]["linked"].as_bool().filter(|linked| *linked)).await;
    same("runner_restart", &whole(&instance, &["runner", "restart", "admin"]));
    assert!(!runner.is_alive() && Process::of(instance.runner().pid).is_some());
    same("user_sleep", &whole(&instance, &["user", "sleep", "admin", "--force"]));
    same("user_sleep_again", &whole(&instance, &["user", "sleep", "admin"]));
    let audit = std::fs::read_to_string(instance.home().join(".local/state/octo/audit.log.jsonl")).unwrap();
    for action in ["actor.restart", "session.delete", "store.import", "runner.upgrade", "runner.restart", "user.sleep"] {
        assert!(audit.contains(&format!("\"action\":\"{action}\"")), "{action} is not in the audit");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_shows_messages_on_both_sides_of_the_socket() {
    let (instance, client) = instance().await;
    drop(client);
    let arguments = ["actor", "trace", "/users", "--limit", "4", "--json"];
    let mut trace =
        octoctl(&instance, &arguments).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    // Until it has what it wants: somebody comes, asks and goes.
    let asking = async {
        loop {
            let mut client = Client::connect(&instance).await;
            client.create("s1", &instance.workspace()).await;
            client.command("s1", serde_json::json!({ "cmd": "get_stats" })).await;
        }
    };
    tokio::select! {
        () = asking => {}
        _ = until("the trace has seen enough", || trace.try_wait().unwrap()) => {}
    }
    let output = trace.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&instance, &arguments, &output));
    let messages: Vec<Value> =
        stdout(&output).lines().filter_map(|line| serde_json::from_str::<Value>(line).unwrap().get("message").cloned()).collect();
    assert_eq!(messages.len(), 4);
    assert!(
        messages.iter().all(|message| message["path"].as_str().unwrap().starts_with("/users") && message["handled_us"].is_u64()),
        "{messages:?}"
    );
}
