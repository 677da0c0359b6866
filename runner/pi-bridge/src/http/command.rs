//! `POST /command`: one command in, its response out.
//!
//! 200 says that the command reached its session; whether it did what it should is `success` in the response. Anything else says that it did not get there.

use super::{MAX_COMMAND_BYTES, MAX_COMMANDS, Place, Refusal, Shared};
use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use octo_protocol::{CommandFrame, ErrorCode, ProtocolError};
use std::sync::Arc;

pub(super) async fn command(
    State(shared): State<Shared>,
    Query(place): Query<Place>,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refusal> {
    if shared.stop.is_cancelled() {
        return Err(Refusal::ending());
    }
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => {
            let message = format!("the command is larger than {MAX_COMMAND_BYTES} bytes: put what is large into a file");
            Refusal { status: StatusCode::PAYLOAD_TOO_LARGE, error: ProtocolError::new(ErrorCode::LimitExceeded, message) }
        }
        _ => unreadable(&"its body did not come whole").into(),
    })?;
    let frame: CommandFrame = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    let full = |_| Refusal::busy(format!("{MAX_COMMANDS} commands are under way already; wait for their responses"));
    let _permit = Arc::clone(&shared.commands).try_acquire_owned().map_err(full)?;
    // Whoever hangs up does not stop what was begun.
    let (door, session) = (Arc::clone(&shared.door), place.session);
    let carrying = shared.sockets.spawn(async move { door.command(frame, session.as_deref()).await });
    let response =
        carrying.await.map_err(|error| ProtocolError::new(ErrorCode::Internal, format!("the command was broken off: {error}")))?;
    Ok(Json(response).into_response())
}

/// The refusal of what is no command.
pub(super) fn unreadable(why: &dyn std::fmt::Display) -> ProtocolError {
    ProtocolError::new(
        ErrorCode::InvalidRequest,
        format!("this is no command ({why}): send an object as {{\"cmd\": \"prompt\", \"message\": \"…\"}}"),
    )
}
