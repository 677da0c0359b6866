//! Extractors whose refusals are octo's own errors.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts};
use http::StatusCode;
use http::request::Parts;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::error::ApiError;

/// A JSON body.
#[derive(FromRequest)]
#[from_request(via(axum::Json), rejection(ApiError))]
pub struct Body<T>(pub T);

/// The query of the URI.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Query), rejection(ApiError))]
pub struct Query<T>(pub T);

/// A segment of the path.
#[derive(FromRequestParts)]
#[from_request(via(axum::extract::Path), rejection(ApiError))]
pub struct Segment<T>(pub T);

impl From<JsonRejection> for ApiError {
    fn from(rejection: JsonRejection) -> Self {
        let status = rejection.status();
        // serde quotes what it found, which may be a password: only its place is passed on.
        let text = match &rejection {
            JsonRejection::JsonDataError(_) => "the body lacks a member or has one of another type; see /api/openapi.json".to_owned(),
            JsonRejection::JsonSyntaxError(_) => "the body is not JSON".to_owned(),
            JsonRejection::MissingJsonContentType(_) => "send the body as `Content-Type: application/json`".to_owned(),
            _ if status == StatusCode::PAYLOAD_TOO_LARGE => "the body is too large".to_owned(),
            _ => "the body could not be read".to_owned(),
        };
        Self::new(status, text)
    }
}

impl From<QueryRejection> for ApiError {
    fn from(_: QueryRejection) -> Self {
        Self::bad_request("the query of the address is not what this path takes; see /api/openapi.json")
    }
}

impl From<PathRejection> for ApiError {
    fn from(_: PathRejection) -> Self {
        Self::not_found("object")
    }
}

/// The address a request comes from; behind a proxy that is the proxy's.
pub struct Peer(pub IpAddr);

impl<S: Send + Sync> FromRequestParts<S> for Peer {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        // Embedded routers may be served without the address; all their requests share one limit then.
        let address = parts.extensions.get::<ConnectInfo<SocketAddr>>().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |info| info.0.ip());
        Ok(Self(address))
    }
}
