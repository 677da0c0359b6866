//! Which rights still hold, and telling live connections when they end.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;

use super::clock::Clock;
use super::principal::{Principal, Role, TokenId, UserId};
use crate::store::Account;

/// Why a principal's rights ended on a live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Logged out, password or role changed, account gone.
    Revoked,
    /// The token's time is over.
    Expired,
}

/// What holds at this moment: revoked tokens, and the epoch, role and state of each account. Clones share it.
///
/// It repeats what the store says, so that a check needs no I/O; the store is written first.
#[derive(Clone)]
pub struct Revocations(Arc<Inner>);

struct Inner {
    state: RwLock<State>,
    changes: watch::Sender<u64>,
    clock: Clock,
}

#[derive(Default)]
struct State {
    revoked: HashMap<TokenId, u64>,
    accounts: HashMap<UserId, (u64, Role, bool)>,
}

impl Revocations {
    /// Starts from what the store says.
    #[must_use]
    pub fn new(revoked: Vec<(TokenId, u64)>, accounts: &[Account], clock: Clock) -> Self {
        let accounts = accounts.iter().map(|a| (a.id.clone(), (a.token_epoch, a.role, a.is_active))).collect();
        let state = State { revoked: revoked.into_iter().collect(), accounts };
        Self(Arc::new(Inner { state: RwLock::new(state), changes: watch::Sender::new(0), clock }))
    }

    /// The token is void from now on.
    pub fn revoke(&self, token: &TokenId, expires: u64) {
        let now = self.0.clock.unix();
        self.change(|state| {
            state.revoked.retain(|_, expires| *expires >= now);
            state.revoked.insert(token.clone(), expires);
        });
    }

    /// The account is now as given: tokens of another epoch or role, or of an inactive account, are void.
    pub fn set_account(&self, account: &Account) {
        self.change(|state| {
            state.accounts.insert(account.id.clone(), (account.token_epoch, account.role, account.is_active));
        });
    }

    /// From now on the store says this.
    pub fn replace(&self, revoked: Vec<(TokenId, u64)>, accounts: &[Account]) {
        let fresh = Self::new(revoked, accounts, self.0.clock.clone());
        let fresh = std::mem::take(&mut *fresh.0.state.write().unwrap_or_else(PoisonError::into_inner));
        self.change(|state| *state = fresh);
    }

    /// Whether the principal's token still holds.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, principal: &Principal) -> Result<(), Ended> {
        if principal.expires_at <= self.0.clock.now() {
            return Err(Ended::Expired);
        }
        if !principal.has_account() {
            return Ok(());
        }
        let state = self.0.state.read().unwrap_or_else(PoisonError::into_inner);
        let account = state.accounts.get(&principal.user_id);
        if state.revoked.contains_key(&principal.token_id) || account != Some(&(principal.epoch, principal.role, true)) {
            return Err(Ended::Revoked);
        }
        Ok(())
    }

    /// Watches the rights of a principal for as long as a connection lives.
    #[must_use]
    pub fn watch(&self, principal: &Principal) -> Live {
        Live { revocations: self.clone(), principal: principal.clone(), changes: self.0.changes.subscribe() }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.0.state.write().unwrap_or_else(PoisonError::into_inner));
        self.0.changes.send_modify(|n| *n += 1);
    }
}

/// The rights of one live connection.
pub struct Live {
    revocations: Revocations,
    principal: Principal,
    changes: watch::Receiver<u64>,
}

impl Live {
    /// Waits until the rights end: at once on a log out, a change of password, role or account, and when the token expires. Cancel safe.
    pub async fn ended(&mut self) -> Ended {
        loop {
            self.changes.mark_unchanged();
            if let Err(ended) = self.revocations.check(&self.principal) {
                return ended;
            }
            let left = self.principal.expires_at.duration_since(self.revocations.0.clock.now()).unwrap_or_default();
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return Ended::Revoked },
                () = tokio::time::sleep(left.max(std::time::Duration::from_millis(1))) => {}
            }
        }
    }
}
