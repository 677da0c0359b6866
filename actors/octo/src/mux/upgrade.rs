//! `GET /api/ws/mux`: from an authenticated request to a connection.

use super::connection::{Args, Connection, KIND};
use crate::auth::Principal;
use crate::rest::ApiError;
use crate::server::Place;
use crate::state::AppState;
use crate::users::User;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::Response;
use http::StatusCode;
use octo_protocol::mux::MAX_FRAME_BYTES;
use std::sync::{Arc, Mutex};

/// Bytes read at once. tungstenite allocates this much for every socket, idle ones too.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes gathered before they are written; grows only when used.
const WRITE_BUFFER: usize = 64 * 1024;
/// Upgrades. The principal was authenticated, and the origin checked, before this is reached.
pub async fn upgrade(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    place: Option<Extension<Arc<Place>>>,
    ws: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    if state.shutdown.is_cancelled() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; connect again in a moment"));
    }
    let user = state.users.user(&principal.user_id).await?;
    let limit = state.settings.server.max_connections_per_account;
    let Some(connected) = user.connect(limit) else {
        let why = format!("this account has {limit} connections already: close some, or raise server.max_connections_per_account");
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, why));
    };
    // Held as long as the socket lives; given back when it never comes to be.
    let places = (place, connected);
    let ws = ws
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .on_failed_upgrade(|error| tracing::debug!(%error, "a WebSocket upgrade failed"));
    Ok(ws.on_upgrade(move |socket| {
        state.connections.clone().track_future(async move {
            live(state, principal, user, socket).await;
            drop(places);
        })
    }))
}

/// Starts the connection's actor and stays until it has ended.
async fn live(state: AppState, principal: Principal, user: User, socket: WebSocket) {
    let number = user.next_connection();
    let args = Arc::new(Args {
        connection_id: format!("{}-{number}", principal.user_id),
        state,
        principal,
        user: user.clone(),
        socket: Mutex::new(Some(socket)),
    });
    let started = match user.children().await {
        Ok(children) => {
            let name = format!("connections/{number}");
            children.start_child::<Connection>(KIND, &name, move || Arc::clone(&args)).await.map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match started {
        Ok(address) => address.closed().await,
        Err(error) => tracing::warn!(user = %user.id(), %error, "a connection is refused"),
    }
}
