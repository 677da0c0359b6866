//! `GET /api/admin/actors/trace`: messages as actors handle them, across octo and its runners.
//!
//! A tap in each process catches what is below the path. It is bounded, and it loses what is not read in time rather than hold an actor up; how
//! much it has lost is part of the trace.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::{Stream, stream};
use http::StatusCode;
use octo_actors::{ActorPath, Trace};
use octo_protocol::admin::{LeftOut, Outcome, RunnerQuestion, TraceBatch, TraceLine, TraceOpened, Traced};
use octo_protocol::metrics::Limit;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::super::error::ApiError;
use super::super::extract::Query;
use super::actors::{ask, parse, subtree};
use super::record::record;
use super::stream::respond;
use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::state::AppState;
use crate::users::User;

/// Lines that wait for a client; while they do, the taps fill, and what they cannot hold they count.
const LINES: usize = 256;
/// After so long without a message the client is told that the trace goes on, and octo learns whether the client does.
const QUIET: Duration = Duration::from_secs(5);
/// How long one question to a runner waits for messages, and how much longer for the answer.
const WAIT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);

/// What to trace.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TraceQuery {
    /// The actor, and all below it; `/` when absent.
    path: Option<String>,
}

/// Messages as they are handled: one JSON object a line, until the client goes.
#[utoipa::path(get, path = "/admin/actors/trace", tag = "admin", params(TraceQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 410, body = ApiError), (status = 503, body = ApiError)))]
pub async fn trace(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<TraceQuery>,
) -> Result<Response, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let path = parse(query.path.as_deref().unwrap_or("/"))?;
    let opened = open(&state, &principal, &path).await;
    record(&state, &principal, "actor.trace", path.as_str(), &opened).await;
    Ok(respond(&state, &principal, lines(opened?)))
}

/// The lines of a trace, and one now and then when nothing happens.
pub(in super::super) fn lines(opened: mpsc::Receiver<TraceLine>) -> impl Stream<Item = TraceLine> + Send + 'static {
    stream::unfold(opened, |mut lines| async move {
        match tokio::time::timeout(QUIET, lines.recv()).await {
            Err(_) => Some((TraceLine::Quiet, lines)),
            Ok(line) => line.map(|line| (line, lines)),
        }
    })
}

/// Begins to trace the actor at `path` and all below it. The caller has authorized it.
pub(in super::super) async fn open(
    state: &AppState,
    principal: &Principal,
    path: &ActorPath,
) -> Result<mpsc::Receiver<TraceLine>, ApiError> {
    // Whether there is anything at all.
    subtree(state, principal, path).await?;
    let full = |error: octo_actors::TooManyTaps| {
        state.figures.limits.hit(Limit::Traces);
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, error.to_string())
    };
    let (out, lines) = mpsc::channel(LINES);
    let sink = Sink { out, dropped: Arc::default() };
    let tap = state.system.directory().trace(path.clone()).map_err(full)?;
    tokio::spawn(local(tap, sink.clone()));
    for user in state.users.awake() {
        let Ok(mount) = ActorPath::parse(&format!("/users/{}/runner", user.id())) else { continue };
        let there = if mount.is_under(path) { Some("/".to_owned()) } else { path.below(&mount).map(|below| format!("/{below}")) };
        if let Some(there) = there {
            let remote = Remote { state: state.clone(), principal: principal.clone(), mount, there };
            tokio::spawn(remote.run(user, sink.clone()));
        }
    }
    Ok(lines)
}

/// Where the lines of all sources go.
#[derive(Clone)]
struct Sink {
    out: mpsc::Sender<TraceLine>,
    /// Of all sources.
    dropped: Arc<AtomicU64>,
}

/// The client is gone.
struct Over;

impl Sink {
    async fn put(&self, line: TraceLine) -> Result<(), Over> {
        self.out.send(line).await.map_err(|_| Over)
    }

    /// Tells what was lost, when a source has lost more than `known` by now.
    async fn lost(&self, known: &mut u64, now: u64) -> Result<(), Over> {
        let more = now.saturating_sub(*known);
        if more == 0 {
            return Ok(());
        }
        *known = now;
        let all = self.dropped.fetch_add(more, Relaxed) + more;
        self.put(TraceLine::Dropped(all)).await
    }
}

async fn local(mut tap: Trace, sink: Sink) {
    let mut known = 0;
    loop {
        let next = tokio::select! {
            next = tap.next() => next,
            () = sink.out.closed() => return,
        };
        let Some(next) = next else { return };
        if sink.put(TraceLine::Message(traced(next))).await.is_err() || sink.lost(&mut known, tap.dropped()).await.is_err() {
            return;
        }
    }
}

/// The part of a trace that is in a runner.
struct Remote {
    state: AppState,
    principal: Principal,
    mount: ActorPath,
    there: String,
}

impl Remote {
    /// Holds the user, so that it does not fall asleep under the trace.
    async fn run(self, user: User, sink: Sink) {
        if let Err(error) = self.follow(user.id(), &sink).await {
            let lost = LeftOut { path: self.mount.to_string(), reason: error.error };
            let _ = sink.put(TraceLine::Lost(lost)).await;
        }
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, user: &UserId, question: &RunnerQuestion) -> Result<T, ApiError> {
        ask(&self.state, &self.principal, user, question, WAIT + ANSWER).await
    }

    async fn follow(&self, user: &UserId, sink: &Sink) -> Result<(), ApiError> {
        let TraceOpened { trace } = self.ask(user, &RunnerQuestion::TraceOpen { path: self.there.clone() }).await?;
        let wait_ms = u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX);
        let mut known = 0;
        loop {
            let question = RunnerQuestion::TraceNext { trace, wait_ms };
            let batch: TraceBatch = tokio::select! {
                batch = self.ask(user, &question) => batch?,
                () = sink.out.closed() => break,
            };
            let mut over = false;
            for mut message in batch.messages {
                let below = message.path.trim_start_matches('/');
                message.path = format!("{}/{below}", self.mount);
                over |= sink.put(TraceLine::Message(message)).await.is_err();
            }
            if over || sink.lost(&mut known, batch.dropped).await.is_err() {
                break;
            }
        }
        self.ask::<Value>(user, &RunnerQuestion::TraceClose { trace }).await.map(drop)
    }
}

fn traced(traced: octo_actors::Traced) -> Traced {
    let outcome = match traced.outcome {
        octo_actors::Outcome::Ok => Outcome::Ok,
        octo_actors::Outcome::Failed => Outcome::Failed,
        octo_actors::Outcome::Panicked => Outcome::Panicked,
        octo_actors::Outcome::Killed => Outcome::Killed,
    };
    let octo_actors::Traced { path, message, queued_us, handled_us, .. } = traced;
    Traced { path: path.to_string(), message, queued_us, handled_us, outcome }
}
