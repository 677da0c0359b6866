//! Virtual keys: their secret, their name, what they may do.

use std::fmt;

use rand::TryRngCore;
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::limits::MAX_KEY_NAME_BYTES;

/// What every virtual key starts with.
pub const KEY_PREFIX: &str = "eavs-";
const SECRET_CHARS: usize = 32;
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Why a key or its name is not one.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The name is empty, too long, or holds a character that names do not have.
    #[error("a key's name has 1 to {MAX_KEY_NAME_BYTES} characters of A-Z a-z 0-9 . _ ~ / -; {0:?} is not one")]
    Name(String),
    /// Not 64 lower-case hexadecimal digits.
    #[error("a key's hash is its sha256 in 64 hexadecimal digits")]
    Hash,
    /// The operating system gave no randomness.
    #[error("the operating system gave no random bytes for a new key: {0}")]
    Random(String),
}

/// The secret of a virtual key: `eavs-` and 32 characters of base62, from the operating system's randomness.
///
/// It is never written down here; the store has its [`KeyHash`].
pub struct VirtualKey(String);

impl VirtualKey {
    /// Makes a new one.
    pub fn generate() -> Result<Self, KeyError> {
        let mut text = String::with_capacity(KEY_PREFIX.len() + SECRET_CHARS);
        text.push_str(KEY_PREFIX);
        let mut bytes = [0u8; 64];
        while text.len() < KEY_PREFIX.len() + SECRET_CHARS {
            rand::rngs::OsRng.try_fill_bytes(&mut bytes).map_err(|e| KeyError::Random(e.to_string()))?;
            // 248 is the largest multiple of 62 in a byte: above it the first letters would be likelier.
            for byte in bytes.iter().filter(|b| **b < 248) {
                if text.len() < KEY_PREFIX.len() + SECRET_CHARS {
                    text.push(char::from(ALPHABET[usize::from(byte % 62)]));
                }
            }
        }
        Ok(Self(text))
    }

    /// The secret itself, for the one who asked for the key.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// What the store keeps of it.
    pub fn hash(&self) -> KeyHash {
        KeyHash::of(&self.0)
    }
}

impl fmt::Debug for VirtualKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VirtualKey(…)")
    }
}

/// The sha256 of a virtual key. Keys are found by it, so nothing compares secrets byte by byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// Hashes a presented secret.
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut bytes = [0u8; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| KeyError::Hash)?;
        Ok(Self(bytes))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl Serialize for KeyHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for KeyHash {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// The name a key is registered and revoked by, for example `session/ses_1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct KeyName(String);

impl KeyName {
    /// Checks a name.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let good = |b: u8| b.is_ascii_alphanumeric() || b"._~/-".contains(&b);
        if text.is_empty() || text.len() > MAX_KEY_NAME_BYTES || !text.bytes().all(good) {
            return Err(KeyError::Name(text.chars().take(80).collect()));
        }
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// The time over which a budget is counted, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BudgetWindow {
    /// The key's whole life.
    #[default]
    Total,
    /// Since midnight.
    Daily,
    /// Since Monday.
    Weekly,
    /// Since the first of the month.
    Monthly,
}

/// What a key may do. Absent means: not limited.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Model ids, with `*` for any run of characters; others are refused with 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_models: Option<Vec<String>>,
    /// Model ids that are refused even when allowed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_models: Option<Vec<String>>,
    /// Provider names; others are refused with 403.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_providers: Option<Vec<String>>,
    /// Requests per minute, in a bucket of that size.
    #[serde(default, alias = "rpm_limit", skip_serializing_if = "Option::is_none")]
    pub rpm: Option<u32>,
    /// US dollars per window; when they are spent or reserved, requests are refused with 429.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<f64>,
    /// The window of the budget.
    #[serde(default)]
    pub budget_window: BudgetWindow,
}

impl Permissions {
    /// Whether the provider is open to the key.
    pub fn allows_provider(&self, provider: &str) -> bool {
        self.allowed_providers.as_ref().is_none_or(|list| list.iter().any(|p| glob(p, provider)))
    }

    /// Whether the model is open to the key. A pattern may be given as `provider/model` as well.
    pub fn allows_model(&self, provider: &str, model: &str) -> bool {
        let full = format!("{provider}/{model}");
        let hit = |list: &Vec<String>| list.iter().any(|p| glob(p, model) || glob(p, &full));
        !self.blocked_models.as_ref().is_some_and(hit) && self.allowed_models.as_ref().is_none_or(hit)
    }

    /// Whether a request's body has to be known before it is forwarded.
    pub fn reads_body(&self) -> bool {
        self.limits_models() || self.max_budget_usd.is_some()
    }

    /// Whether the key is bound to certain models.
    pub fn limits_models(&self) -> bool {
        self.allowed_models.is_some() || self.blocked_models.is_some()
    }
}

/// `*` stands for any run of characters; everything else for itself, without regard to case.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_ascii_lowercase(), text.to_ascii_lowercase());
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_new_key_has_its_shape_and_is_never_the_same() {
        let (a, b) = (VirtualKey::generate().unwrap(), VirtualKey::generate().unwrap());
        assert_ne!(a.reveal(), b.reveal());
        let secret = a.reveal().strip_prefix("eavs-").unwrap();
        assert_eq!(secret.len(), 32);
        assert!(secret.bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(format!("{a:?}"), "VirtualKey(…)");
        assert_eq!(KeyHash::parse(&a.hash().to_string()).unwrap(), KeyHash::of(a.reveal()));
    }

    #[test]
    fn names_hold_only_what_a_url_segment_can_carry() {
        for good in ["a", "session/ses_1", "A.b~c-d_9", &"x".repeat(200)] {
            assert!(KeyName::parse(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "ä", "a%2f", "a\n", &"x".repeat(201)] {
            assert!(KeyName::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_blocked_model_is_refused_even_when_allowed() {
        let p = Permissions {
            allowed_models: Some(vec!["claude-*".into(), "openai/gpt-*-mini".into()]),
            blocked_models: Some(vec!["*opus*".into()]),
            ..Permissions::default()
        };
        assert!(p.allows_model("anthropic", "Claude-Sonnet-4-5"));
        assert!(!p.allows_model("anthropic", "claude-opus-4-5"));
        assert!(p.allows_model("openai", "gpt-5-mini"));
        assert!(!p.allows_model("other", "gpt-5-mini"));
        assert!(!p.allows_model("openai", "gpt-5"));
        assert!(!p.allows_model("anthropic", ""));
    }
}
