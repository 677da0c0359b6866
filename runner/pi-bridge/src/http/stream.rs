//! `GET /events`: events as server-sent events. The id of each is `EPOCH:SEQ`, so that a browser's or any other `EventSource` goes on by itself where it was.

use super::{Place, Refusal, Shared, cursor_of};
use crate::door::session_named;
use crate::follower::{Follower, Told};
use axum::extract::{Query, State};
use axum::response::sse::{Event, KeepAlive, Sse};
use futures_util::Stream;
use http::HeaderMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

/// Where an `EventSource` was.
const LAST_EVENT_ID: &str = "last-event-id";
/// How often a comment says that the connection lives.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) async fn events(
    State(shared): State<Shared>,
    Query(place): Query<Place>,
    headers: HeaderMap,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    if shared.stop.is_cancelled() {
        return Err(Refusal::ending());
    }
    let permit = shared.reader()?;
    let session = session_named(place.session.as_deref())?;
    let last = headers.get(LAST_EVENT_ID).and_then(|value| value.to_str().ok()).filter(|text| !text.is_empty());
    let cursor = last.or(place.after.as_deref()).map(cursor_of).transpose()?;
    shared.door.open(&session).await?;
    let follower = Follower::new(Arc::clone(&shared.door), session, cursor);
    let stop = shared.stop.clone();
    let stream = futures_util::stream::unfold((follower, stop, permit), |(mut follower, stop, permit)| async move {
        let told = tokio::select! {
            told = follower.next() => told?,
            () = stop.cancelled() => return None,
        };
        Some((Ok(event(told)), (follower, stop, permit)))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

fn event(told: Told) -> Event {
    // JSON on one line: no byte of it ends a line here.
    let event = Event::default().data(String::from_utf8_lossy(&told.json));
    match told.cursor {
        Some(cursor) => event.id(format!("{}:{}", cursor.epoch, cursor.seq)),
        None => event,
    }
}
