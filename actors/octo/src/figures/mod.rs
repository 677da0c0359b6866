//! What octo counts, and `/metrics`: its own figures with those of its runners and of octo-eavs, for Prometheus.
//!
//! Owns the counters of one instance ([`Figures`]), the gathering over all processes ([`gather`]) and the text ([`render`]). Counting is one addition,
//! without a lock; nobody reads, nothing else is done. Labels are bounded: kinds, states and limits are constants of the program, users are accounts.
//!
//! Never: waits for a process that does not answer for longer than [`gather::ANSWERS`], wakes a user, starts a daemon, or has a global recorder.

pub mod gather;
pub mod render;

use octo_protocol::metrics::{Counter, Limit, LimitHits};
use octo_protocol::{ErrorCode, ProtocolError};
use tokio::sync::Semaphore;

use crate::auth::LoginError;
use crate::server::Full;

/// Readers of `/metrics` at once; one more is answered with 503.
pub const MAX_READERS: usize = 4;

/// Where the cursor of an attached session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CursorState {
    /// Nothing was given yet.
    Attaching,
    /// The newest messages come next.
    Resync,
    /// Between the journal and the ring.
    Joining,
    /// Reading the journal.
    Replaying,
    /// At the ring.
    Live,
    /// There is nothing more.
    Ended,
}

impl CursorState {
    /// Every state.
    pub const ALL: [Self; 6] = [Self::Attaching, Self::Resync, Self::Joining, Self::Replaying, Self::Live, Self::Ended];

    /// As it is shown.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Attaching => "attaching",
            Self::Resync => "resync",
            Self::Joining => "joining",
            Self::Replaying => "replaying",
            Self::Live => "live",
            Self::Ended => "ended",
        }
    }
}

/// A counter for each state of a cursor.
#[derive(Debug, Default)]
pub struct ByCursor([Counter; CursorState::ALL.len()]);

impl ByCursor {
    /// That of `state`.
    #[must_use]
    pub fn of(&self, state: CursorState) -> &Counter {
        &self.0[state as usize]
    }
}

/// The counters of one instance.
#[derive(Debug)]
pub struct Figures {
    /// How often a limit refused somebody.
    pub limits: LimitHits,
    /// WebSockets that were opened.
    pub connections: Counter,
    /// Frames of clients.
    pub received: Counter,
    /// Frames to clients, and their bytes.
    pub sent: Counter,
    /// See [`Figures::sent`].
    pub sent_bytes: Counter,
    /// Bytes of answers that clients have not read.
    pub outbox: Counter,
    /// Cursors, by where they stand now.
    pub cursors: ByCursor,
    /// Events written to clients, by where the cursor stood.
    pub deliveries: ByCursor,
    /// Cursors that fell out of the ring, and those that had to begin with the newest messages.
    pub replays: Counter,
    /// See [`Figures::replays`].
    pub resyncs: Counter,
    /// Events taken from runners, and their bytes.
    pub events: Counter,
    /// See [`Figures::events`].
    pub event_bytes: Counter,
    /// Places for those who read all this.
    readers: Semaphore,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            limits: LimitHits::default(),
            connections: Counter::default(),
            received: Counter::default(),
            sent: Counter::default(),
            sent_bytes: Counter::default(),
            outbox: Counter::default(),
            cursors: ByCursor::default(),
            deliveries: ByCursor::default(),
            replays: Counter::default(),
            resyncs: Counter::default(),
            events: Counter::default(),
            event_bytes: Counter::default(),
            readers: Semaphore::new(MAX_READERS),
        }
    }
}

impl Figures {
    /// Nobody was logged in.
    pub fn login_refused(&self, error: &LoginError) {
        match error {
            LoginError::TooMany(_) => self.limits.hit(Limit::Logins),
            LoginError::Busy(_) => self.limits.hit(Limit::Passwords),
            _ => {}
        }
    }

    /// Nothing of it was begun, as there is too much of it already.
    pub fn note_busy<T>(&self, limit: Limit, outcome: &Result<T, ProtocolError>) {
        if outcome.as_ref().is_err_and(|refused| refused.code == ErrorCode::Busy) {
            self.limits.hit(limit);
        }
    }

    /// A connection got no place.
    pub fn connection_refused(&self, why: &Full) {
        self.limits.hit(match why {
            Full::Server(_) => Limit::Connections,
            Full::Address(_) => Limit::ConnectionsPerAddress,
            Full::Descriptors => Limit::Descriptors,
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_state_is_written_as_its_word_and_has_its_own_counter() {
        let counters = ByCursor::default();
        for (place, state) in CursorState::ALL.into_iter().enumerate() {
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
            counters.of(state).add(place as u64);
        }
        assert!(CursorState::ALL.into_iter().all(|state| counters.of(state).get() == state as u64));
    }
}
