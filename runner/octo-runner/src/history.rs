//! The actor `history`: queries over everything that this user ever talked about.

use crate::session::{Answer, Answered, Registry, SessionMsg, json};
use octo_actors::{Actor, Ctx, Failure, Kind};
use octo_protocol::history::{HistoryQuery, Removed};
use octo_protocol::session::MAX_PAGE_MESSAGES;
use octo_protocol::{ErrorCode, ProtocolError};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json as value};
use tokio::sync::oneshot;

/// Started again whatever happens.
pub const HISTORY: Kind = Kind::permanent("history").unlimited().restart_stuck(std::time::Duration::from_secs(60));
/// Most bytes of messages in one page.
const MAX_PAGE_BYTES: usize = 8 * 1024 * 1024;

/// What it is told.
pub enum HistoryMsg {
    /// JSON of a [`HistoryQuery`].
    Query { json: Vec<u8>, answer: Answer },
}

/// Answers history queries.
pub struct History {
    registry: Registry,
    queries: u64,
}

#[derive(Serialize)]
struct PageOut {
    messages: Vec<Box<RawValue>>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Removed>,
}

impl Actor for History {
    type Msg = HistoryMsg;
    type Args = Registry;

    async fn start(registry: Registry, _: &Ctx<HistoryMsg>) -> Result<Self, Failure> {
        Ok(Self { registry, queries: 0 })
    }

    async fn handle(&mut self, message: HistoryMsg, ctx: &Ctx<HistoryMsg>) -> Result<(), Failure> {
        let HistoryMsg::Query { json, answer } = message;
        self.queries += 1;
        let registry = self.registry.clone();
        ctx.spawn_quiet(async move {
            let _ = answer.send(query(&registry, &json).await);
        })?;
        Ok(())
    }

    fn inspect(&self) -> Value {
        let journal = &self.registry.shared().journal;
        value!({ "queries": self.queries, "journal": journal.path(), "sessions_gone": journal.gone(), "writes_waiting": journal.queued() })
    }
}

async fn query(registry: &Registry, text: &[u8]) -> Answered {
    let query: HistoryQuery = serde_json::from_slice(text)
        .map_err(|e| ProtocolError::new(ErrorCode::InvalidRequest, format!("the query cannot be read: {e}")))?;
    let journal = &registry.shared().journal;
    let find = async |id: &str| journal.chat(id).await?.ok_or_else(|| ProtocolError::session_not_found(id));
    match query {
        HistoryQuery::Sessions { workspace, include_children, limit } => json(&journal.chats(workspace, include_children, limit).await?),
        HistoryQuery::Session { id } => json(&journal.shown(find(&id).await?).await?),
        HistoryQuery::Messages { id, before_idx, limit } => {
            let row = find(&id).await?;
            let page = journal.messages(row.key.session, before_idx, limit.clamp(1, MAX_PAGE_MESSAGES), MAX_PAGE_BYTES).await?;
            json(&PageOut { messages: page.messages, has_more: page.has_more, removed: page.removed })
        }
        HistoryQuery::Search { q, session_id, limit } => json(&journal.search(&q, session_id, limit).await?),
        HistoryQuery::Removed { session_id } => {
            let session = match session_id {
                Some(id) => Some(find(&id).await?.key.session),
                None => None,
            };
            json(&journal.removed(session).await?)
        }
        HistoryQuery::Rename { id, title } => {
            if title.trim().is_empty() {
                return Err(ProtocolError::new(ErrorCode::InvalidRequest, "a title cannot be empty"));
            }
            let row = find(&id).await?;
            let address = registry.actor(&row.id).await?;
            let (answer, renamed) = oneshot::channel();
            let busy = |_| ProtocolError::new(ErrorCode::Busy, format!("session {} has much to do already; try again", row.id));
            address.tell(SessionMsg::Rename { title, answer }).map_err(busy)?;
            renamed.await.map_err(|_| ProtocolError::new(ErrorCode::NotReady, "the session is being restarted; try again"))??;
            json(&journal.shown(find(&id).await?).await?)
        }
    }
}
