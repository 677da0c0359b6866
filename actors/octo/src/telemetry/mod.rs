//! Traces of turns, exported over OTLP.
//!
//! Owns: the trace context that every input gets ([`InputTrace`]), octo's own spans, those that it fetches from runners and from octo-eavs ([`gather`]), and
//! the actor `/telemetry` that sends them to the operator's collector ([`Exporter`]).
//!
//! Promises: an input has a context whether or not anything is exported; without a collector in the configuration nothing is recorded anywhere, because the
//! context says so; what waits is bounded, what is lost is counted and said; a collector that is away, slow or wrong costs octo nothing but that.
//!
//! Never: puts what somebody wrote into a span, or sets anything global.

mod exporter;
mod gather;
mod hop;
mod input;
mod otlp;

pub(crate) use exporter::KIND as TELEMETRY;
pub use exporter::{Args, BuildError, Exporter};
pub(crate) use gather::{of_eavs, of_runner};
pub use hop::{Hop, Hops};
pub use input::InputTrace;
pub use otlp::{Component, request};

use crate::config::TelemetrySettings;
use octo_actors::LossyQueue;
use octo_protocol::trace::{Span, TraceId};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Finished spans that wait for the collector; one more is lost, and counted.
pub const MAX_WAITING: usize = 16_384;
/// How long a stop waits for what the collector has not got yet.
pub const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The telemetry of one instance; off unless the configuration names a collector. Clones share it.
#[derive(Clone, Default)]
pub struct Telemetry(Option<Arc<Shared>>);

pub(crate) struct Shared {
    settings: TelemetrySettings,
    /// Names this instance to the collector.
    instance: String,
    waiting: LossyQueue<(Component, Span)>,
    tally: Tally,
    /// There will be no more: send what there is, once.
    flush: CancellationToken,
    flushed: CancellationToken,
}

/// What became of spans.
#[derive(Default)]
struct Tally {
    exported: AtomicU64,
    /// Lost here, in a runner, or in octo-eavs, because nobody took them in time.
    lost: AtomicU64,
    /// The collector did not want them.
    rejected: AtomicU64,
    /// Why the collector took nothing the last time; nothing while all is well.
    failing: Mutex<Option<String>>,
}

impl Tally {
    fn failing(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.failing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Telemetry {
    /// As configured, for the instance of this name.
    #[must_use]
    pub fn new(settings: Option<TelemetrySettings>, instance: &str) -> Self {
        Self(settings.map(|settings| {
            Arc::new(Shared {
                settings,
                instance: instance.to_owned(),
                waiting: LossyQueue::new(MAX_WAITING),
                tally: Tally::default(),
                flush: CancellationToken::new(),
                flushed: CancellationToken::new(),
            })
        }))
    }

    /// One that records nothing.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// Whether anything is recorded.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.0.clone()
    }

    /// Takes a finished span of octo's own.
    pub fn record(&self, span: Span) {
        self.take(Component::Octo, span);
    }

    fn take(&self, component: Component, mut span: Span) {
        if let Some(shared) = &self.0 {
            span.bound();
            shared.waiting.push((component, span));
        }
    }

    fn lost(&self, lost: u64) {
        if let Some(shared) = self.0.as_ref().filter(|_| lost > 0) {
            shared.waiting.lost(lost);
        }
    }

    /// Whether a new trace is recorded: by its id, so that everybody who knows it decides alike.
    fn samples(&self, trace: &TraceId) -> bool {
        let Some(shared) = &self.0 else { return false };
        let [.., a, b, c, d, e, f, g, h] = *trace.bytes();
        let part = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 11;
        // 53 bits are a float's own.
        (part as f64) < shared.settings.sample_ratio * (1u64 << 53) as f64
    }

    /// Sends what waits, for a moment; what the collector has not got then is lost.
    pub async fn flush(&self) {
        let Some(shared) = &self.0 else { return };
        shared.flush.cancel();
        if tokio::time::timeout(FLUSH_WITHIN, shared.flushed.cancelled()).await.is_err() {
            tracing::warn!(spans = shared.waiting.len(), "the collector did not take the last spans in time; they are lost");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with_ratio(sample_ratio: f64) -> Telemetry {
        let endpoint = "http://127.0.0.1:4318/v1/traces".parse().unwrap();
        Telemetry::new(Some(TelemetrySettings { endpoint, headers: Vec::new(), sample_ratio, service_name: "octo".into() }), "i")
    }

    #[test]
    fn a_part_of_all_traces_is_recorded_and_the_same_part_by_everybody() {
        let traces: Vec<TraceId> = (0..2000).map(|_| TraceId::drawn(rand::random)).collect();
        let sampled = |ratio| {
            let telemetry = with_ratio(ratio);
            traces.iter().filter(|trace| telemetry.samples(trace)).count()
        };
        assert_eq!((sampled(0.0), sampled(1.0)), (0, 2000));
        assert!((800..1200).contains(&sampled(0.5)), "{}", sampled(0.5));
        let (few, many) = (with_ratio(0.2), with_ratio(0.7));
        assert!(traces.iter().all(|trace| !few.samples(trace) || many.samples(trace)));
        assert!(!Telemetry::off().samples(&traces[0]));
    }
}
