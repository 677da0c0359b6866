//! `GET /api/ws/mux`: from an authenticated request to a connection.

use super::connection::{Args, Connection, KIND, Msg};
use crate::auth::Principal;
use crate::state::AppState;
use crate::users::Connected;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use octo_actors::Address;
use octo_protocol::mux::MAX_FRAME_BYTES;
use std::sync::{Arc, Mutex};

/// Bytes read at once. tungstenite allocates this much for every socket, idle ones too; nearly every command is smaller.
const READ_BUFFER: usize = 1024;
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
    ws.on_upgrade(move |socket| {
        let connections = state.connections.clone();
        // Not in the task of the upgrade, which keeps room for all its steps until it ends.
        connections.spawn(live(Box::pin(enter(state, principal, socket))));
        std::future::ready(())
    })
}

/// Stays until the connection has ended. What its start took is given back before.
async fn live(entered: impl Future<Output = Option<(Address<Msg>, Connected)>>) {
    if let Some((connection, _place)) = entered.await {
        connection.closed().await;
    }
}

/// Starts the connection's actor.
async fn enter(state: AppState, principal: Principal, socket: WebSocket) -> Option<(Address<Msg>, Connected)> {
    let user = match state.users.user(&principal.user_id).await {
        Ok(user) => user,
        Err(error) => {
            tracing::warn!(user = %principal.user_id, %error, "a connection is refused");
            return None;
        }
    };
    let Some(place) = user.connect(MAX_CONNECTIONS) else {
        tracing::warn!(user = %principal.user_id, "a connection is refused: the user has too many");
        return None;
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
        Ok(address) => Some((address, place)),
        Err(error) => {
            tracing::warn!(user = %user.id(), %error, "a connection is refused");
            None
        }
    }
}
