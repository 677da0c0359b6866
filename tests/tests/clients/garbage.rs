//! Clients that break the rules: each loses its own connection at most, and is told why.

use crate::raw::{Raw, TEXT, frame, header};
use crate::room::{agrees, alone, answers, back_to, descriptors, healthy, instance, resident, turn};
use octo_e2e::{Client, Path, Script};

const TOO_LARGE: u64 = 16 * 1024 * 1024 + 1;

#[tokio::test(flavor = "multi_thread")]
async fn who_breaks_the_rules_of_websocket_is_told_which_and_nobody_else_notices() {
    let instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let before = descriptors(&instance);
    let token = reader.token().to_owned();
    let unmasked = [vec![TEXT, 2], b"{}".to_vec()].concat();
    let first = frame(0x01, b"{\"channel\":");
    let cases: Vec<(&str, Vec<u8>, u16)> = vec![
        ("text that is not UTF-8", frame(TEXT, b"\xff\xfe{}"), 1007),
        ("a surrogate", frame(TEXT, b"\xed\xa0\x80"), 1007),
        ("a reserved bit", frame(0xC1, b"{}"), 1002),
        ("no mask", unmasked, 1002),
        ("an unknown kind", frame(0x83, b"{}"), 1002),
        ("an unknown control frame", frame(0x8B, b""), 1002),
        ("a long ping", frame(0x89, &[0; 126]), 1002),
        ("a ping in pieces", frame(0x09, b""), 1002),
        ("a piece of nothing", frame(0x80, b"x"), 1002),
        ("a message within a message", [first.clone(), frame(TEXT, b"{}")].concat(), 1002),
        ("a close of one byte", frame(0x88, b"x"), 1002),
        ("a frame that is too large, announced", header(TEXT, TOO_LARGE), 1009),
        ("a frame beyond all measure", header(TEXT, u64::MAX >> 1), 1009),
        ("pieces that are too large together", [frame(0x01, &[b' '; 9 << 20]), frame(0x80, &[b' '; 9 << 20])].concat(), 1009),
        ("bytes that are nothing", [0xAA; 4096].to_vec(), 1002),
    ];
    let mut sockets = Vec::new();
    for (what, bytes, code) in cases {
        let mut raw = Raw::open(&instance, &token, Path::default()).await;
        sockets.push(tokio::spawn(async move {
            raw.write(&bytes).await;
            assert_eq!(raw.closed().await, Some(code), "{what}");
        }));
    }
    turn(&mut reader, &Script::deltas(200).paced(100.0), "meanwhile").await;
    for socket in sockets {
        socket.await.unwrap();
    }
    agrees(&mut reader).await;
    back_to(&instance, before).await;
    alone(&mut reader).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_costs_an_error_and_large_nonsense_no_memory() {
    let instance = instance("").await;
    let mut reader = healthy(&instance).await;
    let token = reader.token().to_owned();
    let before = resident(&instance);
    let deep = format!(r#"{{"channel":"agent","id":"deep","cmd":"prompt","session_id":"ses","x":{}"#, "[".repeat(1 << 20));
    let wide = format!("[{}1]", "1,".repeat(1 << 20));
    let name = format!(r#"{{"channel":"agent","id":"long","cmd":"get_state","session_id":"{}"}}"#, "s".repeat(1 << 20));
    let large = format!(r#"{{"channel":"agent","id":"large","cmd":"nope","session_id":"ses","message":"{}"}}"#, "x".repeat(15 << 20));
    let mut talking = Vec::new();
    for texts in [[deep, wide], [name, large]] {
        let mut client = Client::new(&instance.url(), &token);
        client.reconnect().await;
        talking.push(tokio::spawn(async move {
            for round in 0..4 {
                for text in &texts {
                    // Every command has an id of its own.
                    assert!(client.send_text(text.replace("\"id\":\"", &format!("\"id\":\"{round}-"))).await);
                    let refused = client.next().await.expect("the connection holds");
                    let error = refused["error"].as_str().unwrap_or_else(|| panic!("{refused}"));
                    assert!(!error.is_empty() && error.len() < 1000, "{error}");
                    // Of the command that is unknown there are two: the frame's error and the command's response.
                    answers(&mut client).await;
                }
            }
        }));
    }
    turn(&mut reader, &Script::deltas(200).paced(100.0), "meanwhile").await;
    for talking in talking {
        talking.await.unwrap();
    }
    agrees(&mut reader).await;
    alone(&mut reader).await;
    let grown = resident(&instance).saturating_sub(before);
    println!("after {} MiB of nonsense: {} KiB more", 4 * 20, grown / 1024);
    assert!(grown < 128 * 1024 * 1024, "{grown} bytes stay");
}
