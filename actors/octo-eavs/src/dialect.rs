//! The three dialects that octo-eavs passes on, and how each says that something failed.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// A dialect, named as pi and octo's configuration name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Api {
    /// `POST /v1/messages`.
    AnthropicMessages,
    /// `POST /v1/chat/completions`.
    OpenaiCompletions,
    /// `POST /v1/responses`.
    OpenaiResponses,
}

impl Api {
    /// The dialect that a path below the provider (`v1/…`) speaks, if it is one that generates.
    pub fn of_path(path: &str) -> Option<Self> {
        match path.trim_end_matches('/') {
            "v1/messages" => Some(Self::AnthropicMessages),
            "v1/chat/completions" => Some(Self::OpenaiCompletions),
            "v1/responses" => Some(Self::OpenaiResponses),
            _ => None,
        }
    }

    /// The dialect in which a client that used this path expects an error, when the provider is not known.
    pub fn guess(path: &str) -> Self {
        match path {
            p if p.starts_with("v1/messages") => Self::AnthropicMessages,
            p if p.starts_with("v1/responses") => Self::OpenaiResponses,
            _ => Self::OpenaiCompletions,
        }
    }
}

/// A refusal or failure of the proxy, before a dialect gives it its shape.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// HTTP status.
    pub status: StatusCode,
    /// A word for programs, for example `budget_exceeded`.
    pub code: &'static str,
    /// A sentence for people: what happened and what to do.
    pub message: String,
    /// Seconds after which it makes sense to try again.
    pub retry_after: Option<u64>,
}

impl Refusal {
    /// A refusal without a `retry-after`.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// The same with a `retry-after` of so many seconds.
    pub fn after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The answer in the dialect's own error shape.
    pub fn response(&self, api: Api) -> Response {
        let kind = error_type(self.status);
        let body = match api {
            Api::AnthropicMessages => json!({
                "type": "error",
                "error": {"type": kind, "message": self.message, "code": self.code},
            }),
            Api::OpenaiCompletions | Api::OpenaiResponses => json!({
                "error": {"message": self.message, "type": kind, "param": null, "code": self.code},
            }),
        };
        let mut response = Response::new(Body::from(body.to_string()));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// Anthropic's names for kinds of errors, which fit the other dialects as well.
pub(crate) fn error_type(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        503 | 529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}
