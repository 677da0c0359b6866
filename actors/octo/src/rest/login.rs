//! `/api/auth`: log in, log out, a new password, a ticket for the WebSocket.

use std::time::Duration;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::error::ApiError;
use super::extract::{Body, Peer};
use crate::auth::{LoggedIn, Principal};
use crate::state::AppState;
use crate::store::Account;

/// Who wants to log in.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct LoginRequest {
    /// Upper and lower case are the same.
    username: String,
    /// The password.
    password: String,
}

/// Who is logged in.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LoginResponse {
    /// For `Authorization: Bearer`; browsers have it in the cookie `auth_token`.
    token: String,
    /// The account.
    user: LoginUser,
}

/// An account, in short.
#[derive(Serialize, utoipa::ToSchema)]
pub struct LoginUser {
    id: String,
    name: String,
    username: String,
    email: String,
    role: &'static str,
}

impl LoginUser {
    fn of(account: &Account) -> Self {
        Self {
            id: account.id.to_string(),
            name: account.display_name.clone(),
            username: account.username.clone(),
            email: account.email.clone(),
            role: account.role.as_str(),
        }
    }
}

/// A new password.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct ChangePassword {
    current_password: String,
    /// At least 8 characters.
    new_password: String,
}

/// A ticket.
#[derive(Serialize, utoipa::ToSchema)]
pub struct WsTicket {
    /// For `?ticket=`, once.
    ticket: String,
    /// Seconds.
    expires_in: u64,
}

/// Logs in: the token in the body, and in a cookie that scripts cannot read.
#[utoipa::path(post, path = "/auth/login", tag = "auth", request_body = LoginRequest,
    responses((status = 200, body = LoginResponse), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 429, body = ApiError)))]
pub async fn login(
    State(state): State<AppState>,
    Peer(address): Peer,
    headers: HeaderMap,
    Body(request): Body<LoginRequest>,
) -> Result<Response, ApiError> {
    let browser = state.auth.browser();
    if browser.is_foreign(&headers) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "log in on octo's own page"));
    }
    if browser.is_exposed(&headers) {
        return Err(ApiError::new(
            StatusCode::FORBIDDEN,
            "this page came over http from another machine, where others could read along: use https (a proxy with TLS), an SSH tunnel to this port, or set auth.allow_plain_http",
        ));
    }
    let outcome = state.accounts.login(&request.username, &request.password, address).await;
    let outcome = outcome.inspect_err(|error| state.figures.login_refused(error));
    let name: String = request.username.chars().take(64).collect();
    let entry = json!({ "username": name, "address": address, "success": outcome.is_ok() });
    state.audit.write("login", entry).await;
    let logged_in = outcome?;
    let cookie = cookie(&state, &headers, &logged_in)?;
    let body = LoginResponse { user: LoginUser::of(&logged_in.account), token: logged_in.token };
    Ok(([(header::SET_COOKIE, cookie), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(body)).into_response())
}

/// Logs out: the token is void from now on, wherever it is used. Without a log in it only clears the cookie.
#[utoipa::path(post, path = "/auth/logout", tag = "auth", responses((status = 204)))]
pub async fn logout(
    State(state): State<AppState>,
    principal: Option<Extension<Principal>>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(Extension(principal)) = principal {
        state.accounts.logout(&principal).await?;
    }
    let cookie = state.auth.browser().cookie(&headers, "", Duration::ZERO);
    let cookie = HeaderValue::from_str(&cookie).map_err(|e| ApiError::internal(&e))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// Changes the password: every log in of the account ends but this one, which gets a new cookie.
#[utoipa::path(post, path = "/auth/change-password", tag = "auth", request_body = ChangePassword,
    responses((status = 204), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 429, body = ApiError)))]
pub async fn change_password(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Peer(address): Peer,
    headers: HeaderMap,
    Body(request): Body<ChangePassword>,
) -> Result<Response, ApiError> {
    let changed = state.accounts.change_password(&principal, &request.current_password, &request.new_password, address).await;
    state.audit.write("change_password", json!({ "user_id": principal.user_id, "address": address, "success": changed.is_ok() })).await;
    let cookie = cookie(&state, &headers, &changed?)?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

/// A ticket for one WebSocket upgrade within 30 seconds, for clients that can set neither header nor cookie.
#[utoipa::path(post, path = "/auth/ws-ticket", tag = "auth", responses((status = 200, body = WsTicket), (status = 401, body = ApiError)))]
pub async fn ws_ticket(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> impl IntoResponse {
    let ticket = WsTicket { ticket: state.auth.ticket(&principal), expires_in: crate::auth::TICKET_LIFETIME.as_secs() };
    ([(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))], Json(ticket))
}

fn cookie(state: &AppState, headers: &HeaderMap, logged_in: &LoggedIn) -> Result<HeaderValue, ApiError> {
    let text = state.auth.browser().cookie(headers, &logged_in.token, state.accounts.lifetime());
    let mut value = HeaderValue::from_str(&text).map_err(|e| ApiError::internal(&e))?;
    value.set_sensitive(true);
    Ok(value)
}
