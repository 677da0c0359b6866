//! `GET /api/admin/status`: octo as a whole, each part with its version, and what is wrong right now.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use octo_actors::ActorPath;
use octo_protocol::admin::{Component, Runner, Standing, Status, Trouble};
use octo_protocol::mux::system::ActorRow;
use serde_json::Value;

use super::super::error::ApiError;
use super::actors::subtree;
use super::{runners, sessions};
use crate::auth::{Action, Object, Principal, authorize};
use crate::launch::{EAVS, peer};
use crate::paths::free_bytes;
use crate::state::AppState;
use crate::store::SCHEMA_VERSION;

/// Patience for octo-eavs to say who it is.
const EAVS_ANSWERS: Duration = Duration::from_secs(2);
/// Less room than this on the disk of the data, in bytes, is worth a note; writes are refused at 4 MiB.
const LITTLE_ROOM: u64 = 512 * 1024 * 1024;
/// Troubles that are named; further ones are counted.
const MAX_TROUBLE: usize = 100;

/// octo as a whole.
#[utoipa::path(get, path = "/admin/status", tag = "admin",
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError)))]
pub async fn status(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<Status>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let awake = state.users.awake();
    let ids = awake.iter().map(|user| user.id().clone()).collect();
    let root = ActorPath::root();
    let (tree, listed, runners, eavs) =
        tokio::join!(subtree(&state, &principal, &root), sessions::all(&state, &principal, ids), runners::all(&state), eavs(&state));
    let (tree, runners) = (tree?, runners?);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in &listed.sessions {
        *counts.entry(word(&row.session.state)).or_default() += 1;
    }
    let mut actors: BTreeMap<String, u64> = BTreeMap::new();
    for row in &tree.rows {
        *actors.entry(row.state.clone()).or_default() += 1;
    }
    let mut components = vec![octo(), store(&state), eavs];
    components.extend(runners.iter().map(component));
    let mut trouble: Vec<Trouble> = tree.rows.iter().filter_map(wrong).collect();
    trouble.extend(tree.left_out.iter().map(|left| Trouble { what: left.path.clone(), sentence: left.reason.clone() }));
    if trouble.len() > MAX_TROUBLE {
        let more = trouble.len() - MAX_TROUBLE;
        trouble.truncate(MAX_TROUBLE);
        trouble.push(Trouble { what: "/".to_owned(), sentence: format!("and {more} more; `octoctl actor list` shows all actors") });
    }
    Ok(Json(Status {
        version: crate::VERSION.to_owned(),
        pid: std::process::id(),
        started_at: state.started_at,
        accounts: state.store.accounts()?.len() as u64,
        users_awake: awake.len() as u64,
        connections: awake.iter().map(|user| user.load().0 as u64).sum(),
        sessions: counts,
        actors,
        components,
        trouble,
    }))
}

fn word(value: &impl serde::Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => "unknown".to_owned(),
    }
}

/// What is wrong with an actor, and what to do.
fn wrong(row: &ActorRow) -> Option<Trouble> {
    let error = row.last_error.as_deref().unwrap_or("no error is known");
    let sentence = match row.state.as_str() {
        "stuck" => {
            let (inside, seconds) = (row.busy_with.as_deref().unwrap_or("one message"), row.busy_ms.unwrap_or_default() / 1000);
            format!(
                "has been inside {inside} for {seconds} s, and {} messages wait; `octoctl actor restart {}` ends that",
                row.mailbox, row.path
            )
        }
        "degraded" => format!("failed too often and stays down ({error}); mend the cause, then `octoctl actor restart {}`", row.path),
        "restarting" => format!("failed and is started again ({error}); restarts so far: {}", row.restarts),
        _ if row.mailbox_limit.is_some_and(|limit| limit > 0 && row.mailbox >= limit) => {
            format!("has a full mailbox ({} messages): whoever sends more is told that it is busy", row.mailbox)
        }
        _ => return None,
    };
    Some(Trouble { what: row.path.clone(), sentence })
}

fn part(name: &str, standing: Standing, version: Option<String>, found: String, hint: Option<String>) -> Component {
    Component { name: name.to_owned(), standing, version, found, hint }
}

fn octo() -> Component {
    part("octo", Standing::Ok, Some(crate::VERSION.to_owned()), format!("runs (pid {})", std::process::id()), None)
}

fn store(state: &AppState) -> Component {
    let dir = state.settings.paths.store_dir();
    let version = Some(format!("schema {SCHEMA_VERSION}"));
    let free = free_bytes(&dir);
    let room = free.map_or_else(|| "of unknown room".to_owned(), |free| format!("{} MiB free", free >> 20));
    let found = format!("{} ({room})", dir.display());
    if free.is_some_and(|free| free < LITTLE_ROOM) {
        let hint = "make room on this disk: nothing is written any more when it is full, and octo goes on by itself when there is room";
        return part("store", Standing::Bad, version, found, Some(hint.to_owned()));
    }
    part("store", Standing::Ok, version, found, None)
}

async fn eavs(state: &AppState) -> Component {
    if !state.settings.eavs.enabled {
        let hint = "without it sessions have no models; remove eavs.enabled = false";
        return part(EAVS, Standing::Note, None, "switched off".to_owned(), Some(hint.to_owned()));
    }
    let log = state.settings.paths.log_file(EAVS);
    let Some(found) = peer(&state.settings.paths.eavs_admin_socket()).await else {
        let hint = format!("octo starts it again; its log says why it ended: {}", log.display());
        return part(EAVS, Standing::Bad, None, "does not run".to_owned(), Some(hint));
    };
    match tokio::time::timeout(EAVS_ANSWERS, state.eavs.health()).await {
        Ok(Ok(health)) => {
            let version = health["version"].as_str().map(str::to_owned);
            part(EAVS, Standing::Ok, version, format!("runs (pid {})", found.pid), None)
        }
        answer => {
            let why = answer.ok().and_then(Result::err).map_or_else(|| "it does not answer".to_owned(), |error| error.to_string());
            part(EAVS, Standing::Bad, None, format!("pid {}: {why}", found.pid), Some(format!("look at its log: {}", log.display())))
        }
    }
}

fn component(runner: &Runner) -> Component {
    let name = format!("runner {}", runner.user);
    let own = format!("octo-runner {}", crate::VERSION);
    let pid = runner.pid.unwrap_or_default();
    match (runner.running, runner.linked, &runner.software) {
        (false, ..) => part(&name, Standing::Note, None, "does not run".to_owned(), Some("octo starts it when it is needed".to_owned())),
        (true, false, _) => part(&name, Standing::Ok, None, format!("runs (pid {pid}), and is not linked: its user is asleep"), None),
        (true, true, Some(software)) if *software != own => {
            let hint = format!("`octoctl runner upgrade {}` brings it up to date; its agents go on", runner.user);
            part(&name, Standing::Note, Some(software.clone()), format!("runs (pid {pid})"), Some(hint))
        }
        (true, true, software) => part(&name, Standing::Ok, software.clone(), format!("runs (pid {pid})"), None),
    }
}
