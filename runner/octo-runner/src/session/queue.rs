//! The queue is the person's: what waits in it can be taken out, or replaced.
//!
//! What waits here is changed here. A steering message may wait in the agent's own queue: then the agent gives back all that it has there, and what
//! remains goes to it again, in its order.

use super::accept::{Content, Waiting};
use super::actor::Session;
use super::{Answer, SessionMsg, nothing, refuse};
use crate::clock::now_ms;
use crate::journal::Change;
use octo_actors::{Ctx, Failure};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::StopReason;
use octo_protocol::response::CommandResult;
use octo_protocol::{ClientId, ErrorCode, ProtocolError};

/// What is to become of a waiting input.
#[derive(Debug, Clone)]
pub enum Edit {
    Drop,
    /// Another one is to take its place.
    Replace {
        message: String,
        client_id: ClientId,
        actor: String,
    },
}

/// An edit that waits until the agent has given back what it has.
pub struct Withdrawal {
    client_id: ClientId,
    edit: Edit,
    answer: Answer,
    /// What the agent said.
    result: Option<CommandResult>,
}

fn gone(client_id: &ClientId) -> ProtocolError {
    let message = format!("the message {client_id} does not wait any more: the agent has it, or it was taken out");
    ProtocolError::new(ErrorCode::InvalidState, message)
}

impl Session {
    /// Changes the input `client_id`, which waits in the queue.
    pub async fn edit_queue(&mut self, client_id: ClientId, edit: Edit, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match self.is_done(&client_id, &edit).await {
            Ok(false) => {}
            Ok(true) => {
                let _ = answer.send(nothing());
                return Ok(());
            }
            Err(error) => {
                refuse(answer, error);
                return Ok(());
            }
        }
        let is_it = |waiting: &Waiting| waiting.kind != InputKind::Prompt && waiting.content.client_id.as_ref() == Some(&client_id);
        if let Some(at) = self.queue.iter().position(is_it) {
            return self.edit_waiting(at, edit, answer).await;
        }
        if !self.handed.values().any(|waiting| waiting.kind == InputKind::Steer && is_it(waiting)) || !self.agent.is_ready() {
            refuse(answer, gone(&client_id));
            return Ok(());
        }
        let token = self.token();
        self.withdrawals.insert(token, Withdrawal { client_id, edit, answer, result: None });
        self.harness.withdraw(token, now_ms(), &mut self.outbox);
        self.outputs(ctx).await
    }

    /// Whether it was done before: whoever is unsure sends it again.
    async fn is_done(&mut self, client_id: &ClientId, edit: &Edit) -> Result<bool, ProtocolError> {
        let (journal, session) = (&self.shared.journal, self.row.key.session);
        match edit {
            Edit::Drop => Ok(journal.input(session, client_id.as_str()).await?.is_some_and(|known| known.state == "parked")),
            Edit::Replace { message, client_id: new, .. } => {
                let Some(known) = journal.input(session, new.as_str()).await? else { return Ok(false) };
                let content = Content { message: message.clone(), ..Content::default() };
                // Its images are those of the one before, and not repeated.
                let waits = Content::kept(&known).is_some_and(|kept| kept.message == *message);
                if waits || content.is_that_of(&known) {
                    return Ok(true);
                }
                let message = format!("client_id {new} was used for another message; use a new one");
                Err(ProtocolError::new(ErrorCode::Conflict, message))
            }
        }
    }

    /// The agent has given back what it had, or says why not.
    pub fn withdrawn(&mut self, token: u64, result: CommandResult) -> Option<CommandResult> {
        match self.withdrawals.get_mut(&token) {
            Some(withdrawal) => {
                withdrawal.result = Some(result);
                None
            }
            None => Some(result),
        }
    }

    /// Edits for which the agent has given back what it had.
    pub async fn finish_edits(&mut self) -> Result<(), Failure> {
        let done: Vec<u64> = self.withdrawals.iter().filter(|(_, w)| w.result.is_some()).map(|(token, _)| *token).collect();
        for token in done {
            let Some(Withdrawal { client_id, edit, answer, result }) = self.withdrawals.remove(&token) else { continue };
            if let Some(Err(error)) = result {
                refuse(answer, error);
                continue;
            }
            match self.queue.iter().position(|waiting| waiting.content.client_id.as_ref() == Some(&client_id)) {
                Some(at) => self.edit_waiting(at, edit, answer).await?,
                None => refuse(answer, gone(&client_id)),
            }
        }
        Ok(())
    }

    async fn edit_waiting(&mut self, at: usize, edit: Edit, answer: Answer) -> Result<(), Failure> {
        let Some(old) = self.queue.get(at).cloned() else { return Ok(()) };
        let parked = Change::InputParked { key: old.key };
        match edit {
            Edit::Drop => {
                if let Err(error) = self.ledger.write_now(Vec::new(), vec![parked]).await? {
                    refuse(answer, error);
                    return Ok(());
                }
                self.trace_parked(old.content.trace);
                self.queue.remove(at);
                // A turn that only waited for it is over.
                if self.ledger.turn.is_some() && self.queue.is_empty() && self.handed.is_empty() && !self.harness.is_working() {
                    self.end_turn(StopReason::Aborted, None)?;
                }
            }
            Edit::Replace { message, client_id, actor } => {
                let content = Content { message, client_id: Some(client_id), actor, images: old.content.images, trace: old.content.trace };
                if let Err(error) = self.content_is_too_large(&content) {
                    refuse(answer, error);
                    return Ok(());
                }
                let (event, waiting, accepted) = content.accepted(old.kind, old.kind)?;
                if let Err(error) = self.ledger.write_now(vec![event], vec![parked, accepted]).await? {
                    refuse(answer, error);
                    return Ok(());
                }
                if let Some(place) = self.queue.get_mut(at) {
                    *place = waiting;
                }
            }
        }
        let _ = answer.send(nothing());
        Ok(())
    }

    /// Nobody gives anything back any more.
    pub fn refuse_edits(&mut self, error: &ProtocolError) {
        for (_, withdrawal) in self.withdrawals.drain() {
            refuse(withdrawal.answer, error.clone());
        }
    }
}

impl Content {
    /// It is accepted as a `kind`, asked for as `asked`: what is said of it, what waits, what the journal gets.
    pub fn accepted(self, asked: InputKind, kind: InputKind) -> Result<(Event, Waiting, Change), serde_json::Error> {
        // Never a well-formed client id, so it cannot meet one.
        let key = self.client_id.as_ref().map_or_else(|| format!("~{}", uuid::Uuid::now_v7().simple()), ToString::to_string);
        let images = (!self.images.is_empty()).then(|| self.images.clone());
        let event = Event::InputAccepted { kind, client_id: self.client_id.clone(), message: self.message.clone(), images };
        let change = Change::InputAccepted { key: key.clone(), kind, hash: self.hash(asked), content: serde_json::to_string(&self)? };
        Ok((event, Waiting { key, kind, content: self }, change))
    }
}
