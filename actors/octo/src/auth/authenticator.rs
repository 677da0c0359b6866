//! From a request to a principal.

use std::sync::Arc;

use http::HeaderMap;
use tokio::sync::watch;

use super::Principal;

/// What kind of request is authenticated; the rules for cookies and query tokens differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Surface {
    /// REST that changes nothing.
    Read,
    /// REST that changes something: with the cookie it has to come from our own pages.
    Mutate,
    /// A WebSocket upgrade: with the cookie an allowed Origin is mandatory; tickets and (if configured) query tokens are taken.
    Upgrade,
}

/// Why a request has no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token, or one that is not valid any more.
    #[error("not logged in: {0}")]
    Unauthenticated(&'static str),
    /// The request comes from a page of another origin.
    #[error("refused: {0}")]
    CrossOrigin(&'static str),
}

/// Why a principal's rights ended on a live connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Logged out, password or role changed, account gone.
    Revoked,
    /// The token's time is over.
    Expired,
}

/// Authenticates. Clones share one state.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    changes: watch::Sender<u64>,
}

impl Authenticator {
    /// Finds out who sends a request. `query` is the URI's query, for upgrades. Needs no I/O.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn authenticate(&self, _surface: Surface, _headers: &HeaderMap, _query: Option<&str>) -> Result<Principal, AuthError> {
        Err(AuthError::Unauthenticated("no token"))
    }

    /// Watches the rights of a principal for as long as a connection lives.
    #[must_use]
    pub fn watch(&self, principal: &Principal) -> Live {
        Live { auth: self.clone(), principal: principal.clone(), changes: self.0.changes.subscribe() }
    }

    /// Whether the principal's token still holds.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, _principal: &Principal) -> Result<(), Ended> {
        Ok(())
    }
}

/// The rights of one live connection.
pub struct Live {
    auth: Authenticator,
    principal: Principal,
    changes: watch::Receiver<u64>,
}

impl Live {
    /// Waits until the rights end: within a second of a log out, a change of password or role, or the token's expiry. Cancel safe.
    pub async fn ended(&mut self) -> Ended {
        loop {
            self.changes.mark_unchanged();
            if let Err(ended) = self.auth.check(&self.principal) {
                return ended;
            }
            let left = self.principal.expires_at.duration_since(std::time::SystemTime::now()).unwrap_or_default();
            tokio::select! {
                changed = self.changes.changed() => if changed.is_err() { return Ended::Revoked },
                () = tokio::time::sleep(left) => {}
            }
        }
    }
}
