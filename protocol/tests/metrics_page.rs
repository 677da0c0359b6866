//! docs/metrics.md is made from the table of metrics. `OCTO_UPDATE=1` writes it anew.
#![allow(clippy::unwrap_used)]

use octo_protocol::metrics::{Limit, METRICS, MetricKind, Part};
use std::fmt::Write;
use std::path::Path;

const HEAD: &str = "# Metrics

<!-- Made from the table of metrics in protocol/src/metrics; `OCTO_UPDATE=1 ./test.sh` writes it anew. -->

`GET /metrics` (and `/api/metrics`) tells what octo, every runner of a user who is awake, and octo-eavs have counted, in the text format of Prometheus. `octoctl metrics` prints the same.

## Who may read it

Admins, by the admin socket or with their token; and whoever sends `server.metrics_token` as `Authorization: Bearer`, who may read this and nothing else. Without that key Prometheus has no way in. [deploy/prometheus](../deploy/prometheus) has a scrape configuration,
alert rules and a dashboard. Prometheus has to name octo by an address, by `localhost`, or by a name in `auth.allowed_hosts`.

## What to expect

- One answer asks all processes at once and waits 2 s for each. A runner that does not answer is `octo_runner_up 0`, octo-eavs `octo_eavs_up 0`; the answer has everybody else. At most 4 read at once.
- Nobody is woken and nothing is started by reading. A user who is asleep has no lines, though their runner may run.
- Counters begin at 0 with each start of their process, and of a runner with its upgrade: use `rate` and `increase`.
- Labels are bounded: kinds, states, limits and codes are constants of the program, users are accounts, providers those of the configuration (64 at most, then `other`). No session, path, address or text of anybody is a label. What a runner tells is checked against this table.
- `process` is there where several processes tell a metric (`octo`, `octo-runner`, `octo-eavs`), `user` where a runner tells it, with the user whose runner it is.
- Counting is an atomic addition where something happens anyway; what can be looked at is looked at when somebody reads.

## All of them

| metric | type | labels | told by | |
|---|---|---|---|---|
";

const LIMITS: &str = "
## Limits

Values of `limit` in `octo_limit_hits_total`. All are there from the start, with 0.

| limit | of | |
|---|---|---|
";

fn parts(parts: &[Part]) -> String {
    parts.iter().map(|part| part.name()).collect::<Vec<_>>().join(", ")
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for metric in METRICS {
        let labels: Vec<String> = metric.shown_labels().iter().map(|label| format!("`{label}`")).collect();
        let bounds = match metric.kind {
            MetricKind::Histogram(bounds) => {
                format!(" Buckets: {}.", bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
            }
            MetricKind::Counter | MetricKind::Gauge => String::new(),
        };
        let (name, kind, help) = (metric.name, metric.kind.word(), metric.help);
        writeln!(page, "| `{name}` | {kind} | {} | {} | {help}{bounds} |", labels.join(", "), parts(metric.from)).unwrap();
    }
    page.push_str(LIMITS);
    for limit in Limit::ALL {
        writeln!(page, "| `{}` | {} | {} |", limit.name(), parts(limit.parts()), limit.doc().trim()).unwrap();
    }
    page
}

#[test]
fn the_page_of_metrics_is_that_of_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let wanted = page();
    if std::env::var_os("OCTO_UPDATE").is_some() {
        std::fs::write(&path, &wanted).unwrap();
    }
    let present = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(present == wanted, "docs/metrics.md has drifted: run `OCTO_UPDATE=1 cargo test -p octo-protocol --test metrics_page`");
}
