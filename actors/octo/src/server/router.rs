//! The whole router: REST, the mux and the web application, behind the checks that every request passes.

use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tower_http::trace::TraceLayer;

use super::host;
use crate::acp;
use crate::rest::{self, ApiError};
use crate::state::AppState;
use crate::web;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How long a browser may remember what CORS allows.
const CORS_AGE: Duration = Duration::from_secs(600);

/// The router of an instance; can be nested into another one.
pub fn router(state: AppState) -> Router {
    let cors = cors(state.auth.browser().origins());
    Router::new()
        .nest("/api", rest::router(&state))
        .merge(rest::metrics(&state))
        .merge(rest::acp(&state))
        .fallback(web::serve)
        .layer(from_fn_with_state(state.clone(), host::check))
        .layer(cors)
        .layer(from_fn(web::security_headers))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(TraceLayer::new_for_http().make_span_with(span))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid))
        .layer(from_fn(own_request_id))
        .with_state(state)
}

/// A client's own request id would let it write into the log.
async fn own_request_id(mut request: Request, next: axum::middleware::Next) -> Response {
    request.headers_mut().remove(REQUEST_ID);
    next.run(request).await
}

/// Without the query: it may hold a ticket.
fn span<B>(request: &http::Request<B>) -> tracing::Span {
    let id = request.extensions().get::<RequestId>().and_then(|id| id.header_value().to_str().ok()).unwrap_or_default();
    tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins.iter().filter_map(|o| HeaderValue::from_str(o).ok()).collect();
    if origins.is_empty() {
        return CorsLayer::new();
    }
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_credentials(true)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([header::CONTENT_TYPE, header::AUTHORIZATION, acp::CONNECTION_ID, acp::SESSION_ID])
        .expose_headers([acp::CONNECTION_ID])
        .max_age(CORS_AGE)
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a message");
    tracing::error!(panic = text, "a request handler panicked");
    ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "octo could not do this; its log says why").into_response()
}
