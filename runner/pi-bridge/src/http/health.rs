//! Whether the bridge works: for whoever starts and watches containers. It says nothing that is a secret.

use super::Shared;
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

pub(super) async fn health(State(shared): State<Shared>) -> Response {
    let ok = !shared.stop.is_cancelled() && !shared.failed.is_cancelled();
    let status = if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ok": ok, "harness": shared.door.harness(), "version": env!("CARGO_PKG_VERSION") }))).into_response()
}
