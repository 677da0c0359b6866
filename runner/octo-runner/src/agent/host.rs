//! Where agents' processes come from. In the daemon that is octo-sandbox and nothing else; a simulation hands in agents that are no processes.

use super::lease::{Lease, LeaseError};
use super::{Plan, PlanError};
use crate::shared::Shared;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use octo_sandbox::{Controller, Exit, Isolation, LaunchError, Launcher, Signal};
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
}

/// An agent that runs.
pub struct Running {
    pub pid: u32,
    /// Dropping it is the end of the agent's input.
    pub stdin: Box<dyn AsyncWrite + Send + Unpin>,
    pub stdout: Box<dyn AsyncRead + Send + Unpin>,
    pub stderr: Box<dyn AsyncRead + Send + Unpin>,
    pub control: Arc<dyn Control>,
    /// How it ended; its whole tree is gone then. Dropping it ends the tree.
    pub exit: BoxFuture<'static, Exit>,
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
            stdin: Box::new(stdin),
            stdout: Box::new(stdout),
            stderr: Box::new(stderr),
            control: Arc::new(sandboxed.controller()),
            exit: async move { sandboxed.wait().await }.boxed(),
        }),
        _ => Err(HostError::NoPipes),
    }
}
