//! A running sandbox as its launcher holds it.

use std::{fmt, sync::Arc, time::Duration};

use nix::unistd::Pid;
use tokio::{net::unix::pipe, process::Child};

use crate::{
    error::LaunchError,
    handover::Inherited,
    lifeline::{Incoming, Lifeline, Reports},
    message::Report,
    spec::{Excess, Signal},
};

/// The program's standard input. Dropping it is end of file.
pub type AgentWriter = pipe::Sender;
/// The program's standard output or error. It ends when the program and all it left behind are gone, or earlier if
/// they close it.
pub type AgentReader = pipe::Receiver;

/// How long the outermost process may take to end after its line has.
const END_PATIENCE: Duration = Duration::from_secs(1);
/// How much of what bubblewrap complains about is kept.
const MAX_COMPLAINT: usize = 4096;

/// A program in its sandbox. Dropping it ends the whole tree.
#[derive(Debug)]
pub struct Sandboxed {
    /// With [`Stdio::Piped`](crate::Stdio::Piped): the program's input. Take it out to own it.
    pub stdin: Option<AgentWriter>,
    /// With [`Stdio::Piped`](crate::Stdio::Piped): the program's output.
    pub stdout: Option<AgentReader>,
    /// With [`Stdio::Piped`](crate::Stdio::Piped): the program's errors.
    pub stderr: Option<AgentReader>,
    pub(crate) program: std::path::PathBuf,
    pub(crate) line: Arc<Lifeline>,
    pub(crate) reports: Reports,
    pub(crate) child: Outermost,
    pub(crate) progress: Progress,
    complaint: String,
    candidate: Option<i32>,
    pub(crate) exit: Option<Exit>,
}

/// The outermost process of a sandbox, a child of this one.
#[derive(Debug)]
pub(crate) enum Outermost {
    Spawned(Child),
    /// It was started by the program that this process was before.
    Inherited(Inherited),
}

impl Outermost {
    /// Waits for its end, and reaps it. Cancel-safe, may be called again.
    async fn wait(&mut self) -> std::io::Result<()> {
        match self {
            Self::Spawned(child) => child.wait().await.map(|_| ()),
            Self::Inherited(child) => child.wait().await,
        }
    }

    /// Its number, unless it has ended.
    pub fn living(&mut self) -> Option<i32> {
        match self {
            Self::Spawned(child) => match child.try_wait() {
                Ok(None) => child.id().and_then(|pid| i32::try_from(pid).ok()),
                _ => None,
            },
            Self::Inherited(child) => child.living(),
        }
    }
}

#[derive(Debug)]
pub(crate) enum Progress {
    Pending,
    Running(Started),
    Refused(String),
    ExecFailed(String),
    /// The line ended before anything was reported.
    Silent,
}

/// The program is being executed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Started {
    /// The program's process id as the caller sees it.
    pub agent_pid: Pid,
    /// The loopback port of the relay inside the sandbox, when one was asked for.
    pub relay_port: Option<u16>,
}

/// How the program ended. The whole tree is gone when this is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It returned this code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// The tree was ended from outside ([`Sandboxed::kill_tree`], or somebody killed the sandbox itself) first.
    TreeKilled,
    /// It used more than it may, and was ended with its tree.
    Exceeded(Excess),
    /// It never ran; [`Sandboxed::started`] says the same as an error.
    NotStarted {
        /// Why.
        reason: String,
    },
}

impl Exit {
    /// Returned 0.
    pub fn success(&self) -> bool {
        *self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with code {code}"),
            Self::Signal(signal) => match nix::sys::signal::Signal::try_from(*signal) {
                Ok(known) => write!(f, "was ended by {known}"),
                Err(_) => write!(f, "was ended by signal {signal}"),
            },
            Self::TreeKilled => f.write_str("was ended together with its sandbox"),
            Self::Exceeded(excess) => excess.fmt(f),
            Self::NotStarted { reason } => write!(f, "was not started: {reason}"),
        }
    }
}

/// A cheap handle to signal or end a sandbox while somebody else waits for it. It does not keep the sandbox alive.
#[derive(Debug, Clone)]
pub struct Controller {
    line: Arc<Lifeline>,
}

impl Controller {
    /// Sends a signal to the program itself. False when it could no longer be handed over.
    pub fn signal(&self, signal: Signal) -> bool {
        self.line.signal(signal)
    }

    /// Ends everything in the sandbox at once, whatever it does with signals. Idempotent, returns before it is done;
    /// [`Sandboxed::wait`] tells when.
    pub fn kill_tree(&self) {
        self.line.cut();
    }

    /// The program's process id as the caller sees it; none before [`Sandboxed::started`] and after its end.
    pub fn agent_pid(&self) -> Option<Pid> {
        self.line.agent().map(Pid::from_raw)
    }

    /// What the tree uses nearly too much of, as was heard last; somebody has to be waiting for its end.
    pub fn near(&self) -> Option<Excess> {
        self.line.near()
    }
}

impl Sandboxed {
    pub(crate) fn new(program: std::path::PathBuf, line: Lifeline, child: Outermost) -> Self {
        Self {
            stdin: None,
            stdout: None,
            stderr: None,
            program,
            line: Arc::new(line),
            reports: Reports::default(),
            child,
            progress: Progress::Pending,
            complaint: String::new(),
            candidate: None,
            exit: None,
        }
    }

    /// A handle for signals that can be used while [`wait`](Self::wait) is under way elsewhere.
    pub fn controller(&self) -> Controller {
        Controller { line: Arc::clone(&self.line) }
    }

    /// The program's process id as the caller sees it; none before [`started`](Self::started) and after its end.
    pub fn agent_pid(&self) -> Option<Pid> {
        self.line.agent().map(Pid::from_raw)
    }

    /// Waits until the program is executed (its own code runs next), or tells why that did not happen. May be called
    /// again; cancel-safe.
    pub async fn started(&mut self) -> Result<Started, LaunchError> {
        while matches!(self.progress, Progress::Pending) {
            let incoming = self.line.next(&mut self.reports).await;
            self.take(incoming);
        }
        match &self.progress {
            Progress::Running(started) => Ok(*started),
            Progress::Refused(reason) => Err(LaunchError::Refused { reason: reason.clone() }),
            Progress::ExecFailed(reason) => Err(LaunchError::ExecFailed { program: self.program.clone(), reason: reason.clone() }),
            Progress::Pending | Progress::Silent => {
                let mut detail = self.why_silent();
                // Its line has ended, so it has, or is about to.
                if self.complaint.is_empty()
                    && let Outermost::Spawned(child) = &mut self.child
                    && let Ok(Ok(status)) = tokio::time::timeout(END_PATIENCE, child.wait()).await
                {
                    detail = format!("{detail} ({status})");
                }
                Err(LaunchError::Setup { detail })
            }
        }
    }

    /// Sends a signal to the program itself. False when it could no longer be handed over.
    pub fn signal(&self, signal: Signal) -> bool {
        self.line.signal(signal)
    }

    /// Ends everything in the sandbox at once, whatever it does with signals. Idempotent, returns before it is done;
    /// [`wait`](Self::wait) tells when.
    pub fn kill_tree(&mut self) {
        self.line.cut();
    }

    /// Waits for the end of the program and of everything it left behind. May be called again; cancel-safe.
    pub async fn wait(&mut self) -> Exit {
        let mut reaped = None;
        loop {
            tokio::select! {
                biased;
                incoming = self.line.next(&mut self.reports) => {
                    let end = matches!(incoming, Incoming::End);
                    self.take(incoming);
                    if end {
                        break;
                    }
                }
                status = self.child.wait(), if reaped.is_none() => {
                    reaped = Some(status);
                    // Ordinarily the line has ended too. If only the outermost process was killed, the rest follows it.
                    self.line.cut();
                }
            }
        }
        let status = match reaped {
            Some(status) => status,
            None => self.child.wait().await,
        };
        self.line.set_agent(None);
        if let Some(exit) = &self.exit {
            return exit.clone();
        }
        let exit = match &self.progress {
            Progress::Running(_) => Exit::TreeKilled,
            _ if self.line.is_cut() && status.is_ok() && self.complaint.is_empty() => Exit::TreeKilled,
            Progress::Refused(reason) | Progress::ExecFailed(reason) => Exit::NotStarted { reason: reason.clone() },
            Progress::Pending | Progress::Silent => Exit::NotStarted { reason: self.why_silent() },
        };
        self.exit = Some(exit.clone());
        exit
    }

    fn why_silent(&self) -> String {
        if !self.complaint.is_empty() {
            self.complaint.clone()
        } else if self.line.is_cut() {
            "it was ended before the program ran".to_owned()
        } else {
            "it ended before the program ran and did not say why".to_owned()
        }
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Report(report, sender) => self.take_report(report, sender),
            Incoming::Text(text) => {
                if self.complaint.len() + text.len() < MAX_COMPLAINT {
                    if !self.complaint.is_empty() {
                        self.complaint.push_str("; ");
                    }
                    self.complaint.push_str(&text);
                }
            }
            Incoming::End => {
                if matches!(self.progress, Progress::Pending) {
                    self.progress = Progress::Silent;
                }
            }
        }
    }

    fn take_report(&mut self, report: Report, sender: Option<i32>) {
        match report {
            Report::Refused { reason } => self.progress = Progress::Refused(reason),
            Report::Here => self.candidate = sender,
            Report::Started { pid, relay_port } => {
                // Without a namespace (or a kernel that names senders) the pid inside is the pid outside.
                let agent = self.candidate.unwrap_or(pid);
                self.line.set_agent(Some(agent));
                self.progress = Progress::Running(Started { agent_pid: Pid::from_raw(agent), relay_port });
            }
            Report::ExecFailed { reason } => self.progress = Progress::ExecFailed(reason),
            Report::Exited { code } => self.end(Exit::Code(code)),
            Report::Signaled { signal } => self.end(Exit::Signal(signal)),
            Report::Near { excess } => self.line.set_near(excess),
            Report::Exceeded { excess } => self.end(Exit::Exceeded(excess)),
        }
    }

    fn end(&mut self, exit: Exit) {
        self.line.set_agent(None);
        self.exit = Some(exit);
    }
}

impl Drop for Sandboxed {
    fn drop(&mut self) {
        // A controller may still hold the socket, so closing alone would not do.
        self.line.cut();
    }
}
