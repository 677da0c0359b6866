//! Stillness: nothing of the runner moves, and everything goes on when it is over.
//!
//! The order matters. No further session gets an actor. Then the agents' output rests, each between two pieces, when the journal has what followed from the last. Then
//! the sessions rest, each inside one message: whatever comes waits in its mailbox. Then what is left of the agents. Then the journal. Who cannot rest
//! now is not waited for with all the others held: everybody goes on, and it is tried again.

use crate::agent::{AgentMsg, Held, Hold};
use crate::journal::{Journal, JournalError, Pause};
use crate::session::{Closed, NotNow, Registry, RestMsg, SavedSession, SessionAddress, SessionMsg};
use futures_util::future::join_all;
use octo_actors::{ActorState, Address, SendError};
use octo_protocol::SessionId;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long one attempt may take; everybody is held meanwhile.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(3);
/// How long everybody goes on between two attempts.
const BETWEEN: Duration = Duration::from_millis(50);
/// How long whoever waits for an answer of an agent is given.
const ANSWERS_WITHIN: Duration = Duration::from_secs(2);
/// How long all attempts together may take: longer than an agent takes to end.
const REST_WITHIN: Duration = Duration::from_secs(12);

/// Why the runner does not come to rest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the runner does not come to rest: {what} {why}")]
pub struct Restless {
    what: String,
    why: String,
    can_do_without: bool,
}

impl Restless {
    fn session(id: &SessionId, why: impl Into<String>) -> Self {
        Self { what: format!("session {id}"), why: why.into(), can_do_without: false }
    }
}

/// Everything rests as long as this is held.
pub struct Stillness {
    over: CancellationToken,
    holds: Vec<Hold>,
    /// The sessions whose agent runs.
    pub sessions: Vec<(SavedSession, Held)>,
    pause: Option<Pause>,
    _closed: Closed,
}

impl Drop for Stillness {
    fn drop(&mut self) {
        // The journal first: whoever goes on may want to write.
        self.pause = None;
        self.holds.iter().for_each(Hold::over);
        self.over.cancel();
    }
}

struct Found {
    id: SessionId,
    address: SessionAddress,
    agent: Option<Address<AgentMsg>>,
}

impl Stillness {
    /// Brings everything to rest, trying again while somebody cannot.
    ///
    /// # Errors
    /// [`Restless`]: who could not, in the end. Everything goes on then.
    pub async fn reach(registry: &Registry, journal: &Journal) -> Result<Self, Restless> {
        let began = Instant::now();
        loop {
            let patient = began.elapsed() < ANSWERS_WITHIN;
            let restless = match tokio::time::timeout(ATTEMPT_WITHIN, Box::pin(Self::attempt(registry, journal, patient))).await {
                Ok(Ok(still)) => return Ok(still),
                Ok(Err(restless)) => restless,
                Err(_) => Restless {
                    what: "somebody".to_owned(),
                    why: format!("was not at rest after {ATTEMPT_WITHIN:?}; a disk may take no writes"),
                    can_do_without: false,
                },
            };
            if began.elapsed() >= REST_WITHIN && !restless.can_do_without {
                return Err(restless);
            }
            tokio::time::sleep(BETWEEN).await;
        }
    }

    async fn attempt(registry: &Registry, journal: &Journal, patient: bool) -> Result<Self, Restless> {
        let closed = registry.close().await.ok_or_else(|| Restless::journal(&JournalError::Closed))?;
        let mut still = Self { over: CancellationToken::new(), holds: Vec::new(), sessions: Vec::new(), pause: None, _closed: closed };
        let found = Self::find(registry, patient).await?;
        let mut holds = Vec::new();
        for session in &found {
            holds.push(match &session.agent {
                None => None,
                Some(agent) => {
                    let (answer, held) = oneshot::channel();
                    let gone = || Restless::session(&session.id, "has an agent that is ending");
                    agent.tell(AgentMsg::Hold { answer }).map_err(|_| gone())?;
                    let hold = held.await.map_err(|_| gone())?;
                    still.holds.push(hold.clone());
                    Some(hold)
                }
            });
        }
        join_all(still.holds.iter().map(|hold| hold.output.all())).await;
        let saved = still.sessions_rest(&found).await?;
        join_all(still.holds.iter().map(|hold| hold.others.all())).await;
        for ((session, saved), hold) in found.iter().zip(saved).zip(holds) {
            match (saved, hold) {
                (None, None) => {}
                (Some(saved), Some(hold)) => {
                    let held = hold.held().ok_or_else(|| Restless::session(&session.id, "has an agent that is ending"))?;
                    still.sessions.push((*saved, held));
                }
                _ => return Err(Restless::session(&session.id, "has just got or lost its agent")),
            }
        }
        let pause = journal.pause().await.map_err(|error| Restless::journal(&error))?;
        still.pause = Some(pause);
        Ok(still)
    }

    /// Everybody who has an actor.
    async fn find(registry: &Registry, patient: bool) -> Result<Vec<Found>, Restless> {
        let mut asked = Vec::new();
        for entry in registry.all() {
            let Some(address) = entry.address() else { continue };
            match address.state() {
                ActorState::Stopped | ActorState::Degraded => continue,
                ActorState::Running | ActorState::Stuck => {}
                _ => return Err(Restless::session(&entry.id, "is being restarted")),
            }
            let (answer, begun) = oneshot::channel();
            match address.tell(SessionMsg::Rest(RestMsg::Begin { patient, answer })) {
                Ok(()) => asked.push((entry.id.clone(), address, begun)),
                Err(SendError::Gone { .. }) => return Err(Restless::session(&entry.id, "is just ending")),
                Err(SendError::Busy { .. }) => return Err(Restless::session(&entry.id, "has much to do")),
            }
        }
        let mut found = Vec::new();
        for (id, address, begun) in asked {
            let agent = answer_of(&id, begun).await?;
            found.push(Found { id, address, agent });
        }
        Ok(found)
    }

    async fn sessions_rest(&self, found: &[Found]) -> Result<Vec<Option<Box<SavedSession>>>, Restless> {
        let mut asked = Vec::new();
        for session in found {
            let (answer, rests) = oneshot::channel();
            let message = SessionMsg::Rest(RestMsg::Rest { over: self.over.clone(), answer });
            session.address.tell(message).map_err(|_| Restless::session(&session.id, "has much to do"))?;
            asked.push((&session.id, rests));
        }
        let mut saved = Vec::new();
        for (id, rests) in asked {
            saved.push(answer_of(id, rests).await?);
        }
        Ok(saved)
    }
}

impl Restless {
    fn journal(error: &JournalError) -> Self {
        Self { what: "the journal".to_owned(), why: format!("does not rest: {error}"), can_do_without: false }
    }
}

async fn answer_of<T>(id: &SessionId, answer: oneshot::Receiver<Result<T, NotNow>>) -> Result<T, Restless> {
    match answer.await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(NotNow { why, can_do_without })) => Err(Restless { what: format!("session {id}"), why, can_do_without }),
        Err(_) => Err(Restless::session(id, "has ended meanwhile")),
    }
}
