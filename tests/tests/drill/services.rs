//! Faults of the daemons, and of what stands behind them.

use crate::room::{is_well, names, with};
use nix::sys::signal::Signal;
use octo_e2e::{Client, Instance, Options, Turn, demo_prompt};
use serde_json::json;

/// 11. A dead link: a runner that is stopped. Its link is up, and nobody is there.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_does_not_answer_is_named_with_whose_it_is() {
    let (instance, _client) = with("").await;
    let runner = instance.runner();
    runner.signal(Signal::SIGSTOP);
    names(&instance, &["status"], &["/users/admin/runner", "does not answer", "octoctl runner restart admin"]).await;
    runner.signal(Signal::SIGCONT);
    is_well(&instance, &["status"], &["does not answer"]).await;
}

/// 12. octo-eavs is stopped.
#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_does_not_answer_is_named_with_its_pid() {
    let (instance, _client) = with("").await;
    let proxy = instance.daemons("octo-eavs").pop().unwrap();
    proxy.signal(Signal::SIGSTOP);
    names(&instance, &["status"], &["octo-eavs", &proxy.pid.to_string(), "does not answer"]).await;
    proxy.signal(Signal::SIGCONT);
}

/// 13. A provider that cannot be reached.
#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_everything_is_named_with_what_it_says() {
    let port = {
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port()
    };
    let config = format!(
        "[providers.nowhere]\napi = \"openai-completions\"\nbase_url = \"http://127.0.0.1:{port}\"\nmodels = [{{ id = \"m\", context_window = 4096, max_tokens = 1024 }}]\n"
    );
    let mut instance = Instance::new(Options { config, ..Options::default() });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let config = json!({"harness": "pi", "cwd": instance.workspace(), "provider": "nowhere", "model": "m"});
    client.command("s1", json!({"cmd": "session.create", "config": config})).await;
    let message = demo_prompt("Go.", &[Turn::text("Never.")]);
    client.command("s1", json!({"cmd": "prompt", "message": message, "client_id": "one"})).await;
    names(&instance, &["status"], &["provider nowhere", "could not be reached"]).await;
    client.command("s1", json!({"cmd": "abort"})).await;
}

/// 14. A runner that cannot be started: somebody holds its lock.
#[tokio::test(flavor = "multi_thread")]
async fn a_runner_that_cannot_be_started_is_named_with_why() {
    let mut instance = Instance::new(Options::scripted());
    let data = instance.home().join(".local/share/octo/runners/admin");
    std::fs::create_dir_all(&data).unwrap();
    let lock = std::fs::File::create(data.join("runner.lock")).unwrap();
    lock.lock().unwrap();
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let asked = json!({"channel": "agent", "session_id": "", "cmd": "list_sessions", "id": "drill"});
    assert!(client.send_text(asked.to_string()).await);
    names(&instance, &["status"], &["/users/admin/runner", "runner.lock"]).await;
}

/// 15. octo itself is gone.
#[tokio::test(flavor = "multi_thread")]
async fn an_octo_that_is_gone_is_named_and_what_still_runs_too() {
    let (mut instance, _client) = with("").await;
    let runner = instance.runner();
    instance.kill_octo();
    names(&instance, &["status"], &["octo is down", "go on: 1 runner"]).await;
    names(&instance, &["status"], &["admin", &runner.pid.to_string()]).await;
}
