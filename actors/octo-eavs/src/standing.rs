//! How providers stand: which of them have refused everything lately, and why. Nothing of a request is kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use http::StatusCode;
use serde::Serialize;

use crate::dialect::Refusal;

/// A provider whose newest requests have all failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failing {
    /// Its name in the configuration.
    pub provider: String,
    /// Requests since the last that went well.
    pub requests: u64,
    /// The first of them, Unix milliseconds.
    pub since: i64,
    /// What the newest came to; no answer of the provider's is quoted.
    pub sentence: String,
}

/// Of every provider that was ever asked; their names come from the configuration, so there is no end to bound.
#[derive(Debug, Default)]
pub struct Standings(Mutex<BTreeMap<String, Failing>>);

impl Standings {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A provider has answered.
    pub fn answered(&self, provider: &str, status: StatusCode) {
        let why = match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => "the key that octo has for it is refused: give it a valid one",
            StatusCode::TOO_MANY_REQUESTS => "it takes no more requests for now: its limit, or the credit there, is used up",
            status if status.is_server_error() => "the provider itself is in trouble, or what stands at its base_url is",
            // Whatever else it says is about that one request.
            _ => {
                self.lock().remove(provider);
                return;
            }
        };
        self.note(provider, format!("answers {status}; {why}"));
    }

    /// No answer could be had of it.
    pub fn unreached(&self, provider: &str, refusal: &Refusal) {
        self.note(provider, refusal.message.clone());
    }

    fn note(&self, provider: &str, sentence: String) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let mut all = self.lock();
        let failing = all.entry(provider.to_owned()).or_insert_with(|| Failing {
            provider: provider.to_owned(),
            requests: 0,
            since,
            sentence: String::new(),
        });
        failing.requests += 1;
        failing.sentence = sentence;
    }

    /// Those that fail, in order of their names.
    #[must_use]
    pub fn failing(&self) -> Vec<Failing> {
        self.lock().values().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_fails_until_a_request_goes_well() {
        let standings = Standings::default();
        standings.answered("p", StatusCode::OK);
        standings.answered("p", StatusCode::BAD_REQUEST);
        assert!(standings.failing().is_empty());
        standings.answered("p", StatusCode::SERVICE_UNAVAILABLE);
        standings.unreached("p", &Refusal::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", "could not be reached"));
        standings.answered("q", StatusCode::UNAUTHORIZED);
        let failing = standings.failing();
        assert_eq!(failing.iter().map(|f| (f.provider.as_str(), f.requests)).collect::<Vec<_>>(), [("p", 2), ("q", 1)]);
        assert!(failing[0].sentence.contains("reached") && failing[1].sentence.contains("valid one"), "{failing:?}");
        standings.answered("p", StatusCode::OK);
        assert_eq!(standings.failing().len(), 1);
    }
}
