//! One agent for a session, one writer for a journal: also when a runner was frozen and its locks are gone.

use crate::support::*;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

fn pid_of(list: &Value, session: &str) -> i32 {
    let row = list["sessions"].as_array().unwrap().iter().find(|row| row["session_id"] == session).unwrap();
    i32::try_from(row["pid"].as_i64().unwrap()).unwrap()
}

fn is_alive(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

async fn gone(pid: i32) {
    let began = std::time::Instant::now();
    while is_alive(pid) {
        assert!(began.elapsed() < PATIENCE, "process {pid} is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

/// A runner that is frozen in the middle of a stream, and another one in its place: whoever froze it removed its locks and its socket too.
async fn frozen_and_replaced() -> (TestRunner, std::process::Child, i32) {
    let mut runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "hang").await.unwrap();
    client.until(1, "stream.text_delta").await;
    let agent = pid_of(&client.command("", json!({ "cmd": "list_sessions" })).await.unwrap(), "s1");
    let frozen = runner.give_away();
    kill(Pid::from_raw(frozen.id().cast_signed()), Signal::SIGSTOP).unwrap();
    for lock in [runner.data_dir().join("runner.lock"), runner.socket().with_extension("lock"), runner.socket()] {
        std::fs::remove_file(lock).unwrap();
    }
    runner.spawn().await;
    (runner, frozen, agent)
}

#[tokio::test]
async fn while_the_agent_of_a_frozen_runner_lives_no_second_one_starts_and_who_asks_is_told_who_holds_it() {
    let (runner, mut frozen, agent) = frozen_and_replaced().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say no").await.unwrap();
    let refused = client.until(1, "agent.error").await;
    let sentence = refused.last().unwrap().1["error"].as_str().unwrap().to_owned();
    let holder = format!("process {agent} of octo-runner {}, which is stopped (SIGSTOP), holds", frozen.id());
    assert!(sentence.contains(&holder) && sentence.contains("End it and try again"), "{sentence}");
    assert!(is_alive(agent));
    // Nobody else's session is kept from its agent.
    client.open("s2", &runner.work()).await;
    client.subscribe(2, "s2", 0).await;
    client.prompt("s2", "say yes").await.unwrap();
    client.until(2, "agent.idle").await;

    // The agent goes, and the lease with it.
    kill(Pid::from_raw(frozen.id().cast_signed()), Signal::SIGKILL).unwrap();
    frozen.wait().unwrap();
    gone(agent).await;
    client.prompt("s1", "say now").await.unwrap();
    // What waited for an agent comes first.
    let mut events = client.until(1, "agent.idle").await;
    events.extend(client.until(1, "agent.idle").await);
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"].as_str().is_some_and(|t| t.starts_with("you said: now"))));
}

#[tokio::test]
async fn a_frozen_runner_that_was_replaced_writes_nothing_when_it_thaws_and_ends_with_its_agents_and_76() {
    let (mut runner, mut frozen, agent) = frozen_and_replaced().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", 0).await;
    // The turn that the frozen one had under way is over for everybody.
    let closed = client.until(1, "agent.idle").await;
    let head = closed.last().unwrap().0.seq;
    kill(Pid::from_raw(frozen.id().cast_signed()), Signal::SIGCONT).unwrap();
    let status = tokio::task::spawn_blocking(move || frozen.wait()).await.unwrap().unwrap();
    assert_eq!(status.code(), Some(76), "{}", runner.log());
    assert!(runner.log().contains("another runner has taken this user's journal over"), "{}", runner.log());
    gone(agent).await;
    assert!(runner.socket().exists(), "it removes its own socket and not that of its successor");
    let mut client = runner.client().await;
    client.subscribe(1, "s1", head).await;
    client.prompt("s1", "say after").await.unwrap();
    let events = client.until(1, "agent.idle").await;
    assert_contiguous(&events, head + 1);
    assert!(events.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: after"));
    // And the journal is whole: the next one opens it without a word.
    runner.signal(Signal::SIGTERM);
    assert!(runner.wait().await.success());
    runner.spawn().await;
    let mut client = runner.client().await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say again").await.unwrap();
    let whole = client.until(1, "session.created").await.len();
    assert_eq!(whole, 1);
    assert!(!runner.log().contains("is not whole"), "{}", runner.log());
}

#[tokio::test]
async fn a_second_runner_is_refused_while_the_first_is_frozen_and_holds_its_lock() {
    let runner = TestRunner::start().await;
    runner.signal(Signal::SIGSTOP);
    let output = tokio::process::Command::from(runner.command()).output().await.unwrap();
    runner.signal(Signal::SIGCONT);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(75), "{said}");
    assert!(said.contains("another runner uses") && said.contains("two would mix up one journal"), "{said}");
    runner.client().await;
}

#[tokio::test]
async fn a_deleted_session_leaves_no_lease_behind() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let leases = || std::fs::read_dir(runner.data_dir().join("leases")).unwrap().count();
    assert_eq!(leases(), 1);
    client.command("s1", json!({ "cmd": "session.delete" })).await.unwrap();
    assert_eq!(leases(), 0);
}
