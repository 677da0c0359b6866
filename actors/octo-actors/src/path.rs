//! Where an actor lives in the tree: `/users/alice/sessions/ses_1`.
//!
//! Paths are values of our own directory, never ractor names: a ractor name is global to the process
//! and cannot be taken again while the old incarnation is still going.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Longest path, in bytes.
pub const MAX_PATH: usize = 512;

/// An absolute path of `/`-separated segments of `A-Z a-z 0-9 _ - . : @ +`; the root is `/`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ActorPath(Arc<str>);

/// Why a string is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// Empty, an empty segment, or `.`/`..`.
    #[error("actor path {0:?} has an empty or relative segment")]
    Segment(String),
    /// A character outside the alphabet of segments.
    #[error("actor path {0:?} has a character outside A-Z a-z 0-9 _ - . : @ +")]
    Character(String),
    /// Longer than [`MAX_PATH`].
    #[error("actor path of {0} bytes is longer than {MAX_PATH}")]
    TooLong(usize),
}

impl ActorPath {
    /// The path of the root, `/`.
    #[must_use]
    pub fn root() -> Self {
        Self("/".into())
    }

    /// Parses an absolute path.
    ///
    /// # Errors
    /// When it is not absolute, has an empty segment or a character outside the alphabet, or is too long.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        if text == "/" {
            return Ok(Self::root());
        }
        let rest = text.strip_prefix('/').ok_or_else(|| PathError::Segment(clip(text)))?;
        check(rest, text.len())?;
        Ok(Self(text.into()))
    }

    /// The path of a child called `name`, which may itself have several segments (`sessions/ses_1`).
    ///
    /// # Errors
    /// As [`ActorPath::parse`].
    pub fn join(&self, name: &str) -> Result<Self, PathError> {
        let base = if self.is_root() { "" } else { &self.0 };
        check(name, base.len() + 1 + name.len())?;
        Ok(Self(format!("{base}/{name}").into()))
    }

    /// Whether this is `/`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        &*self.0 == "/"
    }

    /// Whether `self` is `prefix` or lies below it. `/users/al` is not a prefix of `/users/alice`.
    #[must_use]
    pub fn is_under(&self, prefix: &Self) -> bool {
        prefix.is_root() || self.0.strip_prefix(&*prefix.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// What remains of `self` below `prefix`, without a leading slash; `None` when it is not under it.
    #[must_use]
    pub fn below(&self, prefix: &Self) -> Option<&str> {
        if prefix.is_root() {
            return self.0.strip_prefix('/');
        }
        let rest = self.0.strip_prefix(&*prefix.0)?;
        if rest.is_empty() { Some("") } else { rest.strip_prefix('/') }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn check(segments: &str, total: usize) -> Result<(), PathError> {
    if total > MAX_PATH {
        return Err(PathError::TooLong(total));
    }
    for segment in segments.split('/') {
        if matches!(segment, "" | "." | "..") {
            return Err(PathError::Segment(clip(segments)));
        }
        if !segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.:@+".contains(&b)) {
            return Err(PathError::Character(clip(segments)));
        }
    }
    Ok(())
}

/// A rejected path may come from outside; an error names only its beginning.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ActorPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ActorPath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl std::str::FromStr for ActorPath {
    type Err = PathError;
    fn from_str(text: &str) -> Result<Self, PathError> {
        Self::parse(text)
    }
}

impl From<ActorPath> for String {
    fn from(path: ActorPath) -> Self {
        path.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_path_has_no_empty_relative_or_foreign_segments() {
        for bad in ["", "users", "//", "/a/", "/a//b", "/a/../b", "/.", "/a b", "/a\n", "/ä"] {
            assert!(ActorPath::parse(bad).is_err(), "{bad:?}");
        }
        let long = format!("/{}", "a".repeat(MAX_PATH));
        assert_eq!(ActorPath::parse(&long), Err(PathError::TooLong(MAX_PATH + 1)));
        assert!(ActorPath::root().join("sessions/ses_1").is_ok());
        assert!(ActorPath::root().join("").is_err());
    }

    #[test]
    fn a_prefix_ends_at_a_segment() {
        let alice = ActorPath::parse("/users/alice").unwrap();
        let al = ActorPath::parse("/users/al").unwrap();
        assert!(!alice.is_under(&al));
        assert!(alice.is_under(&alice) && alice.is_under(&ActorPath::root()));
        let session = alice.join("sessions/1").unwrap();
        assert_eq!(session.below(&alice), Some("sessions/1"));
        assert_eq!(session.below(&al), None);
        assert_eq!(session.below(&ActorPath::root()), Some("users/alice/sessions/1"));
    }
}
