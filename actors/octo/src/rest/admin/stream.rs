//! Answers that go on: one JSON object a line, for as long as the client reads and may.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header;
use serde::Serialize;
use std::convert::Infallible;

use crate::auth::Principal;
use crate::state::AppState;

/// Sends each of `lines` as a line of JSON. It ends with the stream, with the client, with the rights of whoever asked, and with octo.
pub fn respond<T: Serialize + Send + 'static>(
    state: &AppState,
    principal: &Principal,
    lines: impl Stream<Item = T> + Send + 'static,
) -> Response {
    let (stop, mut rights) = (state.shutdown.clone(), state.auth.watch(principal));
    let lines = lines.filter_map(|line| async move {
        let mut text = serde_json::to_vec(&line).ok()?;
        text.push(b'\n');
        Some(Ok::<_, Infallible>(Bytes::from(text)))
    });
    let lines = lines.take_until(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            _ = rights.ended() => {}
        }
    });
    let headers = [(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")];
    (headers, Body::from_stream(lines)).into_response()
}
