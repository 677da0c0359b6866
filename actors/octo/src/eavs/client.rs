//! The client of the admin interface.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use octo_protocol::SessionId;
use octo_protocol::metrics::Sample;
use octo_protocol::provision::Provision;
use octo_protocol::trace::SpanBatch;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::catalog::Catalog;
use super::transport;
use crate::auth::{UserId, random_hex};
use crate::config::{HarnessSettings, Settings};
use crate::launch::{Launch, LaunchError};
use crate::store::{Provisioned, Store, StoreError};

/// A provider whose newest requests have all failed, as octo-eavs tells it.
#[derive(Debug, Clone, serde::Deserialize)]
pub struct Failing {
    /// Its name in the configuration.
    pub provider: String,
    /// Requests since the last that went well.
    pub requests: u64,
    /// What the newest came to, and what to do.
    pub sentence: String,
}

/// How often an octo-eavs from before there was such a question is asked how it is.
const OLDER_ASKED_EVERY: Duration = Duration::from_secs(10);

/// Provider and model of a session, where it names them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelDefaults {
    /// Provider.
    pub provider: Option<String>,
    /// Model.
    pub model: Option<String>,
}

/// Why a session has no key.
#[derive(Debug, thiserror::Error)]
pub enum EavsError {
    /// octo-eavs is not there.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// octo's own store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A provider or model that is not there.
    #[error("{0}")]
    Unknown(String),
    /// It does not answer as it should.
    #[error("octo-eavs: {0}")]
    Failed(String),
}

/// Talks to octo-eavs over its admin socket. Clones share one state.
#[derive(Clone)]
pub struct EavsClient(Arc<Inner>);

struct Inner {
    launch: Launch,
    store: Store,
    /// The start of octo-eavs that has the providers' keys; 0 = none yet.
    configured: AtomicU64,
}

impl EavsClient {
    /// For the instance of `launch`, with the sessions' keys in `store`.
    #[must_use]
    pub fn new(launch: Launch, store: Store) -> Self {
        Self(Arc::new(Inner { launch, store, configured: AtomicU64::new(0) }))
    }

    fn settings(&self) -> &Settings {
        self.0.launch.settings()
    }

    /// What a session of `harness` gets. One behind a bridge has its models there: it gets no key, and no session asks whether octo-eavs has any.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn provision_of(
        &self,
        user: &UserId,
        session: &SessionId,
        defaults: &ModelDefaults,
        harness: Option<&HarnessSettings>,
    ) -> Result<Provision, EavsError> {
        match harness.filter(|harness| harness.is_bridged()) {
            Some(bridged) => Ok(Provision {
                eavs_key: String::new(),
                providers: Vec::new(),
                default_provider: String::new(),
                default_model: String::new(),
                env: std::collections::BTreeMap::new(),
                harness: Some(bridged.provisioned()),
            }),
            None => self.provision(user, session, defaults, harness).await,
        }
    }

    /// The session's own key, registered and on disk at both sides, with the providers it may use, of whose models `harness` is offered some. The same
    /// session gets the same key.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn provision(
        &self,
        user: &UserId,
        session: &SessionId,
        defaults: &ModelDefaults,
        harness: Option<&HarnessSettings>,
    ) -> Result<Provision, EavsError> {
        let all = self.catalog().await?;
        let catalog = harness.map_or_else(|| all.clone(), |harness| all.offered(harness));
        let chosen = catalog.choose(&self.settings().pi, defaults);
        let (default_provider, default_model) = match (chosen, harness) {
            (Err(_), Some(harness)) if all.choose(&self.settings().pi, defaults).is_ok() => {
                return Err(EavsError::Unknown(catalog.not_offered(harness, defaults)));
            }
            (chosen, _) => chosen?,
        };
        let name = key_name(user, session);
        let new = || Provisioned { secret: format!("eavs-{}", random_hex(24)), revoking: false };
        let mut kept = self.0.store.keep_provision(&name, new()).await?;
        if kept.revoking {
            // The id is used again before its former key was revoked: another session must not have that key.
            kept = new();
            self.0.store.set_provision(&name, &kept).await?;
        }
        let eavs = &self.settings().eavs;
        let mut permissions = json!({});
        if let Some(budget) = eavs.session_budget_usd {
            permissions["max_budget_usd"] = json!(budget);
        }
        if let Some(rpm) = eavs.session_rpm {
            permissions["rpm"] = json!(rpm);
        }
        let body = json!({
            "hash": hex::encode(Sha256::digest(kept.secret.as_bytes())),
            "permissions": permissions,
            "metadata": { "user": user.as_str(), "session": session.as_str() },
        });
        let (status, answer) = self.call(Method::PUT, &key_path(&name), Some(&body)).await?;
        if !status.is_success() {
            return Err(failed(status, &answer));
        }
        Ok(Provision {
            eavs_key: kept.secret,
            providers: catalog.provisioned(),
            default_provider,
            default_model,
            env: std::collections::BTreeMap::new(),
            harness: harness.map(HarnessSettings::provisioned),
        })
    }

    /// Revokes the session's key: requests with it are refused from now on, or, when octo-eavs is away, from its next start on.
    ///
    /// # Errors
    /// [`EavsError`]; the key is revoked later then.
    pub async fn revoke(&self, user: &UserId, session: &SessionId) -> Result<(), EavsError> {
        let name = key_name(user, session);
        let Some(kept) = self.0.store.provision(&name)? else { return Ok(()) };
        self.0.store.set_provision(&name, &Provisioned { revoking: true, ..kept }).await?;
        self.revoke_named(&name).await
    }

    /// Revokes what is left over from before; how many.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn revoke_left_over(&self) -> Result<usize, EavsError> {
        let names = self.0.store.revoking()?;
        for name in &names {
            self.revoke_named(name).await?;
        }
        Ok(names.len())
    }

    async fn revoke_named(&self, name: &str) -> Result<(), EavsError> {
        let (status, answer) = self.call(Method::DELETE, &key_path(name), None).await?;
        if !status.is_success() && status != StatusCode::NOT_FOUND {
            return Err(failed(status, &answer));
        }
        self.0.store.remove_provision(name).await?;
        Ok(())
    }

    /// Providers and models, as of now.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn catalog(&self) -> Result<Catalog, EavsError> {
        let (status, answer) = self.call(Method::GET, "/admin/providers", None).await?;
        if !status.is_success() {
            return Err(failed(status, &answer));
        }
        serde_json::from_value(answer).map(Catalog).map_err(|e| EavsError::Failed(format!("its list of providers cannot be read: {e}")))
    }

    /// Providers and models of the octo-eavs that runs for `settings`; `None` when none does. Starts none, and needs no store.
    ///
    /// # Errors
    /// [`EavsError::Failed`].
    pub async fn catalog_of_running(settings: &Settings) -> Result<Option<Catalog>, EavsError> {
        let socket = settings.paths.eavs_admin_socket();
        if !crate::launch::answers(&socket).await {
            return Ok(None);
        }
        let (status, answer) = transport::call(&socket, Method::GET, "/admin/providers", None).await.map_err(EavsError::Failed)?;
        if !status.is_success() {
            return Err(failed(status, &answer));
        }
        let read = serde_json::from_value(answer).map(|providers| Some(Catalog(providers)));
        read.map_err(|e| EavsError::Failed(format!("its list of providers cannot be read: {e}")))
    }

    /// Whether it answers.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn health(&self) -> Result<Value, EavsError> {
        let (status, answer) = self.call(Method::GET, "/health", None).await?;
        if status.is_success() { Ok(answer) } else { Err(failed(status, &answer)) }
    }

    /// Providers whose newest requests have all failed, each with a sentence; nothing from an older one, which does not say.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn failing(&self) -> Result<Vec<Failing>, EavsError> {
        let (status, answer) = self.call(Method::GET, "/admin/failing", None).await?;
        if status.is_success() { Ok(serde_json::from_value(answer).unwrap_or_default()) } else { Ok(Vec::new()) }
    }

    /// What the octo-eavs that runs has counted. Starts none.
    ///
    /// # Errors
    /// [`EavsError::Failed`].
    pub async fn metrics(&self) -> Result<Vec<Sample>, EavsError> {
        let socket = self.settings().paths.eavs_admin_socket();
        let (status, answer) = transport::call(&socket, Method::GET, "/admin/metrics", None).await.map_err(EavsError::Failed)?;
        if !status.is_success() {
            return Err(failed(status, &answer));
        }
        serde_json::from_value(answer).map_err(|e| EavsError::Failed(format!("what it has counted cannot be read: {e}")))
    }

    /// Waits until the octo-eavs that answers now ends, or for some seconds if it does not; whether it ends.
    ///
    /// # Errors
    /// [`EavsError`]: it has ended, or does not answer.
    pub async fn ends(&self) -> Result<bool, EavsError> {
        let (status, answer) = self.call(Method::GET, "/admin/end", None).await?;
        if status == StatusCode::NOT_FOUND {
            // An older one, which does not say.
            tokio::time::sleep(OLDER_ASKED_EVERY).await;
            return self.health().await.map(|_| false);
        }
        if !status.is_success() {
            return Err(failed(status, &answer));
        }
        Ok(answer.get("ending").and_then(Value::as_bool).unwrap_or_default())
    }

    /// Finished spans of requests; waits up to `wait` for the first. Nothing when it is from before there were any.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn spans(&self, wait: Duration) -> Result<Option<SpanBatch>, EavsError> {
        let path = format!("/admin/spans?wait_ms={}", wait.as_millis());
        let (status, answer) = self.call(Method::GET, &path, None).await?;
        match status {
            StatusCode::NOT_FOUND => Ok(None),
            status if !status.is_success() => Err(failed(status, &answer)),
            _ => serde_json::from_value(answer).map(Some).map_err(|e| EavsError::Failed(format!("its spans cannot be read: {e}"))),
        }
    }

    /// Has it read the configuration again, with the providers' keys out of octo's environment.
    ///
    /// # Errors
    /// [`EavsError`].
    pub async fn reload(&self) -> Result<(), EavsError> {
        let socket = self.0.launch.ensure_eavs().await?;
        self.configure(&socket).await
    }

    async fn configure(&self, socket: &std::path::Path) -> Result<(), EavsError> {
        let starts = self.0.launch.eavs_starts();
        let settings = self.settings();
        let set = settings.eavs.key_variables.iter().filter_map(|name| Some((name.clone(), Value::from(settings.env.get(name)?))));
        let env: serde_json::Map<String, Value> = set.collect();
        let (status, answer) =
            transport::call(socket, Method::POST, "/admin/reload", Some(&json!({ "env": env }))).await.map_err(EavsError::Failed)?;
        if !status.is_success() {
            return Err(failed(status, &answer));
        }
        self.0.configured.fetch_max(starts, Ordering::AcqRel);
        Ok(())
    }

    async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), EavsError> {
        let socket = self.0.launch.ensure_eavs().await?;
        if self.0.configured.load(Ordering::Acquire) < self.0.launch.eavs_starts() {
            self.configure(&socket).await?;
        }
        transport::call(&socket, method, path, body).await.map_err(EavsError::Failed)
    }
}

fn key_name(user: &UserId, session: &SessionId) -> String {
    format!("session/{user}/{session}")
}

/// A name holds nothing that would have to be escaped in a path but the slash.
fn key_path(name: &str) -> String {
    format!("/admin/keys/{}", name.replace('/', "%2F"))
}

fn failed(status: StatusCode, answer: &Value) -> EavsError {
    EavsError::Failed(
        answer.get("error").and_then(Value::as_str).map_or_else(|| format!("it answered with status {status}"), str::to_owned),
    )
}
