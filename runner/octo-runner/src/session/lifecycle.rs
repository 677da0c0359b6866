//! The life of a session's agent: placed, ready, gone, back again, stopped.

use super::actor::Session;
use super::handover::SavedAgent;
use super::permissions::Permissions;
use super::{Answer, SessionMsg, Tick, json, nothing, refuse};
use crate::agent::{AGENT, Adopted, AgentMsg, AgentProcess, AgentStart, News, Placed, Plan, STDIN_QUEUE, Vitals};
use crate::clock::now_ms;
use crate::journal::JournalError;
use bytes::Bytes;
use octo_actors::{ActorState, Address, Ctx, Failure, StartError};
use octo_harness::ExitReport;
use octo_protocol::command::Command;
use octo_protocol::event::Event;
use octo_protocol::message::StopReason;
use octo_protocol::{ErrorCode, InputAnswer, ProtocolError};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long an agent may take to end its run before it is stopped in the middle of it.
const RUN_END_PATIENCE: Duration = Duration::from_secs(3);
/// How long the end of an agent between two processes may take.
const BETWEEN_PATIENCE: Duration = Duration::from_secs(2);
/// How long the agent before may take to be gone.
const PLACING_TRIES: u32 = 1500;

/// What follows when the agent is gone.
pub enum After {
    Close(Answer),
    Restart(Answer),
    Delete(Answer),
    Shutdown(oneshot::Sender<()>),
    /// Nothing, until somebody needs it again.
    Sleep,
}

enum State {
    /// No process.
    Asleep,
    /// A process is being started, or has not answered its handshake.
    Starting,
    Ready,
    /// It crashed; its supervisor starts it again.
    Between,
    /// It was told to end.
    Stopping(Vec<After>),
}

struct Process {
    pid: u32,
    stdin: mpsc::Sender<Bytes>,
}

/// The place of a session's agent.
pub struct AgentSlot {
    state: State,
    process: Option<Process>,
    address: Option<Address<AgentMsg>>,
    plan: Arc<Mutex<Plan>>,
    counter: Arc<AtomicU64>,
    was_ready: Arc<AtomicBool>,
    incarnation: u64,
    restarts: u32,
    why: String,
}

impl AgentSlot {
    pub fn new(plan: Plan) -> Self {
        Self {
            state: State::Asleep,
            process: None,
            address: None,
            plan: Arc::new(Mutex::new(plan)),
            counter: Arc::default(),
            was_ready: Arc::default(),
            incarnation: 0,
            restarts: 0,
            why: String::new(),
        }
    }

    /// What the next start takes.
    pub fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_asleep(&self) -> bool {
        matches!(self.state, State::Asleep)
    }

    pub fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready)
    }

    pub fn is_starting(&self) -> bool {
        matches!(self.state, State::Starting | State::Between)
    }

    pub fn is_stopping(&self) -> bool {
        matches!(self.state, State::Stopping(_))
    }

    /// It is being ended only because nobody needs it.
    pub fn is_falling_asleep(&self) -> bool {
        matches!(&self.state, State::Stopping(after) if is_sleep(after))
    }

    pub fn is_current(&self, incarnation: u64) -> bool {
        self.incarnation == incarnation && self.process.is_some()
    }

    /// A turn went well: what happened before it is forgiven.
    pub fn has_settled(&mut self) {
        if self.is_ready() {
            self.restarts = 0;
        }
    }

    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(|p| p.pid)
    }

    /// Has the actor of its process take a new look at itself: it is told little else.
    pub fn look(&self) {
        if let Some(address) = self.address.as_ref().filter(|_| self.process.is_some()) {
            let _ = address.tell(AgentMsg::Look);
        }
    }

    /// Its actor, when it is at rest or can come to rest; why not, when it is on its way to another state.
    pub fn at_rest(&self) -> Result<Option<Address<AgentMsg>>, &'static str> {
        let ended = self.address.as_ref().is_none_or(|a| matches!(a.state(), ActorState::Stopped | ActorState::Degraded));
        match (&self.state, &self.process, &self.address) {
            (State::Starting | State::Ready, Some(_), Some(address)) if !ended => Ok(Some(address.clone())),
            (State::Asleep, ..) if ended => Ok(None),
            (State::Starting, ..) => Err("starts its agent"),
            (State::Between, ..) => Err("waits for its agent to be started again"),
            (State::Stopping(_) | State::Asleep, ..) => Err("ends its agent"),
            (State::Ready, ..) => Err("has an agent that is ending"),
        }
    }

    /// What an agent's process leaves to the next program of the runner; `None` without one.
    pub fn save(&self) -> Option<SavedAgent> {
        let (pid, incarnation, restarts) = (self.pid()?, self.incarnation, self.restarts);
        Some(SavedAgent { incarnation, pid, ready: self.is_ready(), restarts, why: self.why.clone(), uptime_s: 0 })
    }

    /// False when the agent does not read.
    pub fn write(&self, bytes: Bytes) -> bool {
        match &self.process {
            Some(process) => !matches!(process.stdin.try_send(bytes), Err(mpsc::error::TrySendError::Full(_))),
            None => true,
        }
    }

    pub fn name(&self) -> &'static str {
        match self.state {
            State::Asleep => "asleep",
            State::Starting => "starting",
            State::Ready => "ready",
            State::Between => "restarting",
            State::Stopping(_) => "stopping",
        }
    }
}

impl Session {
    /// Begins to start the agent; the news of it come by messages.
    pub fn start_agent(&mut self, ctx: &Ctx<SessionMsg>) {
        self.agent.state = State::Starting;
        self.closed = false;
        self.agent.was_ready = Arc::default();
        self.place_agent(None, ctx);
    }

    /// Goes on with an agent's process that an old program of the runner had.
    pub fn adopt_agent(&mut self, saved: SavedAgent, adopted: Adopted, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let incarnation = saved.incarnation;
        let (stdin, writes) = mpsc::channel(STDIN_QUEUE);
        self.agent.counter.store(incarnation, Relaxed);
        self.agent.was_ready.store(saved.ready, Relaxed);
        self.agent.process = Some(Process { pid: saved.pid, stdin });
        (self.agent.incarnation, self.agent.restarts, self.agent.why) = (incarnation, saved.restarts, saved.why);
        if saved.ready {
            self.agent.state = State::Ready;
        } else {
            self.agent.state = State::Starting;
            ctx.tell_after(self.handshake_patience(), SessionMsg::Tick(Tick::Handshake { incarnation }))?;
        }
        self.place_agent(Some(Placed { adopted, incarnation, writes }), ctx);
        Ok(())
    }

    fn place_agent(&mut self, adopted: Option<Placed>, ctx: &Ctx<SessionMsg>) {
        let adopted = Arc::new(Mutex::new(adopted));
        let (before, children, session) = (self.agent.address.take(), ctx.children().clone(), ctx.address().clone());
        let (shared, plan) = (Arc::clone(&self.shared), Arc::clone(&self.agent.plan));
        let (counter, was_ready) = (Arc::clone(&self.agent.counter), Arc::clone(&self.agent.was_ready));
        let placed = ctx.spawn_task(async move {
            if before.is_some_and(|b| b.state() == ActorState::Degraded) {
                let _ = children.stop_child("agent", Duration::from_secs(1)).await;
            }
            let start = move || AgentStart {
                shared: Arc::clone(&shared),
                session: session.clone(),
                plan: Arc::clone(&plan),
                counter: Arc::clone(&counter),
                was_ready: Arc::clone(&was_ready),
                adopted: Arc::clone(&adopted),
            };
            for _ in 0..PLACING_TRIES {
                match children.start_child::<AgentProcess>(AGENT, "agent", start.clone()).await {
                    Ok(address) => return SessionMsg::Placed(Some(address)),
                    // The one before is still on its way out.
                    Err(StartError::Exists(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
                    Err(_) => break,
                }
            }
            SessionMsg::Placed(None)
        });
        if placed.is_err() {
            let _ = ctx.address().tell(SessionMsg::Placed(None));
        }
    }

    pub async fn placed(&mut self, address: Option<Address<AgentMsg>>, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match address {
            Some(address) => {
                if self.agent.is_stopping() {
                    let _ = address.tell(AgentMsg::Stop);
                }
                self.agent.address = Some(address);
                Ok(())
            }
            None => self.not_started("the agent before has not ended; restart the session", ctx).await,
        }
    }

    pub async fn news(&mut self, news: News, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match news {
            // It was given up while it started: whoever stopped it ends its process.
            News::Up { .. } if self.agent.is_asleep() => Ok(()),
            News::Up { incarnation, pid, stdin } => {
                self.agent.incarnation = incarnation;
                self.agent.process = Some(Process { pid, stdin });
                self.vitals = Some(Vitals::new(pid));
                if self.agent.is_stopping() {
                    return Ok(());
                }
                self.agent.state = State::Starting;
                let plan = self.agent.plan().clone();
                self.harness = plan.harness(&self.shared.options)?;
                self.permissions = Permissions::default();
                self.harness.start(now_ms(), &mut self.outbox);
                ctx.tell_after(self.handshake_patience(), SessionMsg::Tick(Tick::Handshake { incarnation }))?;
                self.outputs(ctx).await
            }
            News::NotStarted { .. } if self.agent.is_asleep() => Ok(()),
            News::NotStarted { error, .. } => self.not_started(&error, ctx).await,
            News::Gone { incarnation, report, again } if self.agent.is_current(incarnation) => self.gone(&report, again, ctx).await,
            News::Gone { .. } => Ok(()),
            News::Degraded { .. } if self.agent.is_asleep() => Ok(()),
            News::Degraded { error } => {
                let sentence = format!(
                    "the agent ended again and again and is not started any more ({}); the next prompt tries once more",
                    if self.agent.why.is_empty() { &error } else { &self.agent.why }
                );
                self.not_started(&sentence, ctx).await
            }
        }
    }

    /// The handshake is done.
    pub fn ready(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if self.agent.is_stopping() {
            return Ok(());
        }
        let is_back = self.agent.was_ready.swap(true, Relaxed);
        self.agent.state = State::Ready;
        self.failed = false;
        self.is_new = false;
        if is_back {
            self.ledger.push(Event::SessionRestarted { attempt: self.agent.restarts, reason: self.agent.why.clone() })?;
        }
        for (answer, resumed) in std::mem::take(&mut self.opening) {
            let _ = answer.send(self.opened(resumed).and_then(|opened| json(&opened)));
        }
        for (command, answer) in std::mem::take(&mut self.held) {
            self.ask_agent(&command, answer);
        }
        // What the commands wrote is in the outbox, which is being emptied.
        self.begin_probes(ctx)
    }

    async fn gone(&mut self, report: &ExitReport, again: bool, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let was = std::mem::replace(&mut self.agent.state, State::Asleep);
        let stopped = matches!(was, State::Stopping(_));
        // What came since it was told to end is for the next one: its turn has begun, and goes on.
        let slept = matches!(&was, State::Stopping(after) if is_sleep(after)) && !self.closed;
        self.agent.why = how(report);
        if again && stopped {
            // It crashed while it was being stopped: its supervisor is not to start another one.
            let _ = ctx.children().stop_child("agent", BETWEEN_PATIENCE).await;
        } else if again {
            self.agent.restarts += 1;
            self.agent.state = State::Between;
        }
        self.harness.exited(report, now_ms(), &mut self.outbox);
        self.outputs(ctx).await?;
        self.agent.process = None;
        self.vitals = None;
        let reason = if report.expected || stopped { StopReason::Aborted } else { StopReason::Error };
        let sentence = self.agent.why.clone();
        if slept && !self.queue.is_empty() {
            self.settle_handed();
        } else if again || stopped {
            self.end_turn_of_the_gone(reason, &sentence)?;
        } else {
            // The turn, if there is one, ends with the sentence that says so, and only with that.
            self.settle_handed();
        }
        if !slept {
            self.refuse_waiting(&ProtocolError::new(ErrorCode::AgentFailed, format!("{sentence}; the command was not answered")));
        }
        match was {
            State::Stopping(after) => {
                for then in after {
                    self.after_stop(then, ctx).await?;
                }
                Ok(())
            }
            _ if again => Ok(()),
            _ => self.not_started(&sentence, ctx).await,
        }
    }

    /// What the agent had and no agent will have again.
    fn settle_handed(&mut self) {
        for (_, waiting) in self.handed.drain() {
            self.ledger.change(crate::journal::Change::InputDelivered { key: waiting.key });
        }
    }

    /// A turn that only waits for the agent goes on when there will be one.
    fn end_turn_of_the_gone(&mut self, reason: StopReason, sentence: &str) -> Result<(), Failure> {
        self.settle_handed();
        if matches!(self.agent.state, State::Between) && !self.queue.is_empty() && self.ledger.turn.is_some() {
            return self.close_open(sentence);
        }
        self.end_turn(reason, Some(sentence.to_owned()))
    }

    /// It could not be started, or not once more.
    async fn not_started(&mut self, sentence: &str, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let was = std::mem::replace(&mut self.agent.state, State::Asleep);
        self.agent.process = None;
        self.failed = true;
        self.failure = Some(sentence.into());
        let error = ProtocolError::new(ErrorCode::AgentFailed, sentence);
        self.refuse_waiting(&error);
        let opening = std::mem::take(&mut self.opening);
        if self.ledger.turn.is_some() {
            self.end_turn(StopReason::Error, Some(sentence.to_owned()))?;
        } else if !self.is_new {
            let code = Some(ErrorCode::AgentFailed);
            self.ledger.push(Event::AgentError { error: sentence.to_owned(), recoverable: true, phase: None, code })?;
        }
        if self.is_new && self.queue.is_empty() && !opening.is_empty() {
            self.deleted = true;
            let (journal, session) = (self.shared.journal.clone(), self.row.key.session);
            let (data_dir, id) = (self.shared.options.data_dir.clone(), self.row.id.clone());
            tokio::spawn(async move {
                match journal.delete(session).await {
                    Ok(()) => crate::agent::forget_lease(&data_dir, &id),
                    Err(error) => tracing::warn!(%error, "a session whose agent did not start stays in the journal"),
                }
                for (answer, _) in opening {
                    refuse(answer, ProtocolError::new(error.code, error.message.clone()));
                }
            });
            return Ok(());
        }
        for (answer, _) in opening {
            refuse(answer, error.clone());
        }
        if let State::Stopping(after) = was {
            // Stopping it has succeeded, in a way.
            for then in after {
                self.after_stop(then, ctx).await?;
            }
        }
        Ok(())
    }

    /// Ends the agent: answers its questions, ends its run, then its input; `then` follows when it is gone.
    pub async fn stop_agent(&mut self, then: After, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match &mut self.agent.state {
            State::Stopping(after) => after.push(then),
            State::Asleep => return self.after_stop(then, ctx).await,
            State::Between => {
                // Its actor is between two processes; it is stopped for good.
                self.agent.state = State::Asleep;
                let children = ctx.children().clone();
                let _ = children.stop_child("agent", BETWEEN_PATIENCE).await;
                self.end_turn(StopReason::Aborted, None)?;
                return self.after_stop(then, ctx).await;
            }
            State::Starting | State::Ready => {
                let was_ready = self.agent.is_ready();
                self.agent.state = State::Stopping(vec![then]);
                let gone = ProtocolError::new(ErrorCode::Cancelled, "the agent was stopped before it was ready");
                for (answer, _) in std::mem::take(&mut self.opening) {
                    refuse(answer, gone.clone());
                }
                if was_ready && self.harness.is_working() {
                    let open: Vec<String> = self.ledger.questions.keys().cloned().collect();
                    for request_id in open {
                        let answer = InputAnswer { cancelled: Some(true), ..InputAnswer::default() };
                        let token = self.token();
                        self.harness.command(token, &Command::InputResponse { request_id, answer }, now_ms(), &mut self.outbox);
                    }
                    let token = self.token();
                    self.harness.command(token, &Command::Abort, now_ms(), &mut self.outbox);
                    ctx.tell_after(RUN_END_PATIENCE, SessionMsg::Tick(Tick::StopNow))?;
                    return Box::pin(self.outputs(ctx)).await;
                }
                self.stop_now();
            }
        }
        Ok(())
    }

    /// An abort that the agent does not carry out is carried out on the agent.
    pub fn abort_due(&mut self, token: u64) {
        if (self.aborts.contains_key(&token) || self.cutting.contains(&token)) && self.agent.is_ready() {
            self.agent.state = State::Stopping(Vec::new());
            self.stop_now();
        }
    }

    /// Octo ends the agent at once; its supervisor starts it again, as after a crash.
    pub fn end_agent(&self, cause: String) {
        if let Some(address) = &self.agent.address {
            let _ = address.tell(AgentMsg::End { cause });
        }
    }

    /// The run has ended, or had its time.
    pub fn stop_now(&mut self) {
        if self.agent.is_stopping()
            && let Some(address) = &self.agent.address
        {
            let _ = address.tell(AgentMsg::Stop);
        }
    }

    async fn after_stop(&mut self, then: After, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        match then {
            After::Close(answer) => {
                self.failed = false;
                // What was not handed over waits for the next start, as a person's next prompt brings it.
                self.ledger.push(Event::SessionClosed { reason: None })?;
                if self.ledger.flush().await? {
                    let _ = answer.send(nothing());
                } else {
                    refuse(answer, stopped_all_the_same(self.ledger.why_stalled()));
                }
            }
            After::Restart(answer) => {
                self.opening.push((answer, true));
                self.failed = false;
                if self.agent.is_asleep() {
                    self.start_agent(ctx);
                }
            }
            After::Delete(answer) => match self.shared.journal.delete(self.row.key.session).await {
                Ok(()) => {
                    crate::agent::forget_lease(&self.shared.options.data_dir, &self.row.id);
                    self.deleted = true;
                    let _ = answer.send(nothing());
                }
                Err(error) => refuse(answer, stopped_all_the_same(error)),
            },
            After::Sleep => self.asleep(ctx)?,
            After::Shutdown(answer) => {
                let _ = self.ledger.flush().await?;
                let _ = answer.send(());
            }
        }
        Ok(())
    }

    pub fn shut_down(&mut self, answer: oneshot::Sender<()>, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        // Inputs that wait are for the next runner.
        self.queue.clear();
        let _ = ctx.address().tell(SessionMsg::Tick(Tick::Journal));
        let then = After::Shutdown(answer);
        match &mut self.agent.state {
            State::Stopping(after) => after.push(then),
            State::Starting | State::Ready => {
                self.agent.state = State::Stopping(vec![then]);
                self.stop_now();
            }
            State::Asleep | State::Between => drop(then),
        }
        Ok(())
    }

    /// How long an agent may take for its handshake.
    fn handshake_patience(&self) -> Duration {
        Duration::from_secs(self.shared.options.handshake_secs)
    }

    pub async fn handshake_due(&mut self, incarnation: u64, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if matches!(self.agent.state, State::Starting) && self.agent.is_current(incarnation) {
            if self.ledger.is_stalled() {
                // Its answer cannot be read while the journal takes no writes.
                ctx.tell_after(self.handshake_patience(), SessionMsg::Tick(Tick::Handshake { incarnation }))?;
                return Ok(());
            }
            let patience = self.handshake_patience();
            // Nor could it until a moment ago.
            if let Some(left) = self.heard_again.and_then(|at| patience.checked_sub(at.elapsed())).filter(|left| !left.is_zero()) {
                ctx.tell_after(left, SessionMsg::Tick(Tick::Handshake { incarnation }))?;
                return Ok(());
            }
            if let Some(address) = &self.agent.address {
                let _ = address.tell(AgentMsg::Stop);
            }
            let sentence = format!("the agent did not answer its handshake within {} s", patience.as_secs());
            return self.not_started(&sentence, ctx).await;
        }
        Ok(())
    }
}

/// What followed the end of the agent could not be written.
fn stopped_all_the_same(error: JournalError) -> ProtocolError {
    let error = ProtocolError::from(error);
    ProtocolError::new(error.code, format!("the agent was stopped, but {error}"))
}

fn is_sleep(after: &[After]) -> bool {
    !after.is_empty() && after.iter().all(|then| matches!(then, After::Sleep))
}

fn how(report: &ExitReport) -> String {
    if let Some(cause) = &report.cause {
        return cause.clone();
    }
    let how = match (report.signal, report.code) {
        (Some(signal), _) => format!("the agent was ended by signal {signal}"),
        (None, Some(code)) => format!("the agent ended with exit code {code}"),
        (None, None) => "the agent ended".to_owned(),
    };
    let said: Vec<&str> = report.stderr_tail.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    if said.is_empty() || report.expected {
        return how;
    }
    let last = said.get(said.len().saturating_sub(3)..).unwrap_or_default().join(" / ");
    format!("{how}: {}", last.chars().take(500).collect::<String>())
}
