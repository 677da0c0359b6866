//! Accounts: log in, log out, a new password, the first admin.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

use octo_protocol::admin::{Imported, StoreEntry};

use super::authenticator::Authenticator;
use super::clock::Clock;
use super::initial::{InitialAdmin, USERNAME};
use super::limiter::LoginLimiter;
use super::password::{MAX_PASSWORD_BYTES, MIN_PASSWORD_CHARS, Passwords, PasswordsError};
use super::principal::{Principal, Role, TokenId, UserId};
use crate::store::{Account, Store, StoreError};

/// Log outs that may wait for room on the disk.
const MAX_UNWRITTEN: usize = 1024;
/// How often it is looked whether there is room for them.
const WRITE_AGAIN: Duration = Duration::from_secs(1);

/// Why somebody is not logged in.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// The same for an unknown account, a wrong password and an inactive account.
    #[error("user name or password is wrong")]
    Wrong,
    /// Too many attempts.
    #[error("too many attempts; try again in {} seconds", .0.as_secs().max(1))]
    TooMany(Duration),
    /// Too much work waits.
    #[error(transparent)]
    Busy(#[from] PasswordsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No token could be made.
    #[error("no token could be made")]
    Token,
}

/// Why a password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The present one is wrong, or too many tries.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The new one will not do.
    #[error("{0}")]
    Unfit(String),
}

/// Somebody who just logged in.
#[derive(Debug)]
pub struct LoggedIn {
    /// The token, for the cookie and for programs.
    pub token: String,
    /// What it says.
    pub principal: Principal,
    /// Who it is.
    pub account: Account,
}

/// The accounts of an instance. Clones share one state.
#[derive(Clone)]
pub struct Accounts(Arc<Inner>);

struct Inner {
    store: Store,
    passwords: Passwords,
    auth: Authenticator,
    limiter: LoginLimiter,
    /// Log outs that found no room on the disk, until they do.
    unwritten: Mutex<Vec<(TokenId, u64)>>,
    clock: Clock,
    initial_admin: PathBuf,
}

impl Accounts {
    /// Puts the parts together.
    #[must_use]
    pub fn new(store: Store, passwords: Passwords, auth: Authenticator, clock: Clock, initial_admin: PathBuf) -> Self {
        Self(Arc::new(Inner {
            limiter: LoginLimiter::new(clock.clone()),
            store,
            passwords,
            auth,
            unwritten: Mutex::default(),
            clock,
            initial_admin,
        }))
    }

    /// Makes the first admin when there is no account at all.
    ///
    /// # Errors
    /// The store, or a file that cannot be written.
    pub async fn ensure_admin(&self) -> Result<Option<InitialAdmin>, LoginError> {
        if !self.0.store.accounts()?.is_empty() {
            return Ok(None);
        }
        // The file first: an account whose password nobody ever saw would lock everybody out.
        let made =
            InitialAdmin::make(&self.0.initial_admin).map_err(|e| StoreError::Io(format!("{}: {e}", self.0.initial_admin.display())))?;
        let account = Account {
            id: UserId::new(USERNAME).map_err(|_| LoginError::Token)?,
            username: USERNAME.to_owned(),
            email: String::new(),
            display_name: "Admin".to_owned(),
            avatar_url: None,
            role: Role::Admin,
            is_active: true,
            password_hash: self.0.passwords.hash(&made.password).await?,
            token_epoch: 0,
            created_at: self.0.clock.unix_ms(),
            last_login_at: None,
            settings: serde_json::Map::new(),
        };
        self.add(&account).await?;
        Ok(Some(made))
    }

    /// Adds an account.
    ///
    /// # Errors
    /// The store.
    pub async fn add(&self, account: &Account) -> Result<(), StoreError> {
        self.0.store.add_account(account).await?;
        self.0.auth.revocations().set_account(account);
        Ok(())
    }

    /// The account of a principal.
    ///
    /// # Errors
    /// The store.
    pub fn get(&self, id: &UserId) -> Result<Option<Account>, StoreError> {
        self.0.store.account(id)
    }

    /// Changes an account in one step; its tokens follow its role and state within the call.
    ///
    /// # Errors
    /// The store.
    pub async fn update(&self, id: &UserId, change: impl FnMut(&mut Account)) -> Result<Option<Account>, StoreError> {
        let account = self.0.store.update_account(id, change).await?;
        if let Some(account) = &account {
            self.0.auth.revocations().set_account(account);
        }
        Ok(account)
    }

    /// Puts an exported store in the place of everything there is. Log ins of accounts that are not as they were end with it.
    ///
    /// # Errors
    /// [`StoreError::Record`] when it is no store of octo's: nothing was changed then.
    pub async fn import(&self, entries: Vec<StoreEntry>) -> Result<Imported, StoreError> {
        let imported = self.0.store.import(entries).await?;
        let revoked = self.0.store.revoked_tokens(self.0.clock.unix())?;
        self.0.auth.revocations().replace(revoked, &self.0.store.accounts()?);
        Ok(imported)
    }

    /// Logs in. Takes the same time and says the same for an unknown account as for a wrong password.
    ///
    /// # Errors
    /// [`LoginError`].
    pub async fn login(&self, username: &str, password: &str, address: IpAddr) -> Result<LoggedIn, LoginError> {
        let username = username.trim();
        self.0.limiter.attempt(username, address).map_err(LoginError::TooMany)?;
        let account = self.0.store.account_named(username)?;
        let right = self.0.passwords.verify(password, account.as_ref().map(|a| a.password_hash.as_str())).await?;
        let account = account.filter(|a| right && a.is_active).ok_or(LoginError::Wrong)?;
        self.0.limiter.succeeded(username, address);
        let rehashed = if Passwords::is_outdated(&account.password_hash) { Some(self.0.passwords.hash(password).await?) } else { None };
        let now = self.0.clock.unix_ms();
        let updated = self.update(&account.id, |a| {
            a.last_login_at = Some(now);
            if let Some(hash) = &rehashed
                && a.password_hash == account.password_hash
            {
                a.password_hash.clone_from(hash);
            }
        });
        let account = match updated.await {
            Ok(updated) => updated.ok_or(LoginError::Wrong)?,
            // Whoever has to make room has to get in; only the time of this login is lost.
            Err(StoreError::Full(_)) => account,
            Err(error) => return Err(error.into()),
        };
        self.issue(account)
    }

    /// Revokes the principal's token; live connections that use it end at once. On a full disk it is written down as soon as there is room: asking
    /// again would not help, as a void token is nobody's.
    ///
    /// # Errors
    /// The store; `Full` when too many wait for room already. The token is void all the same, until a restart.
    pub async fn logout(&self, principal: &Principal) -> Result<(), StoreError> {
        let expires = principal.expires_at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        self.0.auth.revocations().revoke(&principal.token_id, expires);
        match self.0.store.revoke_token(&principal.token_id, expires).await {
            Err(full @ StoreError::Full(_)) => self.write_later(principal.token_id.clone(), expires, full),
            outcome => outcome,
        }
    }

    fn write_later(&self, token: TokenId, expires: u64, full: StoreError) -> Result<(), StoreError> {
        let mut unwritten = self.0.unwritten.lock().unwrap_or_else(PoisonError::into_inner);
        if unwritten.len() >= MAX_UNWRITTEN {
            return Err(full);
        }
        tracing::error!(error = %full, "a log out holds, and is written down as soon as there is room");
        unwritten.push((token, expires));
        if unwritten.len() == 1 {
            let accounts = self.clone();
            tokio::spawn(async move { accounts.write_unwritten().await });
        }
        Ok(())
    }

    /// Ends when nothing is unwritten.
    async fn write_unwritten(&self) {
        let first = || self.0.unwritten.lock().unwrap_or_else(PoisonError::into_inner).first().cloned();
        while let Some((token, expires)) = first() {
            match self.0.store.revoke_token(&token, expires).await {
                Err(StoreError::Full(_)) => {
                    tokio::time::sleep(WRITE_AGAIN).await;
                    continue;
                }
                Err(error) => tracing::error!(%error, "a log out is forgotten at the next restart"),
                Ok(()) => tracing::info!("a log out that found no room is written down"),
            }
            self.0.unwritten.lock().unwrap_or_else(PoisonError::into_inner).remove(0);
        }
    }

    /// Changes the password, revokes every token of the account, and gives a new one.
    ///
    /// # Errors
    /// [`PasswordError`].
    pub async fn change_password(
        &self,
        principal: &Principal,
        current: &str,
        new: &str,
        address: IpAddr,
    ) -> Result<LoggedIn, PasswordError> {
        self.0.limiter.attempt(&principal.username, address).map_err(LoginError::TooMany)?;
        let account = self.0.store.account(&principal.user_id).map_err(LoginError::Store)?;
        let stored = account.as_ref().map(|a| a.password_hash.as_str());
        if !self.0.passwords.verify(current, stored).await.map_err(LoginError::Busy)? {
            return Err(LoginError::Wrong.into());
        }
        self.0.limiter.succeeded(&principal.username, address);
        fit(new, current, &principal.username).map_err(PasswordError::Unfit)?;
        let hash = self.0.passwords.hash(new).await.map_err(LoginError::Busy)?;
        let updated = self.update(&principal.user_id, |a| {
            a.password_hash.clone_from(&hash);
            a.token_epoch += 1;
        });
        let account = updated.await.map_err(LoginError::Store)?.ok_or(LoginError::Wrong)?;
        if account.username == USERNAME
            && let Err(error) = InitialAdmin::forget(&self.0.initial_admin)
        {
            tracing::warn!(path = %self.0.initial_admin.display(), %error, "the file with the first password could not be removed; it is not valid any more");
        }
        Ok(self.issue(account)?)
    }

    fn issue(&self, account: Account) -> Result<LoggedIn, LoginError> {
        let (token, principal) = self.0.auth.tokens().issue(&account).map_err(|_| LoginError::Token)?;
        Ok(LoggedIn { token, principal, account })
    }

    /// How long a log in lasts.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.0.auth.tokens().lifetime()
    }
}

fn fit(new: &str, current: &str, username: &str) -> Result<(), String> {
    if new.chars().count() < MIN_PASSWORD_CHARS {
        return Err(format!("the new password has fewer than {MIN_PASSWORD_CHARS} characters"));
    }
    if new.len() > MAX_PASSWORD_BYTES {
        return Err(format!("the new password has more than {MAX_PASSWORD_BYTES} bytes"));
    }
    if new == current {
        return Err("the new password is the present one".to_owned());
    }
    if new.to_lowercase().contains(&username.to_lowercase()) && new.chars().count() < 2 * MIN_PASSWORD_CHARS {
        return Err("the new password holds the user name".to_owned());
    }
    Ok(())
}
