//! After a kill: what the last incarnation left open is closed, what it accepted and did not hand over is taken up again.

use super::accept::{Content, Waiting};
use super::actor::Session;
use super::ledger::OpenTool;
use crate::journal::Change;
use octo_actors::Failure;
use octo_protocol::SessionStatus;
use octo_protocol::event::{Event, InputKind, Level};
use octo_protocol::message::StopReason;

/// Why what was open did not end by itself.
const REASON: &str = "the runner ended before it did";

impl Session {
    /// Brings a session of the journal to rest.
    pub async fn recover(&mut self) -> Result<(), Failure> {
        let at_work = matches!(self.row.status, SessionStatus::Starting | SessionStatus::Working | SessionStatus::NeedsInput);
        if at_work || self.row.turn.is_some() {
            self.close_the_turn().await?;
            self.looks_again = self.harness.goes_on_without_octo() && !self.closed && !self.failed;
        }
        for input in self.shared.journal.undelivered_inputs(self.row.key.session).await? {
            let content = Content::kept(&input);
            match (input.state.as_str(), input.kind, content) {
                ("accepted", kind, Some(content)) => self.queue.push_back(Waiting { key: input.key, kind, content }),
                ("handed", InputKind::Steer, Some(content)) => {
                    let message =
                        format!("this message was with the agent when the runner ended, and may not have been read: {}", content.message);
                    self.ledger.push(Event::Notify { level: Level::Warning, message })?;
                    self.ledger.change(Change::InputParked { key: input.key });
                }
                ("handed", ..) => self.ledger.change(Change::InputDelivered { key: input.key }),
                // What an agent would get is not what the person wrote, or nobody can tell whether one has got it.
                (_, _, content) => {
                    let path = self.shared.journal.path().display();
                    let message = format!(
                        "a message that waited for the agent is damaged in {path} and is not given to it: look whether it was answered, and send it \
                         again. What is left of it: {:?}",
                        content.map(|c| c.message).unwrap_or_default()
                    );
                    self.ledger.push(Event::Notify { level: Level::Error, message })?;
                    self.ledger.change(Change::InputParked { key: input.key });
                }
            }
        }
        self.status = self.status_now();
        if self.row.status != self.status {
            self.row.status = self.status;
            self.ledger.change(Change::Status(self.status));
        }
        self.row.turn = None;
        self.ledger.flush().await?;
        self.publish();
        Ok(())
    }

    async fn close_the_turn(&mut self) -> Result<(), Failure> {
        let open = self.shared.journal.open_items(self.row.key.life).await?;
        self.ledger.turn = self.row.turn.clone();
        self.ledger.messages.extend(open.messages);
        for (id, name) in open.tools {
            self.ledger.tools.insert(id, OpenTool::of_before(name));
        }
        for request_id in open.questions {
            self.ledger.push(Event::AgentInputResolved { request_id, by: Some("octo".to_owned()) })?;
        }
        self.close_open(REASON)?;
        self.end_turn(StopReason::Aborted, None)
    }
}
