//! Refusals: a status, a code of the protocol's list, and a sentence.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{StatusCode, header};
use octo_protocol::{ErrorCode, ProtocolError};
use serde_json::json;

/// Why a request is not served.
#[derive(Debug)]
pub struct Refusal {
    pub status: StatusCode,
    pub error: ProtocolError,
}

impl Refusal {
    /// Nobody is let in with this.
    #[must_use]
    pub fn unauthorized(message: &str) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: ProtocolError::new(ErrorCode::PermissionDenied, message) }
    }

    /// There is no room right now.
    #[must_use]
    pub fn busy(message: String) -> Self {
        Self { status: StatusCode::SERVICE_UNAVAILABLE, error: ProtocolError::new(ErrorCode::Busy, message) }
    }

    /// The bridge is ending.
    #[must_use]
    pub fn ending() -> Self {
        Self::busy("the bridge is ending; connect again in a moment".to_owned())
    }
}

impl From<ProtocolError> for Refusal {
    fn from(error: ProtocolError) -> Self {
        let status = match error.code {
            ErrorCode::InvalidRequest => StatusCode::BAD_REQUEST,
            ErrorCode::SessionNotFound => StatusCode::NOT_FOUND,
            ErrorCode::NotReady | ErrorCode::Busy => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
            // What stands behind this server does not work.
            ErrorCode::AgentFailed | ErrorCode::Unsupported => StatusCode::BAD_GATEWAY,
            ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Self { status, error } = self;
        let mut answer = (status, Json(json!({ "error": error.message, "code": error.code }))).into_response();
        if status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer realm=\"pi-bridge\""));
        }
        answer
    }
}

fn invalid(status: StatusCode, message: &str) -> Refusal {
    Refusal { status, error: ProtocolError::new(ErrorCode::InvalidRequest, message) }
}

pub(super) async fn not_found() -> Refusal {
    invalid(StatusCode::NOT_FOUND, "there is nothing here: a bridge has GET /health, POST /command, GET /ws and GET /events")
}

pub(super) async fn wrong_method() -> Refusal {
    invalid(StatusCode::METHOD_NOT_ALLOWED, "not with this method: a bridge has GET /health, POST /command, GET /ws and GET /events")
}
