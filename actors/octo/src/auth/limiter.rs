//! Guessing passwords is slow: a limit for each account and address, and one for each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};

use super::clock::Clock;
use crate::server::network;

/// Failures in a row for one account from one address, and the time that gives one back.
const ACCOUNT_BURST: NonZeroU32 = NonZeroU32::new(5).unwrap();
const ACCOUNT_PERIOD: Duration = Duration::from_secs(30);
/// Attempts in a row from one address, and the time that gives one back.
const ADDRESS_BURST: NonZeroU32 = NonZeroU32::new(60).unwrap();
const ADDRESS_PERIOD: Duration = Duration::from_secs(1);
/// Pairs and addresses that are remembered; beyond that new ones wait, known ones are not affected.
const MAX_KEYS: usize = 20_000;

type Limiter = RateLimiter<NotKeyed, InMemoryState, Clock, NoOpMiddleware<Nanos>>;

/// Limits log ins.
pub struct LoginLimiter {
    clock: Clock,
    limits: Mutex<HashMap<Key, (Limiter, Nanos)>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Key {
    Pair(String, IpAddr),
    Address(IpAddr),
}

impl LoginLimiter {
    /// Nobody has tried yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self { clock, limits: Mutex::default() }
    }

    /// Counts an attempt.
    ///
    /// # Errors
    /// How long to wait.
    pub fn attempt(&self, username: &str, address: IpAddr) -> Result<(), Duration> {
        let address = network(address);
        self.count(Key::Address(address), ADDRESS_BURST, ADDRESS_PERIOD)?;
        self.count(pair(username, address), ACCOUNT_BURST, ACCOUNT_PERIOD)
    }

    /// The attempt was right: the person starts anew.
    pub fn succeeded(&self, username: &str, address: IpAddr) {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        limits.remove(&pair(username, network(address)));
    }

    fn count(&self, key: Key, burst: NonZeroU32, period: Duration) -> Result<(), Duration> {
        let mut limits = self.limits.lock().unwrap_or_else(PoisonError::into_inner);
        let now = governor::clock::Clock::now(&self.clock);
        if limits.len() >= MAX_KEYS && !limits.contains_key(&key) {
            // After this long every limit is whole again, so forgetting it changes nothing.
            let whole = Nanos::from(ACCOUNT_PERIOD * (ACCOUNT_BURST.get() + 1));
            limits.retain(|_, (_, last)| now.as_u64().saturating_sub(last.as_u64()) < whole.as_u64());
            if limits.len() >= MAX_KEYS {
                return Err(ACCOUNT_PERIOD);
            }
        }
        let (limiter, last) = limits.entry(key).or_insert_with(|| {
            let quota = Quota::with_period(period).unwrap_or(Quota::per_second(burst)).allow_burst(burst);
            (RateLimiter::direct_with_clock(quota, self.clock.clone()), now)
        });
        *last = now;
        limiter.check().map_err(|not_until| not_until.wait_time_from(self.clock.now_nanos()))
    }
}

impl Clock {
    fn now_nanos(&self) -> Nanos {
        governor::clock::Clock::now(self)
    }
}

fn pair(username: &str, address: IpAddr) -> Key {
    Key::Pair(username.to_lowercase().chars().take(128).collect(), address)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn five_wrong_guesses_and_then_one_every_half_minute() {
        let clock = Clock::standing();
        let limiter = LoginLimiter::new(clock.clone());
        let (here, there): (IpAddr, IpAddr) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        for _ in 0..5 {
            limiter.attempt("Alice", here).unwrap();
        }
        let wait = limiter.attempt("alice", here).unwrap_err();
        assert!(wait <= ACCOUNT_PERIOD && wait > Duration::ZERO, "{wait:?}");
        limiter.attempt("bob", here).unwrap();
        limiter.attempt("alice", there).unwrap();
        clock.advance(ACCOUNT_PERIOD);
        limiter.attempt("alice", here).unwrap();
        assert!(limiter.attempt("alice", here).is_err());
    }

    #[test]
    fn a_right_guess_starts_anew() {
        let limiter = LoginLimiter::new(Clock::standing());
        let here: IpAddr = "::1".parse().unwrap();
        for _ in 0..20 {
            limiter.attempt("alice", here).unwrap();
            limiter.succeeded("alice", here);
        }
    }

    #[test]
    fn one_address_cannot_try_many_accounts() {
        let limiter = LoginLimiter::new(Clock::standing());
        let mut network = (0u16..).map(|n| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]));
        let tried = (0..100).filter(|n| limiter.attempt(&format!("user{n}"), network.next().unwrap()).is_ok()).count();
        assert_eq!(tried, 60);
    }
}
