//! With octo down: what the runners' own sockets still tell.

use crate::run::{instance, run, same, stdout, whole};
use octo_e2e::{Instance, Options, until};
use serde_json::Value;

const COMMANDS: [(&str, &[&str]); 20] = [
    ("status", &["status"]),
    ("actor_tree", &["actor", "tree"]),
    ("actor_inspect", &["actor", "inspect", "/users"]),
    ("actor_restart", &["actor", "restart", "/users"]),
    ("actor_trace", &["actor", "trace"]),
    ("actor_top", &["actor", "top", "--once"]),
    ("session_list", &["session", "list"]),
    ("session_show", &["session", "show", "admin/s1"]),
    ("session_delete", &["session", "delete", "admin/s1", "--yes"]),
    ("user_list", &["user", "list"]),
    ("permission_list", &["permission", "list", "admin"]),
    ("permission_remove", &["permission", "remove", "admin", "rule"]),
    ("runner_list", &["runner", "list"]),
    ("events_tail", &["events", "tail", "admin/s1"]),
    ("events_path", &["events", "path", "admin/s1"]),
    ("journal_verify", &["journal", "verify"]),
    ("store_export", &["store", "export", "kept.jsonl"]),
    ("logs", &["logs"]),
    ("metrics", &["metrics"]),
    ("doctor", &["doctor"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_command_says_that_octo_is_down_and_what_goes_on_below_it() {
    let (mut instance, client) = instance().await;
    drop(client);
    assert!(instance.stop_octo().await.success());
    for (name, arguments) in COMMANDS {
        let output = run(&instance, arguments);
        assert_eq!(output.status.code(), Some(69), "{arguments:?}");
        same(&format!("down_{name}"), &whole(&instance, arguments));
    }
    let listed: Value = serde_json::from_slice(&run(&instance, &["session", "list", "--json"]).stdout).unwrap();
    assert_eq!(listed["runners"][0]["sessions"][0]["session_id"], "s1", "{listed}");
    assert!(!instance.home().join("kept.jsonl").exists(), "nothing is begun that cannot be done");
    let runner = instance.runner();
    runner.kill();
    // Its socket goes last: until then who connects is cut off, and not refused.
    let socket = instance.home().join(".local/state/octo/run/runners/admin.sock");
    until("the runner has ended", || std::os::unix::net::UnixStream::connect(&socket).is_err().then_some(())).await;
    same("down_with_no_runner", &whole(&instance, &["status"]));
}

#[test]
fn an_octo_that_was_never_started_is_not_looked_for_elsewhere() {
    let instance = Instance::new(Options::scripted());
    same("never_started", &whole(&instance, &["status"]));
    assert_eq!(run(&instance, &["--socket", "/nonexistent/admin.sock", "status"]).status.code(), Some(69));
    assert!(stdout(&run(&instance, &["completions", "bash"])).contains("octoctl"), "what needs no octo works without one");
}
