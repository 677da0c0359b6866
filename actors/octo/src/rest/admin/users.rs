//! `/api/admin/users`: accounts, and whether their actors run.

use axum::extract::State;
use axum::{Extension, Json};
use http::StatusCode;
use octo_protocol::admin::{AdminUser, AdminUsers, Slept};
use serde::Deserialize;

use super::super::error::ApiError;
use super::super::extract::{Query, Segment};
use super::record::record;
use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::state::AppState;
use crate::store::Account;

/// How to put a user to sleep.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SleepQuery {
    /// Also when somebody is connected; clients come back, and wake the user again.
    #[serde(default)]
    force: bool,
}

/// Every account, in order of id.
#[utoipa::path(get, path = "/admin/users", tag = "admin",
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError)))]
pub async fn list(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<AdminUsers>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let mut users: Vec<AdminUser> = state.store.accounts()?.into_iter().map(|account| user(&state, account)).collect();
    users.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(Json(AdminUsers { users }))
}

/// One account.
#[utoipa::path(get, path = "/admin/users/{id}", tag = "admin", params(("id" = String, Path, description = "the user")),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError)))]
pub async fn one(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
) -> Result<Json<AdminUser>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let id = UserId::new(id).map_err(|_| nobody())?;
    let account = state.accounts.get(&id)?.ok_or_else(nobody)?;
    Ok(Json(user(&state, account)))
}

/// Puts a user to sleep: its actors in octo end, with its connections and the link. Its runner and its agents go on.
#[utoipa::path(post, path = "/admin/users/{id}/sleep", tag = "admin", params(("id" = String, Path, description = "the user"), SleepQuery),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub async fn sleep(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
    Query(query): Query<SleepQuery>,
) -> Result<Json<Slept>, ApiError> {
    authorize(&principal, Action::Write, &Object::Operations)?;
    let outcome = put_to_sleep(&state, &id, query.force).await;
    record(&state, &principal, "user.sleep", &id, &outcome).await;
    outcome.map(Json)
}

async fn put_to_sleep(state: &AppState, id: &str, force: bool) -> Result<Slept, ApiError> {
    let user = UserId::new(id).ok().filter(|user| everybody(state).is_ok_and(|all| all.contains(user))).ok_or_else(nobody)?;
    let connections = state.users.awake_user(&user).map_or(0, |user| user.load().0);
    if connections > 0 && !force {
        let sentence = format!(
            "{user} has open connections ({connections}), whose clients would come back and wake it: close them first, or say --force to close them"
        );
        return Err(ApiError::new(StatusCode::CONFLICT, sentence));
    }
    let was_awake = state.users.sleep(&user).await?;
    Ok(Slept { user: user.to_string(), was_awake, connections: connections as u64 })
}

/// Every user there is: those with an account, and those that an embedding program woke without one.
pub(super) fn everybody(state: &AppState) -> Result<Vec<UserId>, ApiError> {
    let accounts = state.store.accounts()?.into_iter().map(|account| account.id);
    let mut all: Vec<UserId> = accounts.chain(state.users.awake().iter().map(|user| user.id().clone())).collect();
    all.sort();
    all.dedup();
    Ok(all)
}

fn user(state: &AppState, account: Account) -> AdminUser {
    let awake = state.users.awake_user(&account.id);
    let (connections, followed) = awake.as_ref().map_or((0, 0), crate::users::User::load);
    AdminUser {
        awake: awake.is_some(),
        connections: connections as u64,
        followed: followed as u64,
        id: account.id.to_string(),
        username: account.username,
        display_name: account.display_name,
        role: account.role.as_str().to_owned(),
        is_active: account.is_active,
        created_at: account.created_at,
        last_login_at: account.last_login_at,
    }
}

fn nobody() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "there is no such user; `octoctl user list` shows all")
}
