//! `/api/me`: one's own account.

use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::error::ApiError;
use super::extract::Body;
use crate::auth::{Action, Object, Principal, authorize};
use crate::state::AppState;
use crate::store::Account;

/// Largest settings of an account, in bytes of JSON.
pub const MAX_SETTINGS_BYTES: usize = 64 * 1024;
const MAX_NAME_CHARS: usize = 200;
const MAX_URL_BYTES: usize = 2048;

/// An account, as its owner sees it.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Me {
    id: String,
    username: String,
    email: String,
    name: String,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    avatar_url: Option<String>,
    role: &'static str,
    is_active: bool,
    /// RFC 3339.
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_login_at: Option<String>,
    /// What the web application keeps.
    #[schema(value_type = Object)]
    settings: Map<String, Value>,
}

impl From<Account> for Me {
    fn from(a: Account) -> Self {
        Self {
            id: a.id.to_string(),
            username: a.username,
            email: a.email,
            name: a.display_name.clone(),
            display_name: a.display_name,
            avatar_url: a.avatar_url,
            role: a.role.as_str(),
            is_active: a.is_active,
            created_at: rfc3339(a.created_at),
            last_login_at: a.last_login_at.map(rfc3339),
            settings: a.settings,
        }
    }
}

/// What to change of one's own account.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateMe {
    display_name: Option<String>,
    avatar_url: Option<String>,
    /// Merged member by member; `null` removes one.
    #[schema(value_type = Option<Object>)]
    settings: Option<Map<String, Value>>,
}

/// Who is logged in.
#[utoipa::path(get, path = "/me", tag = "account", responses((status = 200, body = Me), (status = 401, body = ApiError)))]
pub async fn me(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<Me>, ApiError> {
    authorize(&principal, Action::Read, &Object::Account(&principal.user_id))?;
    let account = state.accounts.get(&principal.user_id)?.ok_or_else(|| ApiError::not_found("account"))?;
    Ok(Json(account.into()))
}

/// Changes one's own account.
#[utoipa::path(put, path = "/me", tag = "account", request_body = UpdateMe,
    responses((status = 200, body = Me), (status = 400, body = ApiError), (status = 401, body = ApiError)))]
pub async fn update_me(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Body(wanted): Body<UpdateMe>,
) -> Result<Json<Me>, ApiError> {
    authorize(&principal, Action::Write, &Object::Account(&principal.user_id))?;
    if let Some(name) = &wanted.display_name
        && (name.trim().is_empty() || name.chars().count() > MAX_NAME_CHARS || name.chars().any(char::is_control))
    {
        return Err(ApiError::bad_request(format!("display_name has 1 to {MAX_NAME_CHARS} characters")));
    }
    if let Some(url) = &wanted.avatar_url
        && !(url.is_empty() || (url.len() <= MAX_URL_BYTES && (url.starts_with("https://") || url.starts_with("data:image/"))))
    {
        return Err(ApiError::bad_request("avatar_url is an https:// address, a data:image/ URL, or empty"));
    }
    let mut too_large = false;
    let updated = state.accounts.update(&principal.user_id, |account| {
        let mut settings = account.settings.clone();
        for (name, value) in wanted.settings.iter().flatten() {
            if value.is_null() {
                settings.remove(name);
            } else {
                settings.insert(name.clone(), value.clone());
            }
        }
        too_large = serde_json::to_string(&settings).map_or(usize::MAX, |t| t.len()) > MAX_SETTINGS_BYTES;
        if too_large {
            return;
        }
        account.settings = settings;
        if let Some(name) = &wanted.display_name {
            account.display_name = name.trim().to_owned();
        }
        if let Some(url) = &wanted.avatar_url {
            account.avatar_url = Some(url.clone()).filter(|u| !u.is_empty());
        }
    });
    let account = updated.await?.ok_or_else(|| ApiError::not_found("account"))?;
    if too_large {
        return Err(ApiError::bad_request(format!("the settings would have more than {MAX_SETTINGS_BYTES} bytes")));
    }
    Ok(Json(account.into()))
}

/// Unix milliseconds as RFC 3339.
pub(super) fn rfc3339(unix_ms: i64) -> String {
    let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(unix_ms) * 1_000_000).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    time.format(&Rfc3339).unwrap_or_default()
}
