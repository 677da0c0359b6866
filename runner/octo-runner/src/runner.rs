//! The runner as a whole: what is opened, in which order, and how it ends.

use crate::agent::Host;
use crate::agents::Finder;
use crate::clock::now_ms;
use crate::history::{HISTORY, History};
use crate::idle::{IDLE, Idle, IdleArgs};
use crate::journal::{BOOT_ID_FILE, Journal, JournalError};
use crate::link::{self, LINK, Link, LinkArgs, ListenError, Listener, Peers, Serving};
use crate::options::Options;
use crate::permissions::Rules;
use crate::retention::{RETENTION, Retention};
use crate::session::{HandedSession, Registry, RestMsg, SESSIONS, SessionMsg};
use crate::shared::Shared;
use crate::trace::Spans;
use crate::upgrade::{Asked, Handover, MAX_WAITING, Program, Replaced, UpgradeError};
use futures_util::future::join_all;
use octo_actors::{Address, StartError, System};
use octo_sandbox::{LaunchError, Launcher};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What starts this runner's agents, as its options say.
///
/// # Errors
/// When the running executable cannot be found.
pub fn launcher(options: &Options) -> Result<Launcher, LaunchError> {
    let launcher = Launcher::beside_current_exe()?.allow_without_bwrap(options.allow_unsandboxed);
    Ok(match &options.bwrap {
        Some(bwrap) => launcher.bwrap(bwrap),
        None => launcher,
    })
}

/// How long agents may take to end when the runner does.
const AGENTS_END_WITHIN: Duration = Duration::from_secs(12);
/// How long sessions that were at work may take until the link serves without them.
const TAKEN_UP_WITHIN: Duration = Duration::from_secs(10);
/// How long the rest may take.
const END_WITHIN: Duration = Duration::from_secs(5);

/// Why a runner does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartRunnerError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Actors(#[from] StartError),
}

/// A running runner.
pub struct Runner {
    system: System,
    registry: Registry,
    serving: Serving,
    /// What the next program gets; an embedded one has neither, nor a next program.
    held: Option<(Arc<Listener>, link::Lock)>,
    upgrades: Option<mpsc::Receiver<Asked>>,
}

impl Runner {
    /// Takes the lock, opens the journal, brings sessions to rest that were at work, and serves.
    ///
    /// # Errors
    /// [`StartRunnerError`], a sentence for the operator.
    pub async fn start(options: Options) -> Result<Self, StartRunnerError> {
        let lock = link::lock(&options.data_dir)?;
        let listener = Listener::bind(&options.socket, server_uid(&options))?;
        Self::begin(options, lock, listener, Vec::new()).await
    }

    /// Goes on where the program before rested: it holds the lock, the socket and the agents already.
    ///
    /// # Errors
    /// [`StartRunnerError`]; the agents end then.
    pub async fn take_over(options: Options, handover: Handover) -> Result<Self, StartRunnerError> {
        let lock = link::Lock::inherited(handover.data_lock, &options.data_dir)?;
        let listener = Listener::inherited(handover.listener, handover.socket_lock, &options.socket, server_uid(&options))?;
        Self::begin(options, lock, listener, handover.sessions).await
    }

    async fn begin(options: Options, lock: link::Lock, listener: Listener, handed: Vec<HandedSession>) -> Result<Self, StartRunnerError> {
        #[cfg(all(feature = "kill-points", debug_assertions))]
        crate::kill_point::arm(&options.data_dir);
        let listener = Arc::new(listener);
        let boot_id = std::fs::read_to_string(BOOT_ID_FILE).map(|id| id.trim().to_owned()).unwrap_or_default();
        let (directory, id) = (options.data_dir.clone(), boot_id.clone());
        let journal = tokio::task::spawn_blocking(move || Journal::open(&directory, &id)).await.unwrap_or(Err(JournalError::Closed))?;
        let launcher = launcher(&options)?;
        let mut runner = Self::open(options, journal, Arc::new(launcher), boot_id, handed).await?;
        runner.held = Some((Arc::clone(&listener), lock));
        let args = LinkArgs { listener, serving: runner.serving.clone() };
        runner.system.root().start_child::<Link>(LINK, "link", move || args.clone()).await?;
        Ok(runner)
    }

    /// A runner within another program: it brings sessions of `journal` to rest that were at work, and starts its agents at `host`. It listens to nobody,
    /// is served with [`link::serve`], and takes no lock: whoever opened the journal sees to it that nobody else does.
    ///
    /// # Errors
    /// [`StartRunnerError`], a sentence for the operator.
    pub async fn embedded(options: Options, journal: Journal, host: Arc<dyn Host>, boot_id: String) -> Result<Self, StartRunnerError> {
        let mut runner = Self::open(options, journal, host, boot_id, Vec::new()).await?;
        // Nobody carries one out: who asks is refused.
        runner.upgrades = None;
        Ok(runner)
    }

    async fn open(
        options: Options,
        journal: Journal,
        host: Arc<dyn Host>,
        boot_id: String,
        handed: Vec<HandedSession>,
    ) -> Result<Self, StartRunnerError> {
        let finder = Finder::from_env(&options.agents_dir);
        let rows = journal.sessions().await?;
        let unfinished = journal.unfinished_sessions().await?;
        let figures = Arc::clone(journal.figures());
        let rules = Rules::new(journal.rules().await?);
        let shared = Arc::new(Shared {
            policy: options.permissions(),
            rules,
            options,
            journal,
            figures,
            host,
            finder,
            boot_id,
            started_at: now_ms(),
            spans: Spans::default(),
            watching: Arc::default(),
        });
        let registry = Registry::new(Arc::clone(&shared), &rows);
        let at_work: BTreeSet<String> = handed.iter().map(|session| session.saved.id.clone()).chain(unfinished).collect();
        registry.hand(handed);

        let known: Arc<OnceLock<Registry>> = Arc::default();
        let _ = known.set(registry.clone());
        let system = System::builder().on_change(move |change| known.get().into_iter().for_each(|r| r.lifecycle(change))).start();
        let limits = shared.options.limits();
        let idle = IdleArgs::of(&shared.options);
        let history: Address<_> = {
            let registry = registry.clone();
            system.root().start_child::<History>(HISTORY, "history", move || registry.clone()).await?
        };
        let sessions = system.root().start_group(SESSIONS, "sessions", |_| async { Ok(()) }).await?;
        registry.place_below(sessions);
        take_up(&registry, at_work).await;
        let (upgrades, asked) = mpsc::channel(MAX_WAITING);
        let directory = system.directory().clone();
        let serving = Serving { registry: registry.clone(), history, directory, peers: Peers::default(), upgrades };
        let keeper = registry.clone();
        system.root().start_child::<Retention>(RETENTION, "retention", move || (keeper.clone(), limits)).await?;
        if let Some(idle) = idle {
            let keeper = registry.clone();
            system.root().start_child::<Idle>(IDLE, "idle", move || (keeper.clone(), idle)).await?;
        }
        Ok(Self { system, registry, serving, held: None, upgrades: Some(asked) })
    }

    /// Where the runner's replacement is asked for. Once: whoever takes it carries it out, by [`Runner::replace`].
    pub fn upgrades(&mut self) -> Option<mpsc::Receiver<Asked>> {
        self.upgrades.take()
    }

    /// Replaces this program, which is `program`, by the one at `path`, with every agent going on. Returns only when that was not possible: then everything goes
    /// on as before, also when this is dropped.
    pub async fn replace(&self, program: &Program, path: &Path) -> UpgradeError {
        let Some((listener, lock)) = &self.held else { return UpgradeError::Embedded };
        let (listener, socket_lock) = listener.descriptors();
        let replaced = Replaced { registry: &self.registry, program, listener, socket_lock, data_lock: lock.descriptor() };
        replaced.by(path).await
    }

    /// Waits until the tree has failed beyond what its supervisors can mend; says why.
    pub async fn failed(&self) -> String {
        self.system.failed().await
    }

    /// Waits until another runner has taken this one's journal over, and says so. Nothing of this one may go on then.
    pub async fn replaced(&self) -> JournalError {
        self.registry.shared().journal.replaced().await
    }

    /// All sessions.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// What a connection is served with that does not come through the socket.
    #[must_use]
    pub fn serving(&self) -> &Serving {
        &self.serving
    }

    /// Ends agents gracefully, then everything else, and writes what waits.
    pub async fn shutdown(self) {
        self.registry.shutdown(AGENTS_END_WITHIN).await;
        self.system.shutdown(END_WITHIN).await;
        self.registry.shared().journal.close().await;
    }
}

fn server_uid(options: &Options) -> u32 {
    options.server_uid.unwrap_or_else(|| nix::unistd::geteuid().as_raw())
}

/// Starts the actors of these sessions. Whoever asks first shall find them as they are: so it is waited, for a while, until each has been through its start.
async fn take_up(registry: &Registry, sessions: BTreeSet<String>) {
    let mut starting = Vec::new();
    for id in sessions {
        match registry.actor(&id).await {
            Ok(session) => {
                let (answer, begun) = oneshot::channel();
                // What it is told before it runs waits for it.
                let _ = session.tell(SessionMsg::Rest(RestMsg::Begin { patient: false, answer }));
                starting.push(begun);
            }
            Err(error) => tracing::error!(session = id, %error, "a session that was at work could not be taken up"),
        }
    }
    let _ = tokio::time::timeout(TAKEN_UP_WITHIN, join_all(starting)).await;
}
