//! `GET /api/openapi.json`

use axum::Json;
use utoipa::OpenApi;

use super::{account, chat, features, health, login, search, session};

#[derive(OpenApi)]
#[openapi(
    info(title = "octo", description = "REST of octo. Paths are below /api. Log in with POST /auth/login; send the token as `Authorization: Bearer` or use the cookie. Live events: WebSocket /api/ws/mux."),
    servers((url = "/api")),
    paths(
        health::health, features::features, serve,
        login::login, login::logout, login::change_password, login::ws_ticket,
        account::me, account::update_me,
        session::list, session::create, session::one, session::remove,
        chat::list, chat::grouped, chat::one, chat::rename, chat::messages,
        search::search,
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
