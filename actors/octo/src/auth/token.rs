//! Tokens: JWT, HS256, every claim checked.

use std::time::{Duration, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::clock::Clock;
use super::principal::{Principal, Role, TokenId, UserId};
use crate::store::Account;

const ISSUER: &str = "octo";
const AUDIENCE: &str = "octo";
/// Clocks of one machine agree; a server restarted on another may be off by this much.
const LEEWAY: u64 = 5;
/// Longest token that is looked at, in bytes.
const MAX_TOKEN_BYTES: usize = 4096;

/// Why a token is not taken. All look the same from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of this server.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired; log in again")]
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: UserId,
    iss: String,
    aud: String,
    exp: u64,
    iat: u64,
    nbf: u64,
    jti: String,
    name: String,
    preferred_username: String,
    roles: Vec<Role>,
    role: Role,
    /// The account's token epoch.
    epoch: u64,
}

/// Issues and verifies tokens.
pub struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    lifetime: Duration,
    clock: Clock,
}

impl Tokens {
    /// Signs with `secret`; a token lives for `lifetime`.
    #[must_use]
    pub fn new(secret: &SecretString, lifetime: Duration, clock: Clock) -> Self {
        let secret = secret.expose_secret().as_bytes();
        Self { encoding: EncodingKey::from_secret(secret), decoding: DecodingKey::from_secret(secret), lifetime, clock }
    }

    /// How long a token lives.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A new token for an account, and what it says.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] when it cannot be signed.
    pub fn issue(&self, account: &Account) -> Result<(String, Principal), TokenError> {
        let now = self.clock.unix();
        let exp = now + self.lifetime.as_secs();
        let claims = Claims {
            sub: account.id.clone(),
            iss: ISSUER.to_owned(),
            aud: AUDIENCE.to_owned(),
            exp,
            iat: now,
            nbf: now,
            jti: super::random_hex(16),
            name: account.display_name.clone(),
            preferred_username: account.username.clone(),
            roles: vec![account.role],
            role: account.role,
            epoch: account.token_epoch,
        };
        let token = encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(|_| TokenError::Invalid)?;
        Ok((token, principal(claims)))
    }

    /// What a token says, if it is one of ours and its time is now.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str) -> Result<Principal, TokenError> {
        if token.len() > MAX_TOKEN_BYTES || !plain_header(token) {
            return Err(TokenError::Invalid);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "nbf", "iss", "aud", "sub"]);
        // Times are checked against our own clock below.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = decode::<Claims>(token, &self.decoding, &validation).map_err(|_| TokenError::Invalid)?.claims;
        let now = self.clock.unix();
        if claims.nbf > now + LEEWAY || claims.iat > now + LEEWAY || claims.roles != [claims.role] || claims.jti.is_empty() {
            return Err(TokenError::Invalid);
        }
        if claims.exp <= now {
            return Err(TokenError::Expired);
        }
        Ok(principal(claims))
    }
}

/// Only `{"typ":"JWT","alg":"HS256"}`: no `kid` to choose a key by, no `crit` that would have to be understood, no algorithm but ours.
fn plain_header(token: &str) -> bool {
    use base64::Engine;
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plain {
        typ: String,
        alg: String,
    }
    let Some((header, _)) = token.split_once('.') else { return false };
    let Ok(bytes) = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header) else { return false };
    serde_json::from_slice::<Plain>(&bytes).is_ok_and(|h| h.typ == "JWT" && h.alg == "HS256")
}

fn principal(claims: Claims) -> Principal {
    Principal {
        user_id: claims.sub,
        username: claims.preferred_username,
        role: claims.role,
        token_id: TokenId(claims.jti),
        expires_at: UNIX_EPOCH + Duration::from_secs(claims.exp),
        epoch: claims.epoch,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use base64::Engine;
    use serde_json::{Value, json};

    const SECRET: &str = "0123456789abcdefghijklmnopqrstuvwxyz";

    fn account() -> Account {
        serde_json::from_value(json!({
            "id": "admin", "username": "admin", "email": "", "display_name": "Admin", "role": "admin",
            "is_active": true, "password_hash": "", "token_epoch": 3, "created_at": 0
        }))
        .unwrap()
    }

    fn tokens(clock: &Clock) -> Tokens {
        Tokens::new(&SECRET.to_owned().into(), Duration::from_secs(3600), clock.clone())
    }

    fn b64(value: &Value) -> String {
        base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(value.to_string())
    }

    /// A token whose claims were changed by `change` and which is signed with the right key.
    fn signed(clock: &Clock, change: impl FnOnce(&mut Value)) -> String {
        let (token, _) = tokens(clock).issue(&account()).unwrap();
        let claims = token.split('.').nth(1).unwrap();
        let mut claims: Value = serde_json::from_slice(&base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        change(&mut claims);
        encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap()
    }

    #[test]
    fn a_token_says_who_it_is_for() {
        let clock = Clock::standing();
        let (token, issued) = tokens(&clock).issue(&account()).unwrap();
        let verified = tokens(&clock).verify(&token).unwrap();
        assert_eq!(verified, issued);
        assert_eq!((verified.user_id.as_str(), verified.role, verified.epoch), ("admin", Role::Admin, 3));
    }

    #[test]
    fn a_token_expires() {
        let clock = Clock::standing();
        let (token, _) = tokens(&clock).issue(&account()).unwrap();
        clock.advance(Duration::from_secs(3599));
        assert!(tokens(&clock).verify(&token).is_ok());
        clock.advance(Duration::from_secs(1));
        assert_eq!(tokens(&clock).verify(&token), Err(TokenError::Expired));
    }

    #[test]
    fn a_claim_that_is_wrong_or_missing_is_refused() {
        let clock = Clock::standing();
        assert!(tokens(&clock).verify(&signed(&clock, |_| ())).is_ok());
        for name in ["sub", "iss", "aud", "exp", "iat", "nbf", "jti", "role", "roles", "epoch"] {
            let token = signed(&clock, |c| drop(c.as_object_mut().unwrap().remove(name)));
            assert_eq!(tokens(&clock).verify(&token), Err(TokenError::Invalid), "without {name}");
        }
        let now = clock.unix();
        for (name, value) in [
            ("iss", json!("workspace-backend")),
            ("aud", json!("other")),
            ("sub", json!("../root")),
            ("nbf", json!(now + 60)),
            ("iat", json!(now + 60)),
            ("exp", json!("never")),
            ("jti", json!("")),
            ("role", json!("owner")),
            ("roles", json!(["user"])),
        ] {
            let token = signed(&clock, |c| c[name] = value.clone());
            assert_eq!(tokens(&clock).verify(&token), Err(TokenError::Invalid), "{name} = {value}");
        }
    }

    #[test]
    fn a_token_with_another_header_or_signature_is_refused() {
        let clock = Clock::standing();
        let (token, _) = tokens(&clock).issue(&account()).unwrap();
        let parts: Vec<&str> = token.split('.').collect();
        let [_, claims, signature] = parts[..] else { panic!("three parts") };
        for header in [
            json!({"typ": "JWT", "alg": "none"}),
            json!({"typ": "JWT", "alg": "None"}),
            json!({"typ": "JWT", "alg": "HS384"}),
            json!({"typ": "JWT", "alg": "RS256"}),
            json!({"typ": "JWT", "alg": "HS256", "kid": "../../dev/null"}),
            json!({"typ": "JWT", "alg": "HS256", "crit": ["exp"]}),
            json!({"typ": "at+jwt", "alg": "HS256"}),
            json!({"alg": "HS256"}),
        ] {
            for end in [signature, ""] {
                let forged = format!("{}.{claims}.{end}", b64(&header));
                assert_eq!(tokens(&clock).verify(&forged), Err(TokenError::Invalid), "{header} with {end:?}");
            }
            let mut head = Header::new(Algorithm::HS256);
            head.kid = header.get("kid").and_then(Value::as_str).map(str::to_owned);
            if head.kid.is_some() {
                let claims: Value = json!({});
                let resigned = encode(&head, &claims, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
                assert_eq!(tokens(&clock).verify(&resigned), Err(TokenError::Invalid));
            }
        }
        let other = Tokens::new(&"another secret, as long as the first".to_owned().into(), Duration::from_secs(60), clock.clone());
        assert_eq!(other.verify(&token), Err(TokenError::Invalid));
        for garbage in ["", ".", "..", "a.b.c", &token[1..], &token[..token.len() - 2], &"x".repeat(1 << 20)] {
            assert_eq!(tokens(&clock).verify(garbage), Err(TokenError::Invalid));
        }
    }
}
