//! The routes.
//!
//! | route | who | what |
//! |---|---|---|
//! | `GET /health` | anybody | whether the bridge works, and for which agent |
//! | `POST /command` | the token | one command in, its response out |
//! | `GET /ws` | the token | commands in; responses and events out |
//! | `GET /events` | the token | events, as server-sent events |
//!
//! Whoever has not the token learns nothing of the rest, not even whether a path exists.

mod auth;
mod command;
mod health;
mod refusal;
mod socket;
mod stream;

pub use refusal::Refusal;
pub use socket::{HEADER_HARNESS, HEADER_PROTOCOL, HEADER_SESSION};

use crate::door::Door;
use crate::token::Token;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use octo_protocol::{Cursor, ErrorCode, ProtocolError};
use serde::Deserialize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Largest command: images in it are base64.
pub const MAX_COMMAND_BYTES: usize = 16 * 1024 * 1024;
/// Readers at once, over both ways; one more is refused.
pub const MAX_READERS: usize = 128;
/// Commands under way by `POST /command`; one more is refused.
pub const MAX_COMMANDS: usize = 256;

/// What every route needs.
#[derive(Clone)]
pub struct Shared {
    pub door: Arc<Door>,
    pub token: Token,
    /// The bridge is ending.
    pub stop: CancellationToken,
    /// The bridge cannot go on.
    pub failed: CancellationToken,
    pub sockets: TaskTracker,
    readers: Arc<Semaphore>,
    commands: Arc<Semaphore>,
}

impl Shared {
    /// For one bridge.
    #[must_use]
    pub fn new(door: Arc<Door>, token: Token) -> Self {
        Self {
            door,
            token,
            stop: CancellationToken::new(),
            failed: CancellationToken::new(),
            sockets: TaskTracker::new(),
            readers: Arc::new(Semaphore::new(MAX_READERS)),
            commands: Arc::new(Semaphore::new(MAX_COMMANDS)),
        }
    }

    fn reader(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let full = |_| Refusal::busy(format!("{MAX_READERS} readers follow this bridge already; close some"));
        Arc::clone(&self.readers).try_acquire_owned().map_err(full)
    }
}

/// Which session is read, and from where on.
#[derive(Debug, Default, Deserialize)]
pub struct Place {
    #[serde(default)]
    session: Option<String>,
    /// `EPOCH:SEQ`.
    #[serde(default)]
    after: Option<String>,
}

/// Reads `EPOCH:SEQ`.
///
/// # Errors
/// When it is none.
pub fn cursor_of(text: &str) -> Result<Cursor, ProtocolError> {
    let cursor = text.split_once(':').and_then(|(epoch, seq)| Some(Cursor { epoch: epoch.parse().ok()?, seq: seq.parse().ok()? }));
    cursor.ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        ProtocolError::new(ErrorCode::InvalidRequest, format!("{shown:?} is no place to go on from: write EPOCH:SEQ, as events carry them"))
    })
}

/// All routes.
pub fn router(shared: Shared) -> Router {
    let guarded = Router::new()
        .route("/command", post(command::command))
        .route("/ws", get(socket::upgrade))
        .route("/events", get(stream::events))
        .fallback(refusal::not_found)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(DefaultBodyLimit::max(MAX_COMMAND_BYTES))
        .layer(axum::middleware::from_fn_with_state(shared.clone(), auth::guard));
    Router::new().route("/health", get(health::health)).merge(guarded).with_state(shared)
}
