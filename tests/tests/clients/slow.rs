//! Clients that do not read, and clients that are not there any more.

use crate::raw::{PING, Raw, TEXT, frame, header, rest, upgrade};
use crate::room::{actors, agrees, alone, answers, attached, back_to, descriptors, healthy, instance, prompt, resident, turn};
use octo_e2e::{Path, Script, until};
use std::time::Duration;
use tokio::io::AsyncWriteExt;

/// A client whose own system keeps next to nothing for it.
const NARROW: Path = Path { source: None, receive_buffer: Some(4096) };
/// Memory that one of them may cost: a batch, its buffer, and what an allocator makes of them.
const MOST: u64 = 1024 * 1024;
/// A turn that a session's ring (4096 frames) does not hold, and no socket either.
fn far() -> Script {
    Script::deltas(6000).size(140)
}
/// Those who do not read.
const CLIENTS: u64 = 40;

#[tokio::test(flavor = "multi_thread")]
async fn who_never_reads_costs_little_holds_up_nobody_and_misses_nothing_when_reading_at_last() {
    // Nobody is given up here.
    let instance = instance("ping_seconds = 3600").await;
    let mut reader = healthy(&instance).await;
    let token = reader.token().to_owned();
    let mut others = Vec::new();
    for _ in 0..4 {
        others.push(attached(&instance, &token, Path::default()).await);
    }
    // What such a turn takes anyway.
    turn(&mut reader, &far(), "warm").await;
    for other in &mut others {
        other.idle("ses").await;
    }
    let mut silent = Vec::new();
    for _ in 0..CLIENTS {
        silent.push(attached(&instance, &token, NARROW).await);
    }
    let before = resident(&instance);
    let others = others.into_iter().map(|mut other| {
        tokio::spawn(async move {
            other.idle("ses").await;
            agrees(&mut other).await;
            other
        })
    });
    let others: Vec<_> = others.collect();
    turn(&mut reader, &far(), "far").await;
    agrees(&mut reader).await;
    let grown = resident(&instance).saturating_sub(before);
    for other in others {
        other.await.unwrap();
    }
    println!("{CLIENTS} clients that read nothing of 2 MB: {} KiB each", grown / CLIENTS / 1024);
    assert!(grown < CLIENTS * MOST, "{grown} bytes for {CLIENTS} clients that do not read");
    // At last.
    let silent = silent.into_iter().map(|mut client| {
        tokio::spawn(async move {
            client.idle("ses").await;
            agrees(&mut client).await;
            assert!(client.checker.totals.replays >= 2, "it came through the journal");
        })
    });
    for client in silent.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    alone(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_silent_is_given_up_and_finds_everything_when_it_comes_back() {
    let instance = instance("ping_seconds = 1").await;
    let mut reader = healthy(&instance).await;
    let token = reader.token().to_owned();
    let before = descriptors(&instance);

    // Half open: there, and never heard of again; in the middle of nothing, of a header, of a frame, of a close.
    let mut dead = Vec::new();
    for said in [Vec::new(), vec![TEXT], header(TEXT, 1000), [header(TEXT, 1000), vec![b'x'; 10]].concat(), header(0x88, 2)] {
        let mut raw = Raw::open(&instance, &token, NARROW).await;
        assert!(raw.write(&said).await);
        dead.push(raw);
    }
    let mut silent = attached(&instance, &token, NARROW).await;
    // It says something now and then, and reads nothing.
    let mut talker = Raw::open(&instance, &token, Path::default()).await;
    let talking = tokio::spawn(async move {
        while talker.write(&frame(PING, b"")).await {
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
    });
    // Whoever waits for its next byte only: as slow as it can be.
    let mut drip = Raw::open(&instance, &token, Path::default()).await;
    let dripping = tokio::spawn(async move {
        let bytes = [header(TEXT, 100_000), vec![b'x'; 100_000]].concat();
        for byte in bytes {
            if !drip.write(&[byte]).await {
                break;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    prompt(&mut reader, &far(), "far").await;
    reader.idle("ses").await;
    agrees(&mut reader).await;
    tokio::time::timeout(octo_e2e::PATIENCE, dripping).await.expect("a frame that never ends is given up").unwrap();
    until("only the reader and the talker are left", || (descriptors(&instance) <= before + 1).then_some(())).await;
    assert!(!talking.is_finished(), "who says something is there");
    answers(&mut reader).await;
    let left = actors(&mut reader, "/connections/").await;
    assert_eq!(left.len(), 2, "{left:?}");
    talking.abort();
    back_to(&instance, before).await;

    // What its own system still had for it, and then the end.
    while silent.next().await.is_some() {}
    silent.reconnect().await;
    silent.attach("ses").await.unwrap();
    silent.idle("ses").await;
    agrees(&mut silent).await;
    drop((silent, dead));
    back_to(&instance, before).await;
    alone(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_never_ends_and_an_answer_that_is_never_read_do_not_keep_their_place() {
    let instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let before = descriptors(&instance);
    let token = reader.token().to_owned();
    let head = upgrade(Some(&token));
    let slow = (0..30).map(|_| {
        let head = head.clone();
        let port = instance.port();
        tokio::spawn(async move {
            let mut stream = Path::default().dial(port).await.unwrap();
            for byte in head.bytes() {
                if stream.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            rest(&mut stream).await
        })
    });
    let slow: Vec<_> = slow.collect();
    turn(&mut reader, &Script::deltas(100).paced(100.0), "meanwhile").await;
    for slow in slow {
        let said = slow.await.unwrap();
        assert!(!said.starts_with("HTTP/1.1 101"), "the head took longer than octo waits: {said}");
    }
    back_to(&instance, before).await;
    agrees(&mut reader).await;
}

/// What octo gives each connection to end; who reads, or left, needs none of it.
const GRACE_IS_OVER: [&str; 2] = ["some connections did not close in time", "requests were still under way at the end"];

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_holds_up_no_stop_and_misses_nothing_afterwards() {
    let mut instance = instance("ping_seconds = 3600").await;
    let mut reader = healthy(&instance).await;
    let token = reader.token().to_owned();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(attached(&instance, &token, NARROW).await);
    }
    // Their sockets are full; this one's is empty, and it answers nothing either.
    turn(&mut reader, &far(), "far").await;
    let mut deaf = Raw::open(&instance, &token, Path::default()).await;
    assert!(deaf.write(&header(TEXT, 1000)).await);
    // One in the middle of asking for something.
    let mut asking = Path::default().dial(instance.port()).await.unwrap();
    asking.write_all(&upgrade(Some(&token)).as_bytes()[..20]).await.unwrap();

    let watching = tokio::spawn(async move {
        let mut told = false;
        while let Some(frame) = reader.next().await {
            told |= frame["type"] == "shutdown";
        }
        assert!(told, "who reads is told");
        reader
    });
    assert!(instance.stop_octo().await.success());
    let said = instance.stderr();
    assert!(GRACE_IS_OVER.iter().all(|sentence| !said.contains(sentence)), "it waited to the end for those who take nothing: {said}");
    let mut reader = watching.await.unwrap();
    instance.start().await;
    reader.reconnect_to(&instance).await;
    reader.attach("ses").await.unwrap();
    for mut client in silent {
        // What its own system still had for it.
        while client.next().await.is_some() {}
        client.reconnect_to(&instance).await;
        client.attach("ses").await.unwrap();
        while client.checker.is_replaying("ses") || client.checker.cursor("ses") != reader.checker.cursor("ses") {
            client.next().await.expect("the connection holds");
        }
        agrees(&mut client).await;
    }
}
