//! What an operator did, or a user to actors of their own, in the audit and in the log.

use serde_json::json;

use super::super::error::ApiError;
use crate::auth::Principal;
use crate::state::AppState;

/// Writes down that `principal` did `action` to `object`, and how it went.
pub async fn record<T>(state: &AppState, principal: &Principal, action: &'static str, object: &str, outcome: &Result<T, ApiError>) {
    let error = outcome.as_ref().err().map(|error| error.error.as_str());
    let (event, who) = if principal.is_admin() { ("admin", "an operator") } else { ("own_actors", "a user") };
    match error {
        None => tracing::info!(by = %principal.user_id, action, object, "{who} acted"),
        Some(error) => tracing::warn!(by = %principal.user_id, action, object, error, "{who} tried to act"),
    }
    let entry = json!({ "user_id": principal.user_id, "action": action, "object": object, "success": error.is_none(), "error": error });
    state.audit.write(event, entry).await;
}
