//! What a session in which nothing happens holds of octo's memory: the bytes that octo asked its allocator for and has not given back.
//!
//! octo runs on threads of its own, and only what happens on them is counted; its runner and its clients are in the same process.
#![allow(clippy::unwrap_used, clippy::expect_used, dead_code, reason = "of the helpers of another test only some are needed here")]

#[path = "mux/support/mod.rs"]
mod support;

use octo::auth::Role;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};
use std::time::Duration;
use support::{Client, Instance, PATIENCE};
use tokio::runtime::{Builder, Runtime};

/// Bytes for each session that one client is attached to. Ten thousand are to fit into 200 MiB with everything else, and an allocator takes some more than it is asked for.
const ATTACHED: i64 = 13 * 1024;
/// Bytes for each session that nobody is attached to and that is still followed.
const FOLLOWED: i64 = 12 * 1024;
/// Bytes for each session that is only in the list.
const LISTED: i64 = 1024;
/// As many as one connection may be attached to.
const SESSIONS: i64 = octo::mux::MAX_ATTACHED as i64;

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;
static HELD: AtomicI64 = AtomicI64::new(0);

thread_local! {
    /// Whether this is one of octo's threads.
    static COUNTED: Cell<bool> = const { Cell::new(false) };
}

fn count(bytes: usize, sign: i64) {
    if COUNTED.try_with(Cell::get).unwrap_or_default() {
        HELD.fetch_add(sign * i64::try_from(bytes).unwrap_or(i64::MAX), Relaxed);
    }
}

// SAFETY: the system's allocator does all of it; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 1);
        // SAFETY: as promised by the caller.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        count(layout.size(), -1);
        // SAFETY: as promised by the caller.
        unsafe { System.dealloc(block, layout) }
    }
}

fn octos_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().on_thread_start(|| COUNTED.set(true)).build().unwrap()
}

/// What is held when it does not change any more.
async fn settled() -> i64 {
    let (mut before, mut same) = (HELD.load(Relaxed), 0);
    let settling = async {
        while same < 8 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let now = HELD.load(Relaxed);
            same = if (now - before).abs() < SESSIONS * 16 { same + 1 } else { 0 };
            before = now;
        }
    };
    tokio::time::timeout(PATIENCE, settling).await.expect("what octo holds changes all the time");
    before
}

#[test]
fn an_idle_session_costs_octo_a_few_kilobytes_with_and_without_a_client() {
    let octo = octos_threads();
    let instance = octo.block_on(octo.spawn(Instance::start())).unwrap();
    let (instance, token) = octo
        .block_on(octo.spawn(async move {
            let token = instance.token("alice", Role::User).await;
            (instance, token)
        }))
        .unwrap();
    let others = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    others.block_on(async {
        let runner = instance.runner("alice");
        let mut client = Client::connect(&instance, &token).await;
        // What the first of everything costs is not a session's.
        runner.open("first");
        client.attach("first").await;
        let idle = settled().await;

        let name = |n: i64| format!("ses_0123456789abcdef0123456789ab{n:04}");
        (1..SESSIONS).for_each(|n| runner.open(&name(n)));
        // A new link begins with the list.
        runner.cut();
        while client.ask("", "list_sessions", serde_json::json!({})).await["success"] != true {}
        let listed = settled().await;
        for n in 1..SESSIONS {
            client.attach(&name(n)).await;
        }
        let attached = settled().await;
        drop(client);
        let followed = settled().await;
        let each = |before: i64, after: i64| (after - before) / (SESSIONS - 1);
        println!(
            "a session in octo: {} bytes in the list, {} when a client is attached, {} when none is any more",
            each(idle, listed),
            each(listed, attached),
            each(listed, followed)
        );
        assert!(each(idle, listed) <= LISTED);
        assert!(each(listed, attached) <= ATTACHED);
        assert!(each(listed, followed) <= FOLLOWED);
    });
    octo.block_on(octo.spawn(async move { drop(instance) })).unwrap();
}
