//! What an agent may use with everything it started, and what becomes of one that is silent.

use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;

async fn with(arguments: &[&str]) -> (TestRunner, Client) {
    let mut runner = TestRunner::prepare();
    runner.arguments(arguments);
    runner.spawn().await;
    let mut client = runner.client().await;
    for (sub, session) in [(1, "s1"), (2, "beside")] {
        client.open(session, &runner.work()).await;
        client.subscribe(sub, session, 0).await;
    }
    client.prompt("beside", "hang").await.unwrap();
    client.until(2, "stream.text_delta").await;
    (runner, client)
}

async fn agent(client: &mut Client, session: &str) -> i32 {
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    let row = list["sessions"].as_array().unwrap().iter().find(|row| row["session_id"] == session).unwrap().clone();
    i32::try_from(row["pid"].as_i64().unwrap()).unwrap()
}

/// The turn ends in a sentence with `words`, the agent comes back with its conversation, and the session beside it has noticed nothing.
async fn ends_and_comes_back(client: &mut Client, prompt: &str, words: &str) {
    client.prompt("s1", "say before").await.unwrap();
    client.until(1, "agent.idle").await;
    let beside = agent(client, "beside").await;
    client.prompt("s1", prompt).await.unwrap();
    let events = client.until(1, "agent.error").await;
    let error = events.last().unwrap().1["error"].as_str().unwrap().to_owned();
    assert!(error.contains(words), "{error}");
    let events = client.until(1, "session.restarted").await;
    assert_eq!(events.last().unwrap().1["reason"], error, "who attaches later is told too");
    client.prompt("s1", "say after").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: after (resumed)"), "{:?}", names(&events));
    assert_eq!(agent(client, "beside").await, beside);
    client.command("beside", json!({ "cmd": "abort" })).await.unwrap();
    client.until(2, "agent.idle").await;
}

#[tokio::test]
async fn an_agent_whose_child_takes_too_much_memory_is_ended_and_comes_back_and_nobody_else_notices() {
    let (_runner, mut client) = with(&["--agent-memory-bytes", "300000000"]).await;
    ends_and_comes_back(&mut client, "eat 600", "the agent used more than 287 MiB of memory (").await;
}

#[tokio::test]
async fn a_fork_bomb_is_ended_with_its_agent_and_nobody_else_notices() {
    let (_runner, mut client) = with(&["--agent-tasks", "300"]).await;
    ends_and_comes_back(&mut client, "bomb", "the agent had more than 300 processes and threads (").await;
}

#[tokio::test]
async fn a_silent_agent_is_started_again_where_that_is_wanted() {
    let (_runner, mut client) = with(&["--restart-silent-secs", "2"]).await;
    client.prompt("s1", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    let silent = agent(&mut client, "s1").await;
    kill(Pid::from_raw(silent), Signal::SIGSTOP).unwrap();
    let events = client.until(1, "agent.error").await;
    let error = events.last().unwrap().1["error"].as_str().unwrap();
    assert!(error.starts_with("the agent did not answer for ") && error.ends_with("though its process ran, and was ended"), "{error}");
    client.until(1, "session.restarted").await;
    client.prompt("s1", "say again").await.unwrap();
    client.until(1, "agent.idle").await;
    assert_ne!(agent(&mut client, "s1").await, silent);
}

/// Ignored signals, an end of input that nobody reads, a daemon in a session of its own: closing the session ends all of it.
#[tokio::test]
async fn an_agent_that_ignores_every_request_to_end_is_gone_with_its_daemons_when_its_session_is_closed() {
    let (runner, mut client) = with(&[]).await;
    client.prompt("s1", "stubborn").await.unwrap();
    client.until(1, "stream.text_delta").await;
    let stubborn = agent(&mut client, "s1").await;
    let namespace = std::fs::read_link(format!("/proc/{stubborn}/ns/pid")).unwrap();
    let members = || {
        let entries = std::fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        entries.filter(|entry| std::fs::read_link(entry.path().join("ns/pid")).is_ok_and(|of| of == namespace)).count()
    };
    let began = std::time::Instant::now();
    while members() < 4 {
        assert!(began.elapsed() < PATIENCE, "init, the agent, its shell and two sleepers: {}", members());
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    client.command("s1", json!({ "cmd": "session.close" })).await.unwrap();
    assert_eq!(members(), 0, "{}", runner.log());
    client.until(1, "session.closed").await;
}
