//! What both listeners share: keys, providers, limits, and the answer to `GET /health`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{Catalog, ConfigError};
use crate::demo::Demo;
use crate::figures::Figures;
use crate::limits::MAX_STREAMS;
use crate::registry::Registry;
use crate::standing::Standings;
use crate::trace::Spans;
use crate::upstream::{ClientError, Upstream};

/// Version of the admin and LLM interface; octo compares it.
pub const PROTOCOL: u32 = 1;

/// What a reload replaces as a whole; a request under way keeps the one it began with.
#[derive(Debug)]
pub struct Live {
    /// Providers and policy.
    pub catalog: Catalog,
    /// Clients with the catalog's deadlines.
    pub upstream: Upstream,
}

/// Why a reload failed; the former configuration stays.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No client.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// The shared state.
pub struct App {
    /// Keys and counters.
    pub registry: Arc<Registry>,
    /// The demonstration model's memory.
    pub demo: Demo,
    /// How providers stand.
    pub standings: Standings,
    /// What octo has not fetched of the traces.
    pub spans: Arc<Spans>,
    /// Places for requests under way.
    pub streams: Arc<Semaphore>,
    /// What is counted.
    pub figures: Figures,
    live: ArcSwap<Live>,
    config: PathBuf,
    /// What octo handed over, which wins over this process's own environment. Written by reloads, one at a time.
    env: Mutex<HashMap<String, String>>,
    started: OffsetDateTime,
    draining: AtomicBool,
    gone: CancellationToken,
}

impl App {
    /// Reads the configuration.
    pub fn new(config: PathBuf, registry: Registry) -> Result<Self, ReloadError> {
        let live = read(&config, &HashMap::new())?;
        Ok(Self {
            registry: Arc::new(registry),
            demo: Demo::default(),
            standings: Standings::default(),
            spans: Arc::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            figures: Figures::default(),
            live: ArcSwap::from_pointee(live),
            config,
            env: Mutex::default(),
            started: OffsetDateTime::now_utc(),
            draining: AtomicBool::new(false),
            gone: CancellationToken::new(),
        })
    }

    /// The configuration in force.
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Reads the file again, with further environment variables. Nothing changes when it is wrong.
    pub fn reload(&self, env: HashMap<String, String>) -> Result<(), ReloadError> {
        let mut kept = self.env.lock().unwrap_or_else(PoisonError::into_inner);
        let mut merged = kept.clone();
        merged.extend(env);
        let live = read(&self.config, &merged)?;
        self.live.store(Arc::new(live));
        *kept = merged;
        Ok(())
    }

    /// When this process began to serve, Unix seconds.
    pub fn started_at(&self) -> f64 {
        self.started.unix_timestamp() as f64
    }

    /// From now on health says `draining`.
    pub fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Cancelled when the sockets and the store are free for the next octo-eavs.
    pub fn gone(&self) -> &CancellationToken {
        &self.gone
    }
}

fn read(config: &std::path::Path, env: &HashMap<String, String>) -> Result<Live, ReloadError> {
    let lookup = |name: &str| env.get(name).cloned().or_else(|| std::env::var(name).ok());
    let catalog = Catalog::load(config, &lookup)?;
    let upstream = Upstream::new(catalog.deadlines)?;
    Ok(Live { catalog, upstream })
}

/// `GET /health`.
pub async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({
        "status": if app.draining.load(Ordering::Relaxed) { "draining" } else { "ok" },
        "version": env!("CARGO_PKG_VERSION"),
        "protocol": PROTOCOL,
        "pid": std::process::id(),
        "started_at": app.started.format(&Rfc3339).ok(),
    }))
}
