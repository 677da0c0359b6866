//! The actor: what it holds, and what it does with each message.

use super::accept::Waiting;
use super::ledger::{Ledger, LedgerError};
use super::lifecycle::AgentSlot;
use super::passing::Passing;
use super::permissions::Permissions;
use super::probe::Probe;
use super::queue::Withdrawal;
use super::registry::{Entry, Registry, summary_of};
use super::sleep::Repose;
use super::tracing::Tracing;
use super::{Answer, Origin, SessionMsg, Tick, refuse};
use crate::agent::{Plan, Vitals};
use crate::journal::{Change, SessionRow};
use crate::kill_point::{self, Point};
use crate::shared::Shared;
use octo_actors::{Actor, Ctx, Failure};
use octo_harness::{Harness, Outbox};
use octo_protocol::event::{Event, QueuedInput};
use octo_protocol::provision::Provision;
use octo_protocol::{Command, Model, ProtocolError, SessionStatus};
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// How often the journal is tried again while the disk takes no writes.
const JOURNAL_RETRY: Duration = Duration::from_millis(500);
/// How often watched sessions show how their process is.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// The ring of a session in which nothing was journalled for so long is given back: who comes then reads the journal.
const QUIET: Duration = Duration::from_secs(30);

/// The actor of a session that exists or is being created.
pub struct SessionActor {
    registry: Registry,
    entry: Arc<Entry>,
    session: Option<Session>,
}

/// A session that exists.
pub(super) struct Session {
    pub registry: Registry,
    pub shared: Arc<Shared>,
    pub entry: Arc<Entry>,
    pub row: SessionRow,
    pub provision: Arc<Provision>,
    pub ledger: Ledger,
    pub harness: Box<dyn Harness>,
    pub outbox: Outbox,
    pub agent: AgentSlot,
    pub vitals: Option<Vitals>,
    /// Accepted and not handed over.
    pub queue: VecDeque<Waiting>,
    /// Handed over and not yet in the conversation.
    pub handed: HashMap<u64, Waiting>,
    pub next_token: u64,
    /// Commands at the agent.
    pub replies: HashMap<u64, Answer>,
    /// Aborts at the agent, with what they have parked so far.
    pub aborts: HashMap<u64, (Answer, Vec<QueuedInput>)>,
    /// Aborts at the agent whose person has been told already that they cannot be written.
    pub cutting: HashSet<u64>,
    /// Edits of the queue that wait for what the agent has of it.
    pub withdrawals: HashMap<u64, Withdrawal>,
    /// Commands that wait for the agent's handshake.
    pub held: VecDeque<(Command, Answer)>,
    /// Clients that wait for the agent's handshake, and whether the session was there before them.
    pub opening: Vec<(Answer, bool)>,
    /// Nobody has seen this session yet: when its first start fails it never was.
    pub is_new: bool,
    /// The last start failed: only an input starts the agent again.
    pub failed: bool,
    /// Why, as long as this incarnation knows.
    pub failure: Option<Box<str>>,
    /// Closed by name, until the next start.
    pub closed: bool,
    /// Its agent went on while the runner was away: it is asked at once what has become of its turn.
    pub looks_again: bool,
    pub models: Vec<Model>,
    pub announced: (Vec<QueuedInput>, Vec<QueuedInput>),
    pub unread: Option<oneshot::Sender<()>>,
    pub status: SessionStatus,
    pub retry_due: bool,
    pub progress_due: bool,
    pub probe: Probe,
    /// When the agent was read again after the journal had taken no writes.
    pub heard_again: Option<tokio::time::Instant>,
    /// Since when nothing goes on, and when somebody last wanted something.
    pub repose: Repose,
    pub tracing: Tracing,
    pub passing: Passing,
    pub permissions: Permissions,
    /// The journal has no such session any more.
    pub deleted: bool,
}

impl Actor for SessionActor {
    type Msg = SessionMsg;
    type Args = (Registry, Arc<Entry>);

    async fn start((registry, entry): Self::Args, ctx: &Ctx<SessionMsg>) -> Result<Self, Failure> {
        let row = registry.shared().journal.session(entry.id.as_str()).await?;
        let mut actor = Self { registry, entry, session: None };
        if let Some(row) = row {
            actor.session = Some(Self::take_up_or_recover(&actor.registry, &actor.entry, row, ctx).await?);
        }
        ctx.tell_every(HEARTBEAT, || SessionMsg::Tick(Tick::Heartbeat))?;
        // Inputs that were accepted before wait for an agent.
        let _ = ctx.address().tell(SessionMsg::Tick(Tick::Journal));
        Ok(actor)
    }

    async fn handle(&mut self, message: SessionMsg, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let Some(session) = &mut self.session else {
            self.session = self.without_session(message, ctx).await?;
            return Ok(());
        };
        session.take(message, ctx).await?;
        if session.deleted {
            self.registry.remove(self.entry.id.as_str());
            self.session = None;
            ctx.stop();
            return Ok(());
        }
        session.settle(ctx).await?;
        if session.repose.leaves() {
            self.session = None;
            ctx.stop();
        }
        Ok(())
    }

    fn inspect(&self) -> Value {
        self.session.as_ref().map_or(Value::Null, Session::inspect)
    }

    fn trouble(&self) -> Option<String> {
        self.session.as_ref().and_then(Session::trouble)
    }

    fn name_of(message: &SessionMsg) -> &'static str {
        match message {
            SessionMsg::Command { frame, .. } => frame.command.name(),
            SessionMsg::Open { .. } => "open",
            SessionMsg::Snapshot { .. } => "snapshot",
            SessionMsg::Rename { .. } => "rename",
            SessionMsg::Agent(_) => "agent",
            SessionMsg::Stdout { .. } => "stdout",
            SessionMsg::Beside { command, .. } => command.name(),
            SessionMsg::Continue { .. } => "continue",
            SessionMsg::Lost { .. } => "lost",
            SessionMsg::Shutdown { .. } => "shutdown",
            SessionMsg::RulesChanged => "rules_changed",
            SessionMsg::Rest(_) => "rest",
            SessionMsg::Placed(_) => "placed",
            SessionMsg::Tick(_) => "tick",
        }
    }
}

impl SessionActor {
    /// Goes on where an old program of the runner rested, or brings to rest what was under way when one ended.
    async fn take_up_or_recover(
        registry: &Registry,
        entry: &Arc<Entry>,
        row: SessionRow,
        ctx: &Ctx<SessionMsg>,
    ) -> Result<Session, Failure> {
        if let Some(handed) = registry.take_handed(entry.id.as_str()) {
            let mut session = Session::new(registry, entry, row.clone())?;
            match session.take_up(handed, ctx) {
                Ok(()) => return Ok(session),
                Err(error) => tracing::error!(session = row.id, %error, "a session could not be taken over; its agent ends"),
            }
        }
        let mut session = Session::new(registry, entry, row)?;
        session.recover().await?;
        if std::mem::take(&mut session.looks_again) {
            session.start_agent(ctx);
        }
        Ok(session)
    }

    async fn without_session(&mut self, message: SessionMsg, ctx: &Ctx<SessionMsg>) -> Result<Option<Session>, Failure> {
        let id = self.entry.id.clone();
        match message {
            SessionMsg::Open { frame, provision, origin, answer } => {
                let Origin { parent, copies } = origin.unwrap_or_default();
                match Session::create(&self.registry, &self.entry, &frame, *provision, parent).await {
                    Ok(mut session) => {
                        if let Some(copies) = copies {
                            session.begin_with(copies).await?;
                        }
                        session.opening.push((answer, false));
                        session.start_agent(ctx);
                        session.settle(ctx).await?;
                        return Ok(Some(session));
                    }
                    Err(error) => {
                        refuse(answer, error);
                        self.registry.remove(id.as_str());
                        ctx.stop();
                    }
                }
            }
            SessionMsg::Command { answer, .. }
            | SessionMsg::Snapshot { answer }
            | SessionMsg::Rename { answer, .. }
            | SessionMsg::Beside { answer, .. }
            | SessionMsg::Continue { answer, .. } => {
                refuse(answer, ProtocolError::session_not_found(&id));
            }
            SessionMsg::Shutdown { answer } => drop(answer),
            SessionMsg::Rest(message) => message.without_session().await,
            SessionMsg::Lost { .. }
            | SessionMsg::Stdout { .. }
            | SessionMsg::Agent(_)
            | SessionMsg::RulesChanged
            | SessionMsg::Placed(_)
            | SessionMsg::Tick(_) => {}
        }
        Ok(None)
    }
}

impl Session {
    pub fn new(registry: &Registry, entry: &Arc<Entry>, mut row: SessionRow) -> Result<Self, Failure> {
        let shared = Arc::clone(registry.shared());
        // Read once: with many models it is the largest thing of an idle session.
        let provision: Arc<Provision> = Arc::new(serde_json::from_str(&std::mem::take(&mut row.provision))?);
        let log = match entry.log().filter(|log| log.life == row.key.life) {
            Some(log) => log,
            None => {
                let log = Arc::new(crate::journal::SessionLog::new(row.epoch.parse()?, row.key.life, row.head).with_floor(row.floor));
                entry.set_log(Arc::clone(&log));
                log
            }
        };
        let ledger = Ledger::new(shared.journal.clone(), row.key, log, row.head, row.messages, row.turn.clone());
        let plan = Plan {
            session: row.id.clone(),
            harness: row.harness.clone(),
            cwd: row.cwd.clone().into(),
            profile: row.config.sandbox.clone(),
            provider: row.provider.clone(),
            model: row.model.clone(),
            thinking: row.thinking.as_deref().and_then(|t| serde_json::from_value(Value::from(t)).ok()),
            resume: row.resume.clone().or_else(|| row.config.continue_session.clone()),
            provision: Arc::clone(&provision),
        };
        let harness = plan.harness(&shared.options)?;
        Ok(Self {
            closed: row.status == SessionStatus::Closed,
            failed: row.status == SessionStatus::Error,
            looks_again: false,
            failure: None,
            status: row.status,
            registry: registry.clone(),
            shared,
            entry: Arc::clone(entry),
            provision,
            ledger,
            harness,
            outbox: Outbox::new(),
            agent: AgentSlot::new(plan),
            vitals: None,
            queue: VecDeque::new(),
            handed: HashMap::new(),
            next_token: 1,
            replies: HashMap::new(),
            aborts: HashMap::new(),
            cutting: HashSet::new(),
            withdrawals: HashMap::new(),
            held: VecDeque::new(),
            opening: Vec::new(),
            is_new: false,
            models: Vec::new(),
            announced: (Vec::new(), Vec::new()),
            unread: None,
            retry_due: false,
            progress_due: false,
            probe: Probe::default(),
            heard_again: None,
            repose: Repose::new(),
            tracing: Tracing::default(),
            passing: Passing::default(),
            permissions: Permissions::default(),
            deleted: false,
            row,
        })
    }

    async fn take(&mut self, message: SessionMsg, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if !matches!(message, SessionMsg::Tick(_) | SessionMsg::Rest(_)) {
            self.repose.wanted();
        }
        self.passes(if let SessionMsg::Stdout { read, .. } = &message { *read } else { None });
        match message {
            SessionMsg::Command { frame, actor, answer } => self.command(*frame, &actor, answer, ctx).await?,
            SessionMsg::Open { provision, answer, .. } => self.attach_or_wait(*provision, answer)?,
            SessionMsg::Snapshot { answer } => self.snapshot(answer, ctx)?,
            SessionMsg::Rename { title, answer } => {
                let renamed = self.rename(&title).await?;
                let _ = answer.send(renamed.and_then(|()| super::nothing()));
            }
            SessionMsg::Agent(news) => self.news(news, ctx).await?,
            SessionMsg::Stdout { incarnation, bytes, done, .. } => {
                if self.agent.is_current(incarnation) {
                    if let Some(turn) = &mut self.tracing.turn {
                        turn.reads();
                    }
                    self.harness.stdout(&bytes, crate::clock::now_ms(), &mut self.outbox);
                    self.unread = Some(done);
                    self.outputs(ctx).await?;
                    self.translated();
                }
            }
            SessionMsg::Beside { command, new, answer } => self.beside(*command, new, answer, ctx).await?,
            SessionMsg::Continue { path, new, answer } => self.sibling(Some(path), None, *new, answer, ctx)?,
            SessionMsg::Lost { cause } => self.end_agent(cause),
            SessionMsg::RulesChanged => self.decide_open(ctx).await?,
            SessionMsg::Shutdown { answer } => self.shut_down(answer, ctx)?,
            SessionMsg::Rest(message) => self.rest(message).await?,
            SessionMsg::Placed(address) => self.placed(address, ctx).await?,
            SessionMsg::Tick(tick) => self.tick(tick, ctx).await?,
        }
        Ok(())
    }

    async fn tick(&mut self, tick: Tick, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match tick {
            Tick::Journal => self.retry_due = false,
            Tick::Progress => {
                self.progress_due = false;
                self.ledger.show_progress()?;
            }
            Tick::Heartbeat => {
                self.ledger.log.ring.rest(QUIET);
                self.agent.look();
                if self.entry.subscribers() > 0 && !self.ledger.is_stalled() {
                    let process = self.vitals.as_mut().map(Vitals::look).unwrap_or_default();
                    self.ledger.push(Event::SessionHeartbeat { process, head: Some(self.ledger.head()) })?;
                }
            }
            Tick::StopNow => self.stop_now(),
            Tick::Probe => self.probe(ctx).await?,
            Tick::Idle => self.idle(ctx).await?,
            Tick::Questions => self.questions_due(ctx).await?,
            Tick::AbortDue { token } => self.abort_due(token),
            Tick::Handshake { incarnation } => self.handshake_due(incarnation, ctx).await?,
        }
        Ok(())
    }

    /// After every message: hands over what can be, writes what waits, shows the rest of the world.
    pub async fn settle(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        self.hand_over(ctx).await?;
        let busy = self.is_busy();
        self.repose.note(busy);
        self.announce_queue()?;
        let status = self.status_now();
        if status != self.status {
            self.status = status;
            self.row.status = status;
            self.ledger.change(Change::Status(status));
        }
        if self.unread.is_some() {
            kill_point::reached(Point::Heard);
        }
        let stalled = self.ledger.is_stalled();
        if self.ledger.flush().await? {
            self.trace_written();
            self.passed();
            if stalled {
                // It could not be heard meanwhile.
                self.probe.asked_anew();
                self.heard_again = Some(tokio::time::Instant::now());
            }
            if let Some(done) = self.unread.take() {
                kill_point::reached(Point::Kept);
                let _ = done.send(());
            }
        } else if !self.retry_due {
            self.retry_due = true;
            ctx.tell_after(JOURNAL_RETRY, SessionMsg::Tick(Tick::Journal))?;
        }
        self.publish();
        Ok(())
    }

    pub fn publish(&mut self) {
        // Looking at a session is no activity of it.
        if self.row.head != self.ledger.head() {
            self.row.head = self.ledger.head();
            self.row.updated_at = crate::clock::now_ms().max(self.row.updated_at);
        }
        self.row.messages = self.ledger.message_count();
        let mut summary = summary_of(&self.row, &self.ledger.log.epoch);
        summary.state = self.status;
        summary.pid = self.agent.pid();
        self.registry.show(&self.entry, summary);
    }

    pub fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    fn inspect(&self) -> Value {
        json!({
            "status": self.status, "agent": self.agent.name(), "pid": self.agent.pid(), "turn": self.ledger.turn, "head": self.ledger.head(),
            "epoch": self.ledger.log.epoch, "messages": self.ledger.message_count(), "queued": self.queue.len(), "handed": self.handed.len(),
            "open_messages": self.ledger.messages.len(), "open_tools": self.ledger.tools.len(), "open_questions": self.ledger.questions.len(),
            "stalled": self.ledger.is_stalled(), "subscribers": self.entry.subscribers(), "ring": self.ledger.log.ring.held(), "idle_s": self.repose.idle_for().as_secs(),
        })
    }
}

impl From<LedgerError> for ProtocolError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::Journal(error) => error.into(),
            other => Self::new(octo_protocol::ErrorCode::Internal, other.to_string()),
        }
    }
}
