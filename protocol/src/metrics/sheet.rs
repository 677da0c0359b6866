//! What one process tells of its metrics at one moment.

use super::count::{Counter, Histogram, LimitHits};
use super::limits::Limit;
use super::table::{MetricKind, Part, metric};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::HashSet;

/// Samples of one process; further ones are passed over.
pub const MAX_SAMPLES: usize = 4096;
/// Longest value of a label.
pub const MAX_LABEL_BYTES: usize = 64;

/// One number, or one histogram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// Name in the table.
    pub name: Cow<'static, str>,
    /// Values of the metric's own labels, in the table's order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    pub value: Value,
}

/// What a sample says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// Of a counter or a gauge.
    Number(f64),
    /// How many in each bucket, one more than there are bounds; and the sum of all values.
    Histogram { counts: Vec<u64>, sum: f64 },
}

/// What the system says of a process.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// Unix seconds.
    pub started_at: f64,
    pub cpu_seconds: f64,
    /// Absent where the system does not tell.
    pub resident_bytes: Option<u64>,
    pub open_fds: Option<u64>,
    pub max_fds: Option<u64>,
}

/// The actors of one kind in one process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ActorKind<'a> {
    pub kind: &'a str,
    /// How many there are in each state.
    pub states: &'a [(&'static str, u64)],
    /// Messages that wait, in all mailboxes and in the fullest one; and how full that is.
    pub waiting: u64,
    pub waiting_max: u64,
    pub fill_max: f64,
    pub restarts: u64,
    pub given_up: u64,
}

/// Samples, as they are gathered.
#[derive(Debug, Default)]
pub struct Sheet(Vec<Sample>);

impl Sheet {
    /// Enters a number.
    pub fn number(&mut self, name: &'static str, labels: &[&str], value: f64) {
        self.put(name, labels, Value::Number(value));
    }

    /// Enters a count.
    pub fn count(&mut self, name: &'static str, labels: &[&str], value: u64) {
        // Exact up to 2^53.
        self.number(name, labels, value as f64);
    }

    /// Enters a counter as it stands.
    pub fn counter(&mut self, name: &'static str, labels: &[&str], counter: &Counter) {
        self.count(name, labels, counter.get());
    }

    /// Enters a histogram as it stands.
    pub fn histogram(&mut self, name: &'static str, labels: &[&str], histogram: &Histogram) {
        let (counts, sum) = histogram.read();
        self.put(name, labels, Value::Histogram { counts, sum });
    }

    /// Enters every limit that `part` has, those that refused nobody too. `busy`: what the mailboxes themselves have counted.
    pub fn limits(&mut self, part: Part, hits: &LimitHits, busy: u64) {
        for limit in Limit::ALL.iter().filter(|limit| limit.parts().contains(&part)) {
            let counted = if *limit == Limit::Mailbox { busy } else { hits.get(*limit) };
            self.count("octo_limit_hits_total", &[limit.name()], counted);
        }
    }

    /// Enters what the system says, and which version it is.
    pub fn process(&mut self, version: &str, process: &Process) {
        self.count("octo_build_info", &[version], 1);
        self.number("octo_process_start_time_seconds", &[], process.started_at);
        self.number("octo_process_cpu_seconds_total", &[], process.cpu_seconds);
        let told = [
            ("octo_process_resident_memory_bytes", process.resident_bytes),
            ("octo_process_open_fds", process.open_fds),
            ("octo_process_max_fds", process.max_fds),
        ];
        for (name, value) in told {
            if let Some(value) = value {
                self.count(name, &[], value);
            }
        }
    }

    /// Enters the actors of one kind.
    pub fn actors(&mut self, actors: &ActorKind<'_>) {
        let kind = actors.kind;
        for (state, count) in actors.states {
            self.count("octo_actors", &[kind, state], *count);
        }
        self.count("octo_actor_restarts_total", &[kind], actors.restarts);
        self.count("octo_actor_given_up_total", &[kind], actors.given_up);
        self.count("octo_mailbox_messages", &[kind], actors.waiting);
        self.count("octo_mailbox_messages_max", &[kind], actors.waiting_max);
        self.number("octo_mailbox_fill_ratio_max", &[kind], actors.fill_max);
    }

    fn put(&mut self, name: &'static str, labels: &[&str], value: Value) {
        debug_assert!(metric(name).is_some_and(|metric| metric.labels.len() == labels.len()), "{name} is not in the table with {labels:?}");
        self.0.push(Sample { name: Cow::Borrowed(name), labels: labels.iter().map(|label| clipped(label)).collect(), value });
    }

    /// All of it.
    #[must_use]
    pub fn samples(self) -> Vec<Sample> {
        self.0
    }
}

/// A label's value within its limit.
fn clipped(label: &str) -> String {
    label.get(..label.floor_char_boundary(MAX_LABEL_BYTES)).unwrap_or_default().to_owned()
}

/// Of what another process tells, what the table knows from `part`, each once; and how many were passed over.
#[must_use]
pub fn admitted(part: Part, samples: Vec<Sample>) -> (Vec<Sample>, u64) {
    let told = samples.len();
    let mut seen = HashSet::new();
    let good: Vec<Sample> = samples
        .into_iter()
        .take(MAX_SAMPLES)
        .filter(|sample| is_known(part, sample) && seen.insert((sample.name.clone(), sample.labels.clone())))
        .collect();
    let passed_over = told.saturating_sub(good.len()) as u64;
    (good, passed_over)
}

fn is_known(part: Part, sample: &Sample) -> bool {
    let Some(metric) = metric(&sample.name).filter(|metric| metric.from.contains(&part)) else { return false };
    let labels = metric.labels.len() == sample.labels.len()
        && sample.labels.iter().all(|label| label.len() <= MAX_LABEL_BYTES && !label.chars().any(char::is_control));
    labels
        && match (&sample.value, metric.kind) {
            (Value::Number(number), MetricKind::Counter) => number.is_finite() && *number >= 0.0,
            (Value::Number(number), MetricKind::Gauge) => number.is_finite(),
            (Value::Histogram { counts, sum }, MetricKind::Histogram(bounds)) => {
                let total = counts.iter().try_fold(0u64, |all, count| all.checked_add(*count));
                counts.len() == bounds.len() + 1 && total.is_some() && sum.is_finite()
            }
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sample(name: &str, labels: &[&str], value: Value) -> Sample {
        Sample { name: name.to_owned().into(), labels: labels.iter().map(|&l| l.to_owned()).collect(), value }
    }

    #[test]
    fn samples_survive_the_way_over_a_socket() {
        let mut sheet = Sheet::default();
        let histogram = Histogram::of("octo_journal_commit_seconds");
        histogram.observe(0.002);
        sheet.histogram("octo_journal_commit_seconds", &["full"], &histogram);
        sheet.number("octo_journal_queued", &[], 3.0);
        let samples = sheet.samples();
        let back: Vec<Sample> = serde_json::from_slice(&serde_json::to_vec(&samples).unwrap()).unwrap();
        assert_eq!(back, samples);
        assert_eq!(admitted(Part::Runner, back), (samples, 0));
    }

    #[test]
    fn of_an_untrusted_process_only_what_the_table_knows_of_it_is_taken() {
        let long = "x".repeat(MAX_LABEL_BYTES + 1);
        let good = sample("octo_agents", &[], Value::Number(1.0));
        let told = vec![
            good.clone(),
            sample("octo_agents", &[], Value::Number(2.0)),
            sample("octo_agents", &["x"], Value::Number(1.0)),
            sample("octo_agents", &[], Value::Number(f64::NAN)),
            sample("octo_evil", &[], Value::Number(1.0)),
            sample("octo_runner_up", &["bob"], Value::Number(1.0)),
            sample("octo_agent_starts_total", &[], Value::Number(-1.0)),
            sample("octo_actor_restarts_total", &[&long], Value::Number(1.0)),
            sample("octo_actor_restarts_total", &["a\nb"], Value::Number(1.0)),
            sample("octo_journal_commit_bytes", &[], Value::Number(1.0)),
            sample("octo_journal_commit_bytes", &[], Value::Histogram { counts: vec![1], sum: 1.0 }),
            sample("octo_journal_commit_bytes", &[], Value::Histogram { counts: vec![u64::MAX; 9], sum: 1.0 }),
        ];
        let count = told.len() as u64;
        assert_eq!(admitted(Part::Runner, told), (vec![good.clone()], count - 1));
        let flood = (0..MAX_SAMPLES + 10).map(|n| sample("octo_actor_restarts_total", &[&n.to_string()], Value::Number(1.0))).collect();
        let (taken, passed_over) = admitted(Part::Runner, flood);
        assert_eq!((taken.len(), passed_over), (MAX_SAMPLES, 10));
    }
}
