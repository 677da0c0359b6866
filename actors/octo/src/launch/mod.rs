//! Finds octo's own daemons or starts them, detached, so that they outlive octo. Beside them it starts, for the command line, what is over at once
//! ([`Once`]): octo-runner with a question, and npm. It starts nothing of a user's.
//!
//! A daemon is found by connecting to its socket. One that has to be started gets an environment of its own making (no providers' keys),
//! its log as standard output and error, and leaves octo's session by itself. octo waits until it answers and reaps it when it ends.

mod daemon;
mod environment;
mod error;
mod once;
mod process;

use std::collections::HashMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

pub use daemon::START_DEADLINE;
use daemon::{Daemon, Found};
pub use error::LaunchError;
pub use once::{Ended, Once, OnceError};
pub use process::{Peer, StopError, answers, peer, stop};

use crate::auth::UserId;
use crate::config::Settings;
use crate::paths::own_uid;

/// How long an agent may take for its handshake.
pub const HANDSHAKE: Duration = Duration::from_secs(60);
/// Name of the runner's binary.
pub const RUNNER: &str = "octo-runner";
/// Name of the proxy's binary.
pub const EAVS: &str = "octo-eavs";

/// Where a runner answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunnerEndpoint {
    /// Its link socket.
    pub socket: PathBuf,
    /// The uid that its peer credentials must show.
    pub uid: u32,
}

/// Finds and starts the daemons of one instance. Clones share one state.
#[derive(Debug, Clone)]
pub struct Launch(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    settings: Arc<Settings>,
    binaries: Option<PathBuf>,
    /// One start at a time for each socket.
    starting: Mutex<HashMap<PathBuf, Arc<Semaphore>>>,
    eavs_starts: AtomicU64,
}

impl Launch {
    /// For the instance that `settings` describe; binaries are beside this program.
    #[must_use]
    pub fn new(settings: Arc<Settings>) -> Self {
        let binaries = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_owned));
        Self::with_binaries(settings, binaries)
    }

    /// The same, with the binaries in `dir`; `None` looks in PATH only.
    #[must_use]
    pub fn with_binaries(settings: Arc<Settings>, dir: Option<PathBuf>) -> Self {
        Self(Arc::new(Inner { settings, binaries: dir, starting: Mutex::default(), eavs_starts: AtomicU64::new(1) }))
    }

    /// The settings it works for.
    #[must_use]
    pub fn settings(&self) -> &Arc<Settings> {
        &self.0.settings
    }

    /// The runner of `user`, started if it does not answer. Concurrent calls for one user start one runner.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub async fn ensure_runner(&self, user: &UserId) -> Result<RunnerEndpoint, LaunchError> {
        let settings = &self.0.settings;
        let paths = &settings.paths;
        let socket = paths.runner_socket(user);
        let daemon = Daemon {
            binary: RUNNER,
            arguments: self.arguments_of_runner(user),
            socket: socket.clone(),
            log: paths.log_file(&format!("{RUNNER}-{user}")),
            private: vec![paths.runner_data_dir(user)],
            // The folder of sessions that name none; the person's own folders are theirs to make.
            made: vec![settings.sessions.default_workspace(user)],
        };
        self.ensure(daemon).await?;
        Ok(RunnerEndpoint { socket, uid: own_uid() })
    }

    /// What the runner of `user` is told when it starts, as a command line takes it.
    pub fn runner_arguments(&self, user: &UserId) -> impl Iterator<Item = OsString> + use<> {
        let arguments = self.arguments_of_runner(user);
        arguments.into_iter().flat_map(|(flag, value)| {
            let value = Some(value.into_os_string()).filter(|value| !value.is_empty());
            std::iter::once(OsString::from(flag)).chain(value)
        })
    }

    fn arguments_of_runner(&self, user: &UserId) -> Vec<(&'static str, PathBuf)> {
        let settings = &self.0.settings;
        let paths = &settings.paths;
        let mut arguments: Vec<(&'static str, PathBuf)> = vec![
            ("--user", user.as_str().into()),
            ("--runner-id", settings.runner.runner_id.clone().into()),
            ("--socket", paths.runner_socket(user)),
            ("--data-dir", paths.runner_data_dir(user)),
            ("--state-dir", paths.state_dir.clone()),
            ("--config-dir", paths.config_dir.clone()),
            ("--agents-dir", paths.agents_dir.clone()),
            ("--eavs-dir", paths.llm_dir()),
            ("--server-uid", own_uid().to_string().into()),
        ];
        // For sessions from before their server told how their agent is started.
        for (flag, name) in [("--pi-executable", "pi"), ("--claude-executable", "claude")] {
            arguments.extend(settings.harnesses.find(name).map(|harness| (flag, harness.command.clone().into())));
        }
        if let Some(dir) = &settings.runner.pi_sessions_dir {
            arguments.push(("--pi-sessions-dir", dir.clone()));
        }
        let (sessions, journal) = (&settings.sessions, &settings.journal);
        let seconds = |flag, of: Option<Duration>| (flag, of.map(|d| d.as_secs().to_string()));
        let limits = [
            seconds("--handshake-secs", Some(HANDSHAKE)),
            seconds("--idle-after-secs", sessions.idle_after),
            seconds("--idle-check-secs", Some(sessions.idle_check)),
            seconds("--keep-events-secs", journal.keep_events),
            seconds("--keep-messages-secs", journal.keep_messages),
            seconds("--journal-check-secs", Some(journal.check_every)),
            seconds("--restart-silent-secs", sessions.restart_silent),
            ("--agent-memory-bytes", settings.sandbox.max_memory.map(|bytes| bytes.to_string())),
            ("--agent-tasks", Some(settings.sandbox.max_processes.to_string())),
            ("--agent-open-files", Some(settings.sandbox.max_open_files.to_string())),
            ("--journal-max-bytes", journal.max_bytes.map(|bytes| bytes.to_string())),
        ];
        arguments.extend(limits.into_iter().filter_map(|(flag, value)| Some((flag, value?.into()))));
        let permissions = &settings.permissions;
        arguments.extend(permissions.default.map(|mode| ("--permission-default", mode.as_str().into())));
        arguments.push(("--permission-on-timeout", permissions.on_timeout.as_str().into()));
        arguments.extend(permissions.timeout_ms.map(|ms| ("--permission-timeout-secs", (ms / 1000).to_string().into())));
        arguments.extend(permissions.tools.iter().map(|(tool, mode)| ("--permission-tool", format!("{tool}={}", mode.as_str()).into())));
        if settings.sandbox.allow_unsandboxed {
            arguments.push(("--allow-unsandboxed", PathBuf::new()));
        }
        arguments
    }

    /// octo-eavs, started if it does not answer; its admin socket.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub async fn ensure_eavs(&self) -> Result<PathBuf, LaunchError> {
        let paths = &self.0.settings.paths;
        if !self.0.settings.eavs.enabled {
            return Err(LaunchError::Disabled { key: "eavs.enabled" });
        }
        let socket = paths.eavs_admin_socket();
        let arguments = vec![
            ("--config", paths.config_file.clone()),
            ("--data-dir", paths.eavs_data_dir()),
            ("--llm-socket", paths.llm_socket()),
            ("--admin-socket", socket.clone()),
        ];
        let daemon = Daemon {
            binary: EAVS,
            arguments,
            socket: socket.clone(),
            log: paths.log_file(EAVS),
            private: vec![paths.eavs_data_dir(), paths.llm_dir()],
            made: Vec::new(),
        };
        if self.ensure(daemon).await? == Found::Started {
            self.0.eavs_starts.fetch_add(1, Ordering::AcqRel);
        }
        Ok(socket)
    }

    /// Grows whenever an octo-eavs was started: it does not know the providers' keys then.
    #[must_use]
    pub fn eavs_starts(&self) -> u64 {
        self.0.eavs_starts.load(Ordering::Acquire)
    }

    /// Where a binary of octo's is expected.
    #[must_use]
    pub fn binary(&self, name: &str) -> PathBuf {
        match &self.0.binaries {
            Some(dir) => dir.join(name),
            None => name.into(),
        }
    }

    async fn ensure(&self, daemon: Daemon) -> Result<Found, LaunchError> {
        if process::answers(&daemon.socket).await {
            return Ok(Found::Running);
        }
        let turn = {
            let mut starting = self.0.starting.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(starting.entry(daemon.socket.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))))
        };
        let _turn =
            turn.acquire().await.map_err(|_| LaunchError::Start { binary: daemon.binary, reason: "octo is stopping".to_owned() })?;
        daemon.ensure(&self.binary(daemon.binary), environment::for_daemon(&self.0.settings)).await
    }
}
