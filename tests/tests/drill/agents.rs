//! Faults of agents and sessions.

use crate::room::{is_well, names, prompt, with};
use nix::sys::signal::Signal;
use octo_e2e::{Client, Instance, Options, Script, arm};
use serde_json::json;

const SESSION: &str = "/users/admin/runner/sessions/s1";

/// 1. A stall: an actor never comes back from a message.
#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_hangs_inside_a_message_is_named_with_the_message() {
    let directory = tempfile::tempdir().unwrap();
    let point = directory.path().join("point");
    let mut options = Options::scripted();
    options.env.push(("OCTO_FAIL_POINT".to_owned(), point.display().to_string()));
    let mut instance = Instance::new(options);
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    arm(&point, "octo user follow hang");
    let config = json!({"harness": "pi", "cwd": instance.workspace(), "provider": "demo", "model": "scripted"});
    let create = json!({"channel": "agent", "session_id": "s1", "cmd": "session.create", "config": config, "id": "drill"});
    assert!(client.send_text(create.to_string()).await);
    names(&instance, &["status"], &["/users/admin:", "has been inside follow for", "octoctl actor restart /users/admin"]).await;
    // What it says to do helps.
    let restarted = instance.command("octoctl").args(["actor", "restart", "/users/admin"]).output().unwrap();
    assert!(restarted.status.success(), "{restarted:?}");
    is_well(&instance, &["status"], &["has been inside"]).await;
}

/// 2. A leak: an agent takes more and more memory.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_is_about_to_use_all_its_memory_is_named_with_how_much_it_uses() {
    let (instance, mut client) = with("[sandbox]\nmax_memory_mb = 400\n").await;
    prompt(&mut client, &Script { hold_mib: 350, ..Script::deltas(3) }).await;
    client.idle("s1").await;
    names(&instance, &["status"], &[&format!("{SESSION}/agent"), "of the 400 MiB of memory", "octo-scripted"]).await;
}

/// 3. A crash loop: an agent ends as soon as it works.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_ends_again_and_again_is_named_with_why_and_what_to_do() {
    let (instance, mut client) = with("").await;
    let crash = Script { exit: Some(7), ..Script::deltas(2) };
    for _ in 0..4 {
        prompt(&mut client, &crash).await;
        client.event("s1", |frame| frame["event"] == "session.restarted" || frame["event"] == "agent.error").await.unwrap();
    }
    names(&instance, &["status"], &[SESSION, "exit code 7", "octoctl session restart admin/s1"]).await;
}

/// 4. A runaway: an agent that never stops talking.
#[tokio::test(flavor = "multi_thread")]
async fn the_agent_that_keeps_everybody_busy_stands_at_the_top() {
    let (instance, mut client) = with("").await;
    client.create("quiet", &instance.workspace()).await;
    prompt(&mut client, &Script::deltas(10_000_000)).await;
    client.event("s1", |frame| frame["event"] == "stream.text_delta").await.unwrap();
    // Its own actor, or that which follows it in octo: the first of all by what it handles in a second.
    names(&instance, &["actor", "top", "--once", "--rows", "1"], &["sessions/s1"]).await;
    client.command("s1", json!({"cmd": "abort"})).await;
}

/// 5. A hang: an agent runs and answers nothing.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_that_answers_nothing_is_named_with_for_how_long() {
    let (instance, _client) = with("[sessions]\nrestart_silent_seconds = 40\n").await;
    let agent = instance.agents().pop().unwrap();
    agent.signal(Signal::SIGSTOP);
    names(&instance, &["status"], &[SESSION, "has answered nothing for", "octoctl session restart admin/s1"]).await;
    agent.signal(Signal::SIGCONT);
    is_well(&instance, &["status"], &[SESSION, "has answered nothing"]).await;
}

/// 6. A lost lease: somebody else holds what only a session's one agent may hold.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_holds_a_session_is_named_with_the_file() {
    let (instance, mut client) = with("").await;
    client.command("s1", json!({"cmd": "session.close"})).await;
    let lease = instance.home().join(".local/share/octo/runners/admin/leases/s1");
    let held = std::fs::File::options().read(true).write(true).open(&lease).unwrap();
    held.lock().unwrap();
    std::fs::write(&lease, "somebody else").unwrap();
    prompt(&mut client, &Script::deltas(1)).await;
    names(&instance, &["status"], &[SESSION, "somebody else", "leases/s1"]).await;
}

/// 7. A fork bomb that goes slowly: nearly as many processes as there may be.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_with_nearly_too_many_processes_is_named_with_how_many() {
    let (instance, mut client) = with("[sandbox]\nmax_processes = 20\n").await;
    prompt(&mut client, &Script { runaways: 16, ..Script::deltas(3) }).await;
    client.idle("s1").await;
    names(&instance, &["status"], &[&format!("{SESSION}/agent"), "of the 20 processes"]).await;
}
