//! Every limit of the proxy, named once, with what happens when it is reached.

use std::time::Duration;

/// Largest request body that is forwarded; a larger one is refused with 413.
pub const BODY_LIMIT_BYTES: usize = 32 * 1024 * 1024;

/// How much of a refused body is still read (and thrown away), so that a client that writes first sees the refusal.
pub const REFUSED_BODY_DRAIN_BYTES: usize = 96 * 1024 * 1024;

/// How long a refused body is read at most.
pub const REFUSED_BODY_DRAIN_TIME: Duration = Duration::from_secs(10);

/// Largest body of an admin request; larger is refused with 413.
pub const ADMIN_BODY_LIMIT_BYTES: usize = 1024 * 1024;

/// Requests under way at one time, over all keys; more are refused with 503 and a `retry-after`.
pub const MAX_STREAMS: usize = 1024;

/// Requests under way at one time with one key; more are refused with 429.
pub const MAX_STREAMS_PER_KEY: u32 = 64;

/// Open connections of one listener; the next one waits in the kernel's backlog.
pub const MAX_CONNECTIONS: usize = 2048;

/// Time a client may take to send its request head.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two pieces of a request body before it is given up with 408.
pub const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest line of a stream that usage is read from; a longer one is passed on and not looked at.
pub const USAGE_LINE_BYTES: usize = 4 * 1024 * 1024;

/// Largest non-streamed answer that usage is read from; a larger one is passed on and its usage estimated.
pub const USAGE_BODY_BYTES: usize = 16 * 1024 * 1024;

/// How much of an error answer is held to look for a provider key in it.
pub const ERROR_BODY_BYTES: usize = 1024 * 1024;

/// How long a question whether this octo-eavs ends stays unanswered while it does not.
pub const ATTENTION: Duration = Duration::from_secs(10);

/// Spans of requests that wait for octo; one more is lost, and counted.
pub const MAX_SPANS: usize = 4096;

/// Spans in one answer; the rest comes with the next.
pub const MAX_SPANS_AT_ONCE: usize = 512;

/// Spans are recorded for so long after somebody has asked for some.
pub const SPANS_WANTED_FOR: Duration = Duration::from_secs(60);

/// Virtual keys in the store; a further one is refused with 507.
pub const MAX_KEYS: usize = 100_000;

/// Providers whose requests are counted apart; those of further ones are counted together.
pub const MAX_COUNTED_PROVIDERS: usize = 64;

/// Longest name of a virtual key, in bytes.
pub const MAX_KEY_NAME_BYTES: usize = 200;

/// Time that the streams under way get at the end (SIGTERM) unless told otherwise.
pub const DRAIN_TIME: Duration = Duration::from_secs(600);

/// Deadlines towards a provider. `[eavs]` in the configuration may change them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// From the start of connecting to a connection, TLS included.
    pub connect: Duration,
    /// From sending the request to the head of the answer. Long, because an answer that is not streamed has thought first.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), first_byte: Duration::from_secs(600), idle: Duration::from_secs(300) }
    }
}
