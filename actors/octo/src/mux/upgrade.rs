//! `GET /api/ws/mux`: from an authenticated request to a connection.

use super::connection::{Args, Connection, KIND, Msg};
use super::reader::Heard;
use super::socket::{open, switching};
use crate::auth::Principal;
use crate::rest::ApiError;
use crate::server::{Movement, Place};
use crate::state::AppState;
use crate::users::User;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::WebSocketUpgrade;
use axum::response::Response;
use http::{HeaderMap, StatusCode};
use hyper::upgrade::OnUpgrade;
use octo_actors::Address;
use octo_protocol::metrics::Limit;
use std::sync::{Arc, Mutex};

/// Upgrades. The principal was authenticated, and the origin checked, before this is reached; [`WebSocketUpgrade`] looks at the rest of the
/// request.
pub async fn upgrade(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    place: Option<Extension<Arc<Place>>>,
    movement: Option<Extension<Movement>>,
    on_upgrade: Option<Extension<OnUpgrade>>,
    headers: HeaderMap,
    _: WebSocketUpgrade,
) -> Result<Response, ApiError> {
    if state.shutdown.is_cancelled() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; connect again in a moment"));
    }
    let Some(Extension(on_upgrade)) = on_upgrade else {
        return Err(ApiError::bad_request("this connection cannot become a WebSocket"));
    };
    let user = state.users.user(&principal.user_id).await?;
    let limit = state.settings.server.max_connections_per_account;
    let Some(connected) = user.connect(limit) else {
        state.figures.limits.hit(Limit::ConnectionsPerAccount);
        let why = format!("this account has {limit} connections already: close some, or raise server.max_connections_per_account");
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, why));
    };
    // Held as long as the socket lives; given back when it never comes to be.
    let places = (place, connected);
    // Behind another program's listener it is not known.
    let movement = movement.map(|Extension(movement)| movement);
    tokio::spawn(state.connections.clone().track_future(async move {
        live(state, principal, user, on_upgrade, movement).await;
        drop(places);
    }));
    Ok(switching(&headers))
}

/// Starts the connection's actor and stays until it has ended.
async fn live(state: AppState, principal: Principal, user: User, on_upgrade: OnUpgrade, movement: Option<Movement>) {
    // On the heap while it lasts: what stays for as long as the connection, and there are many, is only the wait for its end.
    if let Some(connection) = Box::pin(begin(state, principal, user, on_upgrade, movement)).await {
        connection.closed().await;
    }
}

/// Starts the connection's actor. Why there is none is in the log.
async fn begin(
    state: AppState,
    principal: Principal,
    user: User,
    on_upgrade: OnUpgrade,
    movement: Option<Movement>,
) -> Option<Address<Msg>> {
    let heard = Heard::now();
    let socket = match open(on_upgrade, &heard).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, "a WebSocket upgrade failed");
            return None;
        }
    };
    let number = user.next_connection();
    let args = Arc::new(Args {
        connection_id: format!("{}-{number}", principal.user_id),
        state,
        principal,
        user: user.clone(),
        socket: Mutex::new(Some(socket)),
        heard,
        movement,
    });
    let started = match user.children().await {
        Ok(children) => {
            let name = format!("connections/{number}");
            children.start_child::<Connection>(KIND, &name, move || Arc::clone(&args)).await.map_err(|e| e.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    started.inspect_err(|error| tracing::warn!(user = %user.id(), %error, "a connection is refused")).ok()
}
