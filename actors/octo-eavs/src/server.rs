//! The whole proxy in one process: store, listeners, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use octo_actors::{Address, System};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, ReloadError};
use crate::door::{DOOR, Door, DoorMsg, DoorSpec};
use crate::listener::{ListenError, Listener, Peers, Place};
use crate::registry::Registry;
use crate::store::{Store, StoreError};
use crate::{admin, proxy};

/// How often counters that found no room on the disk are tried again.
const CATCH_UP_EVERY: Duration = Duration::from_secs(5);
/// How often it is looked what an earlier octo-eavs has settled, while there is one.
const INHERIT_EVERY: Duration = Duration::from_millis(250);
/// How long a listener that is told to stop may take to have let go of its socket.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);

/// Where an instance lives.
#[derive(Debug, Clone)]
pub struct Options {
    /// octo's `config.toml`; it may be absent.
    pub config: PathBuf,
    /// Directory of the store.
    pub data_dir: PathBuf,
    /// Socket for LLM traffic.
    pub llm_socket: PathBuf,
    /// Socket of the admin interface.
    pub admin_socket: PathBuf,
    /// An address for LLM traffic as well.
    pub listen: Option<SocketAddr>,
}

/// Why it did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ReloadError),
    /// A listener.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The supervision tree.
    #[error("could not start a listener: {0}")]
    Actor(String),
}

/// A running instance. Dropped, it stops listening; requests under way end with their runtime.
pub struct Server {
    app: Arc<App>,
    system: System,
    llm: Side,
    admin: Side,
    /// Where this process hears of revoked keys when the next one has its place.
    last_admin: PathBuf,
    address: Option<SocketAddr>,
}

/// Listeners that end together, with the requests that came through them.
struct Side {
    stop: CancellationToken,
    tracker: TaskTracker,
    doors: Vec<Address<DoorMsg>>,
}

impl Side {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tracker: TaskTracker::new(), doors: Vec::new() }
    }

    async fn open(
        &mut self,
        system: &System,
        name: &str,
        listener: Listener,
        router: axum::Router,
        peers: Peers,
    ) -> Result<(), StartError> {
        let spec = DoorSpec::new(listener, router, peers, self.stop.clone(), self.tracker.clone());
        let door = system.root().start_child::<Door>(DOOR, name, move || Arc::clone(&spec));
        self.doors.push(door.await.map_err(|e| StartError::Actor(e.to_string()))?);
        Ok(())
    }

    /// Stops listening; true when the sockets are free. Requests under way go on.
    async fn let_go(&self) -> bool {
        self.stop.cancel();
        let closed = async {
            for door in &self.doors {
                door.closed().await;
            }
        };
        tokio::time::timeout(LET_GO_WITHIN, closed).await.is_ok()
    }

    async fn finish(&self, within: Duration) -> bool {
        self.stop.cancel();
        self.tracker.close();
        tokio::time::timeout(within, self.tracker.wait()).await.is_ok()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.llm.stop.cancel();
        self.admin.stop.cancel();
    }
}

impl Server {
    /// Opens the store, reads the configuration and listens. The store comes first: its lock keeps two instances apart.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let store = Store::open(&options.data_dir)?;
        let app = Arc::new(App::new(options.config, Registry::open(store)?)?);
        let of_app = Arc::downgrade(&app);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(CATCH_UP_EVERY).await;
                match of_app.upgrade() {
                    Some(app) => app.registry.catch_up(),
                    None => return,
                }
            }
        });
        if !app.registry.inherit().await {
            let of_app = Arc::downgrade(&app);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(INHERIT_EVERY).await;
                    match of_app.upgrade() {
                        Some(app) if !app.registry.inherit().await => {}
                        _ => return,
                    }
                }
            });
        }
        let admin_listener = Listener::unix(&options.admin_socket).await?;
        let llm_listener = Listener::unix(&options.llm_socket).await?;
        let tcp = match options.listen {
            Some(address) => Some(Listener::tcp(address).await?),
            None => None,
        };
        let system = System::builder().on_change(|change| tracing::debug!(path = %change.path, what = ?change.what, "actor")).start();
        let (mut llm, mut admin) = (Side::new(), Side::new());
        let mut address = None;
        if let Some(tcp) = tcp {
            if let Place::Tcp(bound) = tcp.place() {
                address = Some(bound);
            }
            llm.open(&system, "tcp", tcp, proxy::router(Arc::clone(&app)), Peers::Any).await?;
        }
        llm.open(&system, "llm", llm_listener, proxy::router(Arc::clone(&app)), Peers::Any).await?;
        let admin_router = admin::router(Arc::clone(&app), system.directory().clone());
        admin.open(&system, "admin", admin_listener, admin_router, Peers::Own).await?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"), keys = app.registry.list().len(),
            providers = ?app.live().catalog.providers.keys().collect::<Vec<_>>(), ?address, "octo-eavs is listening"
        );
        let last_admin = options.admin_socket.with_file_name(format!("ending-{}.sock", std::process::id()));
        Ok(Self { app, system, llm, admin, last_admin, address })
    }

    /// The TCP address, if it listens on one.
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Reads the configuration again.
    pub fn reload(&self) -> Result<(), ReloadError> {
        self.app.reload(std::collections::HashMap::new())
    }

    /// Waits until a listener has failed more often than it may; the process should end with exit code 70 then.
    pub async fn failed(&self) -> String {
        self.system.failed().await
    }

    /// Stops taking requests, gives up sockets and store, lets the requests under way finish for at most `within`, and writes down what they used. The next
    /// octo-eavs can start as soon as the sockets are gone. True if every request finished.
    pub async fn drain(self, within: Duration) -> bool {
        self.app.drain();
        if !self.llm.let_go().await {
            tracing::warn!("the socket for requests is not free yet");
        }
        let mut last = Side::new();
        match self.hand_over(&mut last).await {
            Ok(()) => self.give_way().await,
            // The next one finds it in use until this one has ended.
            Err(error) => tracing::error!(%error, "the store could not be handed over: the next octo-eavs starts when this one has ended"),
        }
        let finished = self.llm.finish(within).await;
        self.give_way().await;
        for side in [&self.admin, &last] {
            side.finish(Duration::from_secs(1)).await;
        }
        self.system.shutdown(Duration::from_secs(1)).await;
        if let Err(error) = self.app.registry.flush().await {
            tracing::error!(%error, "the last counters could not be written");
        }
        finished
    }

    async fn hand_over(&self, last: &mut Side) -> Result<(), String> {
        let listener = Listener::unix(&self.last_admin).await.map_err(|e| e.to_string())?;
        let router = admin::router(Arc::clone(&self.app), self.system.directory().clone());
        last.open(&self.system, "ending", listener, router, Peers::Own).await.map_err(|e| e.to_string())?;
        self.app.registry.hand_over(&self.last_admin).await.map_err(|e| e.to_string())
    }

    /// The admin socket is free, and whoever waited for that is told.
    async fn give_way(&self) {
        if !self.admin.let_go().await {
            tracing::warn!("the admin socket is not free yet");
        }
        self.app.gone().cancel();
    }
}
