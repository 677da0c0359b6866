//! Requests for another host than octo are refused: a foreign page whose name was bound to octo's address sends its own.

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};

use crate::rest::ApiError;
use crate::state::AppState;

/// Refuses.
pub async fn check(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let browser = state.auth.browser();
    let mut values = request.headers().get_all(header::HOST).iter();
    let host = values.next().and_then(|v| v.to_str().ok());
    let named = request.uri().authority().map(http::uri::Authority::as_str);
    // HTTP/2 has the name in the address instead of the header.
    let allowed =
        host.or(named).is_some_and(|h| browser.host_allowed(h)) && named.is_none_or(|n| browser.host_allowed(n)) && values.next().is_none();
    if allowed {
        return next.run(request).await;
    }
    ApiError::new(
        StatusCode::MISDIRECTED_REQUEST,
        "octo does not answer under this host name: use its address or localhost, or add the name to auth.allowed_hosts",
    )
    .into_response()
}
