//! `fork`: a new session that goes on from before one of the user's messages. The one that it comes from stays as it is.
//!
//! Either the agent forks its own conversation and says under which handle the new one is found, or the place is in the journal ([`super::places`]) and
//! the agent of the new session forks when it starts. The new session begins with the messages up to there, so that it can be read like any other.

use super::actor::Session;
use super::beside::open;
use super::places::{PAGE, Place, parsed, places, text_of};
use super::{Answer, Answered, Copied, NewBeside, Origin, SessionMsg, json, refuse};
use crate::agent::AgentKind;
use crate::journal::{Journal, JournalError};
use octo_actors::{Ctx, Failure};
use octo_harness::{ForkedAway, Harness, StartOptions};
use octo_protocol::event::Event;
use octo_protocol::session::Forked;
use octo_protocol::{Command, ErrorCode, Message, ProtocolError, Role};
use tokio::sync::oneshot;

/// Where a conversation is forked.
struct Cut {
    text: String,
    /// The handle of the new conversation; absent when there is nothing in it yet.
    resume: Option<String>,
    /// The message that the session is copied up to; absent when that is nothing.
    before_idx: Option<u64>,
}

/// How the place is found.
enum Search {
    /// The agent forks, and answers.
    AtAgent(oneshot::Receiver<Answered>),
    /// It is in the journal, and the agent that is started for the new session forks.
    InJournal { harness: Box<dyn Harness>, conversation: Option<String>, entry_id: String },
}

impl Session {
    /// Forks this conversation at the user's message `entry_id`.
    pub async fn fork(&mut self, entry_id: String, mut new: Box<NewBeside>, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if self.ledger.turn.is_some() {
            refuse(answer, ProtocolError::new(ErrorCode::Busy, "the agent is at work; wait for it or abort, then fork"));
            return Ok(());
        }
        self.keep_harness(&mut new.provision);
        let search = match self.forks_by_entry() {
            Some(harness) => {
                let conversation = self.agent.plan().resume.clone().filter(|handle| !handle.is_empty());
                Search::InJournal { harness, conversation, entry_id }
            }
            None => {
                let (reply, forked) = oneshot::channel();
                self.of_agent(Command::Fork { entry_id }, reply, ctx).await?;
                Search::AtAgent(forked)
            }
        };
        let (registry, address, config) = (self.registry.clone(), ctx.address().clone(), self.config_of_a_sibling());
        let (session, parent, title) = (self.row.key.session, self.row.id.clone(), self.row.title.clone());
        let wanted = self.repose.hold();
        ctx.spawn_quiet(async move {
            let _wanted = wanted;
            let Cut { text, resume, before_idx } = match search.cut(&registry.shared().journal, session).await {
                Ok(Some(cut)) => cut,
                Ok(None) => {
                    let _ = answer.send(json(&Forked { text: String::new(), cancelled: true, session_id: None }));
                    return;
                }
                Err(error) => {
                    if error.code == ErrorCode::Internal {
                        let _ = address.tell(SessionMsg::Lost { cause: error.message.clone() });
                    }
                    return refuse(answer, error);
                }
            };
            let title = title.map(|title| format!("{title} (fork)"));
            let copies = before_idx.map(|before_idx| Copied { session, before_idx, title });
            let config = octo_protocol::SessionConfig { continue_session: resume, ..config };
            let id = new.id.to_string();
            let _ = answer.send(match open(&registry, *new, config, Origin { parent: Some(parent), copies }).await {
                Ok(_) => json(&Forked { text, cancelled: false, session_id: Some(id) }),
                Err(error) => Err(error),
            });
        })?;
        Ok(())
    }

    /// A translator that makes handles of forks, where the agent forks at any message.
    fn forks_by_entry(&self) -> Option<Box<dyn Harness>> {
        let harness = AgentKind::of(&self.row.harness, &self.provision).ok()?.translator(StartOptions::default());
        harness.forks_by_entry().then_some(harness)
    }

    /// The places at which this conversation can be forked, where they are in the journal; gives the answer back where the agent is to be asked.
    pub fn fork_points(&self, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<Option<Answer>, Failure> {
        if !self.harness.forks_by_entry() {
            return Ok(Some(answer));
        }
        let (journal, session) = (self.shared.journal.clone(), self.row.key.session);
        ctx.spawn_quiet(async move {
            let _ = answer.send(match places(&journal, session, None).await {
                Ok(places) => json(&places.iter().map(Place::point).collect::<Vec<_>>()),
                Err(error) => Err(error.into()),
            });
        })?;
        Ok(None)
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

impl Search {
    /// `None` when the agent was kept from it.
    async fn cut(self, journal: &Journal, session: i64) -> Result<Option<Cut>, ProtocolError> {
        match self {
            Self::AtAgent(forked) => {
                let json =
                    forked.await.map_err(|_| ProtocolError::new(ErrorCode::NotReady, "the session is being restarted; try again"))??;
                let forked = serde_json::from_slice::<ForkedAway>(&json).map_err(|e| {
                    ProtocolError::new(ErrorCode::AgentFailed, format!("the agent's answer to fork was not understood: {e}"))
                })?;
                if forked.cancelled {
                    return Ok(None);
                }
                let before_idx = place_of(journal, session, &forked).await?;
                Ok(Some(Cut { text: forked.text, resume: forked.resume, before_idx }))
            }
            Self::InJournal { harness, conversation, entry_id } => {
                let found = places(journal, session, Some(&entry_id)).await?.into_iter().find(|place| place.entry_id == entry_id);
                let place = found.ok_or_else(|| {
                    let shown: String = entry_id.chars().take(64).collect();
                    let what = format!("there is no message {shown:?} to fork at; get_fork_points lists those that there are");
                    ProtocolError::new(ErrorCode::InvalidRequest, what)
                })?;
                let resume = match (&place.after, conversation) {
                    (None, _) => None,
                    (Some(after), Some(conversation)) => Some(harness.fork_handle(&conversation, after)),
                    (Some(_), None) => {
                        let what = format!("{} has no conversation yet that could be forked; send a prompt first", harness.name());
                        return Err(ProtocolError::new(ErrorCode::InvalidState, what));
                    }
                };
                Ok(Some(Cut { text: place.text, resume, before_idx: Some(place.idx).filter(|idx| *idx > 0) }))
            }
        }
    }
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
