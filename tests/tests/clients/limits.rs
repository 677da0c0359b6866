//! So many and not more; and what happens when there is no room for anybody.

use crate::raw::{head, rest, upgrade};
use crate::room::{agrees, answers, attached, back_to, descriptors, healthy, instance, turn};
use octo_e2e::{Client, Instance, Path, Script, request};
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// What an upgrade is answered: the head and, when it is refused, the error.
async fn asks(instance: &Instance, token: &str, path: Path) -> (String, Value, TcpStream) {
    let mut stream = path.dial(instance.port()).await.unwrap();
    // A refusal may come before the request, and the connection be closed.
    let _ = stream.write_all(upgrade(Some(token)).as_bytes()).await;
    let head = head(&mut stream).await;
    let body = if head.starts_with("HTTP/1.1 101") {
        Value::Null
    } else {
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
        let mut body = vec![0; length];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut body).await.unwrap();
        serde_json::from_slice(&body).unwrap()
    };
    (head, body, stream)
}

const fn from(last: u8) -> Path {
    Path { source: Some(std::net::Ipv4Addr::new(127, 0, 3, last)), receive_buffer: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_and_an_account_get_their_share_and_are_told_so() {
    let instance = instance("max_connections_per_address = 20\nmax_connections_per_account = 31\nmax_connections = 64").await;
    let mut reader = healthy(&instance).await;
    let token = reader.token().to_owned();
    let mut here = Vec::new();
    for _ in 0..20 {
        here.push(attached(&instance, &token, from(1)).await);
    }
    let (head, body, _) = asks(&instance, &token, from(1)).await;
    assert!(head.starts_with("HTTP/1.1 429") && head.contains("retry-after"), "{head}");
    assert_eq!(body["code"], "TOO_MANY_REQUESTS");
    assert!(body["error"].as_str().unwrap().contains("server.max_connections_per_address"), "{body}");
    // Others get in, until the account has its share.
    for _ in 0..10 {
        here.push(attached(&instance, &token, from(2)).await);
    }
    let (head, body, _) = asks(&instance, &token, from(2)).await;
    assert!(head.starts_with("HTTP/1.1 429"), "{head}");
    assert!(body["error"].as_str().unwrap().contains("server.max_connections_per_account"), "{body}");
    // Strangers fill what is left, and the one more is told.
    let mut strangers = Vec::new();
    let full = loop {
        assert!(strangers.len() < 64, "there is no limit");
        let (head, body, stream) = asks(&instance, "nonsense", from(u8::try_from(strangers.len() / 15).unwrap() + 10)).await;
        if !head.starts_with("HTTP/1.1 401") {
            break (head, body);
        }
        strangers.push(stream);
    };
    assert!(full.0.starts_with("HTTP/1.1 503") && full.1["error"].as_str().unwrap().contains("64 connections"), "{full:?}");
    // Those who are in notice nothing.
    turn(&mut reader, &Script::deltas(50), "meanwhile").await;
    for client in &mut here {
        client.idle("ses").await;
    }
    agrees(&mut reader).await;
    drop((strangers, here));
    let mut again = loop {
        let (head, _, stream) = asks(&instance, &token, from(1)).await;
        if head.starts_with("HTTP/1.1 101") {
            break stream;
        }
    };
    again.shutdown().await.unwrap();
}

/// Sets the soft limit of octo's open files; returns the hard one.
fn limit_descriptors(instance: &Instance, soft: u64) -> u64 {
    let pid = instance.octo_pid().unwrap();
    let mut old = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointers are to an rlimit of ours, or null.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, std::ptr::null(), &raw mut old) }, 0);
    let new = libc::rlimit { rlim_cur: soft, ..old };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::prlimit(pid, libc::RLIMIT_NOFILE, &raw const new, std::ptr::null_mut()) }, 0);
    old.rlim_max
}

/// octo's own soft limit.
fn soft_limit(instance: &Instance) -> u64 {
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", instance.octo_pid().unwrap())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned();
    line.split_whitespace().nth(3).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn without_descriptors_octo_says_so_serves_those_who_are_in_and_goes_on_when_there_are_some() {
    let instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let token = reader.token().to_owned();
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(attached(&instance, &token, Path::default()).await);
    }
    let before = descriptors(&instance);
    let had = soft_limit(&instance);
    let hard = limit_descriptors(&instance, u64::try_from(before).unwrap() + 20);
    assert_eq!(had, hard, "octo raises its limit at start");
    let mut filling = Vec::new();
    let refused = loop {
        assert!(filling.len() < 200, "octo finds descriptors without end: {before} were open");
        let (head, body, stream) = asks(&instance, &token, Path::default()).await;
        if !head.starts_with("HTTP/1.1 101") {
            break (head, body);
        }
        filling.push(stream);
    };
    assert!(refused.0.starts_with("HTTP/1.1 503") && refused.1["code"] == "SERVICE_UNAVAILABLE", "{refused:?}");
    assert!(refused.1["error"].as_str().unwrap().contains("limit of open files"), "{refused:?}");
    for _ in 0..100 {
        let (head, _, mut stream) = asks(&instance, &token, Path::default()).await;
        assert!(head.starts_with("HTTP/1.1 503"), "{head}");
        rest(&mut stream).await;
    }
    turn(&mut reader, &Script::deltas(100).paced(200.0), "meanwhile").await;
    for other in &mut others {
        other.idle("ses").await;
        answers(other).await;
    }
    limit_descriptors(&instance, hard);
    let mut late = Client::new(&instance.url(), &token);
    late.reconnect().await;
    late.attach("ses").await.unwrap();
    turn(&mut reader, &Script::deltas(10), "after").await;
    late.idle("ses").await;
    agrees(&mut late).await;
    agrees(&mut reader).await;
    drop((late, filling));
    back_to(&instance, before).await;
    assert!(!instance.stderr().contains("panicked"), "{}", instance.stderr());
    assert_eq!(request("GET", &format!("{}/api/health", instance.url()), None, None).await.unwrap().status, 200);
}
