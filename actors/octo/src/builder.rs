//! Embedding: from a configuration to a running instance.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let octo = octo::Builder::new().config(octo::Config::load()?).build().await?;
//! let app: axum::Router = axum::Router::new().nest("/octo", octo.router());
//! # drop(app);
//! octo.stop().await;
//! # Ok(()) }
//! ```

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use octo_actors::System;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::audit::Audit;
use crate::auth::{Accounts, Authenticator, Browser, Clock, InitialAdmin, LoginError, Passwords, Revocations, Tickets, Tokens, random_hex};
use crate::config::{Config, ConfigError, Settings, Standing};
use crate::eavs::{EavsClient, EavsService, SERVICE, SERVICES};
use crate::figures::Figures;
use crate::launch::Launch;
use crate::paths::PathsError;
use crate::server::{AdminSocket, AdminSocketError, Limits, Listener};
use crate::state::{AppState, Inner};
use crate::store::{Store, StoreError};
use crate::telemetry::{self, Exporter, TELEMETRY, Telemetry};
use crate::users::{Users, UsersConfig};

/// How long sockets and requests get to end when an instance stops.
pub const STOP_GRACE: Duration = Duration::from_secs(5);

/// Why an instance could not be built. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The directories.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The first account.
    #[error("the first account could not be made: {0}")]
    Admin(#[from] LoginError),
    /// The audit.
    #[error("the audit file {} cannot be written: {source}; choose another with logging.audit_file", .path.display())]
    Audit {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The tree of actors.
    #[error("the tree could not be started: {0}")]
    Tree(#[from] octo_actors::StartError),
    /// The collector's client.
    #[error(transparent)]
    Telemetry(#[from] telemetry::BuildError),
    /// Password hashing.
    #[error("{0}")]
    Passwords(String),
}

/// Builds an [`Octo`].
#[derive(Default)]
pub struct Builder {
    config: Option<Config>,
    clock: Option<Clock>,
    binaries: Option<PathBuf>,
    standing: Option<Standing>,
}

impl Builder {
    /// Nothing set yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With this configuration; without it, the one of this process's environment.
    #[must_use]
    pub fn config(mut self, config: Config) -> Self {
        self.config = Some(config);
        self
    }

    /// With this time instead of the system's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// With octo's other binaries in `dir` instead of beside this program.
    #[must_use]
    pub fn binaries(mut self, dir: PathBuf) -> Self {
        self.binaries = Some(dir);
        self
    }

    /// As if the process stood like this.
    #[must_use]
    pub fn standing(mut self, standing: Standing) -> Self {
        self.standing = Some(standing);
        self
    }

    /// Starts the instance: its store, its tree, its proxy. It serves once [`Octo::router`] or [`Octo::serve`] is used.
    ///
    /// # Errors
    /// [`BuildError`].
    pub async fn build(self) -> Result<Octo, BuildError> {
        let config = match self.config {
            Some(config) => config,
            None => Config::load()?,
        };
        let settings = Arc::new(config.settings()?);
        let mut notes = config.check(&settings, self.standing.unwrap_or_else(Standing::process))?;
        notes.extend(config.warnings());
        let shown = crate::config::show(&config, false).into();
        settings.paths.prepare()?;
        let clock = self.clock.unwrap_or_else(Clock::system);
        let figures = Arc::new(Figures::default());
        let store = Store::open(&settings.paths.store_dir()).await?.counted(Arc::clone(&figures));
        let auth = authenticator(&settings, &store, &clock).await?;
        let passwords = Passwords::new().map_err(|e| BuildError::Passwords(e.to_string()))?;
        let accounts = Accounts::new(store.clone(), passwords, auth.clone(), clock, settings.paths.initial_admin());
        let initial_admin = accounts.ensure_admin().await?;
        let audit_file = settings.logging.audit.clone();
        let audit = Audit::open(audit_file.as_deref())
            .await
            .map_err(|source| BuildError::Audit { path: audit_file.unwrap_or_default(), source })?;

        let system = System::new();
        let shutdown = CancellationToken::new();
        let instance = random_hex(8);
        let launch = match self.binaries {
            Some(dir) => Launch::with_binaries(Arc::clone(&settings), Some(dir)),
            None => Launch::new(Arc::clone(&settings)),
        };
        let eavs = EavsClient::new(launch.clone(), store.clone());
        if settings.eavs.enabled {
            let client = eavs.clone();
            let plant = move |services: octo_actors::Supervisor| {
                let client = client.clone();
                async move {
                    services.start_child::<EavsService>(SERVICE, "eavs", move || client.clone()).await?;
                    Ok(())
                }
            };
            system.root().start_group(SERVICES, "services", plant).await?;
        }
        let telemetry = Telemetry::new(settings.telemetry.clone(), &instance);
        if let Some(args) = telemetry::Args::new(&telemetry, settings.eavs.enabled.then(|| eavs.clone()))? {
            system.root().start_child::<Exporter>(TELEMETRY, "telemetry", move || args.clone()).await?;
        }
        let users = Users::start(UsersConfig {
            launch: launch.clone(),
            dial: None,
            telemetry: telemetry.clone(),
            system: system.clone(),
            instance: instance.clone(),
            shutdown: shutdown.clone(),
            figures: Arc::clone(&figures),
        });
        let users = users.await?;
        let inner = Inner {
            settings,
            config: shown,
            auth,
            accounts,
            audit,
            store,
            users,
            eavs,
            telemetry,
            launch,
            system,
            figures,
            shutdown,
            connections: TaskTracker::new(),
            acp: crate::acp::Connections::default(),
            instance,
            started_at: crate::auth::Clock::system().unix_ms(),
        };
        Ok(Octo { state: AppState::new(inner), initial_admin, notes })
    }
}

async fn authenticator(settings: &Settings, store: &Store, clock: &Clock) -> Result<Authenticator, StoreError> {
    let secret = match &settings.auth.jwt_secret {
        Some(secret) => secret.clone(),
        None => store.jwt_secret(|| random_hex(32)).await?,
    };
    let tokens = Tokens::new(&secret, settings.auth.token_lifetime, clock.clone());
    let revocations = Revocations::new(store.revoked_tokens(clock.unix())?, &store.accounts()?, clock.clone());
    let browser = Browser::new(&settings.auth, &settings.server.host);
    let authenticator = Authenticator::new(tokens, revocations, Tickets::new(clock.clone()), browser, settings.auth.query_token);
    Ok(authenticator.with_metrics_token(settings.server.metrics_token.clone()))
}

/// A running instance.
pub struct Octo {
    state: AppState,
    initial_admin: Option<InitialAdmin>,
    notes: Vec<String>,
}

impl Octo {
    /// Its router: REST and the mux below `/api`, the web application elsewhere.
    pub fn router(&self) -> Router {
        crate::server::router(self.state.clone())
    }

    /// Serves on `listener` until [`Octo::stop`] is called or the tree has failed.
    ///
    /// # Errors
    /// Why the tree has failed.
    pub async fn serve(&self, listener: Listener) -> Result<(), String> {
        self.serve_with(listener, None).await
    }

    /// As [`Octo::serve`], and the same router on the admin socket, to those whom the kernel names as admins.
    ///
    /// # Errors
    /// Why the tree has failed.
    pub async fn serve_with(&self, listener: Listener, admin: Option<AdminSocket>) -> Result<(), String> {
        let limits = Limits::new(&self.state.settings.server, crate::server::room());
        let figures = Arc::clone(&self.state.figures);
        let serving = listener.serve(self.router(), limits, figures, self.state.shutdown.clone(), STOP_GRACE);
        let administering = async {
            if let Some(admin) = admin {
                admin.serve(self.router(), self.state.shutdown.clone(), STOP_GRACE).await;
            }
        };
        let both = async { tokio::join!(serving, administering) };
        tokio::select! {
            _ = both => Ok(()),
            why = self.state.system.failed() => Err(why),
        }
    }

    /// Binds the admin socket of this instance, for [`Octo::serve_with`].
    ///
    /// # Errors
    /// [`AdminSocketError`].
    pub async fn admin_socket(&self) -> Result<AdminSocket, AdminSocketError> {
        let server = &self.state.settings.server;
        AdminSocket::bind(&server.admin_socket, server.admin_group.as_deref()).await
    }

    /// The instance as its handlers see it.
    #[must_use]
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Ends serving when cancelled.
    #[must_use]
    pub fn shutdown(&self) -> CancellationToken {
        self.state.shutdown.clone()
    }

    /// The first credentials, when this start made them.
    #[must_use]
    pub fn initial_admin(&self) -> Option<&InitialAdmin> {
        self.initial_admin.as_ref()
    }

    /// What an operator should know: keys without effect, settings that take care.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// Stops; the store is free for another instance once the last router of this one is dropped too. Sockets are closed with "come back", the tree ends, the store is flushed. Runners and octo-eavs go on.
    pub async fn stop(self) {
        self.state.shutdown.cancel();
        self.state.connections.close();
        if tokio::time::timeout(STOP_GRACE, self.state.connections.wait()).await.is_err() {
            tracing::warn!("some connections did not close in time");
        }
        self.state.telemetry.flush().await;
        self.state.system.shutdown(STOP_GRACE).await;
        if let Err(error) = self.state.store.flush().await {
            tracing::error!(%error, "the store could not be flushed at the end");
        }
    }
}
