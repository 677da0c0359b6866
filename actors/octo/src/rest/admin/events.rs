//! `GET /api/admin/sessions/{user}/{id}/events`: a session's events as its clients get them, from any number on.

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::stream;
use octo_protocol::session::SessionOpened;
use octo_protocol::{Command, Cursor};
use serde::Deserialize;
use serde_json::Value;

use super::super::error::ApiError;
use super::super::extract::{Query, Segment};
use super::record::record;
use super::sessions::{command, find};
use super::stream::respond;
use crate::auth::{Action, Principal};
use crate::mux::follower::Follower;
use crate::state::AppState;

/// Which events.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// Number of the first event; 1 is the session's first. What comes from now on when absent.
    from: Option<u64>,
    /// Go on with what comes; without it the answer ends with the newest event.
    #[serde(default)]
    follow: bool,
}

/// Events: one JSON object a line. Starts no agent.
#[utoipa::path(get, path = "/admin/sessions/{user}/{id}/events", tag = "admin",
    params(("user" = String, Path, description = "whose"), ("id" = String, Path, description = "the session"), EventsQuery),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 503, body = ApiError)))]
pub async fn events(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(name): Segment<(String, String)>,
    Query(query): Query<EventsQuery>,
) -> Result<Response, ApiError> {
    let object = format!("{}/{}", name.0, name.1);
    let begun = begin(&state, &principal, name, &query).await;
    record(&state, &principal, "session.events", &object, &begun).await;
    let lines = stream::unfold(begun?, |mut tail| async move { Some((tail.next().await?, tail)) });
    Ok(respond(&state, &principal, lines))
}

async fn begin(state: &AppState, principal: &Principal, name: (String, String), query: &EventsQuery) -> Result<Tail, ApiError> {
    let (owner, id) = find(state, principal, Action::Read, name)?;
    let opened = command(state, principal, &owner, &id, Command::SessionAttach { cursor: None }).await?;
    let opened: SessionOpened = serde_json::from_value(opened).map_err(|e| ApiError::internal(&e))?;
    let after = query.from.map_or(opened.seq, |from| from.saturating_sub(1));
    if after > opened.seq {
        return Err(ApiError::bad_request(format!("the newest event of {id} is {}; begin at most one behind it", opened.seq)));
    }
    let user = state.users.user(&owner).await?;
    let feed = user.follow(&id).await?;
    let cursor = Cursor { epoch: opened.epoch.clone(), seq: after };
    let follower = Follower::new(user, principal.clone(), feed, None, Some(cursor), Some((opened.epoch, opened.seq)));
    let until = (!query.follow).then_some(opened.seq);
    Ok(Tail { follower: Box::new(follower), waiting: Vec::new().into_iter(), until, over: !query.follow && after == opened.seq })
}

/// What is still to be sent.
struct Tail {
    follower: Box<Follower>,
    waiting: std::vec::IntoIter<octo_actors::Frame>,
    /// The number that it ends with.
    until: Option<u64>,
    over: bool,
}

impl Tail {
    async fn next(&mut self) -> Option<Value> {
        if self.over {
            return None;
        }
        loop {
            for frame in self.waiting.by_ref() {
                let Ok(event) = serde_json::from_slice::<Value>(&frame.bytes) else { continue };
                // The end of a replay says how far it came, whatever is not kept any more.
                self.over = self.until.is_some_and(|until| event["seq"].as_u64().is_some_and(|seq| seq >= until));
                return Some(event);
            }
            let batch = self.follower.next().await;
            if batch.is_empty() {
                return None;
            }
            self.waiting = batch.into_iter();
        }
    }
}
