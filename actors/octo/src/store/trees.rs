//! The trees, typed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::account::Account;
use super::error::StoreError;
use super::open;
use crate::auth::{TokenId, UserId};
use crate::figures::Figures;
use octo_actors::room::Room;
use octo_protocol::metrics::Limit;

pub(super) const JWT_SECRET: &str = "jwt";
/// How long the disk may take for a flush.
const FLUSH_PATIENCE: Duration = Duration::from_secs(20);

/// The store. Clones share it; it closes, flushed, with the last one.
#[derive(Clone)]
pub struct Store {
    dir: PathBuf,
    room: Arc<Room>,
    figures: Arc<Figures>,
    db: sled::Db,
    /// User id → account.
    accounts: sled::Tree,
    /// Username → user id.
    usernames: sled::Tree,
    /// Token id → Unix seconds at which it would have expired.
    revoked: sled::Tree,
    /// `user/session` → the session's key at octo-eavs.
    provisions: sled::Tree,
    /// Name → secret.
    secrets: sled::Tree,
}

/// A session's key at octo-eavs.
#[derive(Clone, Serialize, Deserialize)]
pub struct Provisioned {
    /// The virtual key itself.
    pub secret: String,
    /// Whether it was deleted here and still has to be revoked there.
    #[serde(default)]
    pub revoking: bool,
}

impl std::fmt::Debug for Provisioned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Provisioned").field("revoking", &self.revoking).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the store in `dir`, making or migrating it.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn open(dir: &Path) -> Result<Self, StoreError> {
        let dir = dir.to_owned();
        let place = dir.clone();
        let opened = tokio::task::spawn_blocking(move || {
            crate::paths::private_dir(&place).map_err(|e| StoreError::Io(e.to_string()))?;
            open::open(&place)
        });
        let db = opened.await.map_err(|e| StoreError::Io(e.to_string()))??;
        Ok(Self {
            accounts: db.open_tree("accounts")?,
            usernames: db.open_tree("usernames")?,
            revoked: db.open_tree("revoked_tokens")?,
            provisions: db.open_tree("provisions")?,
            secrets: db.open_tree("secrets")?,
            db,
            room: Arc::new(Room::of(&dir)),
            figures: Arc::default(),
            dir,
        })
    }

    /// Counts in `figures` from here on.
    #[must_use]
    pub fn counted(self, figures: Arc<Figures>) -> Self {
        Self { figures, ..self }
    }

    /// Every tree by its name, in the order of an export.
    pub(super) fn trees(&self) -> [(&'static str, &sled::Tree); 5] {
        [
            ("accounts", &self.accounts),
            ("usernames", &self.usernames),
            ("revoked_tokens", &self.revoked),
            ("provisions", &self.provisions),
            ("secrets", &self.secrets),
        ]
    }

    /// Before every write.
    pub(super) fn room(&self) -> Result<(), StoreError> {
        if self.room.is_there() {
            return Ok(());
        }
        self.figures.limits.hit(Limit::StoreRoom);
        Err(StoreError::Full(self.dir.clone()))
    }

    /// Every account.
    ///
    /// # Errors
    /// [`StoreError::Record`].
    pub fn accounts(&self) -> Result<Vec<Account>, StoreError> {
        self.accounts.iter().values().map(|bytes| decode(&bytes?)).collect()
    }

    /// An account by its id.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn account(&self, id: &UserId) -> Result<Option<Account>, StoreError> {
        self.accounts.get(id.as_str())?.map(|bytes| decode(&bytes)).transpose()
    }

    /// An account by the name that its person logs in with.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn account_named(&self, username: &str) -> Result<Option<Account>, StoreError> {
        let Some(id) = self.usernames.get(username.to_lowercase())? else { return Ok(None) };
        let Some(bytes) = self.accounts.get(id)? else { return Ok(None) };
        decode(&bytes).map(Some)
    }

    /// Adds an account; on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError::Taken`].
    pub async fn add_account(&self, account: &Account) -> Result<(), StoreError> {
        self.room()?;
        let name = account.username.to_lowercase();
        let reserved = self.usernames.compare_and_swap(&name, None::<&[u8]>, Some(account.id.as_str().as_bytes()))?;
        if reserved.is_err() {
            return Err(StoreError::Taken(name));
        }
        let added = self.accounts.compare_and_swap(account.id.as_str(), None::<&[u8]>, Some(encode(account)?))?;
        if added.is_err() {
            self.usernames.remove(&name)?;
            return Err(StoreError::Taken(account.id.to_string()));
        }
        self.flush().await
    }

    /// Changes an account in one step, with no update lost; on the disk when this returns. `None` when there is no such account.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn update_account(&self, id: &UserId, mut change: impl FnMut(&mut Account)) -> Result<Option<Account>, StoreError> {
        const ATTEMPTS: usize = 64;
        self.room()?;
        for _ in 0..ATTEMPTS {
            let Some(old) = self.accounts.get(id.as_str())? else { return Ok(None) };
            let mut account: Account = decode(&old)?;
            change(&mut account);
            if self.accounts.compare_and_swap(id.as_str(), Some(old), Some(encode(&account)?))?.is_ok() {
                self.flush().await?;
                return Ok(Some(account));
            }
        }
        Err(StoreError::Conflict)
    }

    /// Revokes a token until `expires` (Unix seconds), when it would be void anyway; on the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn revoke_token(&self, token: &TokenId, expires: u64) -> Result<(), StoreError> {
        self.room()?;
        self.revoked.insert(token.as_str(), &expires.to_be_bytes())?;
        self.flush().await
    }

    /// Tokens revoked and not yet expired at `now` (Unix seconds); forgets the others.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revoked_tokens(&self, now: u64) -> Result<Vec<(TokenId, u64)>, StoreError> {
        let mut tokens = Vec::new();
        for entry in &self.revoked {
            let (id, expires) = entry?;
            let expires = expires.as_ref().try_into().map(u64::from_be_bytes).unwrap_or(u64::MAX);
            if expires < now {
                if self.room().is_ok() {
                    self.revoked.remove(id)?;
                }
            } else {
                tokens.push((TokenId(String::from_utf8_lossy(&id).into_owned()), expires));
            }
        }
        Ok(tokens)
    }

    /// The secret that signs tokens, made by `make` at first use.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn jwt_secret(&self, make: impl FnOnce() -> String) -> Result<SecretString, StoreError> {
        if let Some(bytes) = self.secrets.get(JWT_SECRET)? {
            return Ok(text(&bytes)?.into());
        }
        self.room()?;
        let made = make();
        self.secrets.insert(JWT_SECRET, made.as_bytes())?;
        self.flush().await?;
        Ok(made.into())
    }

    pub(super) fn secret(&self, name: &str) -> Result<Option<sled::IVec>, StoreError> {
        Ok(self.secrets.get(name)?)
    }

    /// The key of a session, if it has one.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn provision(&self, name: &str) -> Result<Option<Provisioned>, StoreError> {
        self.provisions.get(name)?.map(|bytes| decode(&bytes)).transpose()
    }

    /// Keeps the key of a session, unless it has one: the one that holds then. On the disk when this returns.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn keep_provision(&self, name: &str, provision: Provisioned) -> Result<Provisioned, StoreError> {
        if let Some(known) = self.provision(name)? {
            return Ok(known);
        }
        self.room()?;
        match self.provisions.compare_and_swap(name, None::<&[u8]>, Some(encode(&provision)?))? {
            Ok(()) => {
                self.flush().await?;
                Ok(provision)
            }
            Err(other) => other.current.map(|bytes| decode(&bytes)).transpose()?.ok_or(StoreError::Conflict),
        }
    }

    /// Writes the key of a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn set_provision(&self, name: &str, provision: &Provisioned) -> Result<(), StoreError> {
        self.room()?;
        self.provisions.insert(name, encode(provision)?)?;
        self.flush().await
    }

    /// Forgets the key of a session.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn remove_provision(&self, name: &str) -> Result<(), StoreError> {
        self.room()?;
        self.provisions.remove(name)?;
        self.flush().await
    }

    /// Names of sessions whose keys still have to be revoked.
    ///
    /// # Errors
    /// [`StoreError`].
    pub fn revoking(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for entry in &self.provisions {
            let (name, bytes) = entry?;
            if decode::<Provisioned>(&bytes)?.revoking {
                names.push(text(&name)?);
            }
        }
        Ok(names)
    }

    /// Waits until everything written is on the disk.
    ///
    /// # Errors
    /// [`StoreError::Io`].
    pub async fn flush(&self) -> Result<(), StoreError> {
        match tokio::time::timeout(FLUSH_PATIENCE, self.db.flush_async()).await {
            Ok(flushed) => flushed.map(drop).map_err(Into::into),
            Err(_) => Err(StoreError::Io(format!("the disk did not answer within {FLUSH_PATIENCE:?}"))),
        }
    }
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value).map_err(|e| StoreError::Record(e.to_string()))
}

/// The message never quotes the record, which may hold a secret.
pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(bytes).map_err(|e| StoreError::Record(format!("{:?} at {}:{}", e.classify(), e.line(), e.column())))
}

pub(super) fn text(bytes: &[u8]) -> Result<String, StoreError> {
    String::from_utf8(bytes.to_vec()).map_err(|_| StoreError::Record("not text".to_owned()))
}
