//! From a request to a principal.

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::browser::{Browser, Page, cookie_token};
use super::live::{Ended, Live, Revocations};
use super::principal::Principal;
use super::tickets::Tickets;
use super::token::{TokenError, Tokens};

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token, or one that is not valid any more.
    #[error("{0}")]
    Unauthenticated(&'static str),
    /// The request comes from a page of another origin.
    #[error("{0}")]
    CrossOrigin(&'static str),
    /// The kernel says who it is, and that is nobody who may.
    #[error(
        "uid {0} may not administer this octo: run octoctl as octo's own user or as root, join the group of server.admin_group, or send the token of an admin"
    )]
    NotAdmitted(u32),
    /// Comes through the admin socket and wants something of an account.
    #[error("this path is about one's own account, and the admin socket has none: use /api/admin here, or send a token")]
    NoAccount,
}

/// Authenticates. Clones share one state.
#[derive(Clone)]
pub struct Authenticator(Arc<Inner>);

struct Inner {
    tokens: Tokens,
    revocations: Revocations,
    tickets: Tickets,
    browser: Browser,
    query_token: bool,
    metrics_token: Option<SecretString>,
}

impl Authenticator {
    /// Puts the parts together.
    #[must_use]
    pub fn new(tokens: Tokens, revocations: Revocations, tickets: Tickets, browser: Browser, query_token: bool) -> Self {
        Self(Arc::new(Inner { tokens, revocations, tickets, browser, query_token, metrics_token: None }))
    }

    /// With the token of those who may read what octo counts. Before there are clones.
    #[must_use]
    pub fn with_metrics_token(self, token: Option<SecretString>) -> Self {
        Self(Arc::try_unwrap(self.0).map_or_else(|shared| shared, |inner| Arc::new(Inner { metrics_token: token, ..inner })))
    }

    /// Whoever shows the token for reading what octo counts; `None` when it is another one, or there is none.
    #[must_use]
    pub fn monitor(&self, headers: &HeaderMap) -> Option<Principal> {
        let token = self.0.metrics_token.as_ref()?.expose_secret();
        let shown = bearer(headers.get(AUTHORIZATION)?.to_str().ok()?)?;
        // Takes as long for a wrong one, and tells nothing of its length.
        let same = Sha256::digest(token.as_bytes()).ct_eq(&Sha256::digest(shown.as_bytes()));
        bool::from(same).then(Principal::monitor).flatten()
    }

    /// Finds out who sends a request. `query` is the URI's query, for upgrades. Needs no I/O.
    ///
    /// In this order: `Authorization: Bearer`, the cookie, and on upgrades `?ticket=` and, where configured, `?token=`. What is
    /// presented first decides: a bad bearer token is not forgiven for a good cookie.
    ///
    /// # Errors
    /// [`AuthError`].
    pub fn authenticate(&self, surface: Surface, headers: &HeaderMap, query: Option<&str>) -> Result<Principal, AuthError> {
        let page = self.0.browser.page(headers);
        if surface == Surface::Upgrade && page == Page::Foreign {
            return Err(AuthError::CrossOrigin(
                "this page may not open a connection to octo; add its origin to auth.allowed_origins if it shall",
            ));
        }
        if let Some(value) = headers.get(AUTHORIZATION) {
            let text = value.to_str().unwrap_or_default();
            return self.verify(bearer(text).ok_or(AuthError::Unauthenticated("the Authorization header is not `Bearer TOKEN`"))?);
        }
        let cookie = cookie_token(headers)
            .map_err(|()| AuthError::Unauthenticated("several auth_token cookies were sent; clear this site's cookies and log in again"))?;
        if let Some(token) = cookie {
            let may = match surface {
                Surface::Read => page != Page::Foreign,
                Surface::Mutate => self.0.browser.may_mutate(headers),
                Surface::Upgrade => page == Page::Allowed,
            };
            if !may {
                return Err(AuthError::CrossOrigin(
                    "the request does not come from octo's own page; programs send `Authorization: Bearer` instead of the cookie",
                ));
            }
            return self.verify(token);
        }
        if surface == Surface::Upgrade {
            let query = query.unwrap_or_default();
            let value = |name: &str| url::form_urlencoded::parse(query.as_bytes()).find(|(k, _)| k == name).map(|(_, v)| v.into_owned());
            if let Some(ticket) = value("ticket") {
                let principal = self
                    .0
                    .tickets
                    .redeem(&ticket)
                    .ok_or(AuthError::Unauthenticated("the ticket was used or is older than 30 seconds; get another one"))?;
                return self.valid(principal);
            }
            if let Some(token) = value("token") {
                if !self.0.query_token {
                    return Err(AuthError::Unauthenticated(
                        "tokens in URLs are not taken; get a ticket from POST /api/auth/ws-ticket, or set auth.query_token",
                    ));
                }
                return self.verify(&token);
            }
        }
        Err(AuthError::Unauthenticated("nobody is logged in; log in first"))
    }

    /// A ticket for one upgrade within thirty seconds.
    #[must_use]
    pub fn ticket(&self, principal: &Principal) -> String {
        self.0.tickets.issue(principal)
    }

    /// Watches the rights of a principal for as long as a connection lives.
    #[must_use]
    pub fn watch(&self, principal: &Principal) -> Live {
        self.0.revocations.watch(principal)
    }

    /// Whether the principal's token still holds. Needs no I/O; cheap enough for every command.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, principal: &Principal) -> Result<(), Ended> {
        self.0.revocations.check(principal)
    }

    /// The rules for browsers.
    #[must_use]
    pub fn browser(&self) -> &Browser {
        &self.0.browser
    }

    pub(super) fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    pub(super) fn revocations(&self) -> &Revocations {
        &self.0.revocations
    }

    fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        let principal = self.0.tokens.verify(token).map_err(|e| {
            AuthError::Unauthenticated(match e {
                TokenError::Invalid => "the token is not valid; log in again",
                TokenError::Expired => "the log in has expired; log in again",
            })
        })?;
        self.valid(principal)
    }

    fn valid(&self, principal: Principal) -> Result<Principal, AuthError> {
        match self.check(&principal) {
            Ok(()) => Ok(principal),
            Err(Ended::Revoked) => Err(AuthError::Unauthenticated("the token was revoked; log in again")),
            Err(Ended::Expired) => Err(AuthError::Unauthenticated("the log in has expired; log in again")),
        }
    }
}

/// The token in the text of an `Authorization` header.
fn bearer(text: &str) -> Option<&str> {
    text.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim())
}
