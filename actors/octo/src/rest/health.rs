//! `GET /api/health`

use axum::Json;
use serde::Serialize;

/// That octo answers.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Health {
    /// `ok`
    pub status: &'static str,
    /// Of octo.
    pub version: &'static str,
}

/// Answers as soon as requests are served, whatever the state of runners.
#[utoipa::path(get, path = "/health", tag = "server", responses((status = 200, body = Health)))]
pub async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: crate::VERSION })
}
