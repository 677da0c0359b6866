//! The actor `users/<u>/acp/<n>`: one client that speaks ACP. It owns what serves it, and ends with it.

use crate::auth::{Ended, Principal};
use crate::mux::outbox::Closing;
use crate::mux::pump::Stats;
use crate::rest::ApiError;
use crate::state::AppState;
use crate::users::{Connected, User};
use ::http::StatusCode;
use futures_util::future::BoxFuture;
use octo_actors::{Actor, Ctx, Failure, Kind};
use octo_protocol::metrics::Limit;
use serde_json::{Value, json};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

pub const KIND: Kind = Kind::temporary("acp").mailbox(32);

/// What an actor is made of.
pub struct Args {
    /// What serves the client; taken by the only incarnation there is.
    work: Mutex<Option<BoxFuture<'static, ()>>>,
    transport: &'static str,
    stats: Arc<Stats>,
    user: User,
}

pub struct Connection {
    transport: &'static str,
    stats: Arc<Stats>,
    since: Instant,
    _user: User,
}

pub enum Msg {
    /// The client is served no more.
    Over,
}

impl Actor for Connection {
    type Msg = Msg;
    type Args = Arc<Args>;

    async fn start(args: Arc<Args>, ctx: &Ctx<Msg>) -> Result<Self, Failure> {
        let work = args.work.lock().unwrap_or_else(PoisonError::into_inner).take();
        let work = work.ok_or("the connection is gone")?;
        ctx.spawn_task(async move {
            work.await;
            Msg::Over
        })?;
        Ok(Self { transport: args.transport, stats: Arc::clone(&args.stats), since: Instant::now(), _user: args.user.clone() })
    }

    async fn handle(&mut self, Msg::Over: Msg, ctx: &Ctx<Msg>) -> Result<(), Failure> {
        ctx.stop();
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({
            "transport": self.transport,
            "cursors": self.stats.cursors(),
            "sent_frames": self.stats.sent_frames.load(Relaxed),
            "sent_bytes": self.stats.sent_bytes.load(Relaxed),
            "received_frames": self.stats.received_frames.load(Relaxed),
            "throttled": self.stats.throttled.load(Relaxed),
            "open_ms": u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn name_of(_: &Msg) -> &'static str {
        "over"
    }
}

/// A place for one more connection of a user.
pub struct Admitted {
    pub user: User,
    pub number: u64,
    /// Held as long as the connection lives.
    pub place: Connected,
}

/// Finds a place.
///
/// # Errors
/// When the server is stopping, or the user has connections enough.
pub async fn admit(state: &AppState, principal: &Principal) -> Result<Admitted, ApiError> {
    if state.shutdown.is_cancelled() {
        return Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the server is stopping; connect again in a moment"));
    }
    let user = state.users.user(&principal.user_id).await?;
    let limit = state.settings.server.max_connections_per_account;
    let Some(place) = user.connect(limit) else {
        state.figures.limits.hit(Limit::ConnectionsPerAccount);
        let why = format!("this account has {limit} connections already: close some, or raise server.max_connections_per_account");
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, why));
    };
    let number = user.next_connection();
    Ok(Admitted { user, number, place })
}

/// Starts the actor that does `work`, and stays until it has ended. Why there is none is in the log.
pub async fn live(user: User, number: u64, transport: &'static str, stats: Arc<Stats>, work: BoxFuture<'static, ()>) {
    let args = Arc::new(Args { work: Mutex::new(Some(work)), transport, stats, user: user.clone() });
    let started = match user.children().await {
        Ok(children) => {
            let name = format!("acp/{number}");
            children.start_child::<Connection>(KIND, &name, move || Arc::clone(&args)).await.map_err(|error| error.to_string())
        }
        Err(error) => Err(error.to_string()),
    };
    match started {
        Ok(connection) => connection.closed().await,
        Err(error) => tracing::warn!(user = %user.id(), %error, "an ACP connection is refused"),
    }
}

/// Waits until the connection has to end, because the server stops or the principal's rights do.
pub async fn guard(state: &AppState, principal: &Principal) -> Closing {
    let mut rights = state.auth.watch(principal);
    tokio::select! {
        ended = rights.ended() => Closing::new(1008, match ended {
            Ended::Revoked => "your rights have changed; log in again",
            Ended::Expired => "your login has expired; log in again",
        }),
        () = state.shutdown.cancelled() => Closing::new(1012, "service restart"),
    }
}
