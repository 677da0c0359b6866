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
        ("runner_list", &["runner", "list"]),
        ("runner_restart_unknown", &["runner", "restart", "nobody"]),
        ("runner_upgrade_relative", &["runner", "upgrade", "admin", "--binary", "octo-runner"]),
        ("events_tail_beyond", &["events", "tail", "s1", "--from", "1000000"]),
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
