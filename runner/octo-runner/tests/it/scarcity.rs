//! No descriptors, sessions that are deleted under those who read them, ids that differ in little.

use crate::support::*;
use octo_protocol::ErrorCode;
use octo_protocol::link::EndReason;
use serde_json::json;

/// Sets the runner's soft limit of open files; the one before.
fn limit_descriptors(pid: i32, soft: u64) -> u64 {
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to an rlimit of ours, or null.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut old) }, 0);
    let new = libc::rlimit { rlim_cur: soft, ..old };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const new, std::ptr::null_mut()) }, 0);
    old.rlim_cur
}

#[tokio::test]
async fn without_descriptors_no_agent_starts_those_that_run_go_on_and_later_it_works_again() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    let open = std::fs::read_dir(format!("/proc/{}/fd", runner.pid())).unwrap().count();
    let had = limit_descriptors(runner.pid(), open as u64 + 2);
    let (_, sentence) = client.request(Client::open_body("s2", json!({ "cwd": runner.work() }))).await.unwrap_err();
    assert!(sentence.contains("Too many open files"), "{sentence}");
    client.prompt("s1", "say still here").await.unwrap();
    client.until(1, "agent.idle").await;
    limit_descriptors(runner.pid(), had);
    client.open("s2", &runner.work()).await;
    client.prompt("s2", "say hello").await.unwrap();
}

#[tokio::test]
async fn a_session_deleted_while_somebody_replays_it_ends_every_subscription_of_it_and_no_other() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    for session in ["s1", "s2"] {
        client.open(session, &runner.work()).await;
        client.prompt(session, "stream 300").await.unwrap();
    }
    client.subscribe(1, "s2", 0).await;
    client.until(1, "agent.idle").await;
    client.starved = Some(2);
    client.subscribe_with(2, "s1", None, Some(0), None, 400).await;
    client.event(2).await;
    client.command("s1", json!({ "cmd": "session.delete" })).await.unwrap();
    assert_eq!(client.end_of(2).await, EndReason::NoSession);
    client.prompt("s2", "say on").await.unwrap();
    client.until(1, "agent.idle").await;
}

#[tokio::test]
async fn whoever_attaches_while_a_session_is_made_and_deleted_is_answered_each_time() {
    let runner = TestRunner::start().await;
    let (mut maker, mut watcher) = (runner.client().await, runner.client().await);
    let work = runner.work();
    let making = async {
        for _ in 0..15 {
            maker.open("s1", &work).await;
            maker.prompt("s1", "stream 50").await.unwrap();
            maker.command("s1", json!({ "cmd": "session.delete" })).await.unwrap();
        }
    };
    let watching = async {
        for sub in 1..150 {
            match watcher.command("s1", json!({ "cmd": "session.attach" })).await {
                Ok(_) | Err((ErrorCode::SessionNotFound | ErrorCode::Cancelled | ErrorCode::NotReady | ErrorCode::AgentFailed, _)) => {}
                Err(other) => panic!("{other:?}"),
            }
            watcher.subscribe(sub, "s1", 0).await;
            if let Ok(list) = watcher.command("", json!({ "cmd": "list_sessions" })).await {
                assert!(list["sessions"].is_array());
            }
        }
    };
    tokio::join!(making, watching);
    assert!(!runner.log().contains("panicked"), "{}", runner.log());
    maker.open("s1", &work).await;
    maker.subscribe(1, "s1", 0).await;
    maker.prompt("s1", "say whole").await.unwrap();
    let events = maker.until(1, "agent.idle").await;
    assert_contiguous(&events, 1);
}

#[tokio::test]
async fn ids_that_differ_in_case_or_a_dot_are_different_sessions_and_what_is_no_id_is_refused() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    let ids = ["ses", "SES", "Ses", "ses.", "ses-", "ses_"];
    for (sub, id) in (1u32..).zip(ids) {
        let opened = client.open(id, &runner.work()).await;
        assert_eq!((opened["session_id"].as_str(), opened["resumed"].as_bool()), (Some(id), Some(false)), "{opened}");
        client.subscribe(sub, id, 0).await;
        client.prompt(id, &format!("say I am {id}")).await.unwrap();
        client.until(sub, "agent.idle").await;
    }
    for id in ids {
        let page = client.command(id, json!({ "cmd": "get_messages" })).await.unwrap();
        let said: Vec<&str> = page["messages"].as_array().unwrap().iter().map(|m| m["parts"][0]["text"].as_str().unwrap()).collect();
        assert_eq!(said, [format!("say I am {id}"), format!("you said: I am {id}")]);
    }
    let again = client.open("ses", &runner.work()).await;
    assert_eq!(again["resumed"], true, "made once, then attached to: {again}");
    for bad in ["", ".ses", "../ses", "s/es", "séance", "ses\0", "ſes", &"s".repeat(129)] {
        let (code, _) = client.request(Client::open_body(bad, json!({ "cwd": runner.work() }))).await.unwrap_err();
        assert_eq!(code, ErrorCode::InvalidRequest, "{bad:?}");
    }
}
