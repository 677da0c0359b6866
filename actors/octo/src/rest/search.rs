//! `GET /api/search`: full text over one's own history.

use axum::extract::State;
use axum::{Extension, Json};
use octo_protocol::history::{HistoryQuery, Removed, SearchHit};
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::extract::Query;
use crate::auth::{Action, Object, Principal, authorize};
use crate::sessions;
use crate::state::AppState;

const MAX_HITS: u32 = 200;
const MAX_QUERY_CHARS: usize = 500;

/// What to look for.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct SearchQuery {
    /// Words.
    q: String,
    /// Only conversations with these agents, with commas.
    agents: Option<String>,
    /// At most so many.
    limit: Option<u32>,
}

/// What was found, best first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Found {
    #[schema(value_type = Vec<Object>)]
    hits: Vec<SearchHit>,
    total: usize,
    /// What history does not hold any more, so that nothing of it can be found.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    removed: Option<Removed>,
}

/// Searches one's own history.
#[utoipa::path(get, path = "/search", tag = "history", params(SearchQuery),
    responses((status = 200, body = Found), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 503, body = ApiError)))]
pub async fn search(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<SearchQuery>,
) -> Result<Json<Found>, ApiError> {
    let owner = &principal.user_id;
    authorize(&principal, Action::Read, &Object::Sessions(owner))?;
    let q = query.q.trim().to_owned();
    if q.is_empty() || q.chars().count() > MAX_QUERY_CHARS {
        return Err(ApiError::bad_request(format!("q has 1 to {MAX_QUERY_CHARS} characters")));
    }
    let limit = query.limit.unwrap_or(50).clamp(1, MAX_HITS);
    let mut hits: Vec<SearchHit> =
        sessions::history(&state, &principal, owner, &HistoryQuery::Search { q, session_id: None, limit }).await?;
    if let Some(agents) = query.agents.filter(|a| !a.is_empty() && a != "all") {
        let wanted: Vec<&str> = agents.split(',').map(str::trim).collect();
        hits.retain(|hit| wanted.contains(&hit.agent.as_str()));
    }
    let removed = sessions::removed(&state, &principal, owner).await?;
    Ok(Json(Found { total: hits.len(), hits, removed }))
}
