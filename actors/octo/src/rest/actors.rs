//! `/api/actors`: the tree of actors for whoever is logged in: admins all of it, others their own part, `/users/<their id>` with their runner's actors.
//!
//! The same as `/api/admin/actors`, which is a door for operators as a whole (all of it [`super::Policy::Admin`], also on the admin socket, where nobody has an
//! account). So that this stays true, these are routes of their own; the work is done by the same functions, and `authorize` decides about each path.

use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Json};
use futures_util::{Stream, StreamExt as _};
use http::StatusCode;
use octo_actors::ActorPath;
use octo_protocol::admin::{Actors, Inspection, Restarted};

use super::admin::PathQuery;
use super::admin::actors::{ActorName, inspect_at, parse, restart_at, subtree};
use super::admin::path as paths;
use super::admin::record::record;
use super::admin::stream::respond;
use super::admin::trace as tap;
use super::error::ApiError;
use super::extract::{Body, Query};
use crate::auth::{Action, Object, Principal, authorize, subtree_of};
use crate::state::AppState;
use crate::users::{OwnTrace, TooManyTraces};

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
    let place = place(&state, &principal)?;
    let opened = tap::open(&state, &principal, &path).await;
    record(&state, &principal, "actor.trace", path.as_str(), &opened).await;
    Ok(respond(&state, &principal, held(tap::lines(opened?), place)))
}

/// Each event of the session that an actor belongs to, as it goes from the agent to the sockets, with a time for each hop: one JSON object a line, until the client goes, or its
/// rights. Starts no agent.
#[utoipa::path(get, path = "/actors/event-path", tag = "actors", params(PathQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 404, body = ApiError), (status = 429, body = ApiError), (status = 503, body = ApiError)))]
pub async fn event_path(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<PathQuery>,
) -> Result<Response, ApiError> {
    let path = meant(&principal, Action::Read, query.path.as_deref())?;
    let whose = session_of(&path).ok_or_else(|| {
        ApiError::bad_request(format!(
            "{path} belongs to no session: events have a path where a session is, at /users/<user>/sessions/<session>"
        ))
    })?;
    let place = place(&state, &principal)?;
    let begun = paths::begin(&state, &principal, whose).await;
    record(&state, &principal, "session.path", path.as_str(), &begun).await;
    Ok(respond(&state, &principal, held(paths::lines(begun?), place)))
}

/// A place among the traces of users; admins need none.
fn place(state: &AppState, principal: &Principal) -> Result<Option<OwnTrace>, ApiError> {
    if principal.is_admin() {
        return Ok(None);
    }
    let full = |full: TooManyTraces| ApiError::new(StatusCode::TOO_MANY_REQUESTS, full.to_string());
    state.users.own_traces().begin(&principal.user_id).map(Some).map_err(full)
}

/// The lines, which keep `place` for as long as they go on.
fn held<T: Send + 'static>(
    lines: impl Stream<Item = T> + Send + 'static,
    place: Option<OwnTrace>,
) -> impl Stream<Item = T> + Send + 'static {
    lines.inspect(move |_| {
        let _ = &place;
    })
}

/// Whose session the actor at `path` belongs to, and its id: that of the session in octo or in the runner, or of its agent.
fn session_of(path: &ActorPath) -> Option<(String, String)> {
    let mut parts = path.as_str().strip_prefix("/users/")?.split('/');
    let user = parts.next()?;
    let below = parts.next()?;
    let below = if below == "runner" { parts.next()? } else { below };
    let session = (below == "sessions").then(|| parts.next()).flatten()?;
    Some((user.to_owned(), session.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_session_is_named_by_its_actors_on_both_sides_of_the_link_and_by_its_agent() {
        let of = |path: &str| session_of(&ActorPath::parse(path).unwrap());
        for path in ["/users/ada/sessions/s1", "/users/ada/runner/sessions/s1", "/users/ada/runner/sessions/s1/agent"] {
            assert_eq!(of(path), Some(("ada".to_owned(), "s1".to_owned())), "{path}");
        }
        for path in
            ["/", "/users", "/users/ada", "/users/ada/sessions", "/users/ada/runner/sessions", "/users/ada/connections/1", "/services/eavs"]
        {
            assert_eq!(of(path), None, "{path}");
        }
    }
}
