//! An account as it is stored.

use serde::{Deserialize, Serialize};

use crate::auth::{Role, UserId};

/// An account. Its password is only here as an argon2id hash in PHC form.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
pub struct Account {
    /// Never changes.
    pub id: UserId,
    /// As the person logs in, in lower case.
    pub username: String,
    /// May be empty.
    pub email: String,
    /// As people read it.
    pub display_name: String,
    /// A picture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avatar_url: Option<String>,
    /// What it may do.
    pub role: Role,
    /// Whether it may log in.
    pub is_active: bool,
    /// PHC string.
    pub password_hash: String,
    /// Tokens of an older epoch are void.
    pub token_epoch: u64,
    /// Unix milliseconds.
    pub created_at: i64,
    /// Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login_at: Option<i64>,
    /// What the web application keeps for this account.
    #[serde(default)]
    pub settings: serde_json::Map<String, serde_json::Value>,
}

impl std::fmt::Debug for Account {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Account")
            .field("id", &self.id)
            .field("role", &self.role)
            .field("is_active", &self.is_active)
            .finish_non_exhaustive()
    }
}
