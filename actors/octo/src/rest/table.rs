//! The table of routes, and the router that is built from it.

use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{self, MethodRouter};
use http::{Method, StatusCode};
use tower_http::timeout::RequestBodyTimeoutLayer;

use super::error::ApiError;
use super::guard::{Policy, guard};
use super::{account, actors, admin, chat, features, harnesses, health, login, metrics as figures, openapi, permissions, search, session};
use crate::state::AppState;

/// Largest JSON body, in bytes.
pub const MAX_BODY_BYTES: usize = 1024 * 1024;
/// Longest pause between two pieces of a body; then the request is over, so that nobody holds a connection by sending nothing.
pub const BODY_PAUSE: Duration = Duration::from_secs(10);

/// One route.
pub struct Route {
    /// Its method.
    pub method: Method,
    /// Its path below `/api`.
    pub path: &'static str,
    /// Who may use it.
    pub policy: Policy,
    handler: MethodRouter<AppState>,
}

/// Every route of REST.
#[must_use]
pub fn table() -> Vec<Route> {
    use Policy::{Admin, LoggedIn, Metrics, Public};
    use routing::{delete, get, patch, post, put};
    let route = |method, path, policy, handler| Route { method, path, policy, handler };
    vec![
        route(Method::GET, "/health", Public, get(health::health)),
        route(Method::GET, "/features", Public, get(features::features)),
        route(Method::GET, "/openapi.json", Public, get(openapi::serve)),
        route(Method::POST, "/auth/login", Public, post(login::login)),
        route(Method::POST, "/auth/logout", Public, post(login::logout)),
        route(Method::POST, "/auth/change-password", LoggedIn, post(login::change_password)),
        route(Method::POST, "/auth/ws-ticket", LoggedIn, post(login::ws_ticket)),
        route(Method::GET, "/me", LoggedIn, get(account::me)),
        route(Method::PUT, "/me", LoggedIn, put(account::update_me)),
        route(Method::GET, "/harnesses", LoggedIn, get(harnesses::list)),
        route(Method::GET, "/sessions", LoggedIn, get(session::list)),
        route(Method::POST, "/sessions", LoggedIn, post(session::create)),
        route(Method::GET, "/sessions/{id}", LoggedIn, get(session::one)),
        route(Method::DELETE, "/sessions/{id}", LoggedIn, delete(session::remove)),
        route(Method::GET, "/chat-history", LoggedIn, get(chat::list)),
        route(Method::GET, "/chat-history/grouped", LoggedIn, get(chat::grouped)),
        route(Method::GET, "/chat-history/{id}", LoggedIn, get(chat::one)),
        route(Method::PATCH, "/chat-history/{id}", LoggedIn, patch(chat::rename)),
        route(Method::GET, "/chat-history/{id}/messages", LoggedIn, get(chat::messages)),
        route(Method::GET, "/permissions", LoggedIn, get(permissions::list)),
        route(Method::POST, "/permissions", LoggedIn, post(permissions::add)),
        route(Method::DELETE, "/permissions/{id}", LoggedIn, delete(permissions::remove)),
        route(Method::GET, "/search", LoggedIn, get(search::search)),
        route(Method::GET, "/metrics", Metrics, get(figures::metrics)),
        route(Method::GET, "/actors", LoggedIn, get(actors::list)),
        route(Method::GET, "/actors/inspect", LoggedIn, get(actors::inspect)),
        route(Method::POST, "/actors/restart", LoggedIn, post(actors::restart)),
        route(Method::GET, "/actors/trace", LoggedIn, get(actors::trace)),
        route(Method::GET, "/actors/event-path", LoggedIn, get(actors::event_path)),
        route(Method::GET, "/admin/status", Admin, get(admin::status::status)),
        route(Method::GET, "/admin/config", Admin, get(admin::config::config)),
        route(Method::GET, "/admin/actors", Admin, get(admin::actors::list)),
        route(Method::GET, "/admin/actors/inspect", Admin, get(admin::actors::inspect)),
        route(Method::POST, "/admin/actors/restart", Admin, post(admin::actors::restart)),
        route(Method::GET, "/admin/actors/trace", Admin, get(admin::trace::trace)),
        route(Method::GET, "/admin/sessions", Admin, get(admin::sessions::list)),
        route(Method::GET, "/admin/sessions/{user}/{id}", Admin, get(admin::sessions::one)),
        route(Method::DELETE, "/admin/sessions/{user}/{id}", Admin, delete(admin::sessions::remove)),
        route(Method::POST, "/admin/sessions/{user}/{id}/stop", Admin, post(admin::sessions::stop)),
        route(Method::POST, "/admin/sessions/{user}/{id}/restart", Admin, post(admin::sessions::restart)),
        route(Method::GET, "/admin/sessions/{user}/{id}/events", Admin, get(admin::events::events)),
        route(Method::GET, "/admin/sessions/{user}/{id}/path", Admin, get(admin::path::path)),
        route(Method::GET, "/admin/users", Admin, get(admin::users::list)),
        route(Method::GET, "/admin/users/{id}", Admin, get(admin::users::one)),
        route(Method::GET, "/admin/users/{id}/permissions", Admin, get(permissions::of_user)),
        route(Method::DELETE, "/admin/users/{id}/permissions/{rule}", Admin, delete(permissions::remove_of_user)),
        route(Method::POST, "/admin/users/{id}/sleep", Admin, post(admin::users::sleep)),
        route(Method::GET, "/admin/runners", Admin, get(admin::runners::list)),
        route(Method::POST, "/admin/runners/{user}/restart", Admin, post(admin::runners::restart)),
        route(Method::POST, "/admin/runners/{user}/upgrade", Admin, post(admin::runners::upgrade)),
        route(Method::POST, "/admin/runners/{user}/journal/verify", Admin, post(admin::runners::verify)),
        route(Method::GET, "/admin/logs", Admin, get(admin::logs::list)),
        route(Method::GET, "/admin/logs/{name}", Admin, get(admin::logs::one)),
        route(Method::GET, "/admin/store/export", Admin, get(admin::store::export)),
        route(
            Method::POST,
            "/admin/store/import",
            Admin,
            post(admin::store::import).layer(DefaultBodyLimit::max(admin::store::MAX_IMPORT_BYTES)),
        ),
    ]
}

/// REST and the mux, each route behind its policy.
pub fn router(state: &AppState) -> Router<AppState> {
    let guarded = |policy| from_fn_with_state((state.clone(), policy), guard);
    let rest =
        table().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.handler.route_layer(guarded(route.policy))));
    let mux = crate::mux::routes().route_layer(guarded(Policy::Upgrade));
    rest.layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .merge(mux)
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
}

/// `/acp`, where clients of the Agent Client Protocol look for it: one path with three methods, behind one policy.
pub fn acp(state: &AppState) -> Router<AppState> {
    let guarded = from_fn_with_state((state.clone(), Policy::UpgradeOrLoggedIn), guard);
    crate::acp::routes()
        .route_layer(guarded)
        .layer(DefaultBodyLimit::max(crate::acp::MAX_MESSAGE_BYTES))
        .layer(RequestBodyTimeoutLayer::new(BODY_PAUSE))
        .method_not_allowed_fallback(wrong_method)
}

/// `/metrics`, where Prometheus looks for it: the same as in the table, behind the same policy.
pub fn metrics(state: &AppState) -> Router<AppState> {
    let guarded = from_fn_with_state((state.clone(), Policy::Metrics), guard);
    Router::new().route("/metrics", routing::get(figures::metrics).route_layer(guarded)).method_not_allowed_fallback(wrong_method)
}

async fn unknown() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "octo has no such path; see /api/openapi.json")
}

async fn wrong_method() -> ApiError {
    ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method; see /api/openapi.json")
}
