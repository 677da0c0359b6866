//! From samples to the text that Prometheus reads.

use std::collections::HashMap;
use std::fmt;

use octo_protocol::metrics::{METRICS, Metric, MetricKind, Sample, Value};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::gather::Told;

pub use prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// What everybody told, in the text format of Prometheus (0.0.4), which everything that scrapes can read. A metric of which nobody told anything has its description all the same.
///
/// # Errors
/// None that could be mended: of the encoder itself.
pub fn text(told: Vec<Told>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Gathered(told)));
    let mut out = String::new();
    prometheus_text::encode(&mut out, &registry)?;
    Ok(out)
}

#[derive(Debug)]
struct Gathered(Vec<Told>);

impl Collector for Gathered {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let mut by_name: HashMap<&str, Vec<(&Told, &Sample)>> = HashMap::new();
        for told in &self.0 {
            for sample in &told.samples {
                by_name.entry(&sample.name).or_default().push((told, sample));
            }
        }
        for metric in METRICS {
            let (kind, name) = match metric.kind {
                // The encoder puts the ending back.
                MetricKind::Counter => (MetricType::Counter, metric.name.trim_end_matches("_total")),
                MetricKind::Gauge => (MetricType::Gauge, metric.name),
                MetricKind::Histogram(_) => (MetricType::Histogram, metric.name),
            };
            let mut family = encoder.encode_descriptor(name, metric.help, None, kind)?;
            for (told, sample) in by_name.remove(metric.name).unwrap_or_default() {
                let labels = labels(metric, told, sample);
                if labels.is_empty() {
                    value(&mut family, metric, &sample.value)?;
                } else {
                    value(&mut family.encode_family(&labels)?, metric, &sample.value)?;
                }
            }
        }
        Ok(())
    }
}

/// The labels that have a value.
fn labels<'a>(metric: &Metric, told: &'a Told, sample: &'a Sample) -> Vec<(&'static str, &'a str)> {
    let process = metric.is_shared().then(|| ("process", told.part.name()));
    let user = (!told.user.is_empty()).then_some(("user", told.user.as_str()));
    let own = metric.labels.iter().copied().zip(sample.labels.iter().map(String::as_str));
    process.into_iter().chain(user).chain(own).collect()
}

fn value(encoder: &mut MetricEncoder, metric: &Metric, value: &Value) -> Result<(), fmt::Error> {
    match (metric.kind, value) {
        (MetricKind::Counter, Value::Number(number)) => encoder.encode_counter::<NoLabelSet, _, f64>(number, None),
        (MetricKind::Gauge, Value::Number(number)) => encoder.encode_gauge(number),
        (MetricKind::Histogram(bounds), Value::Histogram { counts, sum }) => {
            let buckets: Vec<(f64, u64)> = bounds.iter().copied().chain([f64::INFINITY]).zip(counts.iter().copied()).collect();
            encoder.encode_histogram::<NoLabelSet>(*sum, counts.iter().sum(), &buckets, None)
        }
        // Not let through by `admitted`, and not put into a sheet.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use octo_protocol::metrics::{Histogram, Part, Sheet};

    #[test]
    fn what_is_told_is_written_as_prometheus_reads_it() {
        let mut own = Sheet::default();
        own.count("octo_actor_restarts_total", &["user"], 2);
        own.count("octo_runner_up", &["alice"], 1);
        own.number("octo_link_credit_bytes", &["al\"ice\n"], -1.5);
        let mut runner = Sheet::default();
        let sizes = Histogram::of("octo_journal_commit_bytes");
        sizes.observe(1024.0);
        sizes.observe(1e9);
        runner.histogram("octo_journal_commit_bytes", &[], &sizes);
        let text = text(vec![
            Told { part: Part::Octo, user: String::new(), samples: own.samples() },
            Told { part: Part::Runner, user: "alice".to_owned(), samples: runner.samples() },
        ])
        .unwrap();
        for line in [
            "# TYPE octo_actor_restarts_total counter",
            "octo_actor_restarts_total{process=\"octo\",kind=\"user\"} 2.0",
            "octo_runner_up{user=\"alice\"} 1.0",
            "octo_link_credit_bytes{user=\"al\\\"ice\\n\"} -1.5",
            "octo_journal_commit_bytes_bucket{user=\"alice\",le=\"256\"} 0",
            "octo_journal_commit_bytes_bucket{user=\"alice\",le=\"1024\"} 1",
            "octo_journal_commit_bytes_bucket{user=\"alice\",le=\"+Inf\"} 2",
            "octo_journal_commit_bytes_count{user=\"alice\"} 2",
            "# TYPE octo_llm_errors_total counter",
            "# HELP octo_agents Processes of agents that run.",
        ] {
            assert!(text.lines().any(|there| there == line), "{line} is missing:\n{text}");
        }
    }
}
