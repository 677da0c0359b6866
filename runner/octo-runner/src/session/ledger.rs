//! A session's writing hand: numbers events, stamps their turn, knows what is open, and gets all of it into the journal in order.

use crate::clock::while_awake;
use crate::journal::{Batch, Change, Entry, Journal, JournalError, Prune, SessionKey, SessionLog};
use crate::permissions::Asked;
use octo_protocol::event::Event;
use octo_protocol::{EventKind, InputRequest, TraceContext};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

pub mod saved;

/// A commit that takes longer than this fails the session's actor, which then starts again from the journal.
const COMMIT_PATIENCE: Duration = Duration::from_secs(20);
/// Events that may wait for a disk that takes no writes. The agent is not read meanwhile, so only commands add to them.
const MAX_PENDING: usize = 20_000;
/// How often the progress of one tool is shown.
pub const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// Why the ledger gave up.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("the journal did not answer within {COMMIT_PATIENCE:?}")]
    Silent,
    #[error("{MAX_PENDING} events wait for the journal, the limit")]
    Overflow,
    #[error("an event does not serialize: {0}")]
    Unwritable(#[from] serde_json::Error),
    #[error(transparent)]
    Journal(JournalError),
}

/// A tool under way.
#[derive(Debug)]
pub struct OpenTool {
    pub name: String,
    pub seq: u64,
    pub partial: Option<Value>,
    shown: Option<Instant>,
    dirty: bool,
}

impl OpenTool {
    /// A tool that an earlier incarnation left running.
    pub fn of_before(name: String) -> Self {
        Self { name, seq: 0, partial: None, shown: None, dirty: false }
    }
}

/// An open question.
#[derive(Debug)]
pub struct OpenQuestion {
    pub request: InputRequest,
    pub seq: u64,
    /// What is asked for, when it is a permission.
    pub asked: Option<Asked>,
    /// When a question that is no permission dismisses itself, in Unix milliseconds.
    pub expires: Option<i64>,
}

/// The writing hand of one session.
pub struct Ledger {
    journal: Journal,
    pub key: SessionKey,
    pub log: Arc<SessionLog>,
    head: u64,
    next_idx: u64,
    /// The turn under way.
    pub turn: Option<String>,
    /// The context of its trace; the turn's end carries it.
    pub trace: Option<TraceContext>,
    /// The turn that the journal has, once what was given to it is written.
    kept_turn: Option<String>,
    /// Messages begun and not ended: id → `seq` of their start; 0 while that is not committed.
    pub messages: HashMap<String, u64>,
    pub tools: BTreeMap<String, OpenTool>,
    pub questions: BTreeMap<String, OpenQuestion>,
    pending: Vec<Entry>,
    changes: Vec<Change>,
    /// Where that began whose end is given and not committed: to everybody else it is open.
    ending: Vec<u64>,
    /// A batch that the journal did not take for now, and why. Its numbers are given; nothing overtakes it.
    stuck: Option<(Batch, String)>,
}

impl Ledger {
    /// Continues a life after `head` with the message number `next_idx`.
    /// `turn` is the one that the journal has as under way; it is not taken up.
    pub fn new(journal: Journal, key: SessionKey, log: Arc<SessionLog>, head: u64, next_idx: u64, turn: Option<String>) -> Self {
        Self {
            journal,
            key,
            log,
            head,
            next_idx,
            turn: None,
            trace: None,
            kept_turn: turn,
            messages: HashMap::new(),
            tools: BTreeMap::new(),
            questions: BTreeMap::new(),
            pending: Vec::new(),
            changes: Vec::new(),
            ending: Vec::new(),
            stuck: None,
        }
    }

    /// The newest committed `seq`.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// Finished messages, those that wait for the journal included.
    pub fn message_count(&self) -> u64 {
        self.next_idx
    }

    /// The journal takes no writes at the moment.
    pub fn is_stalled(&self) -> bool {
        self.stuck.is_some()
    }

    /// Why the journal takes no writes at the moment.
    pub fn why_stalled(&self) -> JournalError {
        JournalError::Full { reason: self.stuck.as_ref().map(|(_, why)| why.clone()).unwrap_or_default() }
    }

    /// Messages begun and not ended, in the order of their start; those included whose events wait for the journal.
    pub fn open_messages(&self) -> Vec<String> {
        let mut open: Vec<(u64, &String)> = self.messages.iter().map(|(id, seq)| (*seq, id)).collect();
        open.sort();
        let mut open: Vec<String> = open.into_iter().map(|(_, id)| id.clone()).collect();
        for entry in &self.pending {
            let Some(item) = &entry.item else { continue };
            match entry.name {
                "stream.message_start" => open.push(item.clone()),
                "stream.message_end" | "stream.message_discarded" => open.retain(|id| id != item),
                _ => {}
            }
        }
        open
    }

    /// Where a snapshot has to end so that everything open is replayed after it.
    pub fn as_of(&self) -> u64 {
        let open = self.messages.values().copied().chain(self.tools.values().map(|t| t.seq)).chain(self.questions.values().map(|q| q.seq));
        let open = open.chain(self.ending.iter().copied());
        open.filter(|seq| *seq > 0 && *seq <= self.head).min().map_or(self.head, |seq| seq - 1)
    }

    /// Adds an event; it is in the journal after the next successful [`Ledger::flush`].
    pub fn push(&mut self, event: Event) -> Result<(), LedgerError> {
        self.push_traced(event, None)
    }

    /// As [`Ledger::push`], with the context of the trace that the event is of.
    pub fn push_traced(&mut self, event: Event, traceparent: Option<TraceContext>) -> Result<(), LedgerError> {
        if self.pending.len() >= MAX_PENDING {
            return Err(LedgerError::Overflow);
        }
        let entry = self.entry(event, traceparent)?;
        self.pending.push(entry);
        Ok(())
    }

    /// Adds a change that goes with the next events. It replaces what it supersedes, so that a disk that takes no writes heaps up none of them.
    pub fn change(&mut self, change: Change) {
        self.changes.retain(|waiting| !change.supersedes(waiting));
        self.changes.push(change);
    }

    /// Takes the newest output of a tool: shows it now, or with a later one. True when [`Ledger::show_progress`] is due later.
    pub fn progress(&mut self, tool_call_id: &str, partial: Value) -> Result<bool, LedgerError> {
        let Some(tool) = self.tools.get_mut(tool_call_id) else { return Ok(false) };
        tool.partial = Some(partial);
        let due = tool.shown.is_none_or(|at| at.elapsed() >= PROGRESS_INTERVAL);
        let waiting = std::mem::replace(&mut tool.dirty, true);
        if due {
            self.show_progress()?;
            return Ok(false);
        }
        Ok(!waiting)
    }

    /// Shows the newest output of every tool that has some which nobody saw.
    pub fn show_progress(&mut self) -> Result<(), LedgerError> {
        let mut events = Vec::new();
        for (id, tool) in &mut self.tools {
            if std::mem::take(&mut tool.dirty)
                && let Some(partial) = &tool.partial
            {
                tool.shown = Some(Instant::now());
                events.push(Event::ToolProgress { tool_call_id: id.clone(), name: tool.name.clone(), partial_output: partial.clone() });
            }
        }
        events.into_iter().try_for_each(|event| self.push(event))
    }

    /// Writes all that waits. `Ok(false)`: the disk takes no writes for now, everything is kept for the next try.
    ///
    /// # Errors
    /// When waiting on cannot help.
    pub async fn flush(&mut self) -> Result<bool, LedgerError> {
        if let Some((batch, _)) = &self.stuck {
            let batch = batch.clone();
            if let Some(why) = self.write(batch).await? {
                if let Some((_, known)) = &mut self.stuck {
                    *known = why;
                }
                return Ok(false);
            }
            self.stuck = None;
        }
        if self.pending.is_empty() && self.changes.is_empty() {
            self.ending.clear();
            return Ok(true);
        }
        let (entries, changes) = (std::mem::take(&mut self.pending), std::mem::take(&mut self.changes));
        let batch = self.batch(entries, changes);
        match self.write(batch.clone()).await? {
            None => {
                self.ending.clear();
                Ok(true)
            }
            Some(why) => {
                self.stuck = Some((batch, why));
                Ok(false)
            }
        }
    }

    /// Writes these events now or not at all.
    ///
    /// # Errors
    /// The journal's refusal inside `Ok`; nothing of it is kept then.
    pub async fn write_now(&mut self, events: Vec<Event>, changes: Vec<Change>) -> Result<Result<(), JournalError>, LedgerError> {
        self.write_traced_now(events, None, changes).await
    }

    /// As [`Ledger::write_now`], with the context of the trace that the events are of.
    ///
    /// # Errors
    /// The journal's refusal inside `Ok`; nothing of it is kept then.
    pub async fn write_traced_now(
        &mut self,
        events: Vec<Event>,
        traceparent: Option<TraceContext>,
        changes: Vec<Change>,
    ) -> Result<Result<(), JournalError>, LedgerError> {
        if !self.flush().await? {
            return Ok(Err(self.why_stalled()));
        }
        let (idx, kept_turn) = (self.next_idx, self.kept_turn.clone());
        let entries = events.into_iter().map(|e| self.entry(e, traceparent)).collect::<Result<Vec<_>, _>>()?;
        let batch = self.batch(entries, changes);
        match self.commit(batch).await {
            Ok(()) => Ok(Ok(())),
            Err(LedgerError::Journal(error)) => {
                self.next_idx = idx;
                self.kept_turn = kept_turn;
                Ok(Err(error))
            }
            Err(error) => Err(error),
        }
    }

    /// `Some`: why the journal does not take it for now.
    async fn write(&mut self, batch: Batch) -> Result<Option<String>, LedgerError> {
        match self.commit(batch).await {
            Ok(()) => Ok(None),
            Err(LedgerError::Journal(JournalError::Full { reason })) => Ok(Some(reason)),
            Err(error) => Err(error),
        }
    }

    async fn commit(&mut self, batch: Batch) -> Result<(), LedgerError> {
        let head = batch.first_seq + batch.journalled() - 1;
        match while_awake(COMMIT_PATIENCE, self.journal.commit(batch)).await {
            Some(Ok(())) => {
                self.head = head;
                Ok(())
            }
            Some(Err(error)) => Err(LedgerError::Journal(error)),
            None => Err(LedgerError::Silent),
        }
    }

    fn entry(&mut self, mut event: Event, traceparent: Option<TraceContext>) -> Result<Entry, LedgerError> {
        match &mut event {
            Event::MessageEnd { message } => {
                message.idx = self.next_idx;
                self.next_idx += 1;
            }
            Event::ToolStart { tool_call_id, name, .. } => {
                let tool = OpenTool::of_before(name.clone());
                self.tools.insert(tool_call_id.clone(), tool);
            }
            Event::ToolEnd { tool_call_id, .. } => {
                self.ending.extend(self.tools.remove(tool_call_id).map(|tool| tool.seq));
            }
            Event::AgentInputNeeded { request } => {
                let question = OpenQuestion { request: request.clone(), seq: 0, asked: None, expires: None };
                self.questions.insert(request.request_id().to_owned(), question);
            }
            Event::AgentInputResolved { request_id, .. } => {
                self.ending.extend(self.questions.remove(request_id).map(|question| question.seq));
            }
            _ => {}
        }
        let ends_turn = self.turn.is_some() && matches!(&event, Event::AgentIdle { .. } | Event::AgentError { .. });
        let traceparent = traceparent.or(self.trace.filter(|_| ends_turn));
        Ok(Entry::traced(event, self.turn.clone(), traceparent)?)
    }

    /// Gives the entries their numbers, and with them the open items theirs. The turn that they begin or end goes with them: a kill in between
    /// would leave one without its end, or give it two.
    fn batch(&mut self, mut entries: Vec<Entry>, mut changes: Vec<Change>) -> Batch {
        if self.turn != self.kept_turn {
            self.kept_turn = self.turn.clone();
            changes.push(Change::Turn(self.turn.clone()));
        }
        let first_seq = self.head + 1;
        let mut seq = first_seq;
        for entry in &mut entries {
            if !entry.is_journalled() {
                continue;
            }
            if let Some(item) = &entry.item {
                match entry.name {
                    "stream.message_start" => {
                        self.messages.insert(item.clone(), seq);
                    }
                    "stream.message_end" | "stream.message_discarded" => {
                        entry.prune = self.messages.remove(item).map(|from| Prune { item: item.clone(), from });
                        self.ending.extend(entry.prune.as_ref().map(|prune| prune.from));
                    }
                    "tool.start" => {
                        if let Some(tool) = item.get(2..).and_then(|id| self.tools.get_mut(id)) {
                            tool.seq = seq;
                        }
                    }
                    "agent.input_needed" => {
                        if let Some(question) = item.get(2..).and_then(|id| self.questions.get_mut(id)) {
                            question.seq = seq;
                        }
                    }
                    _ => {}
                }
                debug_assert!(entry.kind != EventKind::Ephemeral);
            }
            seq += 1;
        }
        Batch { key: self.key, first_seq, entries, changes, log: Arc::clone(&self.log) }
    }
}

#[cfg(test)]
mod tests;
