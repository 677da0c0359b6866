//! `/api/admin/sessions`: everybody's sessions.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use futures_util::future::join_all;
use http::StatusCode;
use octo_protocol::admin::{AdminSession, AdminSessions, LeftOut};
use octo_protocol::link::RequestBody;
use octo_protocol::{Command, CommandFrame, SessionId, SessionSummary};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::extract::{Query, Segment};
use super::record::record;
use super::users::everybody;
use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::launch::answers;
use crate::mux::policy::policy;
use crate::sessions;
use crate::state::AppState;

/// Whose sessions.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SessionsQuery {
    /// Only this user's.
    user: Option<String>,
}

/// Sessions, those used last first. A user whose runner does not run is not woken for it.
#[utoipa::path(get, path = "/admin/sessions", tag = "admin", params(SessionsQuery),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError)))]
pub async fn list(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<SessionsQuery>,
) -> Result<Json<AdminSessions>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let mut users = everybody(&state)?;
    if let Some(only) = &query.user {
        users.retain(|user| user.as_str() == only);
        if users.is_empty() {
            return Err(ApiError::not_found("user"));
        }
    }
    Ok(Json(all(&state, &principal, users).await))
}

/// One session: its row, and its state as its clients see it.
#[utoipa::path(get, path = "/admin/sessions/{user}/{id}", tag = "admin",
    params(("user" = String, Path, description = "whose"), ("id" = String, Path, description = "the session")),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn one(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(name): Segment<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let (user, id) = find(&state, &principal, Action::Read, name)?;
    let row = row(&state, &principal, &user, &id).await?;
    let detail = command(&state, &principal, &user, &id, Command::GetState).await?;
    Ok(Json(json!({ "session": AdminSession { user: user.to_string(), session: row }, "detail": detail })))
}

/// Ends a session's agent; its history stays, and the next prompt starts it again.
#[utoipa::path(post, path = "/admin/sessions/{user}/{id}/stop", tag = "admin",
    params(("user" = String, Path, description = "whose"), ("id" = String, Path, description = "the session")),
    responses((status = 204), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn stop(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(name): Segment<(String, String)>,
) -> Result<StatusCode, ApiError> {
    act(&state, &principal, name, "session.stop", Command::SessionClose).await
}

/// Ends a session's agent and starts it again, with its conversation.
#[utoipa::path(post, path = "/admin/sessions/{user}/{id}/restart", tag = "admin",
    params(("user" = String, Path, description = "whose"), ("id" = String, Path, description = "the session")),
    responses((status = 204), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn restart(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(name): Segment<(String, String)>,
) -> Result<StatusCode, ApiError> {
    act(&state, &principal, name, "session.restart", Command::SessionRestart).await
}

/// Deletes a session: its agent ends, its history and its key go.
#[utoipa::path(delete, path = "/admin/sessions/{user}/{id}", tag = "admin",
    params(("user" = String, Path, description = "whose"), ("id" = String, Path, description = "the session")),
    responses((status = 204), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn remove(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(name): Segment<(String, String)>,
) -> Result<StatusCode, ApiError> {
    let object = format!("{}/{}", name.0, name.1);
    let outcome = async {
        let (user, id) = find(&state, &principal, Action::Delete, name)?;
        sessions::delete(&state, &principal, &user, &frame(&id, Command::SessionDelete)).await?;
        Ok(StatusCode::NO_CONTENT)
    };
    let outcome = outcome.await;
    record(&state, &principal, "session.delete", &object, &outcome).await;
    outcome
}

async fn act(
    state: &AppState,
    principal: &Principal,
    name: (String, String),
    action: &'static str,
    wanted: Command,
) -> Result<StatusCode, ApiError> {
    let object = format!("{}/{}", name.0, name.1);
    let outcome = async {
        let (user, id) = find(state, principal, Action::Write, name)?;
        command(state, principal, &user, &id, wanted).await.map(|_| StatusCode::NO_CONTENT)
    };
    let outcome = outcome.await;
    record(state, principal, action, &object, &outcome).await;
    outcome
}

/// Whose session a path means, if the principal may do that to it.
pub(super) fn find(
    state: &AppState,
    principal: &Principal,
    action: Action,
    (user, id): (String, String),
) -> Result<(UserId, SessionId), ApiError> {
    let user = UserId::new(user).ok().filter(|user| everybody(state).is_ok_and(|all| all.contains(user)));
    let user = user.ok_or_else(|| ApiError::not_found("user"))?;
    // A name that no session can have is one that there is no session of.
    let id = SessionId::new(id).map_err(|_| ApiError::not_found("session"))?;
    authorize(principal, action, &Object::Session(&user, id.as_str()))?;
    Ok((user, id))
}

/// The row of a session in its runner's list.
pub(super) async fn row(state: &AppState, principal: &Principal, user: &UserId, id: &SessionId) -> Result<SessionSummary, ApiError> {
    let listed = state.users.sessions(principal, user).await?;
    let found = listed.into_iter().find(|session| session.session_id == id.as_str());
    found.ok_or_else(|| ApiError::new(StatusCode::NOT_FOUND, format!("{user} has no session {id}; `octoctl session list` shows all")))
}

pub(super) async fn command(
    state: &AppState,
    principal: &Principal,
    user: &UserId,
    id: &SessionId,
    command: Command,
) -> Result<Value, ApiError> {
    let deadline: Duration = policy(&command).patience;
    let frame = frame(id, command);
    crate::sessions::check_agent(state, principal, user, &frame).await?;
    let json = serde_json::to_vec(&frame).map_err(|e| ApiError::internal(&e))?;
    Ok(state.users.request(principal, user, RequestBody::Command { json }, deadline).await?)
}

fn frame(id: &SessionId, command: Command) -> CommandFrame {
    CommandFrame { id: None, session_id: id.to_string(), runner_id: None, traceparent: None, command }
}

/// The sessions of `users`, as far as their runners run.
pub(super) async fn all(state: &AppState, principal: &Principal, users: Vec<UserId>) -> AdminSessions {
    let asked = join_all(users.into_iter().map(|user| async move {
        let runs = state.users.awake_user(&user).is_some() || answers(&state.settings.paths.runner_socket(&user)).await;
        let listed = if runs {
            state.users.sessions(principal, &user).await.map_err(|error| error.message)
        } else {
            Err(format!("the runner of {user} does not run; `octoctl runner restart {user}` starts it"))
        };
        (user, listed)
    }));
    let mut found = AdminSessions::default();
    for (user, listed) in asked.await {
        match listed {
            Ok(listed) => found.sessions.extend(listed.into_iter().map(|session| AdminSession { user: user.to_string(), session })),
            Err(reason) => found.left_out.push(LeftOut { path: format!("/users/{user}"), reason }),
        }
    }
    found.sessions.sort_by_key(|row| std::cmp::Reverse(row.session.last_activity));
    found
}
