//! What is kept of a virtual key, and what it used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use time::{Date, OffsetDateTime, Time};

use crate::key::{BudgetWindow, KeyHash, KeyName, Permissions};
use crate::usage::Tokens;

/// A registered key as the store has it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Its name.
    pub name: KeyName,
    /// sha256 of its secret.
    pub key_hash: KeyHash,
    /// When it was registered.
    #[serde(with = "time::serde::rfc3339")]
    pub created_at: OffsetDateTime,
    /// From then on it is refused.
    #[serde(default, with = "time::serde::rfc3339::option")]
    pub expires_at: Option<OffsetDateTime>,
    /// What it may do.
    #[serde(default)]
    pub permissions: Permissions,
    /// The owner's own words: `user`, `session`, …
    #[serde(default)]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

/// Counters of a key. Money is counted in billionths of a US dollar.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// Requests that were let through.
    pub requests: u64,
    /// Those of them that failed at the provider or were cut.
    pub failed: u64,
    /// Those whose counts were estimated, because the answer did not tell them.
    pub estimated: u64,
    /// Those for models without a price.
    pub unpriced: u64,
    /// Uncached input tokens.
    pub input: u64,
    /// Output tokens.
    pub output: u64,
    /// Tokens read from a cache.
    pub cache_read: u64,
    /// Tokens written to a cache.
    pub cache_write: u64,
    /// Money spent in the key's life.
    pub spent_nano: u64,
    /// Money spent in the current window.
    pub window_nano: u64,
    /// Start of the current window, Unix seconds.
    pub window_start: Option<i64>,
    /// Last request, Unix seconds.
    pub last_request: Option<i64>,
    /// Reserved for requests under way, by reservation.
    pub reserved: BTreeMap<u64, u64>,
}

impl Usage {
    /// Begins a new window if the old one is over.
    pub fn roll(&mut self, window: BudgetWindow, now: OffsetDateTime) {
        let start = window_start(window, now);
        if self.window_start != start {
            // The first window of a key, or of a key whose window was changed, keeps what belongs to it by count.
            if self.window_start.is_some() || start.is_some() {
                self.window_nano = if start.is_some() { 0 } else { self.spent_nano };
            }
            self.window_start = start;
        }
    }

    /// Spent in the window and reserved.
    pub fn committed(&self) -> u64 {
        self.reserved.values().fold(self.window_nano, |sum, n| sum.saturating_add(*n))
    }

    /// Adds what a request used.
    pub fn add(&mut self, tokens: Tokens, nano: u64) {
        self.input = self.input.saturating_add(tokens.input);
        self.output = self.output.saturating_add(tokens.output);
        self.cache_read = self.cache_read.saturating_add(tokens.cache_read);
        self.cache_write = self.cache_write.saturating_add(tokens.cache_write);
        self.spent_nano = self.spent_nano.saturating_add(nano);
        self.window_nano = self.window_nano.saturating_add(nano);
    }

    /// After a crash: what was reserved counts as spent, because the provider may well have charged for it. Of `which` reservations that is so.
    pub fn recover(&mut self, which: impl Fn(u64) -> bool) -> bool {
        let open: Vec<(u64, u64)> = self.reserved.iter().map(|(id, nano)| (*id, *nano)).filter(|(id, _)| which(*id)).collect();
        for (id, nano) in &open {
            self.reserved.remove(id);
            self.add(Tokens::default(), *nano);
            self.failed += 1;
            self.estimated += u64::from(*nano > 0);
        }
        !open.is_empty()
    }

    /// As the admin interface shows it.
    pub fn view(&self) -> serde_json::Value {
        let usd = |nano: u64| nano as f64 / 1e9;
        let when =
            |seconds: Option<i64>| seconds.and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok()).and_then(|t| t.format(&Rfc3339).ok());
        serde_json::json!({
            "total_requests": self.requests,
            "failed_requests": self.failed,
            "estimated_requests": self.estimated,
            "unpriced_requests": self.unpriced,
            "total_input_tokens": self.input,
            "total_output_tokens": self.output,
            "total_cache_read_tokens": self.cache_read,
            "total_cache_write_tokens": self.cache_write,
            "total_spend_usd": usd(self.spent_nano),
            "window_spend_usd": usd(self.window_nano),
            "reserved_usd": usd(self.reserved.values().sum()),
            "window_start": when(self.window_start),
            "last_request_at": when(self.last_request),
        })
    }
}

fn window_start(window: BudgetWindow, now: OffsetDateTime) -> Option<i64> {
    let today = now.date();
    let date = match window {
        BudgetWindow::Total => return None,
        BudgetWindow::Daily => today,
        BudgetWindow::Weekly => today - time::Duration::days(i64::from(today.weekday().number_days_from_monday())),
        BudgetWindow::Monthly => Date::from_calendar_date(today.year(), today.month(), 1).unwrap_or(today),
    };
    Some(date.with_time(Time::MIDNIGHT).assume_utc().unix_timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_window_ends_and_the_total_stays() {
        let mut usage = Usage::default();
        usage.roll(BudgetWindow::Weekly, datetime!(2026-11-22 10:00 UTC));
        usage.add(Tokens::default(), 500);
        usage.roll(BudgetWindow::Weekly, datetime!(2026-11-22 23:59:59 UTC));
        assert_eq!(usage.window_nano, 500);
        usage.roll(BudgetWindow::Weekly, datetime!(2026-11-23 00:00 UTC));
        assert_eq!((usage.window_nano, usage.spent_nano), (0, 500));
        usage.roll(BudgetWindow::Total, datetime!(2026-11-23 00:00 UTC));
        assert_eq!(usage.window_nano, 500, "a total window counts the whole life");
    }

    #[test]
    fn what_was_reserved_at_a_crash_counts_as_spent() {
        let mut usage = Usage::default();
        usage.reserved.insert(1, 300);
        usage.reserved.insert(2, 400);
        assert_eq!(usage.committed(), 700);
        usage.reserved.insert(3, 0);
        assert!(usage.recover(|id| id != 2));
        assert_eq!((usage.spent_nano, usage.committed(), usage.failed, usage.estimated), (300, 700, 2, 1));
        assert!(usage.recover(|_| true));
        assert_eq!((usage.spent_nano, usage.committed(), usage.failed, usage.estimated), (700, 700, 3, 2));
        assert!(!usage.recover(|_| true));
    }
}
