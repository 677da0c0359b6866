//! A panic in any actor of the runner: what it was doing is refused or done again, and everything else goes on.

use crate::support::*;
use octo_protocol::link::RequestBody;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What makes an actor come to its fail point.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Connecting,
    Asking,
    Prompting,
    Closing,
    Waiting,
}

const POINTS: [(&str, &str, By); 13] = [
    ("link", "*", By::Connecting),
    ("connection", "start", By::Connecting),
    ("connection", "*", By::Connecting),
    ("history", "*", By::Asking),
    ("session", "start", By::Prompting),
    ("session", "open", By::Prompting),
    ("session", "prompt", By::Prompting),
    ("session", "agent", By::Prompting),
    ("session", "stdout", By::Prompting),
    ("agent", "start", By::Prompting),
    ("agent", "ended", By::Closing),
    ("idle", "*", By::Waiting),
    ("retention", "look", By::Waiting),
];

async fn client(runner: &TestRunner) -> Client {
    let began = std::time::Instant::now();
    loop {
        if let Ok(client) = Client::connect(&runner.socket()).await {
            return client;
        }
        assert!(began.elapsed() < PATIENCE, "{}", runner.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn come_to(runner: &TestRunner, session: &str, by: By) {
    let mut client = client(runner).await;
    match by {
        By::Connecting | By::Waiting => {}
        By::Asking => {
            let query = json!({ "query": "sessions", "limit": 10 });
            let _ = client.request(RequestBody::History { json: serde_json::to_vec(&query).unwrap() }).await;
        }
        By::Prompting | By::Closing => {
            let _ = client.request(Client::open_body(session, json!({ "cwd": runner.work() }))).await;
            let _ = client.prompt(session, "say here").await;
            if by == By::Closing {
                let _ = client.command(session, json!({ "cmd": "session.close" })).await;
            }
        }
    }
}

/// A session answers: also the one whose actor has just panicked.
async fn works(runner: &TestRunner, session: &str) {
    let began = std::time::Instant::now();
    loop {
        assert!(began.elapsed() < PATIENCE, "{session} does not come back:\n{}", runner.log());
        let mut client = client(runner).await;
        let opened = client.request(Client::open_body(session, json!({ "cwd": runner.work() }))).await;
        if opened.is_ok() && client.prompt(session, "say works").await.is_ok() {
            client.subscribe(1, session, 0).await;
            let mut said = false;
            while !said {
                let events = client.until(1, "stream.done").await;
                said =
                    events.iter().any(|(_, p)| p["message"]["parts"][0]["text"].as_str().is_some_and(|t| t.starts_with("you said: works")));
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_panic_in_any_actor_ends_that_actor_and_its_supervisor_brings_it_back_from_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let point: PathBuf = directory.path().join("point");
    let mut runner = TestRunner::prepare();
    runner.env.push(("OCTO_FAIL_POINT".to_owned(), point.clone().into()));
    runner.arguments(&[
        "--idle-after-secs",
        "3600",
        "--idle-check-secs",
        "1",
        "--journal-check-secs",
        "1",
        "--journal-max-bytes",
        "100000000",
    ]);
    runner.spawn().await;
    let mut beside = runner.client().await;
    beside.open("beside", &runner.work()).await;
    beside.prompt("beside", "hang").await.unwrap();
    let pid_of = |list: serde_json::Value| {
        list["sessions"].as_array().unwrap().iter().find(|row| row["session_id"] == "beside").unwrap()["pid"].clone()
    };
    let agent = pid_of(beside.command("", json!({ "cmd": "list_sessions" })).await.unwrap());
    for (number, (kind, message, by)) in POINTS.into_iter().enumerate() {
        let session = format!("p{number}");
        arm(&point, &format!("octo-runner {kind} {message}"));
        let began = std::time::Instant::now();
        while point.exists() {
            come_to(&runner, &session, by).await;
            assert!(began.elapsed() < PATIENCE, "nobody came to {kind} {message}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        works(&runner, &session).await;
        // The session beside it keeps its agent, in the middle of its turn.
        let list = client(&runner).await.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
        assert_eq!(pid_of(list), agent, "{kind} {message}");
    }
    assert!(runner.log().matches("was armed").count() >= POINTS.len(), "{}", runner.log());
}

/// The whole line at once: who reads half of it would take it for another point.
fn arm(point: &Path, text: &str) {
    let fresh = point.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, point).unwrap();
}
