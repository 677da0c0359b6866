//! `fork`: a new session that goes on from before one of the user's messages. The one that it comes from stays as it is.
//!
//! The agent forks its own conversation and says under which handle the new one is found. The new session begins with the messages up to there,
//! so that it can be read like any other; its agent continues the forked conversation.

use super::actor::Session;
use super::beside::open;
use super::{Answer, Copied, NewBeside, Origin, SessionMsg, json, refuse};
use crate::journal::{Journal, JournalError};
use octo_actors::{Ctx, Failure};
use octo_harness::ForkedAway;
use octo_protocol::event::Event;
use octo_protocol::part::KnownPart;
use octo_protocol::session::Forked;
use octo_protocol::{Command, ErrorCode, Message, Part, ProtocolError, Role};
use serde_json::value::RawValue;
use tokio::sync::oneshot;

/// Messages that are copied at a time.
const PAGE: u32 = 50;

impl Session {
    /// Forks this conversation at the user's message `entry_id`.
    pub async fn fork(&mut self, entry_id: String, mut new: Box<NewBeside>, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if self.ledger.turn.is_some() {
            refuse(answer, ProtocolError::new(ErrorCode::Busy, "the agent is at work; wait for it or abort, then fork"));
            return Ok(());
        }
        self.keep_harness(&mut new.provision);
        let (reply, forked) = oneshot::channel();
        self.of_agent(Command::Fork { entry_id }, reply, ctx).await?;
        let (registry, address, config) = (self.registry.clone(), ctx.address().clone(), self.config_of_a_sibling());
        let (session, parent, title) = (self.row.key.session, self.row.id.clone(), self.row.title.clone());
        let wanted = self.repose.hold();
        ctx.spawn_quiet(async move {
            let _wanted = wanted;
            let forked = match forked.await {
                Ok(Ok(json)) => serde_json::from_slice::<ForkedAway>(&json)
                    .map_err(|e| ProtocolError::new(ErrorCode::AgentFailed, format!("the agent's answer to fork was not understood: {e}"))),
                Ok(Err(error)) => Err(error),
                Err(_) => Err(ProtocolError::new(ErrorCode::NotReady, "the session is being restarted; try again")),
            };
            let forked = match forked {
                Ok(forked) => forked,
                Err(error) => {
                    if error.code == ErrorCode::Internal {
                        let _ = address.tell(SessionMsg::Lost { cause: error.message.clone() });
                    }
                    return refuse(answer, error);
                }
            };
            let ForkedAway { text, cancelled, resume, .. } = forked.clone();
            if cancelled {
                let _ = answer.send(json(&Forked { text, cancelled, session_id: None }));
                return;
            }
            let made = async {
                let journal = &registry.shared().journal;
                let title = title.map(|title| format!("{title} (fork)"));
                let copies = place_of(journal, session, &forked).await?.map(|before_idx| Copied { session, before_idx, title });
                let config = octo_protocol::SessionConfig { continue_session: resume, ..config };
                let id = new.id.to_string();
                open(&registry, *new, config, Origin { parent: Some(parent), copies }).await?;
                Ok::<_, ProtocolError>(id)
            };
            let _ = answer.send(match made.await {
                Ok(id) => json(&Forked { text, cancelled: false, session_id: Some(id) }),
                Err(error) => Err(error),
            });
        })?;
        Ok(())
    }

    /// A new session begins with messages of another one. What they cost was paid there.
    pub async fn begin_with(&mut self, copied: Copied) -> Result<(), Failure> {
        let Copied { session, before_idx, title } = copied;
        let journal = self.shared.journal.clone();
        let mut from = 0;
        while from < before_idx {
            let until = (from + u64::from(PAGE)).min(before_idx);
            let limit = u32::try_from(until - from).unwrap_or(PAGE);
            let page = journal.messages(session, Some(until), limit, usize::MAX).await?;
            for message in page.messages.iter().filter_map(|raw| parsed(raw)).filter(|message| message.idx >= from) {
                self.ledger.push(Event::MessageEnd { message: Message { client_id: None, usage: None, ..message } })?;
            }
            // What the disk does not take now waits, as everything does.
            self.ledger.flush().await?;
            from = until;
        }
        if let Some(title) = title {
            self.set_title(&title, false)?;
        }
        Ok(())
    }
}

fn parsed(raw: &RawValue) -> Option<Message> {
    serde_json::from_str(raw.get()).ok()
}

fn text_of(message: &Message) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Known(KnownPart::Text { text, .. }) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// Which message of the session it was forked at: the one with its text, or, where the agent got another text than the person sent, the one with as many
/// of the user's after it.
async fn place_of(journal: &Journal, session: i64, forked: &ForkedAway) -> Result<Option<u64>, JournalError> {
    let (mut before, mut users, mut same, mut by_count) = (None, 0, 0, None);
    loop {
        let page = journal.messages(session, before, PAGE, usize::MAX).await?;
        let messages: Vec<Message> = page.messages.iter().filter_map(|raw| parsed(raw)).collect();
        for message in messages.iter().rev().filter(|message| message.role == Role::User) {
            if text_of(message).trim() == forked.text.trim() {
                if same == forked.same_after {
                    return Ok(Some(message.idx));
                }
                same += 1;
            }
            if users == forked.after {
                by_count = Some(message.idx);
            }
            users += 1;
        }
        match messages.first() {
            Some(first) if page.has_more => before = Some(first.idx),
            _ => return Ok(by_count),
        }
    }
}
