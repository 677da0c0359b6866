//! Sleep: an agent that nobody needs is ended and started again by whoever needs it next; a session without an agent that nobody looks at needs no
//! actor either.
//!
//! Idle means: no turn, no question, no input that waits, no command without its answer, and no process beside the agent in its sandbox. Who watches
//! does not count. What comes while the agent falls asleep waits for the next one, and nobody hears of an error.

use super::actor::Session;
use super::lifecycle::After;
use super::{Answer, SessionMsg};
use crate::agent::companions;
use octo_actors::{Ctx, Failure};
use octo_protocol::Command;
use octo_protocol::event::{Event, ProcessInfo};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Since when a session has rest.
pub struct Repose {
    /// When something was last going on.
    busy: Instant,
    was_busy: bool,
    /// When somebody last wanted something.
    wanted: Instant,
    /// Held by answers that are being worked on.
    answers: Arc<()>,
    leaves: bool,
}

impl Repose {
    pub fn new() -> Self {
        let now = Instant::now();
        Self { busy: now, was_busy: false, wanted: now, answers: Arc::default(), leaves: false }
    }

    /// Somebody wants something.
    pub fn wanted(&mut self) {
        self.wanted = Instant::now();
    }

    /// After every message: whether something is going on. Its end counts too, however long ago the message before was.
    pub fn note(&mut self, busy: bool) {
        if busy || self.was_busy {
            self.busy = Instant::now();
        }
        self.was_busy = busy;
    }

    /// For how long nothing has been going on.
    pub fn idle_for(&self) -> Duration {
        self.busy.elapsed()
    }

    /// An answer is being worked on until this is dropped.
    pub fn hold(&self) -> Arc<()> {
        Arc::clone(&self.answers)
    }

    /// The actor goes.
    pub fn leaves(&self) -> bool {
        self.leaves
    }
}

impl Session {
    /// Whether something is going on, or somebody waits.
    pub fn is_busy(&self) -> bool {
        let ledger = &self.ledger;
        let open = ledger.turn.is_some() || !ledger.messages.is_empty() || !ledger.tools.is_empty() || !ledger.questions.is_empty();
        let inputs = !self.queue.is_empty() || !self.handed.is_empty();
        let answers = !self.replies.is_empty() || !self.aborts.is_empty() || !self.held.is_empty() || !self.opening.is_empty();
        let answers = answers || !self.withdrawals.is_empty();
        let agent = self.agent.is_starting() || (self.agent.is_stopping() && !self.agent.is_falling_asleep()) || self.harness.is_working();
        open || inputs || answers || agent || ledger.is_stalled()
    }

    /// It is time to look whether this session may sleep.
    pub async fn idle(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let Some(after) = self.shared.options.idle_after_secs.map(Duration::from_secs) else { return Ok(()) };
        if self.is_busy() || self.repose.idle_for() < after {
            return Ok(());
        }
        if self.agent.is_ready() {
            // What the agent left running ends with its sandbox: it is work, and goes on.
            if self.agent.pid().is_some_and(|pid| companions(pid) > 0) {
                return Ok(());
            }
            tracing::info!(session = self.row.id, idle_s = self.repose.idle_for().as_secs(), "the agent falls asleep");
            return self.stop_agent(After::Sleep, ctx).await;
        }
        let unwatched =
            self.entry.subscribers() == 0 && self.repose.wanted.elapsed() >= after && Arc::strong_count(&self.repose.answers) == 1;
        if self.agent.is_asleep() && unwatched {
            self.repose.leaves = self.entry.let_go(ctx.address());
        }
        Ok(())
    }

    /// The agent has gone to sleep. Whoever came meanwhile wakes it: inputs do when they are handed over, commands here.
    pub fn asleep(&mut self, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if self.entry.subscribers() > 0 {
            self.ledger.push(Event::SessionHeartbeat { process: ProcessInfo::default(), head: Some(self.ledger.head()) })?;
        }
        if !self.held.is_empty() {
            self.start_agent(ctx);
        }
        Ok(())
    }

    /// Whether the agent is started for this command. It sleeps, and was neither closed nor has it failed; and nobody else can answer.
    pub fn wakes(&self, command: &Command) -> bool {
        let needs_agent = !matches!(
            command,
            Command::SetModel { .. }
                | Command::SetThinkingLevel { .. }
                | Command::GetCommands
                | Command::InputResponse { .. }
                | Command::AbortRetry
        );
        let sleeps = self.agent.is_falling_asleep() || self.agent.is_asleep();
        needs_agent && sleeps && !self.failed && !self.closed
    }

    /// Starts the agent for a command that waits until it is ready.
    pub fn wake_for(&mut self, command: Command, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        self.hold(command, answer);
        if self.agent.is_asleep() && !self.held.is_empty() {
            self.start_agent(ctx);
        }
        Ok(())
    }
}
