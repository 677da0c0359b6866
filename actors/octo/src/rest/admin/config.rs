//! `GET /api/admin/config`: what octo runs with, and where each value comes from. Secrets are hidden.

use axum::extract::State;
use axum::{Extension, Json};
use octo_protocol::admin::ShownConfig;

use super::super::error::ApiError;
use super::record::record;
use crate::auth::{Action, Object, Principal, authorize};
use crate::state::AppState;

/// The keys that somebody has set.
#[utoipa::path(get, path = "/admin/config", tag = "admin",
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 403, body = ApiError)))]
pub async fn config(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<ShownConfig>, ApiError> {
    authorize(&principal, Action::Read, &Object::Operations)?;
    let file = state.settings.paths.config_file.display().to_string();
    let outcome = Ok(ShownConfig { file, keys: state.config.to_vec() });
    record(&state, &principal, "config.read", "configuration", &outcome).await;
    outcome.map(Json)
}
