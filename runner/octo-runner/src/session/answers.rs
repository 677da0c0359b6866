//! Queries: what is answered without the agent.

use super::actor::Session;
use super::{Answer, SessionMsg, json, refuse};
use crate::journal::SnapshotPage;
use octo_actors::{Ctx, Failure};
use octo_protocol::history::Removed;
use octo_protocol::session::{MAX_PAGE_MESSAGES, MAX_SNAPSHOT_BYTES, SessionStats, TokenStats};
use octo_protocol::{Command, Epoch, SessionState};
use serde::Serialize;
use serde_json::value::RawValue;

/// Most bytes of messages in one page of `get_messages`.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// [`octo_protocol::session::Snapshot`] with messages as the journal has them.
#[derive(Serialize)]
struct SnapshotOut {
    epoch: Epoch,
    messages: Vec<Box<RawValue>>,
    as_of: u64,
    has_more: bool,
    state: SessionState,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Removed>,
}

/// [`octo_protocol::session::MessagePage`] with messages as the journal has them.
#[derive(Serialize)]
struct PageOut {
    messages: Vec<Box<RawValue>>,
    has_more: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    removed: Option<Removed>,
}

impl Session {
    /// Answers a command that asks and changes nothing.
    pub fn query(&mut self, command: &Command, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match command {
            Command::GetState => drop(answer.send(json(&self.state()))),
            Command::GetModels { .. } => drop(answer.send(json(&self.known_models()))),
            Command::GetStats => self.stats(answer, ctx)?,
            Command::GetMessages { before_idx, limit } => {
                let (journal, session, before) = (self.shared.journal.clone(), self.row.key.session, *before_idx);
                let limit = limit.unwrap_or(MAX_PAGE_MESSAGES).clamp(1, MAX_PAGE_MESSAGES);
                let wanted = self.repose.hold();
                ctx.spawn_quiet(async move {
                    let _wanted = wanted;
                    match journal.messages(session, before, limit, MAX_PAGE_BYTES).await {
                        Ok(page) => {
                            drop(answer.send(json(&PageOut { messages: page.messages, has_more: page.has_more, removed: page.removed })));
                        }
                        Err(error) => refuse(answer, error),
                    }
                })?;
            }
            _ => {}
        }
        Ok(())
    }

    /// What an attach without a cursor begins with: state and messages are of the same moment, since nothing is committed while this actor is in here.
    pub fn snapshot(&mut self, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let (state, epoch, as_of) = (self.state(), self.ledger.log.epoch.clone(), self.ledger.as_of());
        let (journal, key) = (self.shared.journal.clone(), self.row.key);
        let wanted = self.repose.hold();
        ctx.spawn_quiet(async move {
            let _wanted = wanted;
            match journal.snapshot(key, as_of, MAX_PAGE_MESSAGES, MAX_SNAPSHOT_BYTES).await {
                Ok(page) => {
                    let SnapshotPage { messages, has_more, removed } = page;
                    drop(answer.send(json(&SnapshotOut { epoch, messages, as_of, has_more, state, removed })));
                }
                Err(error) => refuse(answer, error),
            }
        })?;
        Ok(())
    }

    fn stats(&self, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let (journal, id) = (self.shared.journal.clone(), self.row.id.clone());
        let wanted = self.repose.hold();
        ctx.spawn_quiet(async move {
            let _wanted = wanted;
            let row = match journal.session(&id).await {
                Ok(Some(row)) => row,
                Ok(None) => return refuse(answer, octo_protocol::ProtocolError::session_not_found(&id)),
                Err(error) => return refuse(answer, error),
            };
            let totals = row.totals;
            let stats = SessionStats {
                session_id: id,
                user_messages: totals.user_messages,
                assistant_messages: totals.assistant_messages,
                tool_calls: totals.tool_calls,
                tool_results: totals.tool_results,
                total_messages: row.messages,
                tokens: TokenStats {
                    input: totals.tokens_in,
                    output: totals.tokens_out,
                    cache_read: totals.cache_read,
                    cache_write: totals.cache_write,
                    total: totals.tokens_in + totals.tokens_out + totals.cache_read + totals.cache_write,
                },
                cost: totals.cost,
            };
            let _ = answer.send(json(&stats));
        })?;
        Ok(())
    }
}
