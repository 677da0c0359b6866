//! Errors as clients get them: `{error, code, details?}`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use octo_protocol::{ErrorCode, ProtocolError};
use serde::Serialize;

use crate::auth::{AuthError, Denied, LoginError, PasswordError};
use crate::store::StoreError;

/// A refusal.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct ApiError {
    /// A sentence that a person can act on.
    pub error: String,
    /// `NOT_FOUND`, `BAD_REQUEST`, `UNAUTHORIZED`, `FORBIDDEN`, `CONFLICT`, `TOO_MANY_REQUESTS`, `SERVICE_UNAVAILABLE`, `BAD_GATEWAY`, …
    pub code: &'static str,
    /// More, for programs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<serde_json::Value>,
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    retry_after: Option<u64>,
}

impl ApiError {
    /// With this status, whose usual code it gets.
    #[must_use]
    pub fn new(status: StatusCode, error: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => "BAD_REQUEST",
            StatusCode::UNAUTHORIZED => "UNAUTHORIZED",
            StatusCode::FORBIDDEN => "FORBIDDEN",
            StatusCode::NOT_FOUND => "NOT_FOUND",
            StatusCode::METHOD_NOT_ALLOWED => "METHOD_NOT_ALLOWED",
            StatusCode::CONFLICT => "CONFLICT",
            StatusCode::GONE => "GONE",
            StatusCode::PAYLOAD_TOO_LARGE => "PAYLOAD_TOO_LARGE",
            StatusCode::UNSUPPORTED_MEDIA_TYPE => "UNSUPPORTED_MEDIA_TYPE",
            StatusCode::MISDIRECTED_REQUEST => "MISDIRECTED_REQUEST",
            StatusCode::TOO_MANY_REQUESTS => "TOO_MANY_REQUESTS",
            StatusCode::BAD_GATEWAY => "BAD_GATEWAY",
            StatusCode::SERVICE_UNAVAILABLE => "SERVICE_UNAVAILABLE",
            StatusCode::GATEWAY_TIMEOUT => "TIMEOUT",
            _ => "INTERNAL_ERROR",
        };
        Self { error: error.into(), code, details: None, status, retry_after: None }
    }

    /// With a hint when to come again, in seconds.
    #[must_use]
    pub fn again_in(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }

    /// Nothing there, or nothing that the caller may know of.
    #[must_use]
    pub fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    /// The request is wrong.
    #[must_use]
    pub fn bad_request(error: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    /// octo's own fault; the cause goes to the log, not to the client.
    #[must_use]
    pub fn internal(cause: &dyn std::fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "octo could not do this; its log says why")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let (status, retry) = (self.status, self.retry_after);
        let mut response = (status, Json(self)).into_response();
        if let Some(retry) = retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(retry));
        }
        response
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        let status = match error {
            AuthError::Unauthenticated(_) => StatusCode::UNAUTHORIZED,
            AuthError::CrossOrigin(_) | AuthError::NotAdmitted(_) | AuthError::NoAccount => StatusCode::FORBIDDEN,
        };
        Self::new(status, error.to_string())
    }
}

impl From<Denied> for ApiError {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::NotFound => Self::not_found("object"),
            Denied::Forbidden => Self::new(StatusCode::FORBIDDEN, denied.to_string()),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict | StoreError::Taken(_) => Self::new(StatusCode::CONFLICT, error.to_string()),
            StoreError::Full(_) => Self::new(StatusCode::INSUFFICIENT_STORAGE, error.to_string()),
            error => Self::internal(&error),
        }
    }
}

impl From<LoginError> for ApiError {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::new(StatusCode::UNAUTHORIZED, error.to_string()),
            LoginError::TooMany(wait) => {
                let retry_after = Some(wait.as_secs().max(1));
                Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, error.to_string()) }
            }
            LoginError::Busy(_) => Self { retry_after: Some(2), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, error.to_string()) },
            LoginError::Store(error) => error.into(),
            LoginError::Token => Self::internal(&error),
        }
    }
}

impl From<PasswordError> for ApiError {
    fn from(error: PasswordError) -> Self {
        match error {
            // 401 would tell a browser that nobody is logged in.
            PasswordError::Login(LoginError::Wrong) => Self::bad_request("the present password is wrong"),
            PasswordError::Login(error) => error.into(),
            PasswordError::Unfit(why) => Self::bad_request(why),
        }
    }
}

impl From<ProtocolError> for ApiError {
    fn from(error: ProtocolError) -> Self {
        let status = match error.code {
            ErrorCode::SessionNotFound => StatusCode::NOT_FOUND,
            ErrorCode::InvalidRequest | ErrorCode::Unsupported => StatusCode::BAD_REQUEST,
            ErrorCode::InvalidState | ErrorCode::Conflict => StatusCode::CONFLICT,
            ErrorCode::PermissionDenied => StatusCode::FORBIDDEN,
            ErrorCode::NotReady | ErrorCode::Busy | ErrorCode::RunnerUnavailable | ErrorCode::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            ErrorCode::AgentFailed => StatusCode::BAD_GATEWAY,
            ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::LimitExceeded => StatusCode::TOO_MANY_REQUESTS,
            ErrorCode::Internal => return Self::internal(&error),
        };
        Self { details: Some(serde_json::json!({ "code": error.code })), ..Self::new(status, error.message) }
    }
}
