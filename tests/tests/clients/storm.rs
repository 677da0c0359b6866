//! Everybody comes back at once.

use crate::room::{agrees, alone, attached, back_to, descriptors, full, healthy, instance, turn};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use octo_e2e::{Client, Path, Script};

/// Descriptors that this test needs besides its clients.
const SPARE: u64 = 500;

fn clients() -> usize {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).unwrap();
    let wanted = if full() { 10_000 } else { 400 };
    wanted.min(usize::try_from(hard - SPARE).unwrap())
}

/// As from so many machines: a source address has some 28 000 ports, and they are used again only after a minute.
fn path(n: usize) -> Path {
    Path { source: Some([127, 0, 2, u8::try_from(n % 250).unwrap() + 1].into()), receive_buffer: None }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_come_back_at_once_with_their_cursors_and_see_everything() {
    let mut instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let token = reader.token().to_owned();
    turn(&mut reader, &Script::deltas(20), "first").await;
    let count = clients();
    let mut here: Vec<Client> = Vec::new();
    for from in (0..count).step_by(100) {
        let some = (from..count.min(from + 100)).map(|n| attached(&instance, &token, path(n)));
        here.extend(futures_util::future::join_all(some).await);
    }
    for round in 0..2 {
        // Told while they were there, said while they were away.
        turn(&mut reader, &Script::deltas(10), &format!("told-{round}")).await;
        instance.kill_octo();
        instance.start().await;
        reader.reconnect_to(&instance).await;
        reader.attach("ses").await.unwrap();
        turn(&mut reader, &Script::deltas(10), &format!("away-{round}")).await;
        let url = instance.url();
        let began = std::time::Instant::now();
        let back = here.into_iter().map(|mut client| {
            tokio::spawn(async move {
                client.reconnect().await;
                let response = client.attach("ses").await.expect("the connection holds");
                assert_eq!(response["success"], true, "{response}");
                client.event("ses", |frame| frame["event"] == "replay.end").await.unwrap();
                client
            })
        });
        here = futures_util::future::join_all(back.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).collect();
        println!("{count} clients are back at {url} after {:?}", began.elapsed());
    }
    let listed = reader.command("", serde_json::json!({"cmd": "list_sessions"})).await;
    assert_eq!(listed["sessions"][0]["subscriber_count"], count + 1, "{listed}");
    turn(&mut reader, &Script::deltas(10), "last").await;
    let history = reader.history("ses").await;
    let seen: u64 = here.iter().map(|client| client.checker.totals.events).sum();
    println!("{seen} events seen by {count} clients");
    for client in &mut here {
        client.idle("ses").await;
        client.checker.agrees_with("ses", &history);
    }
    agrees(&mut reader).await;
    let with_them = descriptors(&instance);
    assert!(with_them > count);
    drop(here);
    back_to(&instance, with_them - count).await;
    alone(&mut reader).await;
}
