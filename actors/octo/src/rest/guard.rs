//! What a route takes before its handler is reached.

use std::time::Instant;

use axum::extract::{OriginalUri, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{AUTHORIZATION, UPGRADE};
use http::{HeaderMap, Method};
use serde_json::json;

use super::error::ApiError;
use crate::auth::{Action, AuthError, Object, Principal, Role, SocketPeer, Surface, authorize};
use crate::state::AppState;

/// Who may use a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Everybody; a log in, if there is one, is known to the handler.
    Public,
    /// Whoever is logged in; the handler asks `authorize` for the object.
    LoggedIn,
    /// Admins.
    Admin,
    /// Admins, and whoever shows `server.metrics_token`.
    Metrics,
    /// A WebSocket upgrade by whoever is logged in.
    Upgrade,
    /// As [`Policy::Upgrade`] when it is a WebSocket upgrade, else as [`Policy::LoggedIn`].
    UpgradeOrLoggedIn,
}

impl Policy {
    fn surface(self, method: &Method, headers: &HeaderMap) -> Surface {
        match self {
            Self::Upgrade => Surface::Upgrade,
            Self::UpgradeOrLoggedIn if headers.contains_key(UPGRADE) => Surface::Upgrade,
            _ if method == Method::GET || method == Method::HEAD => Surface::Read,
            _ => Surface::Mutate,
        }
    }
}

/// Enforces a policy; the handler then finds `Extension<Principal>`.
pub async fn guard(State((state, policy)): State<(AppState, Policy)>, mut request: Request, next: Next) -> Response {
    let surface = policy.surface(request.method(), request.headers());
    // Whoever comes through the admin socket is known by the kernel's word, unless they show a token.
    let peer = request.extensions().get::<SocketPeer>().filter(|_| !request.headers().contains_key(AUTHORIZATION)).copied();
    let authenticated = match &peer {
        Some(peer) if matches!(policy, Policy::Admin | Policy::Metrics | Policy::Public) => peer.principal(),
        Some(_) => Err(AuthError::NoAccount),
        None => {
            let monitor = if policy == Policy::Metrics { state.auth.monitor(request.headers()) } else { None };
            monitor.map_or_else(|| state.auth.authenticate(surface, request.headers(), request.uri().query()), Ok)
        }
    };
    let principal = match authenticated {
        Ok(principal) => principal,
        Err(_) if policy == Policy::Public => return next.run(request).await,
        Err(error) => return ApiError::from(error).into_response(),
    };
    let object = match policy {
        Policy::Admin => Some(Object::Operations),
        Policy::Metrics => Some(Object::Figures),
        Policy::Public | Policy::LoggedIn | Policy::Upgrade | Policy::UpgradeOrLoggedIn => None,
    };
    if let Some(object) = object
        && let Err(denied) = authorize(&principal, Action::Read, &object)
    {
        return ApiError::from(denied).into_response();
    }
    if principal.role == Role::Monitor {
        // It comes every few seconds and changes nothing: it would fill the audit.
        request.extensions_mut().insert::<Principal>(principal);
        return next.run(request).await;
    }
    // The router is nested; the audit has the path as it was sent.
    let uri = request.extensions().get::<OriginalUri>().map_or(request.uri(), |original| &original.0);
    let (method, path) = (request.method().clone(), uri.path().to_owned());
    let user = principal.user_id.clone();
    request.extensions_mut().insert::<Principal>(principal);
    let began = Instant::now();
    let response = next.run(request).await;
    let mut entry = json!({
        "user_id": user, "method": method.as_str(), "path": path, "status": response.status().as_u16(),
        "duration_ms": u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(peer) = peer {
        entry["socket"] = json!({ "uid": peer.uid, "pid": peer.pid });
    }
    state.audit.write("request", entry).await;
    response
}
