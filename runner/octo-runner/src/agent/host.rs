//! Where agents' processes come from. In the daemon that is octo-sandbox and nothing else; a simulation hands in agents that are no processes.

use super::lease::{Lease, LeaseError};
use super::{Plan, PlanError};
use crate::shared::Shared;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use octo_sandbox::{AgentReader, AgentWriter, Controller, Excess, Exit, Isolation, LaunchError, Launcher, Sandboxed, Signal, Standing};
use std::os::fd::{AsRawFd, RawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// How long the sandbox may take until the agent's own code runs.
const START_PATIENCE: Duration = Duration::from_secs(30);

/// Starts agents.
pub trait Host: Send + Sync {
    /// Starts the agent of `plan`.
    fn start(&self, plan: Plan, shared: Arc<Shared>) -> BoxFuture<'static, Result<Running, HostError>>;
}

/// Ends an agent while somebody else waits for its end.
pub trait Control: Send + Sync {
    /// SIGTERM, to the agent itself.
    fn terminate(&self);
    /// Ends everything that it ever started. Returns before that is done.
    fn kill_tree(&self);
    /// What it uses nearly too much of.
    fn near(&self) -> Option<Excess> {
        None
    }
}

/// An agent that runs.
pub struct Running {
    pub pid: u32,
    /// Dropping it is the end of the agent's input.
    pub stdin: Pipe<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Pipe<dyn AsyncRead + Send + Unpin>,
    pub stderr: Pipe<dyn AsyncRead + Send + Unpin>,
    pub control: Arc<dyn Control>,
    pub tree: Tree,
}

/// The runner's end of one of an agent's standard descriptors.
pub struct Pipe<T: ?Sized> {
    pub end: Box<T>,
    /// What the next program of the runner gets; an agent that is no process has none.
    pub descriptor: Option<RawFd>,
}

impl<T: ?Sized> Pipe<T> {
    /// One that is no descriptor.
    pub fn without_descriptor(end: Box<T>) -> Self {
        Self { end, descriptor: None }
    }
}

impl From<AgentWriter> for Pipe<dyn AsyncWrite + Send + Unpin> {
    fn from(end: AgentWriter) -> Self {
        let descriptor = Some(end.as_raw_fd());
        Self { end: Box::new(end), descriptor }
    }
}

impl From<AgentReader> for Pipe<dyn AsyncRead + Send + Unpin> {
    fn from(end: AgentReader) -> Self {
        let descriptor = Some(end.as_raw_fd());
        Self { end: Box::new(end), descriptor }
    }
}

/// All that an agent ever started. Dropping it ends that.
pub enum Tree {
    Sandboxed(Box<Sandboxed>),
    /// One that cannot be handed over to another program.
    Embedded(BoxFuture<'static, Exit>),
}

impl Tree {
    /// Waits for its end, and tells how the agent ended; everything is gone then. Cancel-safe, once.
    pub async fn exit(&mut self) -> Exit {
        match self {
            Self::Sandboxed(sandboxed) => sandboxed.wait().await,
            Self::Embedded(exit) => exit.await,
        }
    }

    /// How it stands, for the next program of the runner; `None` when it cannot be handed over now.
    pub fn standing(&mut self) -> Option<Standing> {
        match self {
            Self::Sandboxed(sandboxed) => sandboxed.standing(),
            Self::Embedded(_) => None,
        }
    }
}

/// Why an agent does not run.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
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
    #[error("{0}")]
    Refused(String),
}

impl Host for Launcher {
    fn start(&self, plan: Plan, shared: Arc<Shared>) -> BoxFuture<'static, Result<Running, HostError>> {
        launch(self.clone(), plan, shared).boxed()
    }
}

impl Control for Controller {
    fn terminate(&self) {
        self.signal(Signal::Terminate);
    }

    fn kill_tree(&self) {
        Self::kill_tree(self);
    }

    fn near(&self) -> Option<Excess> {
        Self::near(self)
    }
}

async fn launch(launcher: Launcher, plan: Plan, shared: Arc<Shared>) -> Result<Running, HostError> {
    let (lease, note) = Lease::take(&shared.options.data_dir, &plan.session).await?.into_descriptor();
    let looking = launcher.clone();
    let spec = tokio::task::spawn_blocking(move || {
        let info = looking.check()?;
        let bare = matches!(info.isolation, Isolation::None { .. });
        Ok::<_, HostError>(plan.launch(&shared.options, &shared.finder, bare)?)
    });
    let mut spec = spec.await.map_err(|_| HostError::Slow)??;
    spec.lease = Some(lease);
    let mut sandboxed = launcher.spawn(spec).await?;
    let started = tokio::time::timeout(START_PATIENCE, sandboxed.started()).await.map_err(|_| HostError::Slow)??;
    let pid = u32::try_from(started.agent_pid.as_raw()).unwrap_or_default();
    note.agent(pid);
    match (sandboxed.stdin.take(), sandboxed.stdout.take(), sandboxed.stderr.take()) {
        (Some(stdin), Some(stdout), Some(stderr)) => Ok(Running {
            pid,
            stdin: stdin.into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
            control: Arc::new(sandboxed.controller()),
            tree: Tree::Sandboxed(Box::new(sandboxed)),
        }),
        _ => Err(HostError::NoPipes),
    }
}
