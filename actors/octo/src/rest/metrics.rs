//! `GET /metrics`, and the same at `/api/metrics`: what octo, its runners and octo-eavs count, for Prometheus.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};

use super::error::ApiError;
use crate::auth::{Action, Object, Principal, authorize};
use crate::figures::{MAX_READERS, gather, render};
use crate::state::AppState;

/// When somebody who was one too many may come again, in seconds.
const AGAIN: u64 = 2;

/// Everything that is counted, as text.
#[utoipa::path(get, path = "/metrics", tag = "admin",
    responses((status = 200, body = String, content_type = "text/plain"), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 503, body = ApiError)))]
pub async fn metrics(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Response, ApiError> {
    authorize(&principal, Action::Read, &Object::Figures)?;
    let Some(told) = gather::gather(&state, &principal).await else {
        let text = format!("{MAX_READERS} others are reading the metrics; ask again in a moment");
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).again_in(AGAIN));
    };
    let text = render::text(told).map_err(|e| ApiError::internal(&e))?;
    let headers = [(header::CONTENT_TYPE, render::CONTENT_TYPE), (header::CACHE_CONTROL, "no-store")];
    Ok((headers.map(|(name, value)| (name, HeaderValue::from_static(value))), text).into_response())
}
