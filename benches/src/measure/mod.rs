//! The benches, each by its name.

mod burst;
mod fanout;
mod inspect;
mod journal;
mod link;
mod memory;
mod over_pi;
mod restart;
mod sessions;
mod silent;
mod startup;
mod storm;
mod translate;

use crate::figure::Figures;
use anyhow::Result;

/// How much of everything: the figures of the promises, or just enough to see that a bench runs.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub rounds: usize,
    pub smoke: bool,
    /// Watchers at most; the promise names up to 10 000.
    pub watchers: usize,
}

impl Scale {
    pub fn pick<T>(self, full: T, smoke: T) -> T {
        if self.smoke { smoke } else { full }
    }
}

/// Name and meaning of each bench.
pub const BENCHES: &[(&str, &str)] = &[
    ("latency", "from the agent's stdout to the client's socket, journal on, beside a blocking copy from pipe to socket"),
    ("fanout", "paced events to 1, 100, 1 000 and 10 000 watchers, beside the same copy"),
    ("silent", "what 100 watchers have of one that never reads: their 99th percentile with it and without it"),
    ("burst", "3 000 tokens at once to 200 watchers: what is lost, and CPU for each delivered frame"),
    ("crowd", "an unpaced burst to 1 000 watchers, beside raw epoll, tokio with 16 frames a write, and plain axum"),
    ("pi", "real pi through octo beside pi alone: first delta, each token"),
    ("memory", "memory of 10 000 idle mux connections, what is given back, and of a session"),
    ("sessions", "memory of 10 000 sessions in which nothing happens, in octo and in octo-runner"),
    ("inspect", "processor time at 20 000 events a second with somebody who looks inside, and without"),
    ("restart", "how soon a crashed actor, and a session whose agent was killed, are back"),
    ("idle", "memory of octo and octo-runner when nothing happens"),
    ("link", "events over the runner link, and a replay of the journal over it, beside a raw Unix socket"),
    ("journal", "commits and replay of the journal, beside append and fdatasync"),
    ("storm", "10 000 clients come back at once, each 100 events behind, beside raw accept and upgrade"),
    ("translate", "a translator alone: an event of a short message, and of one a hundred times as long"),
    ("startup", "from exec of octo serve to the first answer, beside plain axum"),
];

/// Runs one bench.
pub async fn run(name: &str, scale: Scale, figures: &mut Figures) -> Result<()> {
    match name {
        "latency" => fanout::latency(scale, figures).await,
        "fanout" => fanout::fanout(scale, figures).await,
        "silent" => silent::run(scale, figures).await,
        "burst" => burst::burst(scale, figures).await,
        "crowd" => burst::crowd(scale, figures).await,
        "pi" => over_pi::run(scale, figures).await,
        "memory" => memory::connections(scale, figures).await,
        "sessions" => sessions::run(scale, figures).await,
        "inspect" => inspect::run(scale, figures).await,
        "restart" => restart::run(scale, figures).await,
        "idle" => memory::idle(scale, figures).await,
        "link" => link::run(scale, figures).await,
        "journal" => journal::run(scale, figures).await,
        "storm" => storm::run(scale, figures).await,
        "translate" => translate::run(scale, figures),
        "startup" => startup::run(scale, figures).await,
        other => anyhow::bail!("there is no bench {other}; `octo-bench list` shows them"),
    }
}
