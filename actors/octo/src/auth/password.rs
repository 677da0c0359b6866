//! Passwords: argon2id with OWASP's parameters, on a small pool, with the same work for accounts that do not exist.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argon2::password_hash::{Output, PasswordHash, PasswordHasher, PasswordVerifier, SaltString};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::Semaphore;

/// Hashes computed at once; each takes [`MEMORY_KIB`] and a core for some tens of milliseconds.
const AT_ONCE: usize = 2;
/// Hashes that may wait; one more is refused.
const MAX_WAITING: usize = 64;
/// OWASP's first recommendation for argon2id: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;
/// Shortest password, in characters.
pub const MIN_PASSWORD_CHARS: usize = 8;
/// Longest password, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// Too many log ins wait, or hashing failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct PasswordsError(pub &'static str);

/// Hashes and verifies. Clones share one pool.
#[derive(Clone)]
pub struct Passwords(Arc<Inner>);

struct Inner {
    permits: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Of a password that nobody has.
    nobody: String,
}

impl Passwords {
    /// A pool of its own.
    ///
    /// # Errors
    /// When hashing does not work at all.
    pub fn new() -> Result<Self, PasswordsError> {
        let nobody = nobody()?;
        Ok(Self(Arc::new(Inner { permits: Arc::new(Semaphore::new(AT_ONCE)), waiting: AtomicUsize::new(0), nobody })))
    }

    /// The PHC string of a password.
    ///
    /// # Errors
    /// [`PasswordsError`] when too many wait.
    pub async fn hash(&self, password: &str) -> Result<String, PasswordsError> {
        let password = password.to_owned();
        self.run(move || hash(&password)).await?
    }

    /// Whether `password` is the one of `stored`. Without `stored` (no such account) the same work is done, and the answer is no.
    ///
    /// # Errors
    /// [`PasswordsError`] when too many wait.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<bool, PasswordsError> {
        let known = stored.is_some();
        let stored = stored.unwrap_or(&self.0.nobody).to_owned();
        let password: String = if password.len() > MAX_PASSWORD_BYTES { String::new() } else { password.to_owned() };
        let matches = self.run(move || {
            PasswordHash::new(&stored).is_ok_and(|parsed| Argon2::default().verify_password(password.as_bytes(), &parsed).is_ok())
        });
        Ok(matches.await? && known)
    }

    /// Whether a stored hash was made with other parameters than today's.
    #[must_use]
    pub fn is_outdated(stored: &str) -> bool {
        !stored.starts_with(&parameters())
    }

    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, PasswordsError> {
        struct Waiting<'a>(&'a AtomicUsize);
        impl Drop for Waiting<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
        }
        let before = self.0.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.0.waiting);
        if before >= MAX_WAITING {
            return Err(PasswordsError("too many people log in at this moment; try again in a few seconds"));
        }
        let permit = Arc::clone(&self.0.permits).acquire_owned().await.map_err(|_| PasswordsError("octo is stopping"))?;
        let done = tokio::task::spawn_blocking(move || {
            let result = work();
            // Held by the work itself: a request that goes away does not let another one in early.
            drop(permit);
            result
        });
        done.await.map_err(|_| PasswordsError("the password could not be checked; try again"))
    }
}

/// A hash that no password is known to have: a random salt and a random output. Nothing is computed for it, so that it costs a start nothing.
fn nobody() -> Result<String, PasswordsError> {
    let (salt, mut output) = (salt()?, [0u8; Params::DEFAULT_OUTPUT_LEN]);
    rand::Rng::fill(&mut rand::rng(), &mut output[..]);
    let output = Output::new(&output).map_err(|_| PasswordsError("argon2 refuses its parameters"))?;
    Ok(format!("{}{salt}${output}", parameters()))
}

/// What today's hashes begin with.
fn parameters() -> String {
    format!("$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}$")
}

fn salt() -> Result<SaltString, PasswordsError> {
    let mut salt = [0u8; 16];
    rand::Rng::fill(&mut rand::rng(), &mut salt[..]);
    SaltString::encode_b64(&salt).map_err(|_| PasswordsError("no salt could be made"))
}

fn hash(password: &str) -> Result<String, PasswordsError> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|_| PasswordsError("argon2 refuses its parameters"))?;
    let salt = salt()?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password(password.as_bytes(), &salt)
        .map(|hash| hash.to_string())
        .map_err(|_| PasswordsError("the password could not be hashed"))
}
