//! An actor that is stuck is shown as such, with what it is inside of, by the commands that are there for it.

use crate::run::{instance, run, stdout};
use nix::sys::signal::Signal;
use octo_e2e::until;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_is_frozen_is_named_while_octo_answers_as_before() {
    let (instance, _client) = instance().await;
    let runner = instance.runner();
    runner.signal(Signal::SIGSTOP);
    let told = until("the link is given up and status says so", || {
        let output = run(&instance, &["status", "--json"]);
        assert!(output.status.success(), "octo answers whatever its runners do");
        let status: Value = serde_json::from_str(&stdout(&output)).unwrap();
        status["trouble"].as_array().unwrap().iter().find(|trouble| trouble["what"] == "/users/admin/runner").cloned()
    });
    let told = told.await;
    assert!(told["sentence"].as_str().unwrap().len() > 20, "{told}");
    assert_eq!(run(&instance, &["actor", "inspect", "/users/admin/runner/history"]).status.code(), Some(75));
    assert_eq!(run(&instance, &["doctor"]).status.code(), Some(6));
    runner.signal(Signal::SIGCONT);
    until("everything is well again", || run(&instance, &["doctor"]).status.success().then_some(())).await;
}
