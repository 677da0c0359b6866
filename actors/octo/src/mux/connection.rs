//! The actor `users/<u>/connections/<n>`: one WebSocket. It owns the tasks of the socket, and ends with it.

use super::commands::Context;
use super::outbox::{Closing, Out, Outbox, text};
use super::pump::{Pump, Stats};
use super::reader::{Heard, Reader};
use super::socket::Socket;
use crate::auth::{Ended, Principal};
use crate::server::{Movement, STILL_FOR};
use crate::state::AppState;
use crate::users::User;
use futures_util::StreamExt as _;
use futures_util::future::{Either, select};
use octo_actors::{Actor, Address, Ctx, Failure, Kind};
use octo_protocol::mux::ServerFrame;
use octo_protocol::mux::session::ServerSession;
use octo_protocol::mux::system::ServerSystem;
use serde_json::{Value, json};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a close may take before the socket is dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);
/// How soon clients may come back after a restart.
const RETRY_AFTER_MS: u64 = 500;

pub const KIND: Kind = Kind::temporary("connection").mailbox(32);

pub struct Args {
    pub state: AppState,
    pub principal: Principal,
    pub user: User,
    /// Taken by the only incarnation there is.
    pub socket: Mutex<Option<Socket>>,
    /// Touched by the socket too, while a large frame arrives.
    pub heard: Heard,
    /// Whether the client takes what is written; unknown behind another program's listener.
    pub movement: Option<Movement>,
    pub connection_id: String,
}

pub struct Connection {
    stats: Arc<Stats>,
    heard: Heard,
    movement: Option<Movement>,
    /// A close was asked for.
    closing: bool,
    /// The pump has written its last.
    written: bool,
    since: Instant,
    _user: User,
}

pub enum Msg {
    /// The reader has seen the end.
    Read,
    /// The pump has written its last.
    Written,
    /// A close was asked for, or is under way.
    Closing,
    /// The close took too long, or the peer is silent.
    Overdue,
    /// While it was being closed the client took nothing, or said nothing, for a while.
    Still,
    /// Takes a new look at itself.
    Look,
}

impl Actor for Connection {
    type Msg = Msg;
    type Args = Arc<Args>;

    async fn start(args: Arc<Args>, ctx: &Ctx<Msg>) -> Result<Self, Failure> {
        let socket = args.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
        let socket = socket.ok_or("the socket is gone")?;
        let figures = &args.state.figures;
        let (outbox, out) = Outbox::new(Arc::clone(figures));
        let (stats, heard) = (Arc::new(Stats::new(Arc::clone(figures))), args.heard.clone());
        for greeting in greeting(&args.connection_id) {
            outbox.frame(&greeting).await;
        }
        let (sink, stream) = socket.split();
        let name = ctx.path().as_str().rsplit('/').next().unwrap_or_default();
        let pump = Pump::new(name.into(), sink, out, outbox.closing(), Arc::clone(&stats));
        let context =
            Context { state: args.state.clone(), principal: args.principal.clone(), outbox: outbox.clone(), stats: Arc::clone(&stats) };
        let reader = Reader::new(stream, context, heard.clone(), args.user.parsing());
        let connection = ctx.address().clone();
        ctx.spawn_task(async move {
            pump.run(move || drop(connection.tell(Msg::Look))).await;
            Msg::Written
        })?;
        ctx.spawn_task(async move {
            reader.run().await;
            Msg::Read
        })?;
        ctx.spawn_task(attend(args.state.clone(), args.principal.clone(), outbox, heard.clone(), ctx.address().clone()))?;
        Ok(Self {
            stats,
            heard,
            movement: args.movement.clone(),
            closing: false,
            written: false,
            since: Instant::now(),
            _user: args.user.clone(),
        })
    }

    async fn handle(&mut self, message: Msg, ctx: &Ctx<Msg>) -> Result<(), Failure> {
        match message {
            // The reader stays until the peer has answered the close, so with its end the socket is done with.
            Msg::Read | Msg::Overdue => ctx.stop(),
            Msg::Written | Msg::Closing => {
                ctx.tell_after(CLOSE_WITHIN, Msg::Overdue)?;
                match message {
                    Msg::Written => self.written = true,
                    _ => self.closing = true,
                }
                if self.closing && self.written {
                    // The kernel has all of it: who still wants it gets it.
                    ctx.tell_after(STILL_FOR, Msg::Still)?;
                } else if let Some(movement) = self.movement.clone().filter(|_| self.closing) {
                    ctx.spawn_task(async move {
                        movement.still().await;
                        Msg::Still
                    })?;
                }
            }
            // One that has left is waited for no longer; what it asked for last is still done.
            Msg::Still if self.stats.left.load(Relaxed) => {}
            Msg::Still => ctx.stop(),
            Msg::Look => {}
        }
        Ok(())
    }

    fn trouble(&self) -> Option<String> {
        let frames = self.stats.sent_frames.load(Relaxed);
        self.stats.behind.load(Relaxed).then(|| {
            format!(
                "its client takes nothing of what is written to it, after {frames} frames that it took; nobody else waits for it, it misses nothing, and silent for long it is given up"
            )
        })
    }

    fn inspect(&self) -> Value {
        json!({
            "cursors": self.stats.cursors(),
            "sent_frames": self.stats.sent_frames.load(Relaxed),
            "sent_bytes": self.stats.sent_bytes.load(Relaxed),
            "received_frames": self.stats.received_frames.load(Relaxed),
            "throttled": self.stats.throttled.load(Relaxed),
            "silent_ms": u64::try_from(self.heard.last().elapsed().as_millis()).unwrap_or(u64::MAX),
            "open_ms": u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    }

    fn name_of(message: &Msg) -> &'static str {
        match message {
            Msg::Read => "read",
            Msg::Written => "written",
            Msg::Closing => "closing",
            Msg::Overdue => "overdue",
            Msg::Still => "still",
            Msg::Look => "look",
        }
    }
}

fn greeting(connection_id: &str) -> [ServerFrame; 2] {
    [
        ServerFrame::System(ServerSystem::Connected {
            connection_id: Some(connection_id.to_owned()),
            server_version: Some(crate::VERSION.to_owned()),
            protocol: Some(octo_protocol::MUX_PROTOCOL),
            resume: Some(true),
        }),
        ServerFrame::Session(ServerSession::Connected),
    ]
}

/// What a connection waits for besides its peer, in one task, as idle ones are many.
async fn attend(state: AppState, principal: Principal, outbox: Outbox, heard: Heard, connection: Address<Msg>) -> Msg {
    let (ping_every, silent_for) = (state.settings.server.ping_every, state.settings.server.silent_for());
    let over = pin!(guard(state, principal, outbox.clone()));
    let silent = pin!(keep_alive(outbox, heard, connection, ping_every, silent_for));
    match select(over, silent).await {
        Either::Left((message, _)) | Either::Right((message, _)) => message,
    }
}

/// Closes the connection when the server stops or the principal's rights end.
async fn guard(state: AppState, principal: Principal, outbox: Outbox) -> Msg {
    let mut rights = state.auth.watch(&principal);
    let closing = tokio::select! {
        ended = rights.ended() => Closing::new(1008, match ended {
            Ended::Revoked => "your rights have changed; log in again",
            Ended::Expired => "your login has expired; log in again",
        }),
        () = state.shutdown.cancelled() => {
            let farewell = ServerSystem::Shutdown { reason: "the server restarts".to_owned(), retry_after_ms: RETRY_AFTER_MS };
            Closing { farewell: text(&ServerFrame::System(farewell)), code: 1012, reason: "service restart" }
        }
    };
    outbox.close(closing);
    Msg::Closing
}

/// Pings, and gives a peer up that is silent.
async fn keep_alive(outbox: Outbox, heard: Heard, connection: Address<Msg>, ping_every: Duration, silent_for: Duration) -> Msg {
    let mut ping = Instant::now() + ping_every;
    loop {
        let silent = heard.last() + silent_for;
        tokio::time::sleep_until(ping.min(silent)).await;
        let now = Instant::now();
        if heard.last() + silent_for <= now {
            return Msg::Overdue;
        }
        if ping <= now {
            outbox.offer(Out::Ping);
            // An idle connection handles nothing else by which it would be seen as it is.
            let _ = connection.tell(Msg::Look);
            ping = now + ping_every;
        }
    }
}
