//! A process for each seed, forked from one that has prepared what they share.
//!
//! A fork is what makes a seed independent of all others: tokio's count of runtimes, counters in ids and whatever else a process keeps to itself are the
//! same at the beginning of each. It also keeps a seed that panics, or never ends, from the others.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, Pid, fork};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A seed that plays for so long never ends: it has not more to do than a fraction of a second's work.
const HANGS_AFTER: Duration = Duration::from_secs(120);
/// Stack of the thread that plays: debug builds of deep futures need much.
const STACK: usize = 64 * 1024 * 1024;

/// What a seed came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Stands for everything that every client saw, and what the journal has in the end.
    pub digest: u64,
    /// What was judged and what was done, by name.
    pub counts: std::collections::BTreeMap<String, u64>,
}

/// A seed that was played.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Played {
    pub seed: u64,
    /// Why not, when a promise was broken.
    pub report: Result<Report, String>,
}

struct Bird {
    seed: u64,
    pid: Pid,
    pipe: File,
    said: Vec<u8>,
    since: Instant,
}

static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Plays `seeds`, so many at once, each in a process of its own; `done` hears of each that has ended, and says whether to go on.
///
/// # Panics
/// When the system gives no processes.
pub fn play(
    seeds: impl IntoIterator<Item = u64>,
    at_once: usize,
    player: impl Fn(u64) -> Report + Sync,
    mut done: impl FnMut(Played) -> bool,
) {
    let mut seeds = seeds.into_iter();
    let mut birds: Vec<Bird> = Vec::new();
    let mut go_on = true;
    loop {
        while go_on && birds.len() < at_once {
            let Some(seed) = seeds.next() else { break };
            birds.push(hatch(seed, &player));
        }
        if birds.is_empty() {
            return;
        }
        let mut polled: Vec<PollFd<'_>> = birds.iter().map(|bird| PollFd::new(bird.pipe.as_fd(), PollFlags::POLLIN)).collect();
        let _ = poll(&mut polled, PollTimeout::from(1000u16));
        let ready: Vec<bool> = polled.iter().map(|fd| fd.any().unwrap_or(true)).collect();
        for at in (0..birds.len()).rev() {
            let bird = &mut birds[at];
            if bird.since.elapsed() > HANGS_AFTER {
                let _ = kill(bird.pid, Signal::SIGKILL);
                bird.said = serde_json::to_vec(&Err::<Report, _>("it never ends: time stands still, or what it waits for never comes"))
                    .unwrap_or_default();
            } else {
                if !ready[at] {
                    continue;
                }
                let mut piece = [0; 65_536];
                match bird.pipe.read(&mut piece) {
                    Ok(read) if read > 0 => {
                        bird.said.extend_from_slice(&piece[..read]);
                        continue;
                    }
                    _ => {}
                }
            }
            let bird = birds.swap_remove(at);
            let ended = waitpid(bird.pid, None);
            let report = serde_json::from_slice(&bird.said).unwrap_or_else(|_| Err(format!("its process ended without a word: {ended:?}")));
            go_on &= done(Played { seed: bird.seed, report });
        }
    }
}

fn hatch(seed: u64, player: &(impl Fn(u64) -> Report + Sync)) -> Bird {
    let (read, write) = nix::unistd::pipe().expect("there are descriptors");
    // SAFETY: the child goes on with this thread only. The others of a test's process wait for it, and hold no lock that the child takes; the child
    // leaves by `_exit`, so that nothing of theirs is run in it.
    match unsafe { fork() }.expect("there are processes") {
        ForkResult::Parent { child } => {
            drop(write);
            Bird { seed, pid: child, pipe: File::from(read), said: Vec::new(), since: Instant::now() }
        }
        ForkResult::Child => {
            drop(read);
            let report = alone(seed, player);
            let said = serde_json::to_vec(&report).unwrap_or_default();
            let _ = File::from(write).write_all(&said);
            // SAFETY: ends the process and nothing else.
            unsafe { libc::_exit(0) }
        }
    }
}

/// Plays one seed on a thread of its own. Whatever panics anywhere breaks a promise.
fn alone(seed: u64, player: &(impl Fn(u64) -> Report + Sync)) -> Result<Report, String> {
    std::panic::set_hook(Box::new(|panic| {
        let trace = if std::env::var_os("RUST_BACKTRACE").is_some() {
            format!("\n{}", std::backtrace::Backtrace::force_capture())
        } else {
            String::new()
        };
        PANICS.lock().unwrap_or_else(PoisonError::into_inner).push(format!("{panic}{trace}"));
    }));
    let played = std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, || player(seed)).expect("there are threads");
        thread.join().ok()
    });
    let panics = PANICS.lock().unwrap_or_else(PoisonError::into_inner);
    match played {
        Some(report) if panics.is_empty() => Ok(report),
        _ => Err(panics.join("\n")),
    }
}
