//! Identifiers, parsed at the edge into types that cannot be wrong.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use std::fmt;
use ts_rs::TS;

/// Longest session id, client id or runner id in bytes.
pub const MAX_ID_BYTES: usize = 128;

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} is not valid: use 1 to {MAX_ID_BYTES} characters from A-Z a-z 0-9 . _ - (and start with a letter or digit)")]
pub struct InvalidId {
    what: &'static str,
    text: String,
}

fn well_formed(text: &str) -> bool {
    let bytes = text.as_bytes();
    !bytes.is_empty()
        && bytes.len() <= MAX_ID_BYTES
        && bytes[0].is_ascii_alphanumeric()
        && bytes.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, JsonSchema, TS)]
        #[serde(transparent)]
        #[ts(type = "string")]
        pub struct $name(String);

        impl $name {
            /// Parses `text`.
            ///
            /// # Errors
            /// [`InvalidId`] when it is empty, too long, or holds another character than `[A-Za-z0-9._-]`.
            pub fn new(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                if well_formed(&text) { Ok(Self(text)) } else { Err(InvalidId { what: $what, text: shorten(text) }) }
            }

            /// The identifier as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::new(text)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// A session's id, chosen by the client and unique within its user.
    SessionId,
    "session id"
);
id!(
    /// The name of a runner; `local` unless configured.
    RunnerId,
    "runner id"
);
id!(
    /// A client's own id of an input: it makes the input idempotent, for ever.
    ClientId,
    "client id"
);
id!(
    /// The life of a journal. It changes only when a session's journal is started anew, so that `(epoch, seq)` is never given twice.
    Epoch,
    "epoch"
);

/// A client's place in a session's events: everything up to and including `seq` of `epoch` was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, TS)]
pub struct Cursor {
    pub epoch: Epoch,
    #[ts(type = "number")]
    pub seq: u64,
}

fn shorten(text: String) -> String {
    if text.chars().count() <= MAX_ID_BYTES { text } else { text.chars().take(MAX_ID_BYTES).chain("…".chars()).collect() }
}
