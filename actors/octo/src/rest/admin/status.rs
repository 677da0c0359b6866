//! `GET /api/admin/status`: octo as a whole, each part with its version, and what is wrong right now.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use futures_util::future::join_all;
use octo_actors::ActorPath;
use octo_protocol::admin::{Component, Runner, RunnerQuestion, Standing, Status, Trouble};
use octo_protocol::mux::system::ActorRow;
use serde_json::Value;

use super::super::error::ApiError;
use super::actors::{ask, subtree};
use super::{runners, sessions};
use crate::agents;
use crate::auth::{Action, Object, Principal, authorize};
use crate::launch::{EAVS, peer};
use crate::paths::free_bytes;
use crate::state::AppState;
use crate::store::SCHEMA_VERSION;

/// Patience for octo-eavs to say who it is, and for a runner to say what is wrong with it: whoever asks wants to know within two seconds.
const ANSWERS: Duration = Duration::from_millis(1200);
/// Descriptors in use, of those that there may be, that are worth a word.
const MANY_PERCENT: u64 = 90;
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
    let (tree, listed, runners, eavs, theirs) = tokio::join!(
        subtree(&state, &principal, &root),
        tokio::time::timeout(ANSWERS, sessions::all(&state, &principal, ids)),
        runners::all(&state),
        eavs(&state),
        of_runners(&state, &principal),
    );
    // Whose runner does not answer is told of below.
    let listed = listed.unwrap_or_default();
    let (tree, runners) = (tree?, runners?);
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for row in &listed.sessions {
        *counts.entry(word(&row.session.state)).or_default() += 1;
    }
    let mut actors: BTreeMap<String, u64> = BTreeMap::new();
    for row in &tree.rows {
        *actors.entry(row.state.clone()).or_default() += 1;
    }
    let (eavs, failing) = eavs;
    let mut components = vec![octo(), descriptors(), store(&state), eavs];
    components.extend(agents::look(&state.settings).into_iter().filter(|part| part.standing != Standing::Ok));
    components.extend(runners.iter().map(component));
    let mut trouble: Vec<Trouble> = tree.rows.iter().filter_map(wrong).collect();
    trouble.extend(theirs);
    trouble.extend(failing);
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
        _ => row.trouble.clone()?,
    };
    Some(Trouble { what: row.path.clone(), sentence })
}

/// What runners say is wrong with them. One that does not answer is told of with the tree.
async fn of_runners(state: &AppState, principal: &Principal) -> Vec<Trouble> {
    let asked = join_all(state.users.awake().into_iter().filter(|user| user.linked().is_some()).map(|user| async move {
        let told = ask::<Vec<Trouble>>(state, principal, user.id(), &RunnerQuestion::Trouble, ANSWERS).await;
        let at = |what: &str| format!("/users/{}/runner: {what}", user.id());
        told.unwrap_or_default().into_iter().map(|t| Trouble { what: at(&t.what), sentence: t.sentence }).collect::<Vec<_>>()
    }));
    asked.await.into_iter().flatten().collect()
}

fn descriptors() -> Component {
    let limit = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    // Of a process that has none left, not even this directory can be read.
    let used = std::fs::read_dir("/proc/self/fd").map_or(limit, |open| open.count() as u64);
    let found = format!("{used} of {limit} in use");
    if used.saturating_mul(100) >= limit.saturating_mul(MANY_PERCENT) {
        let hint = "clients are turned away when there are none left: raise the limit of open files (LimitNOFILE of the service), and look for who has so many connections (`octoctl user list`)";
        return part("descriptors", Standing::Bad, None, found, Some(hint.to_owned()));
    }
    part("descriptors", Standing::Ok, None, found, None)
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

/// octo-eavs, and the providers that refuse everything.
async fn eavs(state: &AppState) -> (Component, Vec<Trouble>) {
    let found = proxy(state).await;
    if found.standing != Standing::Ok {
        return (found, Vec::new());
    }
    let failing = tokio::time::timeout(ANSWERS, state.eavs.failing()).await;
    let failing = failing.ok().and_then(Result::ok).unwrap_or_default();
    let told = failing.into_iter().map(|failing| Trouble {
        what: format!("provider {}", failing.provider),
        sentence: format!("its last {} requests failed, and the newest so: {}", failing.requests, failing.sentence),
    });
    (found, told.collect())
}

async fn proxy(state: &AppState) -> Component {
    if !state.settings.eavs.enabled {
        let hint = "without it sessions have no models; remove eavs.enabled = false";
        return part(EAVS, Standing::Note, None, "switched off".to_owned(), Some(hint.to_owned()));
    }
    let log = state.settings.paths.log_file(EAVS);
    let Some(found) = peer(&state.settings.paths.eavs_admin_socket()).await else {
        let hint = format!("octo starts it again; its log says why it ended: {}", log.display());
        return part(EAVS, Standing::Bad, None, "does not run".to_owned(), Some(hint));
    };
    match tokio::time::timeout(ANSWERS, state.eavs.health()).await {
        Ok(Ok(health)) => {
            let version = health["version"].as_str().map(str::to_owned);
            part(EAVS, Standing::Ok, version, format!("runs (pid {})", found.pid), None)
        }
        answer => {
            let why = answer.ok().and_then(Result::err).map_or_else(|| "it does not answer".to_owned(), |error| error.to_string());
            let hint = format!(
                "no agent has a model meanwhile. It may be stopped: end pid {}, octo starts another one; its log is {}",
                found.pid,
                log.display()
            );
            part(EAVS, Standing::Bad, None, format!("pid {}: {why}", found.pid), Some(hint))
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
