//! What octo-eavs counts, and how it tells octo: its part of [`octo_protocol::metrics`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use http::StatusCode;
use octo_actors::{Directory, ProcessUsage};
use octo_protocol::metrics::{ActorKind, Counter, Histogram, Limit, LimitHits, Part, Process, Sample, Sheet};

use crate::app::App;
use crate::limits::{MAX_COUNTED_PROVIDERS, MAX_STREAMS};
use crate::registry::RegistryError;
use crate::store::StoreError;
use crate::usage::Tokens;

/// What a provider that is not in the configuration, or one too many, is counted as.
const OTHER: &str = "other";

/// The counters of one octo-eavs.
#[derive(Debug, Default)]
pub struct Figures {
    /// How often a limit refused somebody.
    pub limits: LimitHits,
    providers: RwLock<BTreeMap<String, Arc<ProviderFigures>>>,
}

/// Those of one provider.
#[derive(Debug)]
pub struct ProviderFigures {
    requests: Counter,
    first_byte: Histogram,
    duration: Histogram,
    input: Counter,
    output: Counter,
    cache_read: Counter,
    cache_write: Counter,
    spent_nano: Counter,
    /// By code: constants of this program, so there are few.
    errors: Mutex<BTreeMap<&'static str, u64>>,
}

impl Default for ProviderFigures {
    fn default() -> Self {
        Self {
            requests: Counter::default(),
            first_byte: Histogram::of("octo_llm_first_byte_seconds"),
            duration: Histogram::of("octo_llm_duration_seconds"),
            input: Counter::default(),
            output: Counter::default(),
            cache_read: Counter::default(),
            cache_write: Counter::default(),
            spent_nano: Counter::default(),
            errors: Mutex::default(),
        }
    }
}

impl ProviderFigures {
    /// A request was let through.
    pub fn begun(&self) {
        self.requests.one();
    }

    /// The first piece of an answer's body came after `waited`.
    pub fn first_byte(&self, waited: Duration) {
        self.first_byte.observe(waited.as_secs_f64());
    }

    /// An answer has ended: how long it took, what it used.
    pub fn ended(&self, took: Duration, tokens: Tokens, nano: u64) {
        self.duration.observe(took.as_secs_f64());
        self.input.add(tokens.input);
        self.output.add(tokens.output);
        self.cache_read.add(tokens.cache_read);
        self.cache_write.add(tokens.cache_write);
        self.spent_nano.add(nano);
    }

    /// It failed, or was refused.
    pub fn failed(&self, code: &'static str) {
        *self.errors.lock().unwrap_or_else(PoisonError::into_inner).entry(code).or_default() += 1;
    }

    fn enter(&self, provider: &str, sheet: &mut Sheet) {
        sheet.counter("octo_llm_requests_total", &[provider], &self.requests);
        for (code, count) in self.errors.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            sheet.count("octo_llm_errors_total", &[provider, code], *count);
        }
        sheet.histogram("octo_llm_first_byte_seconds", &[provider], &self.first_byte);
        sheet.histogram("octo_llm_duration_seconds", &[provider], &self.duration);
        let tokens =
            [("input", &self.input), ("output", &self.output), ("cache_read", &self.cache_read), ("cache_write", &self.cache_write)];
        for (kind, count) in tokens {
            sheet.counter("octo_llm_tokens_total", &[provider, kind], count);
        }
        sheet.number("octo_llm_spend_dollars_total", &[provider], self.spent_nano.get() as f64 / 1e9);
    }
}

/// The code under which a provider's own error is counted; `None` for an answer that is none.
pub fn code_of(status: StatusCode) -> Option<&'static str> {
    match status.as_u16() {
        429 => Some("status_429"),
        400..=499 => Some("status_4xx"),
        500.. => Some("status_5xx"),
        _ => None,
    }
}

impl Figures {
    /// Those of `provider`; of one that the configuration does not know, those of all such.
    pub fn provider(&self, provider: &str, known: bool) -> Arc<ProviderFigures> {
        let name = if known { provider } else { OTHER };
        if let Some(figures) = self.providers.read().unwrap_or_else(PoisonError::into_inner).get(name) {
            return Arc::clone(figures);
        }
        let mut all = self.providers.write().unwrap_or_else(PoisonError::into_inner);
        // Reloads may bring ever new names.
        let name = if all.len() < MAX_COUNTED_PROVIDERS { name } else { OTHER };
        Arc::clone(all.entry(name.to_owned()).or_default())
    }

    /// A request was refused with this code.
    pub fn refused(&self, code: &str) {
        let limit = match code {
            "payload_too_large" => Limit::RequestBytes,
            "overloaded" => Limit::Streams,
            "too_many_streams" => Limit::StreamsPerKey,
            "budget_exceeded" => Limit::Budget,
            "rate_limit_exceeded" => Limit::RequestRate,
            _ => return,
        };
        self.limits.hit(limit);
    }

    /// A key was not taken.
    pub fn key_refused(&self, error: &RegistryError) {
        match error {
            RegistryError::Full => self.limits.hit(Limit::Keys),
            RegistryError::Store(StoreError::Full(_)) => self.limits.hit(Limit::StoreRoom),
            _ => {}
        }
    }
}

/// Everything that this octo-eavs tells.
pub fn samples(app: &App, directory: &Directory) -> Vec<Sample> {
    let (figures, mut sheet) = (&app.figures, Sheet::default());
    let ProcessUsage { cpu_seconds, resident_bytes, open_fds, max_fds } = ProcessUsage::now();
    let process = Process { started_at: app.started_at(), cpu_seconds, resident_bytes, open_fds, max_fds };
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
    sheet.limits(Part::Eavs, &figures.limits, census.iter().map(|kind| kind.busy).sum());
    sheet.count("octo_llm_requests_in_flight", &[], MAX_STREAMS.saturating_sub(app.streams.available_permits()) as u64);
    sheet.count("octo_llm_keys", &[], app.registry.count() as u64);
    for (provider, of_it) in figures.providers.read().unwrap_or_else(PoisonError::into_inner).iter() {
        of_it.enter(provider, &mut sheet);
    }
    sheet.samples()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_providers_there_were_few_are_counted_apart() {
        let figures = Figures::default();
        for n in 0..2 * MAX_COUNTED_PROVIDERS {
            figures.provider(&format!("p{n}"), true).begun();
        }
        figures.provider("whatever a client wrote", false).begun();
        let all = figures.providers.read().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(all.len(), MAX_COUNTED_PROVIDERS + 1);
        assert_eq!(all[OTHER].requests.get(), MAX_COUNTED_PROVIDERS as u64 + 1);
    }
}
