//! A real pi and real shell tools: however they behave, nothing survives the end of their session, and the session tells what happened.

use nix::sys::signal::Signal;
use octo_e2e::{Census, Client, Instance, Options, Process, Turn, demo_prompt, until};
use serde_json::{Value, json};

async fn limited() -> (Instance, Client) {
    let config = "[sandbox]\nmax_memory_mb = 1200\nmax_processes = 400\n".to_owned();
    let mut instance = Instance::new(Options { config, ..Options::default() });
    instance.start().await;
    let client = Client::connect(&instance).await;
    (instance, client)
}

/// Prompts for a shell tool and waits until it runs.
async fn tool(client: &mut Client, instance: &Instance, session: &str, command: &str) -> Process {
    client.create(session, &instance.workspace()).await;
    let agent = instance.agents().last().unwrap().clone();
    client
        .command(
            session,
            json!({"cmd": "prompt", "message": demo_prompt("Run it.", &[Turn::text("Here.").bash(command), Turn::text("Done.")])}),
        )
        .await;
    client.event(session, |frame| frame["event"] == "tool.start").await.unwrap();
    agent
}

async fn told(client: &mut Client, session: &str) -> String {
    let error = client.event(session, |frame: &Value| frame["event"] == "agent.error").await.unwrap();
    error["error"].as_str().unwrap().to_owned()
}

async fn shells(instance: &Instance, marker: &str, at_least: usize) {
    let running = || instance.tree().into_iter().filter(|process| process.command_line().contains(marker)).count();
    until(&format!("{at_least} of {marker}"), || (running() >= at_least).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_pi_takes_its_tools_and_daemons_along_and_comes_back() {
    let (instance, mut client) = limited().await;
    let command = "(setsid sleep 98761 >/dev/null 2>&1 &) ; trap '' TERM; echo started; sleep 98762";
    let agent = tool(&mut client, &instance, "killed", command).await;
    shells(&instance, "sleep 9876", 2).await;
    let tree = instance.tree();
    agent.kill();
    let error = told(&mut client, "killed").await;
    assert!(error.contains("signal 9"), "{error}");
    until("its tools and daemons are gone", || tree.iter().all(|p| !p.is_alive()).then_some(())).await;
    client.event("killed", |frame| frame["event"] == "session.restarted").await.unwrap();
    client.command("killed", json!({"cmd": "session.close"})).await;
    Census::default().only_daemons(&instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_pi_and_a_tool_that_ignores_sigterm_end_with_their_session() {
    let (instance, mut client) = limited().await;
    let command =
        "trap '' TERM HUP INT; (trap '' TERM; setsid sleep 98763 >/dev/null 2>&1 &) ; echo started; while :; do sleep 98764; done";
    let agent = tool(&mut client, &instance, "stopped", command).await;
    shells(&instance, "sleep 9876", 2).await;
    agent.signal(Signal::SIGSTOP);
    let tree = instance.tree();
    client.command("stopped", json!({"cmd": "session.close"})).await;
    assert!(tree.iter().all(|process| !process.is_alive()), "the answer comes when all of it is gone");
    client.event("stopped", |frame| frame["event"] == "session.closed").await.unwrap();
    Census::default().only_daemons(&instance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tool_that_eats_memory_and_one_that_forks_without_end_end_their_own_session_and_say_so() {
    let (instance, mut client) = limited().await;
    client.create("beside", &instance.workspace()).await;
    let beside = instance.agents().last().unwrap().clone();
    let eater = "echo started; python3 -c 'b = bytearray(2 << 30); import time; time.sleep(600)'";
    let bomb = "echo started; bomb() { bomb | bomb & }; bomb 2>/dev/null; sleep 600";
    for (session, command, sentence) in [
        ("eats", eater, "the agent used more than 1200 MiB of memory ("),
        ("forks", bomb, "the agent had more than 400 processes and threads ("),
    ] {
        let agent = tool(&mut client, &instance, session, command).await;
        let error = told(&mut client, session).await;
        assert!(error.starts_with(sentence), "{error}");
        assert!(!agent.is_alive());
        let back = client.event(session, |frame| frame["event"] == "session.restarted").await.unwrap();
        assert_eq!(back["reason"], error.as_str());
        client.command(session, json!({"cmd": "session.close"})).await;
    }
    assert!(beside.is_alive(), "nobody else noticed");
    client.command("beside", json!({"cmd": "prompt", "message": demo_prompt("Say.", &[Turn::text("Unharmed.")])})).await;
    client.idle("beside").await;
    client.command("beside", json!({"cmd": "session.close"})).await;
    Census::default().only_daemons(&instance).await;
}
