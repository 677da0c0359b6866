//! How the connector is started, and the handle by which a conversation goes on.

use octo_protocol::{Cursor, SessionId};
use std::fmt;

/// The variable with the bridge's token: never an argument.
pub const ENV_TOKEN: &str = "PI_BRIDGE_TOKEN";
/// The connector's program; it lies beside octo-runner.
pub const PROGRAM: &str = "pi-bridge";

/// Where a conversation stands: `SESSION/EPOCH:SEQ`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handle {
    /// The session at the bridge.
    pub session: String,
    /// Everything up to here was taken.
    pub cursor: Cursor,
}

impl Handle {
    /// Reads a handle; `None` when it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (session, place) = text.split_once('/')?;
        let (epoch, seq) = place.split_once(':')?;
        let session = SessionId::new(session).ok()?.as_str().to_owned();
        Some(Self { session, cursor: Cursor { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? } })
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}:{}", self.session, self.cursor.epoch, self.cursor.seq)
    }
}

/// Arguments of the connector to the bridge at `url`. Nothing here is secret.
#[must_use]
pub fn arguments(url: &str, resume: Option<&str>) -> Vec<String> {
    let mut arguments: Vec<String> = ["connect", "--url", url].map(str::to_owned).into();
    if let Some(Handle { session, cursor }) = resume.and_then(Handle::parse) {
        arguments.extend(["--session".to_owned(), session, "--after".to_owned(), format!("{}:{}", cursor.epoch, cursor.seq)]);
    }
    arguments
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_handle_is_what_it_was_written_as_and_the_arguments_say_it() {
        let handle = Handle::parse("oct-1/e7:42").unwrap();
        assert_eq!((handle.session.as_str(), handle.cursor.seq, handle.to_string().as_str()), ("oct-1", 42, "oct-1/e7:42"));
        for none in ["", "oct-1", "oct-1/e7", "/e7:42", "oct-1/:42", "oct-1/e7:x", "-x/e7:1", "a b/e7:1"] {
            assert_eq!(Handle::parse(none), None, "{none}");
        }
        let with = arguments("http://127.0.0.1:41824", Some("oct-1/e7:42")).join(" ");
        assert_eq!(with, "connect --url http://127.0.0.1:41824 --session oct-1 --after e7:42");
        assert_eq!(arguments("http://b", Some("")).join(" "), "connect --url http://b");
    }
}
