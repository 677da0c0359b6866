//! Times: when, for how long, how much.

use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;
use time::macros::format_description;

/// Now, Unix milliseconds.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// How long ago, of Unix milliseconds: `41s`, `12m`, `3h`, `9d`.
pub fn age(unix_ms: i64) -> String {
    span(now_ms().saturating_sub(unix_ms).max(0).unsigned_abs() / 1000)
}

fn span(seconds: u64) -> String {
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// When, of Unix milliseconds: `2026-11-30 08:15:00Z`.
pub fn at(unix_ms: i64) -> String {
    let when = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    when.format(format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z")).unwrap_or_default()
}

/// Microseconds, short: `12µs`, `3.4ms`, `1.2s`.
pub fn micros(us: u64) -> String {
    match us {
        0..=999 => format!("{us}µs"),
        1000..=999_999 => format!("{}.{}ms", us / 1000, us % 1000 / 100),
        _ => format!("{}.{}s", us / 1_000_000, us % 1_000_000 / 100_000),
    }
}

/// Milliseconds, short.
pub fn millis(ms: u64) -> String {
    micros(ms.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short_and_right() {
        assert_eq!(
            (span(0), span(119), span(120), span(7200), span(172_800)),
            ("0s".into(), "119s".into(), "2m".into(), "2h".into(), "2d".into())
        );
        assert_eq!((micros(7), micros(1_250), micros(2_340_000)), ("7µs".into(), "1.2ms".into(), "2.3s".into()));
        assert_eq!(at(1_795_365_176_228), "2026-11-22 16:32:56Z");
    }
}
