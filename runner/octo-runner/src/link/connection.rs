//! One connection: its handshake, its reader, and all that belongs to it and ends with it.

use super::credit::Credit;
use super::outbound::{QUEUE, write};
use super::requests::Requests;
use super::subscription::{Subscription, begin};
use super::{MAX_SUBSCRIPTIONS, PeerGuard, Serving, handshake};
use crate::upgrade::Asked;
use bytes::BytesMut;
use octo_actors::{Actor, Ctx, Failure};
use octo_protocol::ErrorCode;
use octo_protocol::link::{
    Credit as CreditFrame, DEAD_AFTER, Decoder, EndReason, Ended, Frame, HEARTBEAT, LinkError, Ping, Refused, Sessions, StreamClose,
    Subscribe,
};
use octo_protocol::metrics::Limit;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};

/// How long a peer may take for its first frame.
const HELLO_PATIENCE: Duration = Duration::from_secs(5);
/// The list of sessions is sent at most this often.
const SESSIONS_INTERVAL: Duration = Duration::from_millis(100);

/// What a connection needs.
pub struct ConnectionArgs {
    pub number: u64,
    pub serving: Serving,
    /// Whether the peer may use this runner; its uid when not.
    pub admitted: Result<(), u32>,
    pub stream: Option<UnixStream>,
}

/// What a connection is told.
pub enum ConnectionMsg {
    Closed(String),
}

/// The actor of one connection.
pub struct Connection {
    frames: Arc<AtomicU64>,
}

#[derive(Debug, thiserror::Error)]
enum Over {
    #[error("the peer closed it")]
    Closed,
    #[error("the peer was silent for {DEAD_AFTER:?}")]
    Silent,
    #[error("uid {0} is not served here")]
    NotAdmitted(u32),
    #[error("it was refused: {0}")]
    Refused(String),
    #[error(transparent)]
    Malformed(#[from] LinkError),
    #[error("the peer's first frame was no hello")]
    NoHello,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Actor for Connection {
    type Msg = ConnectionMsg;
    type Args = ConnectionArgs;

    async fn start(args: ConnectionArgs, ctx: &Ctx<ConnectionMsg>) -> Result<Self, Failure> {
        let stream = args.stream.ok_or("the connection was taken before")?;
        let frames = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&frames);
        ctx.spawn_task(async move {
            let (from, to) = stream.into_split();
            let over = match args.admitted {
                Ok(()) => converse(args.number, args.serving, from, to, &counter).await,
                Err(uid) => turn_away(uid, to).await,
            };
            ConnectionMsg::Closed(over.to_string())
        })?;
        Ok(Self { frames })
    }

    async fn handle(&mut self, message: ConnectionMsg, ctx: &Ctx<ConnectionMsg>) -> Result<(), Failure> {
        let ConnectionMsg::Closed(why) = message;
        tracing::info!(path = %ctx.path(), %why, "a connection has ended");
        ctx.stop();
        Ok(())
    }

    fn inspect(&self) -> Value {
        json!({ "frames_received": self.frames.load(Relaxed) })
    }
}

struct Incoming<R> {
    half: R,
    buffer: BytesMut,
    decoder: Decoder,
}

impl<R: AsyncRead + Unpin> Incoming<R> {
    async fn next(&mut self, patience: Duration) -> Result<Frame, Over> {
        loop {
            if let Some(frame) = self.decoder.decode(&mut self.buffer)? {
                return Ok(frame);
            }
            self.buffer.reserve(4096);
            match tokio::time::timeout(patience, self.half.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return Err(Over::Closed),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(Over::Silent),
            }
        }
    }
}

/// Serves a connection until it ends, over whatever carries its bytes; says why it ended. `number` is its own among this runner's connections.
/// Whoever calls this has made sure that the peer may use the runner.
pub async fn serve<R, W>(number: u64, serving: Serving, from: R, to: W) -> String
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    converse(number, serving, from, to, &AtomicU64::new(0)).await.to_string()
}

async fn turn_away(uid: u32, to: impl AsyncWrite + Unpin) -> Over {
    let (out, queue) = mpsc::channel(1);
    let reason = format!("uid {uid} may not use this runner; only its server may");
    let _ = out.try_send(Frame::Refused(Refused { code: ErrorCode::PermissionDenied, reason }));
    drop(out);
    let _ = tokio::time::timeout(Duration::from_secs(1), write(to, queue)).await;
    Over::NotAdmitted(uid)
}

async fn converse<R, W>(number: u64, serving: Serving, from: R, to: W, frames: &AtomicU64) -> Over
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (out, queue) = mpsc::channel(QUEUE);
    let mut tasks = JoinSet::new();
    let writer = tokio::spawn(write(to, queue));
    let mut incoming = Incoming { half: from, buffer: BytesMut::new(), decoder: Decoder::default() };
    let over = match greet(number, &serving, &mut incoming, &out).await {
        Ok(guard) => {
            let mut served = Served {
                requests: Requests::new(serving.clone(), out.clone()),
                serving,
                out: out.clone(),
                subscriptions: HashMap::new(),
                peer: guard,
            };
            served.begin(&mut tasks);
            served.run(&mut incoming, &mut tasks, frames, &writer.abort_handle()).await
        }
        Err(over) => over,
    };
    // Everything that belongs to the connection ends here; what is queued is still written.
    tasks.shutdown().await;
    drop(out);
    let _ = tokio::time::timeout(Duration::from_secs(1), writer).await;
    over
}

async fn greet<R: AsyncRead + Unpin>(
    number: u64,
    serving: &Serving,
    incoming: &mut Incoming<R>,
    out: &mpsc::Sender<Frame>,
) -> Result<Option<PeerGuard>, Over> {
    let Frame::Hello(hello) = incoming.next(HELLO_PATIENCE).await? else { return Err(Over::NoHello) };
    match handshake::answer(&hello, number, serving) {
        Ok((welcome, guard)) => {
            tracing::info!(connection = number, software = %hello.software, instance = %hello.instance, version = welcome.version, "connected");
            out.send(Frame::Welcome(welcome)).await.map_err(|_| Over::Closed)?;
            Ok(guard)
        }
        Err(refused) => {
            let reason = refused.reason.clone();
            let _ = out.send(Frame::Refused(refused)).await;
            Err(Over::Refused(reason))
        }
    }
}

struct Running {
    credit: Arc<Credit>,
    task: AbortHandle,
}

/// A connection after its handshake.
struct Served {
    serving: Serving,
    out: mpsc::Sender<Frame>,
    requests: Requests,
    subscriptions: HashMap<u32, Running>,
    /// Nothing for an operator, who is no control plane.
    peer: Option<PeerGuard>,
}

impl Served {
    fn begin(&self, tasks: &mut JoinSet<()>) {
        let out = self.out.clone();
        tasks.spawn(async move {
            let mut ticks = tokio::time::interval(HEARTBEAT);
            for nonce in 1.. {
                ticks.tick().await;
                if out.send(Frame::Ping(Ping { nonce })).await.is_err() {
                    return;
                }
            }
        });
        let (out, registry) = (self.out.clone(), self.serving.registry.clone());
        tasks.spawn(async move {
            let mut changes = registry.changes();
            loop {
                changes.borrow_and_update();
                let json = serde_json::to_vec(&registry.list()).unwrap_or_else(|_| b"[]".to_vec());
                if out.send(Frame::Sessions(Sessions { json })).await.is_err() || changes.changed().await.is_err() {
                    return;
                }
                tokio::time::sleep(SESSIONS_INTERVAL).await;
            }
        });
    }

    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        incoming: &mut Incoming<R>,
        tasks: &mut JoinSet<()>,
        frames: &AtomicU64,
        writer: &AbortHandle,
    ) -> Over {
        loop {
            if writer.is_finished() {
                return Over::Closed;
            }
            let frame = match incoming.next(DEAD_AFTER).await {
                Ok(frame) => frame,
                Err(over) => return over,
            };
            frames.fetch_add(1, Relaxed);
            while tasks.try_join_next().is_some() {}
            if let Err(over) = self.frame(frame, tasks).await {
                return over;
            }
        }
    }

    async fn frame(&mut self, frame: Frame, tasks: &mut JoinSet<()>) -> Result<(), Over> {
        if self.peer.is_none() && matches!(frame, Frame::Request(_) | Frame::Subscribe(_)) {
            return Err(self.refuse(ErrorCode::PermissionDenied, "an operator's connection asks for upgrades only"));
        }
        match frame {
            Frame::Request(request) => self.requests.take(request, tasks).await,
            Frame::Subscribe(wanted) => self.subscribe(&wanted, tasks),
            Frame::Credit(CreditFrame { sub, bytes }) => {
                if let Some(running) = self.subscriptions.get(&sub) {
                    running.credit.add(bytes);
                }
            }
            Frame::Unsubscribe(wanted) => {
                if let Some(running) = self.subscriptions.remove(&wanted.sub) {
                    running.task.abort();
                    self.later(Frame::Ended(Ended { sub: wanted.sub, reason: EndReason::Unsubscribed }), tasks);
                }
            }
            // Its answer may be dropped when the peer does not read: then it hears nothing anyway.
            Frame::Ping(ping) => drop(self.out.try_send(Frame::Pong(ping))),
            Frame::Pong(_) => {}
            Frame::OpenStream(_) => {
                let error = Some("this runner has no streams of its own yet; terminals and files are not served over the link".to_owned());
                self.later(Frame::StreamClose(StreamClose { error }), tasks);
            }
            Frame::Upgrade(wanted) => {
                self.upgrade(wanted.binary, tasks);
            }
            Frame::StreamData(_) | Frame::StreamClose(_) => {}
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::Response(_)
            | Frame::Subscribed(_)
            | Frame::Event(_)
            | Frame::Ended(_)
            | Frame::Sessions(_)
            | Frame::Chunk(_) => return Err(self.refuse(ErrorCode::InvalidRequest, "a frame came that only a runner sends")),
        }
        Ok(())
    }

    fn subscribe(&mut self, wanted: &Subscribe, tasks: &mut JoinSet<()>) {
        self.subscriptions.retain(|_, running| !running.task.is_finished());
        let entry = self.serving.registry.get(wanted.session.as_str());
        let refused = |reason| Frame::Ended(Ended { sub: wanted.sub, reason });
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            self.serving.registry.shared().figures.limits.hit(Limit::LinkSubscriptions);
            return self.later(refused(EndReason::LimitExceeded), tasks);
        }
        let (log, counted) = match (begin(wanted, entry.as_ref()), entry.as_ref()) {
            (Ok(log), Some(entry)) => (log, entry.subscribed()),
            (Err(reason), _) => return self.later(refused(reason), tasks),
            (Ok(_), None) => return self.later(refused(EndReason::NoSession), tasks),
        };
        let credit = Arc::new(Credit::new(wanted.credit));
        let subscription = Subscription {
            sub: wanted.sub,
            after: wanted.after,
            until: wanted.until,
            credit: Arc::clone(&credit),
            journal: self.serving.registry.shared().journal.clone(),
            log,
            out: self.out.clone(),
            counted: Some(counted),
        };
        let task = tasks.spawn(subscription.run());
        // A number that is used again takes the place of the one before.
        if let Some(before) = self.subscriptions.insert(wanted.sub, Running { credit, task }) {
            before.task.abort();
        }
    }

    /// The end of the connection is the answer when the runner is replaced.
    fn upgrade(&self, binary: String, tasks: &mut JoinSet<()>) {
        let (answer, refused) = oneshot::channel();
        let binary = (!binary.is_empty()).then(|| binary.into());
        if self.serving.upgrades.try_send(Asked { binary, answer }).is_err() {
            let reason = "an upgrade of this runner is under way; wait for it".to_owned();
            return self.later(Frame::Refused(Refused { code: ErrorCode::Busy, reason }), tasks);
        }
        let out = self.out.clone();
        tasks.spawn(async move {
            if let Ok(error) = refused.await {
                let _ = out.send(Frame::Refused(Refused { code: error.code, reason: error.message })).await;
            }
        });
    }

    /// Tells the peer why its connection ends. One that does not even read what it was sent is not waited for.
    fn refuse(&self, code: ErrorCode, reason: &str) -> Over {
        let _ = self.out.try_send(Frame::Refused(Refused { code, reason: reason.to_owned() }));
        Over::Refused(reason.to_owned())
    }

    /// Sends without making the reader wait for a peer that does not read.
    fn later(&self, frame: Frame, tasks: &mut JoinSet<()>) {
        if let Err(mpsc::error::TrySendError::Full(frame)) = self.out.try_send(frame) {
            let out = self.out.clone();
            tasks.spawn(async move { drop(out.send(frame).await) });
        }
    }
}
