//! What octo's processes hold of the machine's memory while nobody does anything, and what a connection adds.
//!
//! Only memory of their own counts here (`RssAnon`): that is the same in every build, while the pages of an unoptimised program are not.
//! The figures themselves are the benches'; these bounds are wide enough for any build and narrow enough to see a store, an allocator or a
//! buffer that takes megabytes where kilobytes would do.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

use futures_util::StreamExt as _;
use octo_e2e::{Client, Instance, Process, until};
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

const MIB: u64 = 1024;

async fn settles_below(process: &Process, what: &str, kib: u64) {
    let mut last = 0;
    let settled = tokio::time::timeout(octo_e2e::PATIENCE / 2, async {
        until(what, || {
            last = process.own_memory_kib()?;
            (last <= kib).then_some(())
        })
        .await;
    });
    let in_time = settled.await.is_ok();
    assert!(in_time, "{what}: {last} KiB, more than {kib}");
    println!("{what}: {last} KiB of at most {kib}");
}

#[tokio::test(flavor = "multi_thread")]
async fn idle_processes_hold_little_memory() {
    let instance = Instance::started().await;
    let client = Client::connect(&instance).await;
    let octo = Process::of(instance.octo_pid().unwrap()).unwrap();
    // A log in takes 19 MiB for a moment: they are given back.
    settles_below(&octo, "octo", 14 * MIB).await;
    settles_below(&instance.daemons("octo-eavs")[0], "octo-eavs", 10 * MIB).await;
    let runner = until("the runner", || instance.daemons("octo-runner").pop()).await;
    settles_below(&runner, "octo-runner", 6 * MIB).await;
    drop(client);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_takes_little_memory_and_gives_it_back() {
    const CONNECTIONS: usize = 400;
    const KIB_EACH: u64 = 40;
    let instance = Instance::started().await;
    let client = Client::connect(&instance).await;
    let octo = Process::of(instance.octo_pid().unwrap()).unwrap();
    settles_below(&octo, "octo without connections", 14 * MIB).await;
    let before = octo.own_memory_kib().unwrap();
    let mut open = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut request = format!("{}/api/ws/mux", instance.url().replace("http://", "ws://")).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", client.token()).parse().unwrap());
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
        socket.next().await.unwrap().unwrap();
        open.push(socket);
    }
    let with = octo.own_memory_kib().unwrap();
    let each = with.saturating_sub(before) / CONNECTIONS as u64;
    println!("{each} KiB a connection");
    assert!(each <= KIB_EACH, "{each} KiB a connection: {before} KiB before {CONNECTIONS} of them, {with} KiB with them");
    drop(open);
    settles_below(&octo, "octo after the connections", before + 3 * MIB).await;
}
