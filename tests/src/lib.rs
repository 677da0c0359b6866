//! Support for whole-system tests: an instance of octo with a home of its own, a client of its mux, and the history checker.
//!
//! Nothing here is a mock: [`Instance`] runs the built binaries, [`Client`] speaks the wire, [`Checker`] judges what was seen. Where a real agent is too
//! slow or too well-behaved, `octo-scripted-agent` takes its place: it speaks pi's RPC and does what a [`Script`] in the prompt says.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on says where")]

mod census;
mod checker;
mod client;
mod demo;
pub mod disk;
mod http;
mod instance;
mod process;
pub mod rounds;
mod script;
pub mod scripted;
pub mod seen;
pub mod sim;
pub mod wire;

pub use census::{Census, Member};
pub use checker::{Checker, Rule, Totals, Verdict};
pub use client::{Client, Dial, LoginError, Path, Stream};
pub use demo::{Turn, demo_prompt};
pub use http::{Answer, request, request_of_stream};
pub use instance::{Instance, Options, binary, node, old_pi, repository, target_dir};
pub use process::{Process, descendants, processes};
pub use script::{MARKER, MESSAGE_BYTES, Script, Stamp, monotonic_ns};

use std::time::Duration;

/// How long a test waits for something that must happen. Not a promise about speed: a loaded machine is slow.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Arms the fail point in the file `point` (`OCTO_FAIL_POINT`). Renamed into place, so that whoever comes there reads all of it or nothing.
///
/// # Panics
/// When the file cannot be written.
pub fn arm(point: &std::path::Path, text: &str) {
    let fresh = point.with_extension("new");
    std::fs::write(&fresh, text).unwrap();
    std::fs::rename(fresh, point).unwrap();
}

/// Waits until `ready` gives a value, asking every 20 ms.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
pub async fn until<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let end = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(tokio::time::Instant::now() < end, "waited {PATIENCE:?} in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The seed of a test's randomness: `OCTO_SEED` to replay, else a new one; it is printed.
#[must_use]
pub fn seed(test: &str) -> u64 {
    let seed = std::env::var("OCTO_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand::random);
    println!("{test}: replay with OCTO_SEED={seed}");
    seed
}
