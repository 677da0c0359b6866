//! `/api/permissions`: what becomes of the tool calls of one's agents, and the rules that octo remembers of them. The user's runner has them and decides.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use octo_protocol::link::RequestBody;
use octo_protocol::permission::{NewPermissionRule, Permissions};
use octo_protocol::{Command, CommandFrame, PermissionRule};
use serde::de::DeserializeOwned;
use std::time::Duration;

use super::admin::record::record;
use super::error::ApiError;
use super::extract::{Body, Segment};
use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::state::AppState;

/// Patience for the runner.
const DEADLINE: Duration = Duration::from_secs(15);

/// What the configuration says, and one's remembered rules.
#[utoipa::path(get, path = "/permissions", tag = "permissions",
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 503, body = ApiError)))]
pub async fn list(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<Permissions>, ApiError> {
    let owner = principal.user_id.clone();
    authorize(&principal, Action::Read, &Object::Sessions(&owner))?;
    ask(&state, &principal, &owner, Command::PermissionList).await.map(Json)
}

/// Remembers a rule: `{mode: allow|ask|deny, tool?, workspace?, subject?, expires_in_ms?}`. One about the same is replaced.
#[utoipa::path(post, path = "/permissions", tag = "permissions", request_body = Object,
    responses((status = 201, body = Object), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 429, body = ApiError), (status = 503, body = ApiError)))]
pub async fn add(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Body(rule): Body<NewPermissionRule>,
) -> Result<(StatusCode, Json<PermissionRule>), ApiError> {
    let owner = principal.user_id.clone();
    authorize(&principal, Action::Write, &Object::Sessions(&owner))?;
    let rule = ask(&state, &principal, &owner, Command::PermissionAdd { rule }).await?;
    Ok((StatusCode::CREATED, Json(rule)))
}

/// Forgets a rule.
#[utoipa::path(delete, path = "/permissions/{id}", tag = "permissions", params(("id" = String, Path, description = "the rule")),
    responses((status = 204), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 503, body = ApiError)))]
pub async fn remove(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(rule_id): Segment<String>,
) -> Result<StatusCode, ApiError> {
    let owner = principal.user_id.clone();
    authorize(&principal, Action::Write, &Object::Sessions(&owner))?;
    ask::<()>(&state, &principal, &owner, Command::PermissionRemove { rule_id }).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// A user's rules, for operators.
#[utoipa::path(get, path = "/admin/users/{id}/permissions", tag = "admin", params(("id" = String, Path, description = "the user")),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn of_user(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
) -> Result<Json<Permissions>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let owner = known(&state, id)?;
    ask(&state, &principal, &owner, Command::PermissionList).await.map(Json)
}

/// Forgets a rule of a user, for operators.
#[utoipa::path(delete, path = "/admin/users/{id}/permissions/{rule}", tag = "admin",
    params(("id" = String, Path, description = "the user"), ("rule" = String, Path, description = "the rule")),
    responses((status = 204), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn remove_of_user(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment((id, rule_id)): Segment<(String, String)>,
) -> Result<StatusCode, ApiError> {
    authorize(&principal, Action::Write, &Object::Operations)?;
    let owner = known(&state, id)?;
    let object = format!("{owner}/{rule_id}");
    let outcome = ask::<()>(&state, &principal, &owner, Command::PermissionRemove { rule_id }).await;
    record(&state, &principal, "permission.remove", &object, &outcome).await;
    outcome.map(|()| StatusCode::NO_CONTENT)
}

fn known(state: &AppState, id: String) -> Result<UserId, ApiError> {
    let nobody = || ApiError::not_found("user");
    let id = UserId::new(id).map_err(|_| nobody())?;
    state.accounts.get(&id)?.map(|account| account.id).ok_or_else(nobody)
}

/// Asks the runner of `owner`. The caller has authorized it.
async fn ask<T: DeserializeOwned>(state: &AppState, principal: &Principal, owner: &UserId, command: Command) -> Result<T, ApiError> {
    let frame = CommandFrame { id: None, session_id: String::new(), runner_id: None, traceparent: None, command };
    let json = serde_json::to_vec(&frame).map_err(|e| ApiError::internal(&e))?;
    let answer = state.users.request(principal, owner, RequestBody::Command { json }, DEADLINE).await?;
    serde_json::from_value(answer).map_err(|e| ApiError::internal(&e))
}
