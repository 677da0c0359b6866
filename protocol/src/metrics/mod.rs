//! What octo counts, and how it is told: the one table of metrics ([`METRICS`]), the named limits ([`Limit`]), the counters themselves, and the
//! samples in which a runner and octo-eavs tell octo theirs.
//!
//! `/metrics`, its page of documentation, and the checks of the dashboard and the alerts are all made from the table. Each process counts for itself
//! and in values of its own: nothing here is global. Counting is an atomic addition; what is asked of the system is asked when somebody reads.
//!
//! A runner runs as its user, so what it tells is not trusted: [`admitted`] lets through what the table knows, bounded.

mod count;
mod limits;
mod sheet;
mod table;

pub use count::{Counter, Histogram, LimitHits};
pub use limits::Limit;
pub use sheet::{ActorKind, MAX_LABEL_BYTES, MAX_SAMPLES, Process, Sample, Sheet, Value, admitted};
pub use table::{EXITS, METRICS, Metric, MetricKind, Part, metric};
