//! The table: every metric, what it means, in which unit, with which labels, and who tells it.

/// A process that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The control plane.
    Octo,
    /// A user's runner.
    Runner,
    /// The LLM proxy.
    Eavs,
}

impl Part {
    /// The name of its program, the label `process`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Octo => "octo",
            Self::Runner => "octo-runner",
            Self::Eavs => "octo-eavs",
        }
    }
}

/// What a number is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MetricKind {
    /// It only grows, from the start of its process on.
    Counter,
    /// What is now.
    Gauge,
    /// How many values were how large; the upper bounds of the buckets.
    Histogram(&'static [f64]),
}

impl MetricKind {
    /// The bounds of a histogram.
    #[must_use]
    pub const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Histogram(bounds) => bounds,
            Self::Counter | Self::Gauge => &[],
        }
    }

    /// As Prometheus calls it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Metric {
    /// Its name, with the unit; of a counter with `_total`.
    pub name: &'static str,
    pub kind: MetricKind,
    /// What it means.
    pub help: &'static str,
    /// The labels that its process gives. octo adds `process` where several processes tell it, and `user` where a runner does.
    pub labels: &'static [&'static str],
    /// Who tells it.
    pub from: &'static [Part],
}

impl Metric {
    /// All labels as they are shown.
    #[must_use]
    pub fn shown_labels(&self) -> Vec<&'static str> {
        let process = self.is_shared().then_some("process");
        let user = self.from.contains(&Part::Runner).then_some("user");
        process.into_iter().chain(user).chain(self.labels.iter().copied()).collect()
    }

    /// Whether several processes tell it.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        self.from.len() > 1
    }
}

const ALL: &[Part] = &[Part::Octo, Part::Runner, Part::Eavs];
const OCTO: &[Part] = &[Part::Octo];
const RUNNER: &[Part] = &[Part::Runner];
const EAVS: &[Part] = &[Part::Eavs];

/// A commit: from what the page cache takes to a disk that hangs.
const COMMIT_SECONDS: &[f64] = &[0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0];
const COMMIT_EVENTS: &[f64] = &[0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 1024.0];
const COMMIT_BYTES: &[f64] = &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 4_194_304.0];
/// A model: from the demonstration to one that thinks for minutes.
const LLM_SECONDS: &[f64] = &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0];

/// How an agent's process ended, the label `how`.
pub const EXITS: [&str; 3] = ["stopped", "crashed", "over_limit"];

const fn new(name: &'static str, kind: MetricKind, labels: &'static [&'static str], from: &'static [Part], help: &'static str) -> Metric {
    Metric { name, kind, help, labels, from }
}

use MetricKind::{Counter, Gauge, Histogram};

/// Every metric of octo, in the order in which they are shown.
pub const METRICS: &[Metric] = &[
    new("octo_build_info", Gauge, &["version"], ALL, "Always 1; which version of octo the process is."),
    new(
        "octo_process_start_time_seconds",
        Gauge,
        &[],
        ALL,
        "When the program started, Unix time; of a runner also that of its upgrade in place.",
    ),
    new("octo_process_cpu_seconds_total", Counter, &[], ALL, "Processor time of the process, user and system, without its agents."),
    new("octo_process_resident_memory_bytes", Gauge, &[], ALL, "Memory of the process that is in RAM, without its agents."),
    new("octo_process_open_fds", Gauge, &[], ALL, "Open file descriptors of the process."),
    new("octo_process_max_fds", Gauge, &[], ALL, "File descriptors that the process may open."),
    new(
        "octo_actors",
        Gauge,
        &["kind", "state"],
        ALL,
        "Actors by kind and state. degraded: failed too often and stays down; stuck: too long inside one message.",
    ),
    new("octo_actor_restarts_total", Counter, &["kind"], ALL, "Incarnations of actors that failed and were started again."),
    new(
        "octo_actor_given_up_total",
        Counter,
        &["kind"],
        ALL,
        "Actors that failed more often than their intensity allows, and stay down or take their supervisor along.",
    ),
    new("octo_mailbox_messages", Gauge, &["kind"], ALL, "Messages that wait in mailboxes, all actors of a kind together."),
    new("octo_mailbox_messages_max", Gauge, &["kind"], ALL, "Messages that wait in the fullest mailbox of a kind."),
    new(
        "octo_mailbox_fill_ratio_max",
        Gauge,
        &["kind"],
        ALL,
        "How full the fullest mailbox of a kind is: 1 is its limit, and then senders are told that it is busy.",
    ),
    new("octo_limit_hits_total", Counter, &["limit"], ALL, "How often a named limit refused somebody or held somebody back."),
    new(
        "octo_runner_up",
        Gauge,
        &["user"],
        OCTO,
        "1 when the runner of a user who is awake answers; 0 when it is not linked, or does not answer in time. Users who are asleep have no line.",
    ),
    new("octo_eavs_up", Gauge, &[], OCTO, "1 when octo-eavs answers; 0 when it does not, although it should run."),
    new("octo_gather_seconds", Gauge, &[], OCTO, "How long it took to gather this answer from all processes."),
    new("octo_users_awake", Gauge, &[], OCTO, "Users whose actors run."),
    new("octo_sessions", Gauge, &["state"], OCTO, "Sessions of users who are awake, by state."),
    new("octo_connections", Gauge, &[], OCTO, "WebSockets that are open."),
    new("octo_connections_opened_total", Counter, &[], OCTO, "WebSockets that were opened."),
    new(
        "octo_subscriptions",
        Gauge,
        &["state"],
        OCTO,
        "Sessions that WebSockets are attached to, by where their cursor stands. live reads the ring; replaying, resync, joining and attaching are behind it.",
    ),
    new(
        "octo_subscriptions_behind_total",
        Counter,
        &["way"],
        OCTO,
        "How often an attached socket had to catch up: replay from the journal, or resync with the newest messages because its cursor did not hold.",
    ),
    new("octo_deliveries_total", Counter, &["state"], OCTO, "Events written to WebSockets, by where the cursor stood."),
    new("octo_frames_sent_total", Counter, &[], OCTO, "Frames written to WebSockets, events and answers."),
    new("octo_frames_sent_bytes_total", Counter, &[], OCTO, "Bytes of those frames."),
    new("octo_frames_received_total", Counter, &[], OCTO, "Frames that clients sent."),
    new("octo_outbox_bytes", Gauge, &[], OCTO, "Bytes of answers that wait for clients to read."),
    new(
        "octo_events_received_total",
        Counter,
        &[],
        OCTO,
        "Events that octo took from runners, once for each session and whoever watches it.",
    ),
    new("octo_events_received_bytes_total", Counter, &[], OCTO, "Bytes of those events, as clients get them."),
    new("octo_link_pending_requests", Gauge, &["user"], OCTO, "Requests to a runner that have no answer yet."),
    new("octo_link_subscriptions", Gauge, &["user"], OCTO, "Sessions of a runner that octo follows, replays included."),
    new(
        "octo_link_credit_bytes",
        Gauge,
        &["user"],
        OCTO,
        "Bytes of events that the runner may send before octo has taken what came. Below 0: it has overdrawn by an event.",
    ),
    new("octo_disk_free_bytes", Gauge, &[], OCTO, "Room on the disk of octo's store and of the journals below the same directory."),
    new("octo_journal_events_total", Counter, &[], RUNNER, "Events that are in the journal."),
    new(
        "octo_journal_commit_seconds",
        Histogram(COMMIT_SECONDS),
        &["sync"],
        RUNNER,
        "Time of a transaction of the journal; full waits for the disk, normal does not.",
    ),
    new("octo_journal_commit_events", Histogram(COMMIT_EVENTS), &[], RUNNER, "Events in one transaction."),
    new("octo_journal_commit_bytes", Histogram(COMMIT_BYTES), &[], RUNNER, "Payload of one transaction."),
    new("octo_journal_refused_total", Counter, &[], RUNNER, "Operations that the journal did not take."),
    new("octo_journal_queued", Gauge, &[], RUNNER, "Operations that wait for the journal's writer."),
    new(
        "octo_journal_size_bytes",
        Gauge,
        &["file"],
        RUNNER,
        "Size of the journal: db is its file, wal the log that is not copied into it yet.",
    ),
    new("octo_journal_disk_free_bytes", Gauge, &[], RUNNER, "Room on the disk of the journal."),
    new("octo_link_events_sent_total", Counter, &[], RUNNER, "Events that the runner sent to octo, each subscription counted."),
    new(
        "octo_link_credit_waits_total",
        Counter,
        &[],
        RUNNER,
        "How often a subscription had to wait because octo had not taken what was sent before.",
    ),
    new("octo_link_credit_wait_seconds_total", Counter, &[], RUNNER, "For how long, all subscriptions together."),
    new("octo_agents", Gauge, &[], RUNNER, "Processes of agents that run."),
    new("octo_agent_starts_total", Counter, &[], RUNNER, "Processes of agents that were started."),
    new("octo_agent_start_failures_total", Counter, &[], RUNNER, "Processes of agents that could not be started."),
    new(
        "octo_agent_exits_total",
        Counter,
        &["how"],
        RUNNER,
        "Processes of agents that ended: stopped because octo wanted it, crashed by themselves, or over_limit of the sandbox.",
    ),
    new("octo_llm_requests_total", Counter, &["provider"], EAVS, "Requests to a provider that were let through."),
    new("octo_llm_requests_in_flight", Gauge, &[], EAVS, "Requests to providers that are under way."),
    new(
        "octo_llm_errors_total",
        Counter,
        &["provider", "code"],
        EAVS,
        "Requests that octo-eavs refused, that failed at the provider (status_4xx, status_429, status_5xx), or whose answer was cut.",
    ),
    new(
        "octo_llm_first_byte_seconds",
        Histogram(LLM_SECONDS),
        &["provider"],
        EAVS,
        "From a request to the first byte of the answer's body.",
    ),
    new("octo_llm_duration_seconds", Histogram(LLM_SECONDS), &["provider"], EAVS, "From a request to the end of its answer."),
    new(
        "octo_llm_tokens_total",
        Counter,
        &["provider", "kind"],
        EAVS,
        "Tokens, as the provider counted them or estimated where it did not: input, output, cache_read, cache_write.",
    ),
    new("octo_llm_spend_dollars_total", Counter, &["provider"], EAVS, "Money, by the prices in octo's configuration."),
    new("octo_llm_keys", Gauge, &[], EAVS, "Virtual keys, one for each session."),
];

/// The metric of this name.
#[must_use]
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_prometheus_and_are_there_once() {
        let good = |text: &str| text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        for metric in METRICS {
            let Metric { name, kind, help, labels, from } = metric;
            assert!(name.starts_with("octo_") && good(name) && labels.iter().all(|label| good(label)), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == MetricKind::Counter, "{name}");
            assert_eq!(METRICS.iter().filter(|other| other.name == *name).count(), 1, "{name}");
            assert!(help.ends_with('.') && !help.contains('\n') && !from.is_empty(), "{name}");
            assert!(kind.bounds().is_sorted_by(|a, b| a < b), "{name}");
        }
    }
}
