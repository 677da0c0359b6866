//! `/api/actors`: the tree of actors for whoever is logged in: admins all of it, others their own part, `/users/<their id>` with their runner's actors.
//!
//! The same as `/api/admin/actors`, which is a door for operators as a whole (all of it [`super::Policy::Admin`], also on the admin socket, where nobody has an
//! account). So that this stays true, these are routes of their own; the work is done by the same functions, and `authorize` decides about each path.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use futures_util::StreamExt as _;
use http::StatusCode;
use octo_actors::ActorPath;
use octo_protocol::admin::{Actors, Inspection, Restarted};

use super::admin::PathQuery;
use super::admin::actors::{ActorName, inspect_at, parse, restart_at, subtree};
use super::admin::record::record;
use super::admin::stream::respond;
use super::admin::trace as tap;
use super::error::ApiError;
use super::extract::{Body, Query};
use crate::auth::{Action, Object, Principal, authorize, subtree_of};
use crate::state::AppState;

/// The actor that is meant, by default the top of what the account may see; authorized.
fn meant(principal: &Principal, action: Action, path: Option<&str>) -> Result<ActorPath, ApiError> {
    let path = match path {
        Some(path) => parse(path)?,
        None if principal.is_admin() => ActorPath::root(),
        None => subtree_of(&principal.user_id),
    };
    authorize(principal, action, &Object::Actor(&path))?;
    Ok(path)
}

/// The actor at a path and all below it, those of runners included.
#[utoipa::path(get, path = "/actors", tag = "actors", params(PathQuery),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn list(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<PathQuery>,
) -> Result<Json<Actors>, ApiError> {
    let path = meant(&principal, Action::Read, query.path.as_deref())?;
    subtree(&state, &principal, &path).await.map(Json)
}

/// An actor's row, what it said of itself last, and whether one may restart it. Asks the actor nothing: a stuck one is shown as well.
#[utoipa::path(get, path = "/actors/inspect", tag = "actors", params(PathQuery),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 410, body = ApiError), (status = 503, body = ApiError)))]
pub async fn inspect(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<PathQuery>,
) -> Result<Json<Inspection>, ApiError> {
    let path = meant(&principal, Action::Read, query.path.as_deref())?;
    let seen = inspect_at(&state, &principal, &path).await?;
    let may_restart = Some(authorize(&principal, Action::Write, &Object::Actor(&path)).is_ok());
    Ok(Json(Inspection { may_restart, ..seen }))
}

/// Restarts an actor: gracefully, and without counting toward its intensity. One that is degraded comes back. Users restart their sessions and agents.
#[utoipa::path(post, path = "/actors/restart", tag = "actors", request_body = ActorName,
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 409, body = ApiError), (status = 410, body = ApiError), (status = 503, body = ApiError)))]
pub async fn restart(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Body(ActorName { path: what }): Body<ActorName>,
) -> Result<Json<Restarted>, ApiError> {
    let outcome = match meant(&principal, Action::Write, Some(&what)) {
        Ok(path) => restart_at(&state, &principal, &path).await,
        Err(refused) => Err(refused),
    };
    record(&state, &principal, "actor.restart", &what, &outcome).await;
    outcome.map(|()| Json(Restarted { what, pid_before: None, pid: None }))
}

/// Messages as they are handled: one JSON object a line, until the client goes, or its rights.
#[utoipa::path(get, path = "/actors/trace", tag = "actors", params(PathQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 410, body = ApiError), (status = 429, body = ApiError), (status = 503, body = ApiError)))]
pub async fn trace(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<PathQuery>,
) -> Result<Response, ApiError> {
    let path = meant(&principal, Action::Read, query.path.as_deref())?;
    let place = match principal.is_admin() {
        true => None,
        false => Some(
            state
                .users
                .own_traces()
                .begin(&principal.user_id)
                .map_err(|full| ApiError::new(StatusCode::TOO_MANY_REQUESTS, full.to_string()))?,
        ),
    };
    let opened = tap::open(&state, &principal, &path).await;
    record(&state, &principal, "actor.trace", path.as_str(), &opened).await;
    let mut rights = state.auth.watch(&principal);
    let over = async move {
        rights.ended().await;
        // Held for as long as the trace runs.
        drop(place);
    };
    Ok(respond(&state, tap::lines(opened?).take_until(over)))
}
