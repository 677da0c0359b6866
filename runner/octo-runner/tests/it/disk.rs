//! A disk that is full.

use crate::small_disk::{SmallDisk, elsewhere};
use crate::support::*;
use octo_protocol::ErrorCode;
use serde_json::json;

#[tokio::test]
async fn a_full_disk_refuses_input_keeps_reading_and_recovers_by_itself() {
    if elsewhere() {
        return;
    }
    let mut runner = TestRunner::prepare();
    let disk = SmallDisk::mount(&runner.data_dir(), 3);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say one").await.unwrap();
    let mut seen = client.until(1, "agent.idle").await;

    disk.fill();
    // Some of what SQLite has reserved may still take a few: then it is full.
    let mut refused = None;
    for n in 0..2000 {
        let filler = "y".repeat(20_000);
        match client.prompt("s1", &format!("say {n} {filler}")).await {
            Err((code, sentence)) if sentence.contains("make room") => {
                refused = Some(code);
                break;
            }
            // Or the queue is full for a moment.
            Ok(_) | Err(_) => {}
        }
    }
    assert_eq!(refused, Some(ErrorCode::LimitExceeded));
    // Reading goes on.
    client.subscribe(2, "s1", 0).await;
    client.until(2, "agent.idle").await;
    assert!(client.command("s1", json!({ "cmd": "get_messages" })).await.is_ok());
    assert_eq!(client.command("s1", json!({ "cmd": "get_state" })).await.unwrap()["sessionId"], "s1");

    disk.make_room();
    let began = std::time::Instant::now();
    loop {
        match client.command("s1", json!({ "cmd": "prompt", "message": "say again", "client_id": "again" })).await {
            Ok(_) => break,
            Err(error) => assert!(began.elapsed() < PATIENCE, "{error:?}"),
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    loop {
        let more = client.until(1, "agent.idle").await;
        let done = more.iter().any(|(_, p)| p["message"]["parts"][0]["text"] == "you said: again");
        seen.extend(more);
        if done {
            break;
        }
    }
    assert_contiguous(&seen, 1);
}

/// Started where there is no room at all it serves what it has. Without the pages that its readers share it ends with a sentence.
#[tokio::test]
async fn started_on_a_full_disk_it_reads_or_says_what_to_do_and_leaves_the_journal_as_it_is() {
    if elsewhere() {
        return;
    }
    let mut runner = TestRunner::prepare();
    let disk = SmallDisk::mount(&runner.data_dir(), 3);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say one").await.unwrap();
    client.until(1, "agent.idle").await;
    let history = client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap();
    drop(client);
    runner.kill().await;
    disk.fill();
    runner.spawn().await;
    let mut client = runner.client().await;
    assert_eq!(client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap(), history);
    drop(client);

    disk.make_room();
    runner.signal(nix::sys::signal::Signal::SIGTERM);
    assert!(runner.wait().await.success());
    let shared = runner.journal().with_extension("db-shm");
    assert!(std::fs::metadata(runner.journal().with_extension("db-wal")).map_or(0, |m| m.len()) == 0, "it ended in peace");
    std::fs::remove_file(&shared).unwrap();
    disk.fill();
    let mut child = runner.command().stderr(std::process::Stdio::piped()).spawn().unwrap();
    let began = std::time::Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    };
    let said = std::io::read_to_string(child.stderr.take().unwrap()).unwrap();
    assert_eq!(status.code(), Some(1), "{said}");
    let sentence = said.lines().find(|line| line.starts_with("octo-runner: ")).unwrap();
    assert!(sentence.contains("make room") && !sentence.contains("damaged"), "{sentence}");

    disk.make_room();
    runner.spawn().await;
    let mut client = runner.client().await;
    assert_eq!(client.command("s1", json!({ "cmd": "get_messages" })).await.unwrap(), history);
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "say two").await.unwrap();
    client.until(1, "agent.idle").await;
}

/// However many sessions wait for room, the log hears of it once and not twice a second from each.
#[tokio::test]
async fn the_log_hears_once_that_the_disk_is_full() {
    if elsewhere() {
        return;
    }
    let mut runner = TestRunner::prepare();
    let disk = SmallDisk::mount(&runner.data_dir(), 3);
    runner.spawn().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    disk.fill();
    let mut refused = 0;
    for n in 0..2000 {
        let filler = "y".repeat(20_000);
        let answer = client.prompt("s1", &format!("say {n} {filler}")).await;
        refused += u32::from(answer.is_err_and(|(_, sentence)| sentence.contains("make room")));
        if refused == 50 {
            break;
        }
    }
    assert_eq!(refused, 50);
    let count = |sentence: &str| runner.log().matches(sentence).count();
    let (refuses, again) = (|| count("the journal takes no writes"), || count("the journal takes writes again"));
    // A machine that paused for a second may have let a small write through, which ends one trouble and lets another begin.
    assert!(refuses() == again() + 1 && refuses() < 5, "{}", runner.log());

    disk.make_room();
    let began = std::time::Instant::now();
    while again() < refuses() {
        let rename = json!({ "cmd": "set_session_name", "name": format!("again {:?}", began.elapsed()) });
        // What waits goes first, when it is tried next.
        let _ = client.command("s1", rename).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(began.elapsed() < PATIENCE, "{}", runner.log());
    }
    assert!(refuses() < 5, "{}", runner.log());
    client.command("s1", json!({ "cmd": "set_session_name", "name": "at last" })).await.unwrap();
    let list = client.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
    assert_eq!(list["sessions"][0]["title"], "at last");
}
