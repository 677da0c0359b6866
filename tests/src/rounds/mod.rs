//! Kill rounds: a round is a pure function of its seed, and ends with everything being judged.
//!
//! A [`Plan`] says what happens: sessions at work, clients that read at their own pace, inputs, aborts, broken connections, and blows
//! (SIGKILL, SIGTERM, SIGSTOP with SIGCONT) against octo, octo-runner, octo-eavs, agents and their sandboxes, and upgrades of the runner, each after so many events, not after so much
//! time. [`play`] does it on an instance of its own and proves that nothing was lost, doubled or reordered, that every input is where it belongs, and
//! that no process is left over. What the kernel does with the timing is not in the seed: a seed that fails once in three replays is a finding.

mod board;
mod figures;
mod judge;
mod plan;
mod player;
mod watcher;

pub use board::Board;
pub use figures::Figures;
pub use judge::{Journal, Judge, Sent, Terms, session_id};
pub use plan::{Agent, Plan, Reader, command};
pub use watcher::Watcher;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// Plays one round.
///
/// # Panics
/// When a promise is broken.
pub async fn play(seed: u64) -> Figures {
    Box::pin(player::Player::play(seed)).await
}

/// A round that broke a promise.
#[derive(Debug)]
pub struct Failed {
    pub seed: u64,
    pub why: String,
}

/// Plays the rounds `first..first + count`, so many of them at once; each that fails is printed when it does.
///
/// # Errors
/// The failed ones.
pub async fn play_all(first: u64, count: u64, at_once: usize) -> Result<Figures, Vec<Failed>> {
    let next = Arc::new(AtomicU64::new(0));
    let sum = Arc::new(Mutex::new((Figures::default(), Vec::new())));
    let began = std::time::Instant::now();
    let lanes: Vec<_> = (0..at_once.max(1))
        .map(|_| {
            let (next, sum) = (Arc::clone(&next), Arc::clone(&sum));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    let seed = first.wrapping_add(number);
                    let started = std::time::Instant::now();
                    let played = tokio::spawn(play(seed)).await;
                    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
                    match played {
                        Ok(figures) => {
                            println!("round {seed} ({:?}): {:.1} s", Plan::of(seed).agent, started.elapsed().as_secs_f64());
                            sum.0 += figures;
                        }
                        Err(error) => {
                            let why = if error.is_panic() { text_of(&*error.into_panic()) } else { error.to_string() };
                            println!("round {seed} FAILED: {why}\n{}", replay(seed));
                            sum.1.push(Failed { seed, why });
                        }
                    }
                    if (sum.0.rounds + sum.1.len() as u64).is_multiple_of(50) {
                        println!("after {:.0} s, {} failed: {}", began.elapsed().as_secs_f64(), sum.1.len(), sum.0);
                    }
                }
            })
        })
        .collect();
    for lane in lanes {
        lane.await.expect("a lane catches its rounds' panics");
    }
    let mut sum = sum.lock().unwrap_or_else(PoisonError::into_inner);
    let (figures, failed) = std::mem::take(&mut *sum);
    if failed.is_empty() { Ok(figures) } else { Err(failed) }
}

/// The command that plays a round once more.
#[must_use]
pub fn replay(seed: u64) -> String {
    format!("  replay: OCTO_SEED={seed} OCTO_ROUNDS=1 cargo nextest run -p octo-e2e --test kill_rounds --no-capture seeded_rounds")
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic without words".to_owned())
}
