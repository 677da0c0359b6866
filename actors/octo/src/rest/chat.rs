//! `/api/chat-history`: conversations, as the runner's history has them.

use axum::extract::State;
use axum::{Extension, Json};
use octo_protocol::history::{ChatMessage, ChatMessagePart, ChatSession, HistoryQuery, RemovalReason, Removed};
use octo_protocol::message::Message;
use octo_protocol::part::Part;
use octo_protocol::session::{MAX_PAGE_MESSAGES, MessagePage};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::error::ApiError;
use super::extract::{Body, Query, Segment};
use crate::auth::{Action, Object, Principal, authorize};
use crate::sessions;
use crate::state::AppState;

/// Conversations of one answer, unless fewer are asked for.
const MAX_SESSIONS: u32 = 1000;
/// Pages that are put together for a client that asks for a whole conversation.
const MAX_PAGES: usize = 50;
const MAX_TITLE_CHARS: usize = 500;

/// Which conversations.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ListQuery {
    /// Only those of this folder.
    workspace: Option<String>,
    /// Also those that another one made.
    #[serde(default)]
    include_children: bool,
    /// At most so many.
    limit: Option<u32>,
}

/// Which messages.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub struct MessagesQuery {
    /// Only those before this place in the conversation.
    before_idx: Option<u64>,
    /// Only the newest so many; all when absent.
    limit: Option<u32>,
}

/// A new title.
#[derive(Deserialize, utoipa::ToSchema)]
pub struct Rename {
    title: String,
}

/// Conversations of one folder.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Grouped {
    workspace_path: String,
    project_name: String,
    #[schema(value_type = Vec<Object>)]
    sessions: Vec<ChatSession>,
}

/// Conversations, newest first.
#[utoipa::path(get, path = "/chat-history", tag = "history", params(ListQuery),
    responses((status = 200, body = Vec<Object>), (status = 401, body = ApiError), (status = 503, body = ApiError)))]
pub async fn list(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<ChatSession>>, ApiError> {
    conversations(&state, &principal, query).await.map(Json)
}

/// Conversations by folder; the folder that was used last comes first.
#[utoipa::path(get, path = "/chat-history/grouped", tag = "history", params(ListQuery),
    responses((status = 200, body = Vec<Grouped>), (status = 401, body = ApiError), (status = 503, body = ApiError)))]
pub async fn grouped(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Query(query): Query<ListQuery>,
) -> Result<Json<Vec<Grouped>>, ApiError> {
    let mut groups: Vec<Grouped> = Vec::new();
    for chat in conversations(&state, &principal, query).await? {
        match groups.iter_mut().find(|g| g.workspace_path == chat.workspace_path) {
            Some(group) => group.sessions.push(chat),
            None => groups.push(Grouped {
                workspace_path: chat.workspace_path.clone(),
                project_name: chat.project_name.clone(),
                sessions: vec![chat],
            }),
        }
    }
    Ok(Json(groups))
}

/// One conversation.
#[utoipa::path(get, path = "/chat-history/{id}", tag = "history", params(("id" = String, Path, description = "the session")),
    responses((status = 200, body = Object), (status = 401, body = ApiError), (status = 404, body = ApiError)))]
pub async fn one(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
) -> Result<Json<ChatSession>, ApiError> {
    let owner = &principal.user_id;
    authorize(&principal, Action::Read, &Object::Session(owner, &id))?;
    Ok(Json(sessions::history(&state, &principal, owner, &HistoryQuery::Session { id }).await?))
}

/// Gives a conversation another title.
#[utoipa::path(patch, path = "/chat-history/{id}", tag = "history", request_body = Rename, params(("id" = String, Path, description = "the session")),
    responses((status = 200, body = Object), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 404, body = ApiError)))]
pub async fn rename(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
    Body(wanted): Body<Rename>,
) -> Result<Json<ChatSession>, ApiError> {
    let owner = &principal.user_id;
    authorize(&principal, Action::Write, &Object::Session(owner, &id))?;
    let title = wanted.title.trim().to_owned();
    if title.is_empty() || title.chars().count() > MAX_TITLE_CHARS {
        return Err(ApiError::bad_request(format!("a title has 1 to {MAX_TITLE_CHARS} characters")));
    }
    Ok(Json(sessions::history(&state, &principal, owner, &HistoryQuery::Rename { id, title }).await?))
}

/// The messages of a conversation, oldest first.
#[utoipa::path(get, path = "/chat-history/{id}/messages", tag = "history", params(("id" = String, Path, description = "the session"), MessagesQuery),
    responses((status = 200, body = Vec<Object>), (status = 401, body = ApiError), (status = 404, body = ApiError)))]
pub async fn messages(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(id): Segment<String>,
    Query(query): Query<MessagesQuery>,
) -> Result<Json<Vec<ChatMessage>>, ApiError> {
    let owner = &principal.user_id;
    authorize(&principal, Action::Read, &Object::Session(owner, &id))?;
    let mut pages: Vec<Vec<Message>> = Vec::new();
    let mut before_idx = query.before_idx;
    let mut left = query.limit.unwrap_or(u32::MAX);
    let mut removed = None;
    while pages.len() < MAX_PAGES && left > 0 {
        let limit = left.min(MAX_PAGE_MESSAGES);
        let page: MessagePage =
            sessions::history(&state, &principal, owner, &HistoryQuery::Messages { id: id.clone(), before_idx, limit }).await?;
        left = left.saturating_sub(u32::try_from(page.messages.len()).unwrap_or(u32::MAX));
        before_idx = page.messages.first().map(|m| m.idx);
        let more = page.has_more && !page.messages.is_empty();
        pages.push(page.messages);
        if !more {
            removed = page.removed;
            break;
        }
    }
    let kept = pages.into_iter().rev().flatten().map(|m| chat_message(&id, m));
    Ok(Json(removed.map(|removed| removal_message(&id, &removed)).into_iter().chain(kept).collect()))
}

/// What stands at the beginning of a conversation whose beginning is not kept any more: every client shows it, whatever it knows of limits.
fn removal_message(session: &str, removed: &Removed) -> ChatMessage {
    let day = |ms: i64| {
        let at = time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap_or(time::OffsetDateTime::UNIX_EPOCH);
        at.date().to_string()
    };
    let why: Vec<&str> = removed
        .reasons
        .iter()
        .map(|reason| match reason {
            RemovalReason::Age => "they were older than this server keeps messages",
            RemovalReason::Size => "the journal was larger than this server lets it grow",
        })
        .collect();
    let text = format!(
        "{} messages ({} turns) from {} to {} were removed on {} (UTC), because {}.",
        removed.messages,
        removed.turns,
        day(removed.first_at),
        day(removed.last_at),
        day(removed.removed_at),
        why.join(" and ")
    );
    let part = ChatMessagePart { id: "p0".to_owned(), part_type: "text".to_owned(), text: Some(text), ..ChatMessagePart::default() };
    ChatMessage {
        id: format!("removed-{}", removed.removed_at),
        session_id: session.to_owned(),
        role: "system".to_owned(),
        created_at: removed.first_at,
        parts: vec![part],
        ..ChatMessage::default()
    }
}

async fn conversations(state: &AppState, principal: &Principal, query: ListQuery) -> Result<Vec<ChatSession>, ApiError> {
    let owner = &principal.user_id;
    authorize(principal, Action::Read, &Object::Sessions(owner))?;
    let limit = query.limit.unwrap_or(MAX_SESSIONS).clamp(1, MAX_SESSIONS);
    let query = HistoryQuery::Sessions { workspace: query.workspace, include_children: query.include_children, limit };
    Ok(sessions::history(state, principal, owner, &query).await?)
}

fn chat_message(session: &str, message: Message) -> ChatMessage {
    let usage = message.usage.unwrap_or_default();
    let known = |n: u64| (n > 0).then_some(n);
    ChatMessage {
        id: message.id,
        session_id: session.to_owned(),
        role: message.role.as_str().to_owned(),
        created_at: message.created_at,
        model_id: message.model,
        provider_id: message.provider,
        tokens_input: known(usage.input_tokens),
        tokens_output: known(usage.output_tokens),
        cost: usage.cost_usd,
        client_id: message.client_id.map(|id| id.to_string()),
        parts: message.parts.iter().map(chat_part).collect(),
    }
}

/// Parts as existing clients read them: the fields of a part on its canonical JSON, whatever its kind.
fn chat_part(part: &Part) -> ChatMessagePart {
    let json = serde_json::to_value(part).unwrap_or_default();
    let text = |name: &str| json.get(name).and_then(Value::as_str).map(str::to_owned);
    let part_type = text("type").unwrap_or_default();
    let output = json.get("output").map(|o| match o {
        Value::String(text) => text.clone(),
        other => other.get("content").and_then(Value::as_array).map_or_else(
            || other.to_string(),
            |content| content.iter().filter_map(|c| c.get("text").and_then(Value::as_str)).collect::<Vec<_>>().join("\n"),
        ),
    });
    let failed = json.get("isError").and_then(Value::as_bool);
    ChatMessagePart {
        id: text("id").unwrap_or_default(),
        text: text("text"),
        tool_name: text("name"),
        tool_call_id: text("toolCallId"),
        tool_input: json.get("input").cloned(),
        tool_output: output,
        tool_status: text("status").or(failed.map(|f| if f { "error" } else { "success" }.to_owned())),
        tool_title: None,
        part_type,
    }
}
