//! The channels besides `agent`: what they answer.

use super::actors;
use super::commands::Context;
use super::outbox::{Out, text};
use super::policy::Scope;
use crate::auth::{Action, Object, authorize, subtree_of};
use octo_actors::ActorPath;
use octo_protocol::history::HistoryQuery;
use octo_protocol::link::RequestBody;
use octo_protocol::mux::files::{FilesReply, FilesResult};
use octo_protocol::mux::hstry::{HstryCommand, HstryReply};
use octo_protocol::mux::session::{ClientSession, ServerSession};
use octo_protocol::mux::system::{ClientSystem, ServerSystem};
use octo_protocol::mux::terminal::{TerminalCommand, TerminalReply};
use octo_protocol::mux::trx::{TrxReply, TrxResult};
use octo_protocol::mux::{ClientFrame, ServerFrame};
use octo_protocol::{CommandFrame, ErrorCode, ProtocolError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::{AbortHandle, JoinSet};

/// Queries of history under way on one connection.
const MAX_QUERIES: usize = 8;
const QUERY_DEADLINE: Duration = Duration::from_secs(15);
/// Hits or messages of one query.
const MAX_ROWS: u32 = 200;
const DEFAULT_ROWS: u32 = 50;
/// Longest id of a `watch_actors`, in bytes.
const MAX_WATCH_ID: usize = 128;

/// The other channels of one connection.
pub struct Channels {
    context: Arc<Context>,
    queries: Arc<Semaphore>,
    watcher: Option<AbortHandle>,
}

impl Channels {
    pub fn new(context: Arc<Context>) -> Self {
        Self { context, queries: Arc::new(Semaphore::new(MAX_QUERIES)), watcher: None }
    }

    /// Takes one frame; gives a command of the `agent` channel back.
    pub async fn take(&mut self, frame: ClientFrame, tasks: &mut JoinSet<()>) -> Option<CommandFrame> {
        let reply = match frame {
            ClientFrame::Agent(command) => return Some(command),
            ClientFrame::System(frame) => self.system(frame, tasks),
            ClientFrame::Hstry(query) => self.history(query, tasks),
            ClientFrame::Files(command) => Some(ServerFrame::Files(FilesReply {
                id: command.id,
                result: FilesResult::Error { error: missing("files"), code: Some(ErrorCode::Unsupported) },
            })),
            ClientFrame::Terminal(command) => {
                let (id, terminal_id) = terminal_ids(command);
                Some(ServerFrame::Terminal(TerminalReply::Error { id, terminal_id, error: missing("terminal") }))
            }
            ClientFrame::Trx(command) => {
                Some(ServerFrame::Trx(TrxReply { id: command.id, result: TrxResult::Error { error: missing("trx") } }))
            }
            ClientFrame::Session(ClientSession::Ping | ClientSession::Pong) => None,
            ClientFrame::Session(ClientSession::A2uiAction { id, .. }) => {
                Some(ServerFrame::Session(ServerSession::Error { error: missing("session (a2ui_action)"), id }))
            }
        };
        if let Some(reply) = reply {
            self.context.outbox.frame(&reply).await;
        }
        None
    }

    fn system(&mut self, frame: ClientSystem, tasks: &mut JoinSet<()>) -> Option<ServerFrame> {
        let reply = match frame {
            ClientSystem::Ping { id } => ServerSystem::Pong { id },
            ClientSystem::WatchActors { id, path } => match self.watch(id.clone(), path, tasks) {
                Ok(()) => return None,
                Err(error) => ServerSystem::Error { error, id },
            },
            ClientSystem::UnwatchActors { .. } => {
                self.unwatch();
                return None;
            }
        };
        Some(ServerFrame::System(reply))
    }

    fn watch(&mut self, id: Option<String>, path: Option<String>, tasks: &mut JoinSet<()>) -> Result<(), String> {
        let principal = &self.context.principal;
        if id.as_ref().is_some_and(|id| id.len() > MAX_WATCH_ID) {
            return Err(format!("the id of a watch has {MAX_WATCH_ID} bytes at most, for every frame repeats it"));
        }
        let path = match path {
            Some(path) => ActorPath::parse(&path).map_err(|error| error.to_string())?,
            None if principal.is_admin() => ActorPath::root(),
            None => subtree_of(&principal.user_id),
        };
        authorize(principal, Action::Read, &Object::Actor(&path)).map_err(|denied| denied.to_string())?;
        self.unwatch();
        let context = Arc::clone(&self.context);
        self.watcher = Some(tasks.spawn(async move { actors::watch(&context, id, path).await }));
        Ok(())
    }

    /// Ends what would never end by itself.
    pub fn unwatch(&mut self) {
        if let Some(watcher) = self.watcher.take() {
            watcher.abort();
        }
    }

    fn history(&self, query: HstryCommand, tasks: &mut JoinSet<()>) -> Option<ServerFrame> {
        let HstryCommand::Query { id, session_id, query, limit } = query;
        let Ok(permit) = Arc::clone(&self.queries).try_acquire_owned() else {
            let error = format!("busy: {MAX_QUERIES} queries of this connection are under way");
            return Some(ServerFrame::Hstry(HstryReply::Error { id, error }));
        };
        let context = Arc::clone(&self.context);
        tasks.spawn(async move {
            let reply = match Box::pin(ask(&context, session_id, query, limit)).await {
                Ok(data) => HstryReply::Result { id: id.clone(), data },
                Err(refused) => HstryReply::Error { id: id.clone(), error: refused.message },
            };
            let Some(reply) = text(&ServerFrame::Hstry(reply)) else { return };
            if let Err(Out::Frame(_, permit)) = context.outbox.put_or_give_back(Out::Frame(reply, Some(permit))).await {
                let error = "busy: your connection has not read its earlier answers yet; read them and ask again".to_owned();
                let Some(reply) = text(&ServerFrame::Hstry(HstryReply::Error { id, error })) else { return };
                context.outbox.put(Out::Frame(reply, permit)).await;
            }
        });
        None
    }
}

async fn ask(
    context: &Context,
    session_id: Option<String>,
    query: Option<String>,
    limit: Option<u32>,
) -> Result<serde_json::Value, ProtocolError> {
    let scope = Scope::resolve(&context.principal, session_id.as_deref().unwrap_or_default(), Action::Read)?;
    let limit = limit.unwrap_or(DEFAULT_ROWS).clamp(1, MAX_ROWS);
    let session = scope.session.map(|s| s.as_str().to_owned());
    let query = match (query.filter(|q| !q.trim().is_empty()), session) {
        (Some(q), session_id) => HistoryQuery::Search { q, session_id, limit },
        (None, Some(id)) => HistoryQuery::Messages { id, before_idx: None, limit },
        (None, None) => HistoryQuery::Sessions { workspace: None, include_children: false, limit },
    };
    let json = serde_json::to_vec(&query).map_err(|e| ProtocolError::new(ErrorCode::Internal, e.to_string()))?;
    context.state.users.request(&context.principal, &scope.owner, RequestBody::History { json }, QUERY_DEADLINE).await
}

fn missing(channel: &str) -> String {
    format!("the channel {channel} is not available on this server yet")
}

fn terminal_ids(command: TerminalCommand) -> (Option<String>, Option<String>) {
    // Every variant is tagged the same way; only the two ids matter here.
    let value = serde_json::to_value(command).unwrap_or_default();
    let member = |name: &str| value.get(name).and_then(serde_json::Value::as_str).map(str::to_owned);
    (member("id"), member("terminal_id"))
}
