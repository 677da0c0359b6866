//! `GET /api/openapi.json`

use axum::Json;
use utoipa::OpenApi;

use super::{account, actors, admin, chat, features, harnesses, health, login, metrics, permissions, search, session};

#[derive(OpenApi)]
#[openapi(
    info(title = "octo", description = "REST of octo. Paths are below /api. Log in with POST /auth/login; send the token as `Authorization: Bearer` or use the cookie. Live events: WebSocket /api/ws/mux."),
    servers((url = "/api")),
    paths(
        health::health, features::features, serve,
        login::login, login::logout, login::change_password, login::ws_ticket,
        account::me, account::update_me,
        harnesses::list,
        session::list, session::create, session::one, session::remove,
        chat::list, chat::grouped, chat::one, chat::rename, chat::messages,
        permissions::list, permissions::add, permissions::remove, permissions::of_user, permissions::remove_of_user,
        search::search,
        metrics::metrics,
        actors::list, actors::inspect, actors::restart, actors::trace, actors::event_path,
        admin::status::status, admin::config::config,
        admin::actors::list, admin::actors::inspect, admin::actors::restart, admin::trace::trace,
        admin::sessions::list, admin::sessions::one, admin::sessions::remove, admin::sessions::stop, admin::sessions::restart,
        admin::events::events, admin::path::path,
        admin::users::list, admin::users::one, admin::users::sleep,
        admin::runners::list, admin::runners::restart, admin::runners::upgrade, admin::runners::verify,
        admin::logs::list, admin::logs::one,
        admin::store::export, admin::store::import,
    )
)]
struct Document;

/// The document.
#[must_use]
pub fn document() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

/// This document.
#[utoipa::path(get, path = "/openapi.json", tag = "server", responses((status = 200, body = Object)))]
pub async fn serve() -> Json<utoipa::openapi::OpenApi> {
    Json(document())
}
