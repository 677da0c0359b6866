//! The actor that owns one agent's process.

use super::held::{Hold, Placed};
use super::host::{Control, Pipe, Running, Tree};
use super::rest::Member;
use super::{News, Plan};
use crate::figures::{Figures, RunningAgent};
use crate::kill_point::{self, Point};
use crate::session::{SessionAddress, SessionMsg, deliver};
use crate::shared::Shared;
use bytes::{Buf, Bytes, BytesMut};
use octo_actors::{Actor, Ctx, Failure, monotonic_ns};
use octo_harness::ExitReport;
use octo_sandbox::Exit;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot, watch};

/// Bytes of stdout that are handed to the session at once.
const CHUNK: usize = 64 * 1024;
/// Bytes that are asked for of an agent that says little, as idle ones do.
const LITTLE: usize = 4 * 1024;
/// What is kept of stderr.
const STDERR_TAIL: usize = 64 * 1024;
/// Writes that may wait for an agent that does not read.
pub const STDIN_QUEUE: usize = 256;
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
    /// A process that is there already, for the first incarnation.
    pub adopted: Arc<Mutex<Option<Placed>>>,
}

/// What it is told.
pub enum AgentMsg {
    /// End it: end of input, then SIGTERM, then the whole tree.
    Stop,
    /// End it at once, because of this: a whole sentence. It is started again as after a crash.
    End { cause: String },
    /// How its tasks are brought to rest; nothing while it has no process, or ends it.
    Hold { answer: oneshot::Sender<Hold> },
    /// Takes a new look at itself.
    Look,
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
    hold: Hold,
    /// How many want to know when its output is read.
    watching: Arc<AtomicUsize>,
    figures: Arc<Figures>,
    /// While it runs.
    counted: Option<RunningAgent>,
}

type Reader = Pipe<dyn AsyncRead + Send + Unpin>;
type Writer = Pipe<dyn AsyncWrite + Send + Unpin>;

/// Its standard descriptors, those that are still open, and what waits at two of them.
pub(super) struct Pipes {
    pub stdin: Option<Writer>,
    pub stdout: Option<Reader>,
    pub stderr: Option<Reader>,
    pub unwritten: VecDeque<Bytes>,
    pub stderr_tail: VecDeque<u8>,
}

/// What its tasks attend to.
struct Attended {
    pid: u32,
    pipes: Pipes,
    control: Arc<dyn Control>,
    tree: Tree,
}

impl From<Running> for Attended {
    fn from(running: Running) -> Self {
        let Running { pid, stdin, stdout, stderr, control, tree } = running;
        let (stdin, stdout, stderr) = (Some(stdin), Some(stdout), Some(stderr));
        let pipes = Pipes { stdin, stdout, stderr, unwritten: VecDeque::new(), stderr_tail: VecDeque::new() };
        Self { pid, pipes, control, tree }
    }
}

impl Actor for AgentProcess {
    type Msg = AgentMsg;
    type Args = AgentStart;

    async fn start(start: AgentStart, ctx: &Ctx<AgentMsg>) -> Result<Self, Failure> {
        let mut agent = Self {
            session: start.session.clone(),
            was_ready: Arc::clone(&start.was_ready),
            incarnation: 0,
            pid: None,
            controller: None,
            stop: watch::Sender::new(false),
            cause: None,
            hold: Hold::default(),
            watching: Arc::clone(&start.shared.watching),
            figures: Arc::clone(&start.shared.figures),
            counted: None,
        };
        let placed = start.adopted.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(placed) = placed {
            agent.adopt(placed, ctx).await?;
            return Ok(agent);
        }
        let incarnation = start.counter.fetch_add(1, Relaxed) + 1;
        agent.incarnation = incarnation;
        let plan = start.plan.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let running = match start.shared.host.start(plan, Arc::clone(&start.shared)).await {
            Ok(running) => running,
            // Another try would fail as well: it is the session that hears of it, not the supervisor.
            Err(error) => {
                agent.figures.agent_not_started();
                deliver(&agent.session, || SessionMsg::Agent(News::NotStarted { incarnation, error: error.to_string() })).await;
                ctx.stop();
                return Ok(agent);
            }
        };
        agent.counted = Some(agent.figures.agent_started());
        let (queue, writes) = mpsc::channel(STDIN_QUEUE);
        let pid = running.pid;
        deliver(&agent.session, || SessionMsg::Agent(News::Up { incarnation, pid, stdin: queue.clone() })).await;
        drop(queue);
        agent.attend(running.into(), writes, ctx)?;
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
            AgentMsg::Look => Ok(()),
            AgentMsg::Hold { answer } => {
                if self.controller.is_some() && !*self.stop.borrow() {
                    let _ = answer.send(self.hold.clone());
                }
                Ok(())
            }
            AgentMsg::Ended(exit) => {
                let expected = *self.stop.borrow();
                let again = !expected && self.was_ready.load(Relaxed);
                self.controller = None;
                self.counted = None;
                self.figures.agent_ended(&exit, expected);
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

    fn trouble(&self) -> Option<String> {
        let excess = self.controller.as_ref()?.near()?;
        Some(format!("{}; beyond its limit its whole tree is ended. `octoctl session stop` ends it in good order", excess.nearly()))
    }

    fn name_of(message: &AgentMsg) -> &'static str {
        match message {
            AgentMsg::Stop => "stop",
            AgentMsg::End { .. } => "end",
            AgentMsg::Hold { .. } => "hold",
            AgentMsg::Look => "look",
            AgentMsg::Ended(_) => "ended",
        }
    }
}

impl AgentProcess {
    /// Goes on with a process that was handed over. The session knows of it.
    async fn adopt(&mut self, placed: Placed, ctx: &Ctx<AgentMsg>) -> Result<(), Failure> {
        let Placed { adopted, incarnation, writes } = placed;
        self.incarnation = incarnation;
        let pid = u32::try_from(adopted.sandbox.agent).unwrap_or_default();
        match adopted.hold() {
            Ok((sandboxed, pipes)) => {
                self.counted = Some(self.figures.agent_adopted());
                let control = Arc::new(sandboxed.controller());
                self.attend(Attended { pid, pipes, control, tree: Tree::Sandboxed(Box::new(sandboxed)) }, writes, ctx)
            }
            Err(error) => {
                let stderr_tail = format!("it could not be taken over by the upgraded runner: {error}");
                let report = ExitReport { stderr_tail, ..ExitReport::default() };
                deliver(&self.session, || SessionMsg::Agent(News::Gone { incarnation, report: report.clone(), again: false })).await;
                ctx.stop();
                Ok(())
            }
        }
    }

    fn attend(&mut self, attended: Attended, writes: mpsc::Receiver<Bytes>, ctx: &Ctx<AgentMsg>) -> Result<(), Failure> {
        let Attended { pid, pipes, control, mut tree } = attended;
        self.pid = Some(pid);
        self.controller = Some(Arc::clone(&control));
        let (incarnation, session) = (self.incarnation, self.session.clone());
        let (read_all, all_read) = oneshot::channel();
        let (hold, mut member, watching) = (self.hold.clone(), self.hold.output.member(), Arc::clone(&self.watching));
        ctx.spawn_quiet(async move {
            if let Some(stdout) = pipes.stdout {
                pump(stdout, &session, incarnation, &hold, &mut member, &watching).await;
            }
            let _ = read_all.send(());
        })?;
        self.stderr().extend(pipes.stderr_tail);
        let (drained, all_drained) = oneshot::channel();
        let (hold, mut member) = (self.hold.clone(), self.hold.others.member());
        ctx.spawn_quiet(async move {
            if let Some(stderr) = pipes.stderr {
                drain(stderr, &hold, &mut member).await;
            }
            let _ = drained.send(());
        })?;
        if let Some(stdin) = pipes.stdin {
            let input = Input { stdin, writes, unwritten: pipes.unwritten };
            ctx.spawn_quiet(write_all(input, self.stop.subscribe(), self.hold.clone(), self.hold.others.member()))?;
        }
        ctx.spawn_quiet(stop_sequence(self.stop.subscribe(), control))?;
        let (hold, mut member) = (self.hold.clone(), self.hold.others.member());
        ctx.spawn_task(async move {
            let exit = loop {
                tokio::select! {
                    biased;
                    () = member.asked() => {
                        let standing = tree.standing();
                        hold.note(|parts| parts.sandbox = standing);
                        member.rest().await;
                        hold.note(|parts| parts.sandbox = None);
                    }
                    exit = tree.exit() => break exit,
                }
            };
            // Whoever waits for it to rest hears that it ends.
            drop(member);
            // What was written before the end is heard before the end.
            let _ = all_read.await;
            let _ = all_drained.await;
            AgentMsg::Ended(exit)
        })?;
        Ok(())
    }

    fn stderr(&self) -> std::sync::MutexGuard<'_, VecDeque<u8>> {
        self.hold.stderr_tail.lock().unwrap_or_else(PoisonError::into_inner)
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
async fn pump(mut stdout: Reader, session: &SessionAddress, incarnation: u64, hold: &Hold, member: &mut Member, watching: &AtomicUsize) {
    let (mut buffer, mut room) = (BytesMut::new(), LITTLE);
    loop {
        if buffer.capacity() > 2 * room {
            // What a flood needed is not kept for the silence after it.
            buffer = BytesMut::new();
        }
        buffer.reserve(room);
        let read = tokio::select! {
            biased;
            () = member.asked() => {
                hold.note(|parts| parts.stdout = stdout.descriptor);
                member.rest().await;
                hold.note(|parts| parts.stdout = None);
                continue;
            }
            read = stdout.end.read_buf(&mut buffer) => read,
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(read) if read >= room => room = (2 * room).min(CHUNK),
            Ok(read) if read < room / 4 => room = (room / 2).max(LITTLE),
            Ok(_) => {}
        }
        let read = (watching.load(Relaxed) > 0).then(monotonic_ns);
        let bytes = buffer.split().freeze();
        let mut taken = None;
        let delivered = deliver(session, || {
            let (done, wait) = oneshot::channel();
            taken = Some(wait);
            SessionMsg::Stdout { incarnation, bytes: bytes.clone(), read, done }
        });
        if !delivered.await {
            return;
        }
        if let Some(wait) = taken {
            let _ = wait.await;
        }
    }
}

async fn drain(mut stderr: Reader, hold: &Hold, member: &mut Member) {
    let mut buffer = vec![0u8; 1024];
    loop {
        let read = tokio::select! {
            biased;
            () = member.asked() => {
                hold.note(|parts| parts.stderr = stderr.descriptor);
                member.rest().await;
                hold.note(|parts| parts.stderr = None);
                continue;
            }
            read = stderr.end.read(&mut buffer) => read,
        };
        match read {
            Ok(0) | Err(_) => return,
            Ok(read) => {
                let mut tail = hold.stderr_tail.lock().unwrap_or_else(PoisonError::into_inner);
                tail.extend(buffer.get(..read).unwrap_or_default());
                let surplus = tail.len().saturating_sub(STDERR_TAIL);
                tail.drain(..surplus);
            }
        }
    }
}

/// An agent's input, what the session gives for it, and what of that is not written.
struct Input {
    stdin: Writer,
    writes: mpsc::Receiver<Bytes>,
    unwritten: VecDeque<Bytes>,
}

impl Input {
    /// Takes over what waits, so that it can be told what is not written.
    fn gather(&mut self) -> (Option<RawFd>, Vec<Bytes>) {
        while let Ok(bytes) = self.writes.try_recv() {
            self.unwritten.push_back(bytes);
        }
        (self.stdin.descriptor, self.unwritten.iter().cloned().collect())
    }
}

/// Writes until the session lets go of the queue, or the agent shall end: then the pipe is closed, which is the end of its input.
async fn write_all(mut input: Input, mut stop: watch::Receiver<bool>, hold: Hold, mut member: Member) {
    let mut end = stop.clone();
    let overdue = async move {
        let _ = end.wait_for(|stop| *stop).await;
        tokio::time::sleep(EOF_PATIENCE).await;
    };
    tokio::pin!(overdue);
    loop {
        let Input { stdin, writes, unwritten } = &mut input;
        let asked = if let Some(bytes) = unwritten.front_mut() {
            tokio::select! {
                biased;
                () = member.asked() => true,
                written = stdin.end.write(bytes) => {
                    match written {
                        Ok(0) | Err(_) => {
                            kill_point::reached(Point::Sent);
                            return;
                        }
                        Ok(written) => bytes.advance(written),
                    }
                    if bytes.is_empty() {
                        unwritten.pop_front();
                        kill_point::reached(Point::Sent);
                    }
                    false
                }
                () = &mut overdue => return,
            }
        } else {
            tokio::select! {
                biased;
                () = member.asked() => true,
                bytes = writes.recv() => {
                    let Some(bytes) = bytes else { return };
                    if !bytes.is_empty() {
                        unwritten.push_back(bytes);
                    }
                    false
                }
                _ = stop.wait_for(|stop| *stop) => return,
            }
        };
        if asked {
            let stands = input.gather();
            hold.note(|parts| (parts.stdin, parts.unwritten) = stands);
            member.rest().await;
            hold.note(|parts| (parts.stdin, parts.unwritten) = (None, Vec::new()));
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
