//! A session between two programs of the runner: at rest in the old one, taken up in the new one.
//!
//! What the journal has is not repeated here: the new program reads it there. The rest is [`SavedSession`]: what is open, what the agent has got, what the
//! translator knows. A session without an agent's process needs none of it.

use super::accept::Waiting;
use super::actor::Session;
use super::commands::ABORT_PATIENCE;
use super::ledger::saved::SavedLedger;
use super::{SessionMsg, Tick};
use crate::agent::{Adopted, AgentMsg, Vitals};
use crate::trace::TurnTrace;
use octo_actors::{Address, Ctx, Failure};
use octo_protocol::event::QueuedInput;
use octo_protocol::{Model, SessionStatus};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

/// A session whose agent runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SavedSession {
    pub id: String,
    /// The epoch that its numbers are of.
    pub epoch: String,
    pub ledger: SavedLedger,
    /// What [`octo_harness::Harness::save`] gave.
    pub translator: serde_json::Value,
    pub harness: String,
    /// What is spoken with it, where it is not one that every runner knows by its name. A program from before there were others knows none but these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    agent: SavedAgent,
    queue: VecDeque<Waiting>,
    handed: BTreeMap<u64, Waiting>,
    next_token: u64,
    /// Aborts at the agent, with what they have parked. Whoever asked for them is told that the link has gone.
    aborts: BTreeMap<u64, Vec<QueuedInput>>,
    cutting: BTreeSet<u64>,
    is_new: bool,
    failed: bool,
    models: Vec<Model>,
    announced: (Vec<QueuedInput>, Vec<QueuedInput>),
    status: SessionStatus,
    /// The trace of the turn under way. A program from before there were traces leaves none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trace: Option<TurnTrace>,
}

/// The agent's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedAgent {
    pub incarnation: u64,
    pub pid: u32,
    pub ready: bool,
    pub restarts: u32,
    pub why: String,
    pub uptime_s: u64,
}

/// A saved session with its agent's descriptors, in the new program.
pub struct HandedSession {
    pub saved: SavedSession,
    pub agent: Adopted,
}

/// Why a session is not at rest right now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotNow {
    /// What it is at.
    pub why: String,
    /// It can be handed over all the same, and somebody would miss an answer then.
    pub can_do_without: bool,
}

impl NotNow {
    fn hard(why: impl Into<String>) -> Self {
        Self { why: why.into(), can_do_without: false }
    }
}

/// What a session is told on the way to its rest.
pub enum RestMsg {
    /// Whether it can come to rest, and its agent, whose output is to rest first. `patient`: not while somebody waits for an answer.
    Begin { patient: bool, answer: oneshot::Sender<Result<Option<Address<AgentMsg>>, NotNow>> },
    /// Rest, and say how it stands, until `over` is cancelled. Nothing without an agent.
    Rest { over: CancellationToken, answer: oneshot::Sender<Result<Option<Box<SavedSession>>, NotNow>> },
}

impl RestMsg {
    /// What a session that does not exist, or not yet, has to say.
    pub async fn without_session(self) {
        match self {
            Self::Begin { answer, .. } => drop(answer.send(Ok(None))),
            Self::Rest { over, answer } => {
                if answer.send(Ok(None)).is_ok() {
                    over.cancelled().await;
                }
            }
        }
    }
}

impl Session {
    /// Nothing moves in this session from [`RestMsg::Rest`] until it is over: what comes meanwhile waits in the mailbox.
    pub async fn rest(&mut self, message: RestMsg) -> Result<(), Failure> {
        match message {
            RestMsg::Begin { patient, answer } => drop(answer.send(self.may_rest(patient))),
            RestMsg::Rest { over, answer } => {
                let stands = self.stand().await?;
                let rests = stands.is_ok();
                if answer.send(stands).is_ok() && rests {
                    over.cancelled().await;
                }
            }
        }
        Ok(())
    }

    fn may_rest(&self, patient: bool) -> Result<Option<Address<AgentMsg>>, NotNow> {
        let address = self.agent.at_rest().map_err(NotNow::hard)?;
        if self.ledger.is_stalled() {
            return Err(NotNow::hard(format!("waits for its journal: {}", self.ledger.why_stalled())));
        }
        let awaited = !self.withdrawals.is_empty()
            || !self.replies.is_empty()
            || !self.aborts.is_empty()
            || !self.held.is_empty()
            || !self.opening.is_empty();
        if patient && awaited {
            return Err(NotNow { why: "has commands at its agent that wait for an answer".to_owned(), can_do_without: true });
        }
        Ok(address)
    }

    async fn stand(&mut self) -> Result<Result<Option<Box<SavedSession>>, NotNow>, Failure> {
        if let Err(not_now) = self.may_rest(false) {
            return Ok(Err(not_now));
        }
        self.ledger.show_progress()?;
        let written = self.ledger.flush().await?;
        let Some(ledger) = self.ledger.save().filter(|_| written && self.unread.is_none() && self.outbox.is_empty()) else {
            return Ok(Err(NotNow::hard(format!("waits for its journal: {}", self.ledger.why_stalled()))));
        };
        let Some(mut agent) = self.agent.save() else { return Ok(Ok(None)) };
        let translator = match self.harness.save() {
            Ok(translator) => translator,
            Err(error) => return Ok(Err(NotNow::hard(error.to_string()))),
        };
        agent.uptime_s = self.vitals.as_ref().map_or(0, Vitals::uptime_s);
        let saved = SavedSession {
            id: self.row.id.clone(),
            epoch: self.row.epoch.clone(),
            ledger,
            translator,
            harness: self.row.harness.clone(),
            protocol: self.provision.harness_named(&self.row.harness).map(|harness| harness.protocol.clone()),
            agent,
            queue: self.queue.clone(),
            handed: self.handed.iter().map(|(token, waiting)| (*token, waiting.clone())).collect(),
            next_token: self.next_token,
            aborts: self.aborts.iter().map(|(token, (_, parked))| (*token, parked.clone())).collect(),
            cutting: self.cutting.iter().copied().collect(),
            is_new: self.is_new,
            failed: self.failed,
            models: self.models.clone(),
            announced: self.announced.clone(),
            status: self.status,
            trace: self.tracing.turn.clone(),
        };
        Ok(Ok(Some(Box::new(saved))))
    }

    /// Goes on where the old program rested. The agent notices nothing.
    ///
    /// # Errors
    /// When the journal is not where it was, or the translator cannot go on; the agent ends then, and nothing else has changed.
    pub fn take_up(&mut self, handed: HandedSession, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let HandedSession { saved, agent } = handed;
        if saved.epoch != self.row.epoch {
            return Err(format!("its epoch was {} and is {}", saved.epoch, self.row.epoch).into());
        }
        if saved.harness != self.row.harness {
            return Err(format!("its agent was {} and is {}", saved.harness, self.row.harness).into());
        }
        self.harness.restore(saved.translator)?;
        let head = saved.ledger.head;
        if !self.ledger.restore(saved.ledger) {
            return Err(format!("its journal was at event {head} and is at {}", self.ledger.head()).into());
        }
        self.queue = saved.queue;
        self.handed = saved.handed.into_iter().collect();
        self.next_token = saved.next_token;
        // Nobody is there any more to hear of them; what they park stays parked.
        self.aborts = saved.aborts.into_iter().map(|(token, parked)| (token, (oneshot::channel().0, parked))).collect();
        self.cutting = saved.cutting.into_iter().collect();
        (self.is_new, self.failed, self.closed) = (saved.is_new, saved.failed, false);
        self.ledger.trace = saved.trace.as_ref().map(TurnTrace::context);
        self.tracing.turn = saved.trace;
        (self.models, self.announced) = (saved.models, saved.announced);
        (self.status, self.row.status) = (saved.status, saved.status);
        self.vitals = Some(Vitals::since(saved.agent.pid, Duration::from_secs(saved.agent.uptime_s)));
        for token in self.aborts.keys().chain(&self.cutting).copied() {
            ctx.tell_after(ABORT_PATIENCE, SessionMsg::Tick(Tick::AbortDue { token }))?;
        }
        self.time_questions(ctx)?;
        let ready = saved.agent.ready;
        self.adopt_agent(saved.agent, agent, ctx)?;
        if ready {
            self.begin_probes(ctx)?;
        }
        tracing::debug!(session = self.row.id, pid = self.agent.pid(), "a session goes on with its agent");
        self.publish();
        Ok(())
    }
}
