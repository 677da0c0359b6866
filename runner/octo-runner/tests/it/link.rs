//! The link itself: who may speak, in which form, and how much.

use crate::support::*;
use octo_protocol::ErrorCode;
use octo_protocol::link::{EndReason, Frame, Hello, RequestBody};
use serde_json::json;

#[tokio::test]
async fn garbage_and_oversized_frames_end_that_connection_and_no_other() {
    let runner = TestRunner::start().await;
    let mut good = runner.client().await;
    for bytes in [vec![0xff; 8], vec![0, 0, 0, 3, 0xfe, 0xfe, 0xfe], b"GET / HTTP/1.1\r\n\r\n".to_vec()] {
        let mut bad = Client::raw(&runner.socket()).await;
        bad.bytes(&bytes).await;
        assert_eq!(bad.frame().await, None);
        let mut greeted = runner.client().await;
        greeted.bytes(&bytes).await;
        while greeted.frame().await.is_some() {}
    }
    assert!(good.request(RequestBody::Actors).await.is_ok());
}

#[tokio::test]
async fn a_wrong_user_a_foreign_version_and_a_second_control_plane_are_refused_with_a_sentence() {
    let runner = TestRunner::start().await;
    let mut first = runner.client().await;
    for (hello, word) in [
        (Hello { user: "bob".into(), ..hello() }, "alice"),
        (Hello { min_version: 7, max_version: 9, ..hello() }, "versions"),
        (Hello { magic: *b"notoctol", ..hello() }, "not octo"),
        (Hello { instance: "another".into(), ..hello() }, "another control plane"),
    ] {
        let mut client = Client::raw(&runner.socket()).await;
        client.send(Frame::Hello(hello)).await;
        let Some(Frame::Refused(refused)) = client.frame().await else { panic!("not refused") };
        assert!(refused.reason.contains(word), "{}", refused.reason);
        assert_eq!(client.frame().await, None);
    }
    let mut second = runner.client().await;
    assert!(first.request(RequestBody::Actors).await.is_ok() && second.request(RequestBody::Actors).await.is_ok());
}

#[tokio::test]
async fn a_second_runner_on_the_same_socket_or_journal_is_refused_and_a_stale_socket_is_replaced() {
    let mut runner = TestRunner::start().await;
    let output = runner.command().output().unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("another runner uses"), "{output:?}");
    runner.kill().await;
    assert!(runner.socket().exists(), "killed: the socket is left over");
    runner.spawn().await;
    runner.client().await;
}

#[tokio::test]
async fn answers_come_out_of_order_and_a_question_overtakes_a_command_that_waits() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    let slow = client.post(Client::open_body("s1", json!({ "cwd": runner.work() }))).await;
    let quick = client.post(Client::command_body("", json!({ "cmd": "list_sessions" }))).await;
    client.answer(slow).await.unwrap();
    client.answer(quick).await.unwrap();
    assert_eq!(client.answered, [quick, slow]);
}

#[tokio::test]
async fn a_deadline_is_kept() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.prompt("s1", "hang").await.unwrap();
    let body = Client::open_body("s2", json!({ "cwd": runner.work() }));
    let principal = octo_protocol::link::Principal { user: "alice".into(), actor: "alice".into() };
    client.send(Frame::Request(octo_protocol::link::Request { id: 999, principal, deadline_ms: 1, body })).await;
    assert_eq!(client.answer(999).await.unwrap_err().0, ErrorCode::Timeout);
}

#[tokio::test]
async fn a_subscription_without_credit_stops_and_delays_no_other() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.starved = Some(1);
    client.open("s1", &runner.work()).await;
    client.subscribe_with(1, "s1", None, Some(0), None, 500).await;
    client.prompt("s1", "flood 300").await.unwrap();
    client.subscribe(2, "s1", 0).await;
    let all = client.until(2, "agent.idle").await;
    assert!(all.len() > 3);
    let starved: usize = client.events.get(&1).map_or(0, |events| events.iter().map(|e| e.payload.len()).sum());
    let largest = client.events.get(&1).and_then(|e| e.iter().map(|e| e.payload.len()).max()).unwrap_or_default();
    assert!(starved <= 500 + largest, "{starved} bytes without credit");
}

#[tokio::test]
async fn cursors_from_elsewhere_and_ahead_are_told_apart_and_until_completes() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    client.subscribe(1, "s1", 0).await;
    client.prompt("s1", "stream 20").await.unwrap();
    let last = client.until(1, "agent.idle").await.last().unwrap().0.seq;
    let epoch = client.begun[&1].epoch.clone();
    client.subscribe_with(2, "s1", Some("other".parse().unwrap()), Some(1), None, 1000).await;
    assert_eq!(client.end_of(2).await, EndReason::EpochChanged);
    client.subscribe_with(3, "s1", Some(epoch.clone()), Some(last + 100), None, 1000).await;
    assert_eq!(client.end_of(3).await, EndReason::AheadOfJournal);
    client.subscribe_with(4, "nosuch", None, None, None, 1000).await;
    assert_eq!(client.end_of(4).await, EndReason::NoSession);
    client.subscribe_with(5, "s1", Some(epoch), Some(0), Some(last), 1_000_000).await;
    assert_eq!(client.end_of(5).await, EndReason::Complete);
    assert_eq!(client.events[&5].back().unwrap().seq, last);
}

#[tokio::test]
async fn the_tree_of_actors_and_the_list_of_sessions_are_shown() {
    let runner = TestRunner::start().await;
    let mut client = runner.client().await;
    client.open("s1", &runner.work()).await;
    let rows = client.request(RequestBody::Actors).await.unwrap();
    let paths: Vec<&str> = rows.as_array().unwrap().iter().map(|r| r["path"].as_str().unwrap()).collect();
    for path in ["/history", "/link", "/sessions", "/sessions/s1", "/sessions/s1/agent"] {
        assert!(paths.contains(&path), "{path} is missing in {paths:?}");
    }
    while !client.sessions.iter().any(|list| list[0]["session_id"] == "s1" && list[0]["state"] == "idle") {
        client.step().await;
    }
}

#[tokio::test]
async fn another_user_of_the_machine_is_refused_even_where_it_reaches_the_socket() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can connect as somebody else");
        return;
    }
    let runner = TestRunner::start().await;
    for ancestor in runner.socket().ancestors().take(4) {
        std::fs::set_permissions(ancestor, std::fs::Permissions::from_mode(0o777)).unwrap();
    }
    let script = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.recv(4096))";
    let mut nobody = std::process::Command::new("/usr/bin/python3");
    let output = nobody.args(["-c", script]).arg(runner.socket()).uid(65534).gid(65534).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("uid 65534 may not use this runner"), "{output:?}");
}
