//! The whole proxy in one process: store, listeners, drain.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use octo_actors::System;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{App, ReloadError};
use crate::door::{DOOR, Door, DoorSpec};
use crate::listener::{ListenError, Listener, Peers, Place};
use crate::registry::Registry;
use crate::store::{Store, StoreError};
use crate::{admin, proxy};

/// How often counters that found no room on the disk are tried again.
const CATCH_UP_EVERY: Duration = Duration::from_secs(5);

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
    address: Option<SocketAddr>,
}

/// Listeners that end together, with the requests that came through them.
struct Side {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Side {
    fn new() -> Self {
        Self { stop: CancellationToken::new(), tracker: TaskTracker::new() }
    }

    async fn open(&self, system: &System, name: &str, listener: Listener, router: axum::Router, peers: Peers) -> Result<(), StartError> {
        let spec = DoorSpec::new(listener, router, peers, self.stop.clone(), self.tracker.clone());
        let door = system.root().start_child::<Door>(DOOR, name, move || Arc::clone(&spec));
        door.await.map(drop).map_err(|e| StartError::Actor(e.to_string()))
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
        let admin_listener = Listener::unix(&options.admin_socket).await?;
        let llm_listener = Listener::unix(&options.llm_socket).await?;
        let tcp = match options.listen {
            Some(address) => Some(Listener::tcp(address).await?),
            None => None,
        };
        let system = System::builder().on_change(|change| tracing::debug!(path = %change.path, what = ?change.what, "actor")).start();
        let (llm, admin) = (Side::new(), Side::new());
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
        Ok(Self { app, system, llm, admin, address })
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

    /// Stops taking requests, lets those under way finish for at most `within`, and writes all counters. The admin socket stays
    /// open meanwhile and its health says `draining`. True if every request finished.
    pub async fn drain(self, within: Duration) -> bool {
        self.app.drain();
        let finished = self.llm.finish(within).await;
        self.admin.finish(Duration::from_secs(1)).await;
        self.system.shutdown(Duration::from_secs(1)).await;
        if let Err(error) = self.app.registry.flush().await {
            tracing::error!(%error, "the last counters could not be written");
        }
        finished
    }
}
