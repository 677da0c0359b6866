//! The actor that owns one agent's process.

use super::lease::{Lease, LeaseError};
use super::{News, Plan, PlanError};
use crate::kill_point::{self, Point};
use crate::session::{SessionAddress, SessionMsg, deliver};
use crate::shared::Shared;
use bytes::{Bytes, BytesMut};
use octo_actors::{Actor, Ctx, Failure};
use octo_harness::ExitReport;
use octo_sandbox::{AgentReader, AgentWriter, Controller, Exit, Isolation, LaunchError, Sandboxed, Signal};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

/// Bytes of stdout that are handed to the session at once.
const CHUNK: usize = 64 * 1024;
/// What is kept of stderr.
const STDERR_TAIL: usize = 64 * 1024;
/// Writes that may wait for an agent that does not read.
const STDIN_QUEUE: usize = 256;
/// How long the sandbox may take until the agent's own code runs.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long an agent may take to end after the end of its input.
const EOF_PATIENCE: Duration = Duration::from_secs(2);
/// How long an agent may take to end after SIGTERM.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What an agent's start needs.
pub struct AgentStart {
    pub shared: Arc<Shared>,
    pub session: SessionAddress,
    /// Kept up to date by the session, so that a restart resumes where the conversation is.
    pub plan: Arc<Mutex<Plan>>,
    /// Counts processes of the session.
    pub counter: Arc<AtomicU64>,
    /// Set by the session when the agent took its handshake. One that never did is not started again: it would fail again.
    pub was_ready: Arc<AtomicBool>,
}

/// What it is told.
pub enum AgentMsg {
    /// End it: end of input, then SIGTERM, then the whole tree.
    Stop,
    /// End it at once, because of this: a whole sentence. It is started again as after a crash.
    End { cause: String },
    #[doc(hidden)]
    Ended(Exit),
}

/// One process of an agent.
pub struct AgentProcess {
    session: SessionAddress,
    was_ready: Arc<AtomicBool>,
    incarnation: u64,
    pid: Option<u32>,
    controller: Option<Controller>,
    stop: watch::Sender<bool>,
    /// Why octo ended it.
    cause: Option<String>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
}

#[derive(Debug, thiserror::Error)]
enum SpawnError {
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Lease(#[from] LeaseError),
    #[error("the agent's sandbox was not ready within {START_PATIENCE:?}")]
    Slow,
    #[error("the agent has no pipes")]
    NoPipes,
}

struct Spawned {
    sandboxed: Sandboxed,
    pid: u32,
    stdin: AgentWriter,
    stdout: AgentReader,
    stderr: AgentReader,
}

async fn spawn(start: &AgentStart) -> Result<Spawned, SpawnError> {
    let plan = start.plan.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let shared = Arc::clone(&start.shared);
    let (lease, note) = Lease::take(&shared.options.data_dir, &plan.session).await?.into_descriptor();
    let spec = tokio::task::spawn_blocking(move || {
        let info = shared.launcher.check()?;
        let bare = matches!(info.isolation, Isolation::None { .. });
        Ok::<_, SpawnError>(plan.launch(&shared.options, &shared.finder, bare)?)
    });
    let mut spec = spec.await.map_err(|_| SpawnError::Slow)??;
    spec.lease = Some(lease);
    let mut sandboxed = start.shared.launcher.spawn(spec).await?;
    let started = tokio::time::timeout(START_PATIENCE, sandboxed.started()).await.map_err(|_| SpawnError::Slow)??;
    let pid = u32::try_from(started.agent_pid.as_raw()).unwrap_or_default();
    note.agent(pid);
    match (sandboxed.stdin.take(), sandboxed.stdout.take(), sandboxed.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Spawned { sandboxed, pid, stdin, stdout, stderr }),
        _ => Err(SpawnError::NoPipes),
    }
}

impl Actor for AgentProcess {
    type Msg = AgentMsg;
    type Args = AgentStart;

    async fn start(start: AgentStart, ctx: &Ctx<AgentMsg>) -> Result<Self, Failure> {
        let incarnation = start.counter.fetch_add(1, Relaxed) + 1;
        let mut agent = Self {
            session: start.session.clone(),
            was_ready: Arc::clone(&start.was_ready),
            incarnation,
            pid: None,
            controller: None,
            stop: watch::Sender::new(false),
            cause: None,
            stderr: Arc::default(),
        };
        let spawned = match spawn(&start).await {
            Ok(spawned) => spawned,
            // Another try would fail as well: it is the session that hears of it, not the supervisor.
            Err(error) => {
                deliver(&agent.session, || SessionMsg::Agent(News::NotStarted { incarnation, error: error.to_string() })).await;
                ctx.stop();
                return Ok(agent);
            }
        };
        agent.pid = Some(spawned.pid);
        agent.controller = Some(spawned.sandboxed.controller());
        agent.attend(spawned, ctx).await?;
        Ok(agent)
    }

    async fn handle(&mut self, message: AgentMsg, ctx: &Ctx<AgentMsg>) -> Result<(), Failure> {
        match message {
            AgentMsg::Stop => {
                self.stop.send_replace(true);
                if self.controller.is_none() {
                    ctx.stop();
                }
                Ok(())
            }
            AgentMsg::End { cause } => {
                if let Some(controller) = &self.controller {
                    self.cause = Some(cause);
                    controller.kill_tree();
                }
                Ok(())
            }
            AgentMsg::Ended(exit) => {
                let expected = *self.stop.borrow();
                let again = !expected && self.was_ready.load(Relaxed);
                self.controller = None;
                let report = self.report(&exit, expected);
                let incarnation = self.incarnation;
                deliver(&self.session, || SessionMsg::Agent(News::Gone { incarnation, report: report.clone(), again })).await;
                if again {
                    return Err(format!("the agent {exit}").into());
                }
                ctx.stop();
                Ok(())
            }
        }
    }

    fn inspect(&self) -> Value {
        json!({ "pid": self.pid, "incarnation": self.incarnation, "stopping": *self.stop.borrow(), "stderr_bytes": self.stderr().len() })
    }

    fn name_of(message: &AgentMsg) -> &'static str {
        match message {
            AgentMsg::Stop => "stop",
            AgentMsg::End { .. } => "end",
            AgentMsg::Ended(_) => "ended",
        }
    }
}

impl AgentProcess {
    async fn attend(&self, spawned: Spawned, ctx: &Ctx<AgentMsg>) -> Result<(), Failure> {
        let Spawned { mut sandboxed, pid, stdin, stdout, stderr } = spawned;
        let (incarnation, session) = (self.incarnation, self.session.clone());
        let (queue, writes) = mpsc::channel(STDIN_QUEUE);
        deliver(&session, || SessionMsg::Agent(News::Up { incarnation, pid, stdin: queue.clone() })).await;
        drop(queue);
        let (read_all, all_read) = oneshot::channel();
        ctx.spawn_quiet(async move {
            pump(stdout, &session, incarnation).await;
            let _ = read_all.send(());
        })?;
        let tail = Arc::clone(&self.stderr);
        let (drained, all_drained) = oneshot::channel();
        ctx.spawn_quiet(async move {
            drain(stderr, &tail).await;
            let _ = drained.send(());
        })?;
        ctx.spawn_quiet(write_all(stdin, writes, self.stop.subscribe()))?;
        ctx.spawn_quiet(stop_sequence(self.stop.subscribe(), sandboxed.controller()))?;
        ctx.spawn_task(async move {
            let exit = sandboxed.wait().await;
            // What was written before the end is heard before the end.
            let _ = all_read.await;
            let _ = all_drained.await;
            AgentMsg::Ended(exit)
        })?;
        Ok(())
    }

    fn stderr(&self) -> std::sync::MutexGuard<'_, VecDeque<u8>> {
        self.stderr.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn report(&self, exit: &Exit, expected: bool) -> ExitReport {
        let mut tail = self.stderr();
        let mut report = ExitReport {
            stderr_tail: String::from_utf8_lossy(tail.make_contiguous()).into_owned(),
            expected,
            cause: self.cause.clone(),
            ..ExitReport::default()
        };
        match exit {
            Exit::Code(code) => report.code = Some(*code),
            Exit::Signal(signal) => report.signal = Some(*signal),
            Exit::TreeKilled => report.signal = Some(nix::libc::SIGKILL),
            Exit::Exceeded(excess) => report.cause = Some(format!("the agent {excess}")),
            Exit::NotStarted { reason } => report.stderr_tail.push_str(reason),
        }
        report
    }
}

/// One chunk at a time: the next is read when the session has the events of this one in the journal.
async fn pump(mut stdout: AgentReader, session: &SessionAddress, incarnation: u64) {
    let mut buffer = BytesMut::new();
    loop {
        buffer.reserve(CHUNK);
        match stdout.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let bytes = buffer.split().freeze();
        let mut taken = None;
        let delivered = deliver(session, || {
            let (done, wait) = oneshot::channel();
            taken = Some(wait);
            SessionMsg::Stdout { incarnation, bytes: bytes.clone(), done }
        });
        if !delivered.await {
            return;
        }
        if let Some(wait) = taken {
            let _ = wait.await;
        }
    }
}

async fn drain(mut stderr: AgentReader, tail: &Mutex<VecDeque<u8>>) {
    let mut buffer = vec![0u8; 8192];
    loop {
        match stderr.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.extend(buffer.get(..read).unwrap_or_default());
                let surplus = tail.len().saturating_sub(STDERR_TAIL);
                tail.drain(..surplus);
            }
        }
    }
}

/// Writes until the session lets go of the queue, or the agent shall end: then the pipe is closed, which is the end of its input.
async fn write_all(mut stdin: AgentWriter, mut writes: mpsc::Receiver<Bytes>, mut stop: watch::Receiver<bool>) {
    loop {
        let bytes = tokio::select! {
            biased;
            bytes = writes.recv() => bytes,
            _ = stop.wait_for(|stop| *stop) => return,
        };
        let Some(bytes) = bytes else { return };
        let written = tokio::select! {
            written = stdin.write_all(&bytes) => {
                kill_point::reached(Point::Sent);
                written.is_ok()
            }
            () = async { let _ = stop.wait_for(|stop| *stop).await; tokio::time::sleep(EOF_PATIENCE).await } => false,
        };
        if !written {
            return;
        }
    }
}

async fn stop_sequence(mut stop: watch::Receiver<bool>, controller: Controller) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        return;
    }
    tokio::time::sleep(EOF_PATIENCE).await;
    controller.signal(Signal::Terminate);
    tokio::time::sleep(STOP_PATIENCE).await;
    controller.kill_tree();
}
