//! What every handler gets: one instance, as a value.

use std::ops::Deref;
use std::sync::Arc;

use octo_actors::System;
use octo_protocol::admin::ShownKey;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::acp;
use crate::audit::Audit;
use crate::auth::{Accounts, Authenticator};
use crate::config::Settings;
use crate::eavs::EavsClient;
use crate::figures::Figures;
use crate::launch::Launch;
use crate::store::Store;
use crate::telemetry::Telemetry;
use crate::users::Users;

/// One running instance. Clones share it.
#[derive(Clone)]
pub struct AppState(Arc<Inner>);

/// The members of [`AppState`].
pub struct Inner {
    /// The configuration.
    pub settings: Arc<Settings>,
    /// The keys that somebody has set, secrets hidden, for operators.
    pub config: Arc<[ShownKey]>,
    /// Who asks.
    pub auth: Authenticator,
    /// Accounts, log in and out.
    pub accounts: Accounts,
    /// Who did what.
    pub audit: Audit,
    /// What octo owns on disk.
    pub store: Store,
    /// Users, their runners and sessions.
    pub users: Users,
    /// Keys for sessions.
    pub eavs: EavsClient,
    /// Traces.
    pub telemetry: Telemetry,
    /// octo's own daemons.
    pub launch: Launch,
    /// The tree of actors; `system.directory()` lists them.
    pub system: System,
    /// What is counted.
    pub figures: Arc<Figures>,
    /// Cancelled when the instance stops: sockets close with 1012.
    pub shutdown: CancellationToken,
    /// Every upgraded connection; a stop waits for them.
    pub connections: TaskTracker,
    /// Clients that speak ACP over HTTP.
    pub acp: acp::Connections,
    /// Names this instance towards runners, different for every start.
    pub instance: String,
    /// Unix milliseconds.
    pub started_at: i64,
}

impl AppState {
    /// Makes the state of an instance.
    #[must_use]
    pub fn new(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }
}

impl Deref for AppState {
    type Target = Inner;

    fn deref(&self) -> &Inner {
        &self.0
    }
}
