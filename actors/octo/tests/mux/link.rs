//! The link bears whatever a runner does.

use crate::support::{FakeRunner, PATIENCE};
use bytes::BytesMut;
use octo::link::{ConnectError, Item, Link, MAX_PENDING, Target, connect};
use octo_protocol::event::EventKind;
use octo_protocol::link::{Decoder, EndReason, Event as LinkEvent, Frame, Principal, RequestBody, Subscribed, Welcome, encode};
use octo_protocol::{Epoch, ErrorCode, Event, SessionId};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

fn target(socket: &Path) -> Target {
    Target { socket: socket.to_owned(), uid: nix::unistd::geteuid().as_raw(), user: "alice".to_owned(), instance: "test".to_owned() }
}

fn principal() -> Principal {
    Principal { user: "alice".to_owned(), actor: "alice".to_owned() }
}

async fn linked(socket: &Path) -> Link {
    let (link, driver) = connect(&target(socket), watch::channel(None).0).await.unwrap();
    tokio::spawn(driver.run());
    link
}

fn command(cmd: &str) -> RequestBody {
    RequestBody::Command { json: format!(r#"{{"session_id":"s","cmd":"{cmd}"}}"#).into_bytes() }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        software: "peer".to_owned(),
        runner_id: "local".to_owned(),
        user: "alice".to_owned(),
        pid: 1,
        boot_id: "b".to_owned(),
        started_at: 0,
    }
}

fn bytes(frames: &[Frame]) -> BytesMut {
    let mut out = BytesMut::new();
    for frame in frames {
        encode(frame, &mut 0, &mut out).unwrap();
    }
    out
}

/// A peer that says `first` and, once asked for a subscription, `then`; it stays until it is dropped.
fn peer(socket: &Path, first: BytesMut, then: BytesMut) -> tokio::task::JoinHandle<()> {
    let listener = UnixListener::bind(socket).unwrap();
    tokio::spawn(async move {
        let (mut stream, _): (UnixStream, _) = listener.accept().await.unwrap();
        let (mut buffer, mut decoder) = (BytesMut::new(), Decoder::default());
        stream.write_all(&first).await.unwrap();
        let mut then = Some(then);
        loop {
            while let Ok(Some(frame)) = decoder.decode(&mut buffer) {
                if matches!(frame, Frame::Subscribe(_))
                    && let Some(then) = then.take()
                {
                    let _ = stream.write_all(&then).await;
                }
            }
            if stream.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        }
    })
}

#[tokio::test]
async fn a_stranger_at_the_socket_is_refused_with_a_sentence() {
    let dir = tempfile::tempdir().unwrap();
    let refused = async |name: &str, first: &[Frame], change: fn(&mut Target)| {
        let socket = dir.path().join(name);
        let _peer = peer(&socket, bytes(first), BytesMut::new());
        let mut target = target(&socket);
        change(&mut target);
        match connect(&target, watch::channel(None).0).await {
            Ok(_) => panic!("{name}: linked"),
            Err(error) => error,
        }
    };
    let error = refused("uid", &[Frame::Welcome(welcome())], |target| target.uid = 4_000_000).await;
    assert!(matches!(error, ConnectError::WrongOwner { expected: 4_000_000, .. }), "{error}");
    let error = refused("user", &[Frame::Welcome(Welcome { user: "bob".to_owned(), ..welcome() })], |_| {}).await;
    assert!(matches!(error, ConnectError::WrongUser { .. }), "{error}");
    let error = refused("version", &[Frame::Welcome(Welcome { version: 99, ..welcome() })], |_| {}).await;
    assert!(matches!(error, ConnectError::Version { found: 99, .. }), "{error}");
    let error = refused("order", &[Frame::Pong(octo_protocol::link::Ping { nonce: 1 })], |_| {}).await;
    assert!(matches!(error, ConnectError::Protocol { .. }), "{error}");
    let error = connect(&target(&dir.path().join("nobody")), watch::channel(None).0).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { .. }), "{error}");
}

#[tokio::test]
async fn a_runner_of_before_is_not_asked_what_it_could_not_read_and_keeps_its_link() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("old");
    let _peer = peer(&socket, bytes(&[Frame::Welcome(welcome())]), BytesMut::new());
    let link = linked(&socket).await;
    let asked = link.start(principal(), RequestBody::Admin { json: b"{}".to_vec() }, PATIENCE);
    let refused = asked.err().expect("it speaks version 1");
    assert_eq!(refused.code, octo_protocol::ErrorCode::Unsupported);
    assert!(refused.message.contains("octoctl runner upgrade alice"), "{}", refused.message);
    let pending = link.start(principal(), command("get_state"), PATIENCE).unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), pending.answer()).await.is_err(), "the link lives, and waits");
}

#[tokio::test]
async fn a_runner_that_breaks_the_rules_loses_its_link_and_costs_nothing_more() {
    let event = |n: usize| Frame::Event(LinkEvent { sub: 1, seq: n as u64, ts: 0, kind: EventKind::Normal, payload: vec![b'x'; 600] });
    let started = Frame::Subscribed(Subscribed { sub: 1, epoch: Epoch::new("e").unwrap(), head: 0, after: 0 });
    let flood: Vec<Frame> = std::iter::once(started).chain((1..10).map(event)).collect();
    let cases: [(&str, BytesMut); 5] = [
        ("a length beyond all limits", BytesMut::from(&[0xff; 64][..])),
        ("bytes that are no frame", BytesMut::from(&[0, 0, 0, 2, 0xee, 0xee][..])),
        (
            "a frame that is the server's to send",
            bytes(&[Frame::Hello(octo_protocol::link::Hello {
                magic: *b"octolink",
                min_version: 1,
                max_version: 1,
                software: String::new(),
                instance: String::new(),
                user: String::new(),
            })]),
        ),
        ("a second welcome", bytes(&[Frame::Welcome(welcome())])),
        ("more than it has credit for", bytes(&flood)),
    ];
    for (index, (what, then)) in cases.into_iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join(index.to_string());
        let _peer = peer(&socket, bytes(&[Frame::Welcome(welcome())]), then);
        let link = linked(&socket).await;
        let pending = link.start(principal(), command("get_state"), PATIENCE).unwrap();
        let mut subscription = link.subscribe(&SessionId::new("s").unwrap(), None, None, None, 1000).unwrap();
        let reason = tokio::time::timeout(PATIENCE, link.ended()).await.expect(what);
        assert!(!reason.is_empty(), "{what}");
        assert_eq!(pending.answer().await.unwrap_err().code, ErrorCode::RunnerUnavailable, "{what}");
        while subscription.next().await.is_some() {}
        assert!(link.start(principal(), command("get_state"), PATIENCE).is_err(), "{what}");
        assert_eq!(link.load(), (0, 0), "{what}");
    }
}

#[tokio::test]
async fn pending_requests_are_bounded_answered_out_of_order_and_lost_with_the_link() {
    let dir = tempfile::tempdir().unwrap();
    let runner = FakeRunner::start(&dir.path().join("r.sock"), "alice");
    runner.open("s");
    runner.hold("get_stats");
    let link = linked(&runner.socket).await;
    let slow: Vec<_> = (1..MAX_PENDING).map(|_| link.start(principal(), command("get_stats"), PATIENCE).unwrap()).collect();
    link.request(principal(), command("get_state"), PATIENCE).await.unwrap();
    let last = link.start(principal(), command("get_stats"), PATIENCE).unwrap();
    let busy = link.start(principal(), command("get_state"), PATIENCE).err().unwrap();
    assert_eq!(busy.code, ErrorCode::Busy);
    drop(last);
    link.request(principal(), command("get_state"), PATIENCE).await.unwrap();
    let late = link.request(principal(), command("get_stats"), Duration::from_millis(10)).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::Timeout);
    runner.cut();
    for request in slow {
        assert_eq!(request.answer().await.unwrap_err().code, ErrorCode::RunnerUnavailable);
    }
    assert_eq!(link.load(), (0, 0));
}

#[tokio::test]
async fn a_subscription_never_has_more_under_way_than_its_credit_and_still_carries_what_is_larger() {
    let dir = tempfile::tempdir().unwrap();
    let runner = FakeRunner::start(&dir.path().join("r.sock"), "alice");
    runner.open("s");
    for n in 0..50u32 {
        let text = "x".repeat(if n == 25 { 3_000_000 } else { 10_000 });
        runner.put("s", Event::TextDelta { message_id: "m".to_owned(), delta: text, content_index: n });
    }
    let link = linked(&runner.socket).await;
    let mut subscription = link.subscribe(&SessionId::new("s").unwrap(), None, Some(0), Some(50), 30_000).unwrap();
    assert!(matches!(subscription.next().await, Some(Item::Started(_))));
    for seq in 1..=50 {
        let Some(Item::Event(event)) = subscription.next().await else { panic!("{seq}") };
        assert_eq!(event.seq, seq);
    }
    assert_eq!(subscription.next().await, Some(Item::Ended(EndReason::Complete)));
    let large =
        RequestBody::Command { json: format!(r#"{{"session_id":"s","cmd":"prompt","message":"{}"}}"#, "y".repeat(9_000_000)).into_bytes() };
    link.request(principal(), large, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn the_list_of_sessions_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let runner = FakeRunner::start(&dir.path().join("r.sock"), "alice");
    runner.open("s");
    let (keep, mut list) = watch::channel(None);
    let (_link, driver) = connect(&target(&runner.socket), keep).await.unwrap();
    let _driver = tokio::spawn(driver.run());
    let list = list.wait_for(Option::is_some).await.unwrap();
    assert_eq!(list.as_ref().unwrap()[0].session_id, "s");
}
