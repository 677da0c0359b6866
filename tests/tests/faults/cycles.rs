//! Sessions made, run and ended by the thousand leave nothing behind: no process, no zombie, no descriptor, no socket, no file, no memory.

use octo_e2e::{Census, Client, Instance, Script};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Cycles until everything that is made once has been made.
const WARM_UP: u32 = 40;

fn cycles() -> u32 {
    if std::env::var_os("OCTO_FULL").is_some() { 10_000 } else { 200 }
}

async fn cycle(client: &mut Client, instance: &Instance, number: u32) {
    let session = format!("cycle-{number}");
    client.create(&session, &instance.workspace()).await;
    // Every other one leaves a daemon running that nobody asked for.
    let script = Script { runaways: number % 2, ..Script::deltas(20) };
    client.command(&session, json!({"cmd": "prompt", "message": script.prompt("Speak."), "client_id": "one"})).await;
    client.idle(&session).await;
    if number.is_multiple_of(3) {
        client.command(&session, json!({"cmd": "session.close"})).await;
    }
    client.command(&session, json!({"cmd": "session.delete"})).await;
}

/// What an instance holds: open descriptors and own memory of its daemons, and its files.
struct Holds {
    /// How many, by daemon and by what they lead to.
    descriptors: BTreeMap<String, usize>,
    memory_kib: u64,
    files: BTreeSet<PathBuf>,
}

async fn holds(instance: &Instance) -> Holds {
    Census::default().only_daemons(instance).await;
    let daemons: Vec<_> = ["octo", "octo-runner", "octo-eavs"].iter().flat_map(|name| instance.daemons(name)).collect();
    assert_eq!(daemons.len(), 3, "{daemons:?}");
    let mut descriptors = BTreeMap::new();
    for daemon in &daemons {
        for entry in std::fs::read_dir(format!("/proc/{}/fd", daemon.pid)).unwrap() {
            let Ok(target) = std::fs::read_link(entry.unwrap().path()) else { continue };
            let target = target.to_string_lossy().into_owned();
            // Of a socket and a pipe only that it is one: its number is another one each time.
            let kind = target.split_once(":[").map_or(target.as_str(), |(kind, _)| kind);
            *descriptors.entry(format!("{} {kind}", daemon.name)).or_default() += 1;
        }
    }
    Holds {
        descriptors,
        memory_kib: daemons.iter().map(|daemon| daemon.own_memory_kib().unwrap()).sum(),
        // An agent's own conversations are the agent's: octo does not delete them.
        files: instance.files().into_iter().filter(|path| !path.components().any(|part| part.as_os_str() == "pi")).collect(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_by_the_thousand_are_made_run_and_ended_and_nothing_is_left_of_them() {
    let instance = Instance::scripted().await;
    let mut client = Client::connect(&instance).await;
    for number in 0..WARM_UP {
        cycle(&mut client, &instance, number).await;
    }
    let before = holds(&instance).await;
    for number in WARM_UP..WARM_UP + cycles() {
        cycle(&mut client, &instance, number).await;
    }
    let list = client.command("", json!({"cmd": "list_sessions"})).await;
    assert_eq!(list["sessions"].as_array().unwrap().len(), 0, "{list}");
    // What is counted down in the background is counted down.
    let end = tokio::time::Instant::now() + octo_e2e::PATIENCE;
    let after = loop {
        let after = holds(&instance).await;
        let more: Vec<_> = after.files.difference(&before.files).collect();
        let flat = after.memory_kib <= before.memory_kib + 16 * 1024;
        // A connection to a database opens the log of it when it first reads; how many connections there are is settled.
        let settled = |what: &str| *before.descriptors.get(what.strip_suffix("-wal").unwrap_or(what)).unwrap_or(&0);
        let opened: Vec<_> = after.descriptors.iter().filter(|(what, n)| **n > settled(what)).collect();
        if more.is_empty() && opened.is_empty() && flat {
            break after;
        }
        let is = format!("{opened:?} beyond {:?}, {} KiB after {}", before.descriptors, after.memory_kib, before.memory_kib);
        assert!(tokio::time::Instant::now() < end, "{is}; files: {more:?}");
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    };
    let descriptors: usize = after.descriptors.values().sum();
    println!("{} cycles: {descriptors} descriptors, {} KiB, before {} KiB", cycles(), after.memory_kib, before.memory_kib);
}
