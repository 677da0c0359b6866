//! The token is in every request, as a bearer token: in no URL, in no cookie. So no page in a browser can speak for whoever has it.

use super::{Refusal, Shared};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, header};

/// Lets through whoever has the token.
pub(super) async fn guard(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    match presented(request.headers()) {
        Err(refusal) => refusal.into_response(),
        Ok(token) if !shared.token.is(token) => {
            Refusal::unauthorized("the token is wrong: send the one that this bridge was started with").into_response()
        }
        Ok(_) => next.run(request).await,
    }
}

fn presented(headers: &HeaderMap) -> Result<&str, Refusal> {
    let missing =
        || Refusal::unauthorized("there is no token: send the one that this bridge was started with as `Authorization: Bearer TOKEN`");
    let value = headers.get(header::AUTHORIZATION).ok_or_else(missing)?;
    let (scheme, token) = value.to_str().ok().and_then(|text| text.trim().split_once(' ')).ok_or_else(missing)?;
    if scheme.eq_ignore_ascii_case("bearer") { Ok(token.trim()) } else { Err(missing()) }
}
