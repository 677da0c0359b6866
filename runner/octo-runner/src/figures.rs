//! What this runner counts, and how it tells it: the runner's part of [`octo_protocol::metrics`].
//!
//! Counted where it happens, by one addition; what can be looked at is looked at when somebody asks. The journal makes the counters, as it is there first.

use crate::journal::{Journal, log_of};
use crate::shared::Shared;
use octo_actors::{Directory, ProcessUsage, room};
use octo_protocol::metrics::{ActorKind, Counter, EXITS, Histogram, Limit, LimitHits, Part, Process, Sample, Sheet};
use octo_sandbox::Exit;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The counters of one runner.
#[derive(Debug)]
pub struct Figures {
    pub limits: LimitHits,
    pub journal: JournalFigures,
    /// Events given to connections.
    pub events_sent: Counter,
    /// Waits for credit, and their microseconds.
    pub credit_waits: Counter,
    pub credit_waited: Counter,
    agents: Counter,
    agent_starts: Counter,
    agent_start_failures: Counter,
    /// As in [`EXITS`].
    agent_exits: [Counter; EXITS.len()],
}

/// Those of the journal's writer.
#[derive(Debug)]
pub struct JournalFigures {
    pub events: Counter,
    pub refused: Counter,
    pub commits_full: Histogram,
    pub commits_normal: Histogram,
    pub commit_events: Histogram,
    pub commit_bytes: Histogram,
}

impl JournalFigures {
    /// A transaction is committed; `payloads` are the bytes of each of its events.
    pub fn committed(&self, full: bool, took: Duration, payloads: impl Iterator<Item = usize>) {
        let (events, bytes) = payloads.fold((0u64, 0), |(events, bytes), payload| (events + 1, bytes + payload));
        let commits = if full { &self.commits_full } else { &self.commits_normal };
        commits.observe(took.as_secs_f64());
        self.events.add(events);
        self.commit_events.observe(events as f64);
        self.commit_bytes.observe(bytes as f64);
    }
}

impl Default for Figures {
    fn default() -> Self {
        let journal = JournalFigures {
            events: Counter::default(),
            refused: Counter::default(),
            commits_full: Histogram::of("octo_journal_commit_seconds"),
            commits_normal: Histogram::of("octo_journal_commit_seconds"),
            commit_events: Histogram::of("octo_journal_commit_events"),
            commit_bytes: Histogram::of("octo_journal_commit_bytes"),
        };
        Self {
            limits: LimitHits::default(),
            journal,
            events_sent: Counter::default(),
            credit_waits: Counter::default(),
            credit_waited: Counter::default(),
            agents: Counter::default(),
            agent_starts: Counter::default(),
            agent_start_failures: Counter::default(),
            agent_exits: Default::default(),
        }
    }
}

/// A process of an agent that is counted among those that run.
pub struct RunningAgent(Arc<Figures>);

impl Drop for RunningAgent {
    fn drop(&mut self) {
        self.0.agents.take(1);
    }
}

impl Figures {
    /// An agent's process was started.
    pub fn agent_started(self: &Arc<Self>) -> RunningAgent {
        self.agent_starts.one();
        self.agent_adopted()
    }

    /// An agent's process was handed over by the program before.
    pub fn agent_adopted(self: &Arc<Self>) -> RunningAgent {
        self.agents.one();
        RunningAgent(Arc::clone(self))
    }

    /// An agent's process could not be started.
    pub fn agent_not_started(&self) {
        self.agent_start_failures.one();
    }

    /// An agent's process has ended, as octo wanted it or not.
    pub fn agent_ended(&self, exit: &Exit, expected: bool) {
        let how = match exit {
            Exit::Exceeded(_) => {
                self.limits.hit(Limit::Sandbox);
                2
            }
            _ if expected => 0,
            _ => 1,
        };
        if let Some(exits) = self.agent_exits.get(how) {
            exits.one();
        }
    }
}

/// Everything that this runner tells. Looks at files: not for a thread that others wait for.
pub fn samples(shared: &Shared, directory: &Directory) -> Vec<Sample> {
    let (figures, mut sheet) = (&shared.figures, Sheet::default());
    let ProcessUsage { cpu_seconds, resident_bytes, open_fds, max_fds } = ProcessUsage::now();
    let process = Process { started_at: shared.started_at as f64 / 1000.0, cpu_seconds, resident_bytes, open_fds, max_fds };
    sheet.process(env!("CARGO_PKG_VERSION"), &process);
    let census = directory.census();
    for kind in &census {
        sheet.actors(&ActorKind {
            kind: kind.kind,
            states: &kind.states,
            waiting: kind.waiting,
            waiting_max: kind.waiting_max,
            fill_max: kind.fill_max,
            restarts: kind.restarts,
            given_up: kind.given_up,
        });
    }
    sheet.limits(Part::Runner, &figures.limits, census.iter().map(|kind| kind.busy).sum());
    of_journal(&mut sheet, &figures.journal, &shared.journal);
    sheet.counter("octo_link_events_sent_total", &[], &figures.events_sent);
    sheet.counter("octo_link_credit_waits_total", &[], &figures.credit_waits);
    sheet.number("octo_link_credit_wait_seconds_total", &[], figures.credit_waited.get() as f64 / 1e6);
    sheet.counter("octo_agents", &[], &figures.agents);
    sheet.counter("octo_agent_starts_total", &[], &figures.agent_starts);
    sheet.counter("octo_agent_start_failures_total", &[], &figures.agent_start_failures);
    for (how, count) in EXITS.iter().zip(&figures.agent_exits) {
        sheet.counter("octo_agent_exits_total", &[how], count);
    }
    sheet.samples()
}

fn of_journal(sheet: &mut Sheet, figures: &JournalFigures, journal: &Journal) {
    sheet.counter("octo_journal_events_total", &[], &figures.events);
    sheet.counter("octo_journal_refused_total", &[], &figures.refused);
    sheet.histogram("octo_journal_commit_seconds", &["full"], &figures.commits_full);
    sheet.histogram("octo_journal_commit_seconds", &["normal"], &figures.commits_normal);
    sheet.histogram("octo_journal_commit_events", &[], &figures.commit_events);
    sheet.histogram("octo_journal_commit_bytes", &[], &figures.commit_bytes);
    sheet.count("octo_journal_queued", &[], journal.queued() as u64);
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |meta| meta.len());
    sheet.count("octo_journal_size_bytes", &["db"], size(journal.path()));
    sheet.count("octo_journal_size_bytes", &["wal"], size(&log_of(journal.path())));
    if let Some(free) = journal.path().parent().and_then(room::free_bytes) {
        sheet.count("octo_journal_disk_free_bytes", &[], free);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agent_counts_as_running_until_it_has_ended_however_that_was() {
        let figures = Arc::new(Figures::default());
        let (one, two) = (figures.agent_started(), figures.agent_adopted());
        assert_eq!((figures.agents.get(), figures.agent_starts.get()), (2, 1), "one that was handed over was not started here");
        figures.agent_ended(&Exit::Code(1), false);
        drop(one);
        figures.agent_ended(&Exit::TreeKilled, true);
        drop(two);
        assert_eq!(figures.agents.get(), 0);
        assert_eq!(figures.agent_exits.each_ref().map(Counter::get), [1, 1, 0]);
    }
}
