//! The admin interface, for octo alone, on its own socket: keys, providers, reload.
//!
//! | method and path | body | answer |
//! |---|---|---|
//! | `PUT /admin/keys/{name}` | `{hash, permissions?, metadata?, expires_at?}` | the key (201 new, 200 known); on the disk by then |
//! | `POST /admin/keys` | `{name, permissions?, metadata?, expires_at?}` | the key and its secret `key`, once |
//! | `GET /admin/keys`, `GET /admin/keys/{name}` | | keys with their usage |
//! | `DELETE /admin/keys/{name}` | | 204; refused and cut from now on |
//! | `GET /admin/providers` | | providers, models, whether there is a key; never a key |
//! | `GET /admin/end` | | `{ending}`: true as soon as this octo-eavs ends and the next one may start; false after 10 s |
//! | `GET /admin/spans?wait_ms=N` | | finished spans of requests in traced turns, each once; waits for the first, 10 s at most |
//! | `GET /admin/actors` | | the supervision tree: rows and snapshots |
//! | `GET /admin/metrics` | | what this process has counted: an array of samples |
//! | `POST /admin/actors/restart` | `{path}` | 204; requests under way go on |
//! | `POST /admin/reload` | `{env?: {NAME: value}}` or nothing | the providers |
//!
//! Errors are `{"error": "a sentence", "code": "word"}`. Names are one URL segment, `/` as `%2F`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use octo_actors::{ActorPath, Directory, Inspection, RestartError};
use octo_protocol::metrics::Sample;
use octo_protocol::trace::SpanBatch;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::app::{App, health};
use crate::config::{Credential, DEMO};
use crate::figures;
use crate::key::{KeyHash, KeyName, Permissions, VirtualKey};
use crate::limits::{ADMIN_BODY_LIMIT_BYTES, ATTENTION};
use crate::record::KeyRecord;
use crate::registry::RegistryError;
use crate::standing::Failing;
use crate::store::StoreError;

/// Routes of the admin listener.
pub fn router(app: Arc<App>, directory: Directory) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/admin/keys", get(list).post(generate))
        .route("/admin/keys/{name}", get(one).put(put).delete(remove))
        .route("/admin/providers", get(providers))
        .route("/admin/failing", get(failing))
        .route("/admin/reload", post(reload))
        .route("/admin/end", get(end))
        .route("/admin/spans", get(spans))
        .route(
            "/admin/metrics",
            get({
                let (app, directory) = (Arc::clone(&app), directory.clone());
                move || async move { metrics(app, directory).await }
            }),
        )
        .route(
            "/admin/actors",
            get({
                let directory = directory.clone();
                move || async move { Json(actors(&directory)) }
            }),
        )
        .route("/admin/actors/restart", post(move |body: Bytes| restart(directory, body)))
        .fallback(|| async { AdminError(StatusCode::NOT_FOUND, "not_found", "the admin interface has no such path".into()) })
        .layer(DefaultBodyLimit::max(ADMIN_BODY_LIMIT_BYTES))
        .with_state(app)
}

/// Providers whose newest requests have all failed.
async fn failing(State(app): State<Arc<App>>) -> Json<Vec<Failing>> {
    Json(app.standings.failing())
}

/// Every actor's row and snapshot, as octoctl shows them.
fn actors(directory: &Directory) -> Vec<Inspection> {
    directory.list().iter().filter_map(|row| directory.inspect(&row.path)).collect()
}

/// Off the threads that serve: it looks at files.
async fn metrics(app: Arc<App>, directory: Directory) -> Result<Json<Vec<Sample>>, AdminError> {
    let gathered = tokio::task::spawn_blocking(move || figures::samples(&app, &directory)).await;
    gathered.map(Json).map_err(|e| AdminError(StatusCode::INTERNAL_SERVER_ERROR, "metrics_failed", e.to_string()))
}

struct AdminError(StatusCode, &'static str, String);

impl IntoResponse for AdminError {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.2, "code": self.1}))).into_response()
    }
}

impl From<RegistryError> for AdminError {
    fn from(error: RegistryError) -> Self {
        let (status, code) = match error {
            RegistryError::HashTaken => (StatusCode::CONFLICT, "hash_taken"),
            RegistryError::Full => (StatusCode::INSUFFICIENT_STORAGE, "too_many_keys"),
            RegistryError::Busy => (StatusCode::SERVICE_UNAVAILABLE, "busy"),
            RegistryError::Ending => (StatusCode::SERVICE_UNAVAILABLE, "ending"),
            RegistryError::Store(StoreError::Full(_)) => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            RegistryError::Store(_) => (StatusCode::INTERNAL_SERVER_ERROR, "store_failed"),
        };
        tracing::warn!(code, "{error}");
        Self(status, code, error.to_string())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PutKey {
    hash: KeyHash,
    #[serde(default)]
    permissions: Permissions,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    name: KeyName,
    #[serde(default)]
    permissions: Permissions,
    #[serde(default)]
    metadata: Map<String, Value>,
    #[serde(default, with = "time::serde::rfc3339::option")]
    expires_at: Option<OffsetDateTime>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct Reload {
    #[serde(default)]
    env: HashMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Restart {
    path: ActorPath,
}

/// A listener that is started again; requests under way go on.
async fn restart(directory: Directory, body: Bytes) -> Result<StatusCode, AdminError> {
    let given: Restart = parse(&body)?;
    directory.restart(&given.path).await.map_err(|e| match e {
        RestartError::NotFound(_) => AdminError(StatusCode::NOT_FOUND, "not_found", e.to_string()),
        RestartError::Lingers(_) => AdminError(StatusCode::CONFLICT, "lingers", e.to_string()),
    })?;
    Ok(StatusCode::NO_CONTENT)
}

fn invalid(message: String) -> AdminError {
    AdminError(StatusCode::BAD_REQUEST, "invalid_request", message)
}

/// The message names the place and never quotes a string of the body, which may hold a secret.
fn parse<T: DeserializeOwned>(body: &Bytes) -> Result<T, AdminError> {
    serde_json::from_slice(body).map_err(|e| {
        let text = e.to_string();
        let safe = if text.starts_with("unknown field") || text.starts_with("missing field") || text.starts_with("a key's") {
            text
        } else {
            format!("a value of the wrong kind at line {} column {}", e.line(), e.column())
        };
        invalid(format!("the body is not what this call takes: {safe}"))
    })
}

fn name(text: &str) -> Result<KeyName, AdminError> {
    KeyName::parse(text).map_err(|e| invalid(e.to_string()))
}

fn check(permissions: &Permissions) -> Result<(), AdminError> {
    match permissions.max_budget_usd {
        Some(n) if !n.is_finite() || n < 0.0 => Err(invalid("max_budget_usd is a number of US dollars, 0 or more".into())),
        _ => Ok(()),
    }
}

async fn put(State(app): State<Arc<App>>, Path(text): Path<String>, body: Bytes) -> Result<Response, AdminError> {
    let name = name(&text)?;
    let given: PutKey = parse(&body)?;
    check(&given.permissions)?;
    let (key, new) = app
        .registry
        .put(KeyRecord {
            name,
            key_hash: given.hash,
            created_at: OffsetDateTime::now_utc(),
            expires_at: given.expires_at,
            permissions: given.permissions,
            metadata: given.metadata,
        })
        .await
        .inspect_err(|error| app.figures.key_refused(error))?;
    tracing::info!(key = %key.record().name, new, "key registered");
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(key.view())).into_response())
}

async fn generate(State(app): State<Arc<App>>, body: Bytes) -> Result<Response, AdminError> {
    let given: NewKey = parse(&body)?;
    check(&given.permissions)?;
    if app.registry.get(&given.name).is_some() {
        let text = format!("there is a key {} already: delete it first, or choose another name", given.name);
        return Err(AdminError(StatusCode::CONFLICT, "name_taken", text));
    }
    let secret = VirtualKey::generate().map_err(|e| AdminError(StatusCode::INTERNAL_SERVER_ERROR, "create_failed", e.to_string()))?;
    let (key, _) = app
        .registry
        .put(KeyRecord {
            name: given.name,
            key_hash: secret.hash(),
            created_at: OffsetDateTime::now_utc(),
            expires_at: given.expires_at,
            permissions: given.permissions,
            metadata: given.metadata,
        })
        .await
        .inspect_err(|error| app.figures.key_refused(error))?;
    tracing::info!(key = %key.record().name, "key made");
    let mut view = key.view();
    view["key"] = Value::from(secret.reveal());
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

async fn list(State(app): State<Arc<App>>) -> Json<Value> {
    Json(app.registry.list().iter().map(|k| k.view()).collect())
}

async fn one(State(app): State<Arc<App>>, Path(text): Path<String>) -> Result<Json<Value>, AdminError> {
    let name = name(&text)?;
    app.registry.get(&name).map(|k| Json(k.view())).ok_or_else(|| unknown(&name))
}

async fn remove(State(app): State<Arc<App>>, Path(text): Path<String>) -> Result<StatusCode, AdminError> {
    let name = name(&text)?;
    if app.registry.remove(&name).await? {
        tracing::info!(key = %name, "key revoked");
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(unknown(&name))
    }
}

fn unknown(name: &KeyName) -> AdminError {
    AdminError(StatusCode::NOT_FOUND, "not_found", format!("there is no key {name}"))
}

/// Whoever looks after this process need not ask again and again whether it is still there.
async fn end(State(app): State<Arc<App>>) -> Json<Value> {
    let ending = tokio::time::timeout(ATTENTION, app.gone().cancelled()).await.is_ok();
    Json(json!({"ending": ending}))
}

#[derive(Deserialize)]
struct Wait {
    #[serde(default)]
    wait_ms: u64,
}

async fn spans(State(app): State<Arc<App>>, Query(wait): Query<Wait>) -> Json<SpanBatch> {
    Json(app.spans.take(Duration::from_millis(wait.wait_ms).min(ATTENTION)).await)
}

async fn providers(State(app): State<Arc<App>>) -> Json<Value> {
    Json(shown(&app))
}

async fn reload(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<Value>, AdminError> {
    let given: Reload = if body.is_empty() { Reload::default() } else { parse(&body)? };
    app.reload(given.env).map_err(|e| {
        tracing::warn!("reload refused, the former configuration stays: {e}");
        AdminError(StatusCode::BAD_REQUEST, "invalid_config", format!("{e}; the former configuration stays in force"))
    })?;
    tracing::info!("configuration read again");
    Ok(Json(shown(&app)))
}

/// Providers without anything secret; a base URL names a host and may be private, so it is not shown either.
fn shown(app: &App) -> Value {
    let live = app.live();
    let mut list = vec![json!({
        "name": DEMO,
        "api": "anthropic-messages",
        "apis": ["anthropic-messages", "openai-completions", "openai-responses"],
        "has_api_key": false,
        "needs_api_key": false,
        "demo": true,
        "models": crate::demo::models(),
    })];
    for provider in live.catalog.providers.values() {
        let (has, missing) = match &provider.credential {
            Credential::None => (false, None),
            Credential::Key(_) => (true, None),
            Credential::Missing(variable) => (false, Some(variable)),
        };
        list.push(json!({
            "name": provider.name,
            "api": provider.api,
            "apis": [provider.api],
            "has_api_key": has,
            "needs_api_key": !matches!(provider.credential, Credential::None),
            "missing_env": missing,
            "demo": false,
            "models": provider.models,
        }));
    }
    Value::Array(list)
}
