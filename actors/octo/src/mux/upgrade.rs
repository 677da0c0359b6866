//! `GET /api/ws/mux`: from an authenticated request to a connection.

use super::connection::{Args, Connection, KIND};
use crate::auth::Principal;
use crate::state::AppState;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use octo_protocol::mux::MAX_FRAME_BYTES;
use std::sync::{Arc, Mutex};

/// Bytes read at once. tungstenite allocates this much for every socket, idle ones too.
const READ_BUFFER: usize = 4 * 1024;
/// Bytes gathered before they are written; grows only when used.
const WRITE_BUFFER: usize = 64 * 1024;
/// Connections of one user.
pub const MAX_CONNECTIONS: usize = 16_384;

/// Upgrades. The principal was authenticated, and the origin checked, before this is reached.
pub async fn upgrade(State(state): State<AppState>, Extension(principal): Extension<Principal>, ws: WebSocketUpgrade) -> Response {
    if state.shutdown.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; connect again in a moment").into_response();
    }
    let ws = ws
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(MAX_FRAME_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .on_failed_upgrade(|error| tracing::debug!(%error, "a WebSocket upgrade failed"));
    ws.on_upgrade(move |socket| state.connections.clone().track_future(live(state, principal, socket)))
}

/// Starts the connection's actor and stays until it has ended.
async fn live(state: AppState, principal: Principal, socket: WebSocket) {
    let user = match state.users.user(&principal.user_id).await {
        Ok(user) => user,
        Err(error) => return tracing::warn!(user = %principal.user_id, %error, "a connection is refused"),
    };
    let Some(_place) = user.connect(MAX_CONNECTIONS) else {
        return tracing::warn!(user = %principal.user_id, "a connection is refused: the user has too many");
    };
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
