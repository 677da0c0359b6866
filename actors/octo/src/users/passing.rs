//! Events on their way through octo, for those who look: in from the link, in the ring, at a socket.

use octo_actors::{Listener, Listeners};
use std::sync::Arc;

/// Those who look at one session's events; one more is refused.
pub const MAX_WATCHERS: usize = 4;
/// Hops that wait for one of them; more are lost to it.
const MAX_HOPS: usize = 8192;
/// Longest name of an event that is told.
const MAX_NAME_BYTES: usize = 64;

/// What is seen of an event; times are nanoseconds of the machine's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passed {
    /// It came from the link, and then every connection could have it.
    Queued { seq: u64, event: String, received: u64, queued: u64 },
    /// A connection took it, and its socket had it.
    Written { seq: u64, connection: Arc<str>, taken: u64, written: u64 },
}

/// Where a session's events are looked at.
pub type Watchers = Arc<Listeners<Passed>>;

/// One more who looks; `None` when there are [`MAX_WATCHERS`].
#[must_use]
pub fn watch(watchers: &Watchers) -> Option<Listener<Passed>> {
    watchers.listen(MAX_WATCHERS, MAX_HOPS)
}

/// The name of an event that was found to be one: a runner writes it first.
#[must_use]
pub fn name_of(payload: &[u8]) -> String {
    let name = payload.strip_prefix(b"{\"event\":\"").and_then(|rest| rest.split(|byte| *byte == b'"').next());
    name.filter(|name| name.len() <= MAX_NAME_BYTES).map_or_else(|| "?".to_owned(), |name| String::from_utf8_lossy(name).into_owned())
}

/// Frames that a connection has taken and not written.
pub struct Taken {
    watchers: Watchers,
    seqs: Vec<u64>,
    at: u64,
}

impl Taken {
    /// Frames with these numbers, taken at `at`.
    #[must_use]
    pub fn new(watchers: Watchers, seqs: Vec<u64>, at: u64) -> Self {
        Self { watchers, seqs, at }
    }

    /// The socket of this connection has them.
    pub fn written(self, connection: &Arc<str>, written: u64) {
        for seq in self.seqs {
            self.watchers.tell(&Passed::Written { seq, connection: Arc::clone(connection), taken: self.at, written });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_an_event_is_what_its_runner_wrote_first() {
        assert_eq!(name_of(br#"{"event":"stream.text_delta","delta":"x"}"#), "stream.text_delta");
        for other in [&b"{}"[..], br#"{"a":1,"event":"x"}"#, format!(r#"{{"event":"{}"}}"#, "x".repeat(100)).as_bytes()] {
            assert_eq!(name_of(other), "?");
        }
    }
}
