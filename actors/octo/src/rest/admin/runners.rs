//! `/api/admin/runners`: the daemons that own users' agents.

use std::path::PathBuf;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use futures_util::future::join_all;
use http::StatusCode;
use octo_protocol::admin::{JournalReport, Restarted, Runner, RunnerQuestion, Runners, Upgraded};
use serde::Deserialize;

use super::super::error::ApiError;
use super::super::extract::{Body, Segment};
use super::actors::ask;
use super::record::record;
use super::users::everybody;
use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::launch::{RUNNER, peer};
use crate::link::{self, Target};
use crate::paths::own_uid;
use crate::state::AppState;

/// Patience for a check of a whole journal.
const VERIFY: Duration = Duration::from_secs(600);
/// Patience for the link to a runner that was just started.
const LINKED: Duration = Duration::from_secs(10);

/// What a runner shall go on as.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UpgradeTo {
    /// Absolute path of the program; the octo-runner beside octo when absent.
    binary: Option<String>,
}

/// The runner of every user, whether it runs or not.
#[utoipa::path(get, path = "/admin/runners", tag = "admin",
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError)))]
pub async fn list(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<Runners>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    Ok(Json(Runners { runners: all(&state).await? }))
}

/// Ends a user's runner, with its agents, and starts it again. Sessions resume with their next prompt.
#[utoipa::path(post, path = "/admin/runners/{user}/restart", tag = "admin", params(("user" = String, Path, description = "whose")),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn restart(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(user): Segment<String>,
) -> Result<Json<Restarted>, ApiError> {
    authorize(&principal, Action::Write, &Object::Operations)?;
    let outcome = restart_of(&state, &user).await;
    record(&state, &principal, "runner.restart", &user, &outcome).await;
    outcome.map(Json)
}

/// Replaces a runner's program in place; its agents go on.
#[utoipa::path(post, path = "/admin/runners/{user}/upgrade", tag = "admin", request_body = UpgradeTo, params(("user" = String, Path, description = "whose")),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 409, body = ApiError)))]
pub async fn upgrade(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(user): Segment<String>,
    Body(to): Body<UpgradeTo>,
) -> Result<Json<Upgraded>, ApiError> {
    authorize(&principal, Action::Write, &Object::Operations)?;
    let outcome = upgrade_of(&state, &user, to).await;
    record(&state, &principal, "runner.upgrade", &user, &outcome).await;
    outcome.map(Json)
}

/// Reads a user's whole journal and checks it.
#[utoipa::path(post, path = "/admin/runners/{user}/journal/verify", tag = "admin", params(("user" = String, Path, description = "whose")),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn verify(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(user): Segment<String>,
) -> Result<Json<JournalReport>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let outcome = verify_of(&state, &principal, &user).await;
    record(&state, &principal, "journal.verify", &user, &outcome).await;
    outcome.map(Json)
}

async fn restart_of(state: &AppState, user: &str) -> Result<Restarted, ApiError> {
    let user = known(state, user)?;
    let unavailable = |sentence: String| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, sentence);
    let socket = state.settings.paths.runner_socket(&user);
    let stopped = crate::launch::stop(&socket, RUNNER).await.map_err(|error| unavailable(error.to_string()))?;
    state.launch.ensure_runner(&user).await.map_err(|error| unavailable(error.to_string()))?;
    if let Some(awake) = state.users.awake_user(&user) {
        awake.link(LINKED).await?;
    }
    let now = peer(&socket).await;
    Ok(Restarted { what: user.to_string(), pid_before: stopped.map(|peer| peer.pid), pid: now.map(|peer| peer.pid) })
}

async fn upgrade_of(state: &AppState, user: &str, to: UpgradeTo) -> Result<Upgraded, ApiError> {
    let user = known(state, user)?;
    let socket = state.settings.paths.runner_socket(&user);
    let conflict = |sentence: String| ApiError::new(StatusCode::CONFLICT, sentence);
    if peer(&socket).await.is_none() {
        return Err(conflict(format!("the runner of {user} does not run; what is started next is the new one anyway")));
    }
    let binary = to.binary.map_or_else(|| state.launch.binary(RUNNER), PathBuf::from);
    if !binary.is_absolute() {
        return Err(ApiError::bad_request(format!("{} is a relative path: write it from / on", binary.display())));
    }
    let target = Target { socket, uid: own_uid(), user: user.to_string(), instance: String::new() };
    let done = link::upgrade(&target, Some(&binary)).await.map_err(|error| conflict(error.to_string()))?;
    Ok(Upgraded {
        user: user.to_string(),
        pid: done.after.pid,
        before: done.before.software,
        after: done.after.software,
        binary: binary.display().to_string(),
    })
}

async fn verify_of(state: &AppState, principal: &Principal, user: &str) -> Result<JournalReport, ApiError> {
    let user = known(state, user)?;
    // Wakes the user, and starts the runner when it does not run: only it may open its journal.
    state.users.user(&user).await?.link(LINKED).await?;
    ask(state, principal, &user, &RunnerQuestion::VerifyJournal, VERIFY).await
}

fn known(state: &AppState, user: &str) -> Result<UserId, ApiError> {
    let nobody = || ApiError::new(StatusCode::NOT_FOUND, "there is no such user; `octoctl user list` shows all");
    let user = UserId::new(user).map_err(|_| nobody())?;
    if everybody(state)?.contains(&user) { Ok(user) } else { Err(nobody()) }
}

/// Every user's runner.
pub(super) async fn all(state: &AppState) -> Result<Vec<Runner>, ApiError> {
    let users = everybody(state)?;
    Ok(join_all(users.into_iter().map(|user| runner(state, user))).await)
}

async fn runner(state: &AppState, user: UserId) -> Runner {
    let paths = &state.settings.paths;
    let socket = paths.runner_socket(&user);
    let awake = state.users.awake_user(&user);
    let link = awake.as_ref().and_then(crate::users::User::linked);
    let welcome = link.as_ref().map(link::Link::welcome);
    // One that is linked is not knocked at as well: that would be one more of its actors.
    let pid = match welcome {
        Some(welcome) => i32::try_from(welcome.pid).ok(),
        None => peer(&socket).await.map(|peer| peer.pid),
    };
    Runner {
        socket: socket.display().to_string(),
        running: pid.is_some(),
        pid,
        linked: link.is_some(),
        software: welcome.map(|welcome| welcome.software.clone()),
        link: welcome.map(|welcome| welcome.version),
        started_at: welcome.map(|welcome| welcome.started_at),
        sessions: awake.as_ref().filter(|_| link.is_some()).and_then(crate::users::User::listed).map(|listed| listed.len() as u64),
        log: paths.log_file(&format!("{RUNNER}-{user}")).display().to_string(),
        user: user.to_string(),
    }
}
