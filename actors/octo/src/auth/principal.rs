//! Accounts as the rest of octo sees them: the id of a user, a role, a principal.

use std::fmt;
use std::time::{Duration, SystemTime};

use octo_protocol::link;
use serde::{Deserialize, Deserializer, Serialize};

/// Longest user id; it becomes part of file and socket names and, in multi-user mode, of a Linux name.
pub const MAX_USER_ID_BYTES: usize = 32;

/// What those are called who come through the admin socket.
const OPERATOR: &str = "operator";
/// What those are called who show the token for reading figures.
const MONITOR: &str = "monitor";
/// Longer than any request.
const OPERATOR_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Why a text is not a user id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a user id: it has 1 to {MAX_USER_ID_BYTES} characters of a-z 0-9 _ - and starts with a letter")]
pub struct InvalidUserId(String);

/// The id of an octo user: `[a-z][a-z0-9_-]{0,31}`, safe as a file name and as an argument.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

impl UserId {
    /// Parses `text`.
    ///
    /// # Errors
    /// [`InvalidUserId`].
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidUserId> {
        let text = text.into();
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
        if first && text.len() <= MAX_USER_ID_BYTES && text.bytes().all(good) {
            Ok(Self(text))
        } else {
            Err(InvalidUserId(text.chars().take(MAX_USER_ID_BYTES * 2).collect()))
        }
    }

    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What an account may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Its own things.
    User,
    /// Everything.
    Admin,
    /// To read what octo counts, and nothing else. No account has it: only who shows `server.metrics_token`.
    #[serde(skip)]
    Monitor,
}

impl Role {
    /// The role as it stands in tokens and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Admin => "admin",
            Self::Monitor => "monitor",
        }
    }
}

/// The id of one token (`jti`): what a log out revokes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TokenId(pub(crate) String);

impl TokenId {
    /// The id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// An authenticated account, as of the moment it was authenticated; [`super::Live`] tells when that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// Whose things these are.
    pub user_id: UserId,
    /// As the person logs in.
    pub username: String,
    /// What the account may do.
    pub role: Role,
    /// The token that was shown.
    pub token_id: TokenId,
    /// When the token expires.
    pub expires_at: SystemTime,
    /// The account's token epoch; a password change or role change leaves older ones behind.
    pub epoch: u64,
}

impl Principal {
    /// Whether the account is an admin.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.role == Role::Admin
    }

    /// Whoever comes through the admin socket and may: no account, so nothing can be revoked; the right ends with the connection.
    #[must_use]
    pub(super) fn operator() -> Option<Self> {
        Self::without_account(OPERATOR, Role::Admin)
    }

    /// Whoever shows the token for reading figures.
    #[must_use]
    pub(super) fn monitor() -> Option<Self> {
        Self::without_account(MONITOR, Role::Monitor)
    }

    /// Whether an account stands behind it, which may change or go.
    #[must_use]
    pub(super) fn has_account(&self) -> bool {
        ![OPERATOR, MONITOR].contains(&self.token_id.as_str())
    }

    fn without_account(name: &str, role: Role) -> Option<Self> {
        Some(Self {
            user_id: UserId::new(name).ok()?,
            username: name.to_owned(),
            role,
            token_id: TokenId(name.to_owned()),
            expires_at: SystemTime::now() + OPERATOR_LIFETIME,
            epoch: 0,
        })
    }

    /// As a runner's link names it, when this principal acts on the things of `user`.
    #[must_use]
    pub fn on_behalf_of(&self, user: &UserId) -> link::Principal {
        link::Principal { user: user.to_string(), actor: self.user_id.to_string() }
    }
}
