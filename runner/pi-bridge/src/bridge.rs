//! The runner inside: octo-runner's own, with its journal and its agents, that nobody reaches but through this bridge.

use crate::door::Door;
use crate::options::{OptionsError, Serve};
use crate::provision::{OfThisProcess, ProvisionError, config, provision};
use octo_protocol::provision::Provision;
use octo_runner::agent::{AgentKind, PlanError};
use octo_runner::agents::{Finder, NotFound};
use octo_runner::journal::{BOOT_ID_FILE, Journal, JournalError};
use octo_runner::link::{self, ListenError, Local};
use octo_runner::runner::{Runner, StartRunnerError, launcher};
use std::sync::Arc;

/// Why a bridge does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartBridgeError {
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Provision(#[from] ProvisionError),
    #[error(transparent)]
    Plan(#[from] PlanError),
    #[error(transparent)]
    NotInstalled(#[from] NotFound),
    #[error("{0}: give each bridge a --data-dir of its own")]
    Locked(ListenError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("the sandbox of the agent: {0}; where there can be none, as in most containers, say --allow-unsandboxed")]
    Sandbox(#[from] octo_sandbox::LaunchError),
    #[error(transparent)]
    Runner(#[from] StartRunnerError),
}

/// A running bridge without its listener.
pub struct Bridge {
    runner: Runner,
    door: Arc<Door>,
    /// Two would mix up one journal.
    _lock: link::Lock,
}

impl Bridge {
    /// Looks whether the agent is there, takes the lock, opens the journal, and brings sessions to rest that were at work.
    ///
    /// # Errors
    /// [`StartBridgeError`], a sentence for whoever starts it.
    pub async fn start(serve: &Serve) -> Result<Self, StartBridgeError> {
        let options = serve.of_the_runner()?;
        let (provision, config) = (provision(serve, &OfThisProcess)?, config(serve, &serve.folder()?));
        let kind = look(serve, &provision, &options.agents_dir)?;
        let launcher = launcher(&options)?;
        let looking = launcher.clone();
        // Said now, and not at the first prompt.
        tokio::task::spawn_blocking(move || looking.check()).await.map_err(|_| JournalError::Closed)??;
        let directory = options.data_dir.clone();
        let opening = move || {
            let lock = link::lock(&directory).map_err(StartBridgeError::Locked)?;
            let boot_id = std::fs::read_to_string(BOOT_ID_FILE).map(|id| id.trim().to_owned()).unwrap_or_default();
            let journal = Journal::open(&directory, &boot_id)?;
            Ok::<_, StartBridgeError>((lock, boot_id, journal))
        };
        let (lock, boot_id, journal) = tokio::task::spawn_blocking(opening).await.map_err(|_| JournalError::Closed)??;
        let runner = Runner::embedded(options, journal, Arc::new(launcher), boot_id).await?;
        let door = Door::new(Local::new(runner.serving()), provision, config, kind.protocol());
        Ok(Self { runner, door: Arc::new(door), _lock: lock })
    }

    /// What clients come through.
    #[must_use]
    pub fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// Waits until it cannot go on, and says why.
    pub async fn failed(&self) -> String {
        tokio::select! {
            why = self.runner.failed() => why,
            replaced = self.runner.replaced() => replaced.to_string(),
        }
    }

    /// Ends the agents gracefully, then everything else, and writes what waits.
    pub async fn shutdown(self) {
        self.runner.shutdown().await;
    }
}

/// Whether the agent is there.
fn look(serve: &Serve, provision: &Provision, agents_dir: &std::path::Path) -> Result<AgentKind, StartBridgeError> {
    let kind = AgentKind::of(&serve.harness, provision)?;
    if let Some(told) = provision.harness_named(&serve.harness) {
        Finder::from_env(agents_dir).find(&told.command)?;
    }
    Ok(kind)
}
