//! The actor that owns one agent's process.

use super::host::{Control, Running};
use super::{News, Plan};
use crate::kill_point::{self, Point};
use crate::session::{SessionAddress, SessionMsg, deliver};
use crate::shared::Shared;
use bytes::{Bytes, BytesMut};
use octo_actors::{Actor, Ctx, Failure};
use octo_harness::ExitReport;
use octo_sandbox::Exit;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

/// Bytes of stdout that are handed to the session at once.
const CHUNK: usize = 64 * 1024;
/// What is kept of stderr.
const STDERR_TAIL: usize = 64 * 1024;
/// Writes that may wait for an agent that does not read.
const STDIN_QUEUE: usize = 256;
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
    controller: Option<Arc<dyn Control>>,
    stop: watch::Sender<bool>,
    /// Why octo ended it.
    cause: Option<String>,
    stderr: Arc<Mutex<VecDeque<u8>>>,
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
        let plan = start.plan.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let running = match start.shared.host.start(plan, Arc::clone(&start.shared)).await {
            Ok(running) => running,
            // Another try would fail as well: it is the session that hears of it, not the supervisor.
            Err(error) => {
                deliver(&agent.session, || SessionMsg::Agent(News::NotStarted { incarnation, error: error.to_string() })).await;
                ctx.stop();
                return Ok(agent);
            }
        };
        agent.pid = Some(running.pid);
        agent.controller = Some(Arc::clone(&running.control));
        agent.attend(running, ctx).await?;
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
    async fn attend(&self, running: Running, ctx: &Ctx<AgentMsg>) -> Result<(), Failure> {
        let Running { pid, stdin, stdout, stderr, control, exit } = running;
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
        ctx.spawn_quiet(stop_sequence(self.stop.subscribe(), control))?;
        ctx.spawn_task(async move {
            let exit = exit.await;
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
async fn pump(mut stdout: impl AsyncRead + Unpin, session: &SessionAddress, incarnation: u64) {
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

async fn drain(mut stderr: impl AsyncRead + Unpin, tail: &Mutex<VecDeque<u8>>) {
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
async fn write_all(mut stdin: impl AsyncWrite + Unpin, mut writes: mpsc::Receiver<Bytes>, mut stop: watch::Receiver<bool>) {
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

async fn stop_sequence(mut stop: watch::Receiver<bool>, control: Arc<dyn Control>) {
    if stop.wait_for(|stop| *stop).await.is_err() {
        return;
    }
    tokio::time::sleep(EOF_PATIENCE).await;
    control.terminate();
    tokio::time::sleep(STOP_PATIENCE).await;
    control.kill_tree();
}
