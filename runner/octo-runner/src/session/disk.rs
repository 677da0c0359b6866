//! A disk that takes no writes: what is refused meanwhile, and with which sentence.
//!
//! Reading goes on, and so does whatever needs no writing. The agent is held back: its output is read no further until what it said is in the
//! journal. What would have to be written is refused at once instead of being kept in memory or acknowledged without being kept.

use super::actor::Session;
use super::{Answer, SessionMsg, Tick, refuse};
use crate::clock::now_ms;
use crate::journal::Change;
use octo_actors::{Ctx, Failure};
use octo_protocol::event::Event;
use octo_protocol::{Command, ProtocolError};

impl Session {
    /// Why `command` cannot be carried out while the disk is as it is; `None` when it can, or has to find out for itself.
    pub async fn unwritable(&mut self, command: &Command) -> Result<Option<ProtocolError>, Failure> {
        match command {
            // Its end could not be written: then the agent is not ended.
            Command::SessionClose | Command::SessionRestart | Command::SessionDelete => {
                let status = self.status;
                let tried = self.ledger.write_now(Vec::new(), vec![Change::Status(status)]).await?;
                Ok(tried.err().map(Into::into))
            }
            // The agent's answer could not be read.
            command if self.ledger.is_stalled() && self.agent.is_ready() && !is_of_the_runner(command) => {
                let tried = self.ledger.write_now(Vec::new(), Vec::new()).await?;
                Ok(tried.err().map(Into::into))
            }
            _ => Ok(None),
        }
    }

    /// The title that a person gives: in the journal when this is answered, or refused.
    pub async fn rename(&mut self, title: &str) -> Result<Result<(), ProtocolError>, Failure> {
        let Some(title) = self.new_title(title, true) else { return Ok(Ok(())) };
        let event = Event::SessionTitleChanged { title: title.clone(), readable_id: Some(self.row.readable_id.clone()) };
        let change = Change::Title { title: title.clone(), given: true };
        if let Err(error) = self.ledger.write_now(vec![event], vec![change]).await? {
            return Ok(Err(error.into()));
        }
        self.row.title_given = true;
        self.row.title = Some(title);
        // Who has the answer finds it in the list.
        self.publish();
        Ok(Ok(()))
    }

    /// An abort while the disk takes no writes. The agent may be what fills it, so it is told to stop, and ended when it does not; but nothing is parked,
    /// for that could not be kept, and so nothing that a person may send again runs twice.
    pub async fn abort_unwritten(&mut self, why: &ProtocolError, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let told = self.agent.is_ready() && (self.harness.is_working() || !self.handed.is_empty());
        if told {
            let token = self.token();
            self.cutting.insert(token);
            ctx.tell_after(super::commands::ABORT_PATIENCE, SessionMsg::Tick(Tick::AbortDue { token }))?;
            self.harness.command(token, &Command::Abort, now_ms(), &mut self.outbox);
        }
        let done = if told { "the agent is being stopped, what waits for it was not parked" } else { "nothing was aborted" };
        refuse(answer, ProtocolError::new(why.code, format!("{done}: {why}; then abort again")));
        self.outputs(ctx).await
    }
}

/// Answered from memory and journal, or refused by whoever carries it out.
fn is_of_the_runner(command: &Command) -> bool {
    matches!(
        command,
        Command::Prompt { .. }
            | Command::Steer { .. }
            | Command::FollowUp { .. }
            | Command::Abort
            | Command::SessionAttach { .. }
            | Command::SessionDetach
            | Command::SetSessionName { .. }
            | Command::GetState
            | Command::GetMessages { .. }
            | Command::GetStats
            | Command::GetModels { .. }
            | Command::ListSessions
            | Command::SessionCreate { .. }
            | Command::SessionNew { .. }
            | Command::SessionSwitch { .. }
            | Command::Fork { .. }
            | Command::GetForkPoints
            | Command::Delegate { .. }
            | Command::DelegateCancel { .. }
    )
}
