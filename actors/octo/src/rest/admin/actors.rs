//! `/api/admin/actors`: the tree across octo and its runners, one actor's snapshot, and its restart.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use octo_actors::{ActorPath, RestartError};
use octo_protocol::admin::{Actors, Found, Inspection, Restarted, RunnerQuestion};
use octo_protocol::link::RequestBody;
use octo_protocol::mux::system::ActorRow;
use octo_protocol::{Command, ErrorCode, ProtocolError, SessionId};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::error::ApiError;
use super::super::extract::{Body, Query};
use super::PathQuery;
use super::record::record;
use super::sessions::command;
use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::mux::actors::row;
use crate::state::AppState;
use crate::users::now_ms;

/// Patience for what a runner knows without asking anybody.
const QUERY: Duration = Duration::from_secs(10);
/// Patience for a restart: the old incarnation has to be gone.
const RESTART: Duration = Duration::from_secs(30);

/// Which actor to restart.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActorName {
    /// Absolute path in the tree.
    pub(in super::super) path: String,
}

/// The actor at a path and all below it, those of runners included.
#[utoipa::path(get, path = "/admin/actors", tag = "admin", params(PathQuery),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError)))]
pub async fn list(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<PathQuery>,
) -> Result<Json<Actors>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    subtree(&state, &principal, &parse(query.path.as_deref().unwrap_or("/"))?).await.map(Json)
}

/// An actor's row, and what it said of itself last. Asks the actor nothing: a stuck one is shown as well.
#[utoipa::path(get, path = "/admin/actors/inspect", tag = "admin", params(PathQuery),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 410, body = ApiError), (status = 503, body = ApiError)))]
pub async fn inspect(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<PathQuery>,
) -> Result<Json<Inspection>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    inspect_at(&state, &principal, &parse(query.path.as_deref().unwrap_or("/"))?).await.map(Json)
}

/// The row and the snapshot of the actor at `path`. The caller has authorized it.
pub(in super::super) async fn inspect_at(state: &AppState, principal: &Principal, path: &ActorPath) -> Result<Inspection, ApiError> {
    if let Some(seen) = state.system.directory().inspect(path) {
        return Ok(Inspection { row: row(seen.row), snapshot: seen.snapshot, age_ms: seen.age_ms, may_restart: None });
    }
    let Some((user, there)) = remote(path) else { return Err(absent(state, path)) };
    let found = ask(state, principal, &user, &RunnerQuestion::Inspect { path: there }, QUERY).await?;
    let mut seen: Inspection = found_at(state, path, found)?;
    seen.row.path = path.to_string();
    Ok(seen)
}

/// Restarts an actor: gracefully, and without counting toward its intensity. One that is degraded comes back.
#[utoipa::path(post, path = "/admin/actors/restart", tag = "admin", request_body = ActorName,
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 410, body = ApiError), (status = 503, body = ApiError)))]
pub async fn restart(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Body(ActorName { path }): Body<ActorName>,
) -> Result<Json<Restarted>, ApiError> {
    authorize(&principal, Action::Write, &Object::Operations)?;
    let outcome = match parse(&path) {
        Ok(path) => restart_at(&state, &principal, &path).await,
        Err(refused) => Err(refused),
    };
    record(&state, &principal, "actor.restart", &path, &outcome).await;
    outcome.map(|()| Json(Restarted { what: path, pid_before: None, pid: None }))
}

/// Restarts the actor at `path`. The caller has authorized it.
pub(in super::super) async fn restart_at(state: &AppState, principal: &Principal, path: &ActorPath) -> Result<(), ApiError> {
    let directory = state.system.directory();
    if path.is_root() {
        return Err(ApiError::new(
            StatusCode::CONFLICT,
            "the root is octo itself and cannot be restarted from inside: restart the service (agents go on), or name an actor below it",
        ));
    }
    match directory.restart(path).await {
        Ok(()) => return Ok(()),
        Err(error @ RestartError::Lingers(_)) => return Err(ApiError::new(StatusCode::GATEWAY_TIMEOUT, error.to_string())),
        Err(RestartError::NotFound(_)) => {}
    }
    let Some((user, there)) = remote(path) else { return Err(absent(state, path)) };
    if let Some(session) = session_of_agent(&there) {
        let found = ask(state, principal, &user, &RunnerQuestion::Inspect { path: there }, QUERY).await?;
        found_at::<Inspection>(state, path, found)?;
        // Its session gives up what is under way, and hands the next one the conversation: it is asked to, also when the agent is degraded.
        return command(state, principal, &user, &session, Command::SessionRestart).await.map(drop);
    }
    let found = ask(state, principal, &user, &RunnerQuestion::Restart { path: there }, RESTART).await?;
    found_at::<ActorRow>(state, path, found).map(drop)
}

/// The rows at `path` and below, with those of every runner that can be asked. The caller has authorized it.
pub(in super::super) async fn subtree(state: &AppState, principal: &Principal, path: &ActorPath) -> Result<Actors, ApiError> {
    let mut left_out = state.users.mount_runners(principal, path).await;
    let rows: Vec<ActorRow> = state.system.directory().subtree(path).into_iter().map(row).collect();
    if rows.is_empty() && !path.is_root() {
        if let Some(left) = left_out.pop() {
            return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, left.reason));
        }
        // Only the runner remembers who has ended there.
        if let Some((user, there)) = remote(path) {
            let found = ask(state, principal, &user, &RunnerQuestion::Inspect { path: there }, QUERY).await?;
            found_at::<Inspection>(state, path, found)?;
        }
        return Err(absent(state, path));
    }
    Ok(Actors { rows, at: now_ms(), left_out })
}

pub(in super::super) fn parse(path: &str) -> Result<ActorPath, ApiError> {
    ActorPath::parse(path).map_err(|error| ApiError::bad_request(format!("{error}; a path looks like /users/alice/runner")))
}

/// Whose runner a path lies in, and how that runner calls it.
pub(super) fn remote(path: &ActorPath) -> Option<(UserId, String)> {
    let (user, below) = path.as_str().strip_prefix("/users/")?.split_once("/runner/")?;
    Some((UserId::new(user).ok()?, format!("/{below}")))
}

/// Whose agent it is, when an agent lives at this path of a runner.
fn session_of_agent(there: &str) -> Option<SessionId> {
    SessionId::new(there.strip_prefix("/sessions/")?.strip_suffix("/agent")?).ok()
}

/// Asks the runner of a user who is awake.
pub(super) async fn ask<T: DeserializeOwned>(
    state: &AppState,
    principal: &Principal,
    user: &UserId,
    question: &RunnerQuestion,
    patience: Duration,
) -> Result<T, ApiError> {
    let awake = state.users.awake_user(user).ok_or_else(|| {
        ApiError::new(StatusCode::NOT_FOUND, format!("the user {user} is asleep, or there is none: no actor of theirs runs in octo"))
    })?;
    let link = awake.linked().ok_or_else(|| awake.unlinked())?;
    let json = serde_json::to_vec(question).map_err(|e| ApiError::internal(&e))?;
    let answer = link.request(principal.on_behalf_of(user), RequestBody::Admin { json }, patience).await?;
    let unreadable = |e| ProtocolError::new(ErrorCode::Internal, format!("the runner's answer cannot be read: {e}"));
    Ok(serde_json::from_slice(&answer).map_err(unreadable)?)
}

fn found_at<T>(state: &AppState, path: &ActorPath, found: Found<T>) -> Result<T, ApiError> {
    match found {
        Found::Here(here) => Ok(here),
        Found::Ended(ended) => Err(gone(path, &ended)),
        Found::Unknown | Found::Root => Err(absent(state, path)),
    }
}

/// Why there is nothing at `path`.
pub(super) fn absent(state: &AppState, path: &ActorPath) -> ApiError {
    let directory = state.system.directory();
    if path.is_root() {
        return ApiError::new(StatusCode::CONFLICT, "the root has nothing to say of itself: name an actor below it (`octoctl actor list`)");
    }
    if let Some(ended) = directory.ended_at(path) {
        return gone(path, &row(ended));
    }
    let mut nearest = path.as_str();
    while let Some((parent, _)) = nearest.rsplit_once('/').filter(|(parent, _)| !parent.is_empty()) {
        nearest = parent;
        if ActorPath::parse(parent).is_ok_and(|parent| directory.get(&parent).is_some()) {
            let sentence = format!("there is no actor at {path}; {parent} is there, `octoctl actor list {parent}` shows what is below it");
            return ApiError::new(StatusCode::NOT_FOUND, sentence);
        }
    }
    ApiError::new(StatusCode::NOT_FOUND, format!("there is no actor at {path}; `octoctl actor list` shows all"))
}

fn gone(path: &ActorPath, ended: &ActorRow) -> ApiError {
    let why = ended.last_error.as_ref().map_or_else(|| "it came to its end".to_owned(), |error| format!("its last error: {error}"));
    ApiError::new(StatusCode::GONE, format!("the {} at {path} is not there any more ({why})", ended.kind))
}
