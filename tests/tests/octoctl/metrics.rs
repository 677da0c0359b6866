//! `octoctl metrics`: the whole text, with the numbers masked.

use crate::run::{instance, run, same, stdout};
use octo_e2e::until;
use serde_json::Value;

/// What differs from run to run: the numbers, and which codes of errors there have been.
fn masked(text: &str) -> String {
    let mask = |line: &str| match line.rsplit_once(' ') {
        Some((head, _)) if !line.starts_with('#') => format!("{head} N"),
        _ => line.to_owned(),
    };
    text.lines().map(mask).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_text_is_what_it_is_known_to_be() {
    let (instance, client) = instance().await;
    drop(client);
    let output = run(&instance, &["metrics"]);
    assert!(output.status.success() && output.stderr.is_empty());
    same("metrics", &masked(&stdout(&output)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_metric_can_be_asked_for_and_a_program_gets_objects() {
    let (instance, _client) = instance().await;
    let output = run(&instance, &["metrics", "--only", "octo_runner_up"]);
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.last(), Some(&"octo_runner_up{user=\"admin\"} 1.0"), "{text}");
    assert!(lines.len() == 3 && lines[0].starts_with("# HELP octo_runner_up "), "{text}");
    let output = run(&instance, &["metrics", "--json", "--only", "octo_agents"]);
    let sample: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(sample, serde_json::json!({ "name": "octo_agents", "labels": { "user": "admin" }, "value": 1.0 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_does_not_answer_is_shown_as_down_and_holds_nobody_up() {
    let (instance, _client) = instance().await;
    let runner = instance.runner();
    runner.signal(nix::sys::signal::Signal::SIGSTOP);
    let down = until("the frozen runner is shown as down", || {
        let text = stdout(&run(&instance, &["metrics"]));
        text.contains("octo_runner_up{user=\"admin\"} 0.0").then_some(text)
    });
    let text = down.await;
    assert!(text.contains("octo_eavs_up 1.0") && !text.contains("octo_agents{"), "everybody else is there: {text}");
    runner.signal(nix::sys::signal::Signal::SIGCONT);
    until("it is up again", || {
        let text = stdout(&run(&instance, &["metrics", "--only", "octo_runner_up"]));
        text.contains("octo_runner_up{user=\"admin\"} 1.0").then_some(())
    })
    .await;
}
