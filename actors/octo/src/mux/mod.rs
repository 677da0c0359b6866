//! The mux WebSocket.

use axum::Router;

use crate::state::AppState;

/// Routes below `/api`. Every request that reaches them passed the upgrade policy: it carries `Extension<Principal>`.
pub fn routes() -> Router<AppState> {
    Router::new()
}
