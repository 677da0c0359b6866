//! `/api/sessions`

use std::collections::BTreeMap;

use axum::extract::State;
use axum::response::IntoResponse;
use axum::{Extension, Json};
use http::StatusCode;
use octo_protocol::session::SessionOpened;
use octo_protocol::{Command, CommandFrame, SessionConfig, SessionStatus, SessionSummary};
use serde::{Deserialize, Serialize};

use super::account::rfc3339;
use super::error::ApiError;
use super::extract::{Body, Segment};
use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::sessions;
use crate::state::AppState;

/// Variables that a session may be given, and their size in bytes.
const MAX_ENV: usize = 64;
const MAX_ENV_BYTES: usize = 32 * 1024;

/// A session.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Session {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    readable_id: Option<String>,
    user_id: String,
    workspace_path: String,
    /// The same as `harness`, as existing clients call it.
    agent: String,
    /// `starting`, `running`, `stopped`, `failed` or `unreachable`.
    status: &'static str,
    /// What it does right now: `starting`, `idle`, `working`, `needs_input`, `error`, `closed`, `unreachable`.
    #[schema(value_type = String)]
    state: SessionStatus,
    /// Always `local`.
    runtime_mode: &'static str,
    harness: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    title: Option<String>,
    /// Of the journal.
    epoch: String,
    /// The newest event.
    seq: u64,
    message_count: u64,
    subscriber_count: u32,
    /// RFC 3339.
    created_at: String,
    /// RFC 3339.
    last_activity_at: String,
}

impl Session {
    fn of(owner: &UserId, s: SessionSummary) -> Self {
        let status = match s.state {
            SessionStatus::Starting => "starting",
            SessionStatus::Idle | SessionStatus::Working | SessionStatus::NeedsInput => "running",
            SessionStatus::Error => "failed",
            SessionStatus::Closed => "stopped",
            SessionStatus::Unreachable => "unreachable",
        };
        Self {
            id: s.session_id,
            readable_id: s.readable_id,
            user_id: owner.to_string(),
            workspace_path: s.cwd,
            agent: s.harness.clone(),
            status,
            state: s.state,
            runtime_mode: "local",
            harness: s.harness,
            provider: s.provider,
            model: s.model,
            title: s.title,
            epoch: s.epoch.to_string(),
            seq: s.seq,
            message_count: s.message_count,
            subscriber_count: s.subscriber_count,
            created_at: rfc3339(s.created_at),
            last_activity_at: rfc3339(s.last_activity),
        }
    }
}

/// A new session. What is absent takes the defaults in `GET /api/features`.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
pub struct CreateSession {
    /// `[A-Za-z0-9][A-Za-z0-9._-]{0,127}`; one that exists is attached to.
    #[serde(alias = "session_id")]
    id: Option<String>,
    /// Absolute path, or from `~/` on.
    #[serde(alias = "cwd")]
    workspace_path: Option<String>,
    /// The same as `harness`, as existing clients call it.
    agent: Option<String>,
    harness: Option<String>,
    provider: Option<String>,
    model: Option<String>,
    /// Variables for the agent; no secrets.
    env: BTreeMap<String, String>,
}

/// One's sessions, newest first.
#[utoipa::path(get, path = "/sessions", tag = "sessions",
    responses((status = 200, body = Vec<Session>), (status = 401, body = ApiError), (status = 503, body = ApiError)))]
pub async fn list(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<Vec<Session>>, ApiError> {
    let owner = &principal.user_id;
    authorize(&principal, Action::Read, &Object::Sessions(owner))?;
    let mut sessions = state.users.sessions(&principal, owner).await?;
    sessions.sort_by_key(|s| std::cmp::Reverse(s.last_activity));
    Ok(Json(sessions.into_iter().map(|s| Session::of(owner, s)).collect()))
}

/// Makes a session and starts its agent.
#[utoipa::path(post, path = "/sessions", tag = "sessions", request_body = CreateSession,
    responses((status = 201, body = Session), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 503, body = ApiError)))]
pub async fn create(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Body(wanted): Body<CreateSession>,
) -> Result<impl IntoResponse, ApiError> {
    let owner = principal.user_id.clone();
    check_env(&wanted.env)?;
    let config = SessionConfig {
        harness: wanted.harness.or(wanted.agent),
        cwd: wanted.workspace_path,
        provider: wanted.provider,
        model: wanted.model,
        ..SessionConfig::default()
    };
    let frame = CommandFrame {
        id: None,
        session_id: wanted.id.unwrap_or_else(|| format!("ses_{}", &uuid::Uuid::now_v7().simple().to_string()[..20])),
        runner_id: None,
        traceparent: None,
        command: Command::SessionCreate { config: config.clone(), cursor: None },
    };
    let data = sessions::open_with(&state, &principal, &owner, &frame, wanted.env).await?;
    let opened: SessionOpened = serde_json::from_value(data).map_err(|e| ApiError::internal(&e))?;
    let listed = state.users.sessions(&principal, &owner).await.unwrap_or_default().into_iter().find(|s| s.session_id == opened.session_id);
    let session = match listed {
        Some(summary) => Session::of(&owner, summary),
        None => Session::of(&owner, summary(opened, &config)),
    };
    Ok((StatusCode::CREATED, Json(session)))
}

/// One session.
#[utoipa::path(get, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "the session")),
    responses((status = 200, body = Session), (status = 401, body = ApiError), (status = 404, body = ApiError)))]
pub async fn one(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
) -> Result<Json<Session>, ApiError> {
    let owner = &principal.user_id;
    authorize(&principal, Action::Read, &Object::Session(owner, &id))?;
    let found = state.users.sessions(&principal, owner).await?.into_iter().find(|s| s.session_id == id);
    found.map(|s| Json(Session::of(owner, s))).ok_or_else(|| ApiError::not_found("session"))
}

/// Deletes a session: its agent ends, its history and its key go.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "sessions", params(("id" = String, Path, description = "the session")),
    responses((status = 204), (status = 401, body = ApiError), (status = 404, body = ApiError)))]
pub async fn remove(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
) -> Result<StatusCode, ApiError> {
    let owner = principal.user_id.clone();
    let frame = CommandFrame { id: None, session_id: id, runner_id: None, traceparent: None, command: Command::SessionDelete };
    // A name that no session can have is one that there is no session of.
    octo_protocol::SessionId::new(frame.session_id.as_str()).map_err(|_| ApiError::not_found("session"))?;
    sessions::delete(&state, &principal, &owner, &frame).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn summary(opened: SessionOpened, config: &SessionConfig) -> SessionSummary {
    SessionSummary {
        session_id: opened.session_id,
        hstry_id: None,
        state: opened.state.status,
        cwd: opened.state.cwd.or_else(|| config.cwd.clone()).unwrap_or_default(),
        provider: opened.state.model.as_ref().map(|m| m.provider.clone()).or_else(|| config.provider.clone()),
        model: opened.state.model.as_ref().map(|m| m.id.clone()).or_else(|| config.model.clone()),
        last_activity: crate::auth::Clock::system().unix_ms(),
        created_at: crate::auth::Clock::system().unix_ms(),
        subscriber_count: 0,
        harness: opened.harness,
        epoch: opened.epoch,
        seq: opened.seq,
        title: opened.state.session_name,
        readable_id: None,
        message_count: opened.state.message_count,
        pid: None,
    }
}

fn check_env(env: &BTreeMap<String, String>) -> Result<(), ApiError> {
    let size: usize = env.iter().map(|(k, v)| k.len() + v.len()).sum();
    if env.len() > MAX_ENV || size > MAX_ENV_BYTES {
        return Err(ApiError::bad_request(format!("env has at most {MAX_ENV} variables and {MAX_ENV_BYTES} bytes")));
    }
    for (name, value) in env {
        let good = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !good || value.contains('\0') || name.starts_with("OCTO_") || name.starts_with("LD_") {
            return Err(ApiError::bad_request(
                "a variable in env has letters, digits and _, does not start with OCTO_ or LD_, and its value has no NUL",
            ));
        }
    }
    Ok(())
}
