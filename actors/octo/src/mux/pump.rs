//! The one writer of a connection.
//!
//! Waits until something is there, gathers a batch (responses and control first, then the sessions in turn), feeds it and flushes once.
//! It never holds more than one batch; whoever does not read is waited for here, and nowhere else.

use super::follower::{Follower, Standing};
use super::outbox::{Closing, Out, Queued, text};
use crate::figures::Figures;
use crate::telemetry::Hop;
use crate::users::Taken;
use bytes::Bytes;
use futures_util::future::{AbortHandle, Abortable, Aborted, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, Sink, SinkExt as _, StreamExt as _};
use octo_actors::{Frame, monotonic_ns};
use octo_protocol::metrics::Limit;
use octo_protocol::mux::ServerFrame;
use octo_protocol::mux::session::ServerSession;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Frames of one batch.
pub const BATCH_FRAMES: usize = 64;
/// Bytes of one batch; the frames of one quantum may exceed it.
pub const BATCH_BYTES: usize = 256 * 1024;

/// A client that has not taken a batch after so long is shown to be behind.
const BEHIND_AFTER: Duration = Duration::from_secs(3);

/// Sessions whose newest attach or detach is remembered: more than may be attached or under way.
const MAX_ORDERS: usize = 1024;

/// What an operator sees of a connection. What is counted here is counted for the whole instance too.
pub struct Stats {
    pub figures: Arc<Figures>,
    pub sent_frames: AtomicU64,
    pub sent_bytes: AtomicU64,
    pub received_frames: AtomicU64,
    /// How often the client had to wait because it sent too much.
    pub throttled: AtomicU64,
    /// The client has not taken a batch for [`BEHIND_AFTER`].
    pub behind: AtomicBool,
    /// The client has closed the connection, or broken it.
    pub left: AtomicBool,
    pub standing: Mutex<BTreeMap<String, Standing>>,
}

impl Stats {
    pub fn new(figures: Arc<Figures>) -> Self {
        figures.connections.one();
        Self {
            figures,
            sent_frames: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            received_frames: AtomicU64::new(0),
            throttled: AtomicU64::new(0),
            behind: AtomicBool::new(false),
            left: AtomicBool::new(false),
            standing: Mutex::default(),
        }
    }

    /// A batch was written.
    fn sent(&self, frames: u64, bytes: u64) {
        self.sent_frames.fetch_add(frames, Relaxed);
        self.sent_bytes.fetch_add(bytes, Relaxed);
        self.figures.sent.add(frames);
        self.figures.sent_bytes.add(bytes);
    }

    /// A frame of the client was read.
    pub fn received(&self) {
        self.received_frames.fetch_add(1, Relaxed);
        self.figures.received.one();
    }

    /// The client has to wait.
    pub fn throttled(&self) {
        self.throttled.fetch_add(1, Relaxed);
        self.figures.limits.hit(Limit::ClientRate);
    }

    /// Where each cursor stands.
    pub fn cursors(&self) -> BTreeMap<String, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stand(&self, key: &str, standing: Option<Standing>) {
        let mut all = self.standing.lock().unwrap_or_else(PoisonError::into_inner);
        let now = standing.as_ref().map(|standing| standing.state);
        let before = match standing {
            Some(standing) => all.insert(key.to_owned(), standing),
            None => all.remove(key),
        };
        let before = before.map(|standing| standing.state);
        if before != now {
            before.inspect(|state| self.figures.cursors.of(*state).take(1));
            now.inspect(|state| self.figures.cursors.of(*state).one());
        }
    }
}

impl Drop for Stats {
    fn drop(&mut self) {
        for standing in self.standing.get_mut().unwrap_or_else(PoisonError::into_inner).values() {
            self.figures.cursors.of(standing.state).take(1);
        }
    }
}

type Turn = (String, Box<Follower>, Vec<Frame>);

/// The writer of one connection: to a socket, or to whoever takes messages at a pace of its own.
pub struct Pump<S> {
    /// The connection's name among those of its user.
    connection: Arc<str>,
    sink: S,
    out: mpsc::Receiver<Box<Queued>>,
    closing: watch::Receiver<Option<Closing>>,
    turns: FuturesUnordered<BoxFuture<'static, Result<Turn, Aborted>>>,
    followed: BTreeMap<String, AbortHandle>,
    /// The newest attach or detach of each session, as far back as an older one may still come.
    orders: BTreeMap<String, u64>,
    stats: Arc<Stats>,
}

/// The socket is broken; nobody is left to tell.
struct Broken;

impl<S: Sink<Message> + Unpin> Pump<S> {
    pub fn new(
        connection: Arc<str>,
        sink: S,
        out: mpsc::Receiver<Box<Queued>>,
        closing: watch::Receiver<Option<Closing>>,
        stats: Arc<Stats>,
    ) -> Self {
        Self { connection, sink, out, closing, turns: FuturesUnordered::new(), followed: BTreeMap::new(), orders: BTreeMap::new(), stats }
    }

    /// Writes until the connection is closed, by us or by the peer. `look`: the client has fallen behind, or has caught up.
    pub async fn run(mut self, look: impl Fn()) {
        let stats = Arc::clone(&self.stats);
        let closing = loop {
            let first = self.first().await;
            // On the heap while it lasts: most connections only wait for something to send.
            let mut sending = Box::pin(self.batch(first));
            let sent = match tokio::time::timeout(BEHIND_AFTER, sending.as_mut()).await {
                Ok(sent) => sent,
                Err(_) => {
                    stats.behind.store(true, Relaxed);
                    look();
                    let sent = sending.await;
                    stats.behind.store(false, Relaxed);
                    look();
                    sent
                }
            };
            match sent {
                Ok(None) => {}
                Ok(Some(closing)) => break closing,
                Err(Broken) => return,
            }
        };
        if let Some(farewell) = &closing.farewell {
            let _ = self.sink.feed(Message::Text(farewell.clone())).await;
        }
        let _ = self.sink.send(Message::Close(Some(closing.frame()))).await;
    }

    /// Waits for something to send.
    async fn first(&mut self) -> First {
        tokio::select! {
            biased;
            closing = closing(&mut self.closing) => First::Close(closing),
            out = self.out.recv() => out.map_or_else(|| First::Close(Closing::new(1001, "going away")), First::Out),
            Some(turn) = self.turns.next(), if !self.turns.is_empty() => First::Turn(turn),
        }
    }

    /// Sends one batch.
    async fn batch(&mut self, first: First) -> Result<Option<Closing>, Broken> {
        let mut batch = Batch::default();
        match first {
            First::Out(out) => self.act(out, &mut batch).await?,
            First::Turn(turn) => self.take(turn, &mut batch).await?,
            First::Close(closing) => {
                // What was said before the close is still said.
                while let Ok(out) = self.out.try_recv() {
                    self.act(out, &mut batch).await?;
                }
                return Ok(Some(closing));
            }
        }
        while !batch.full() {
            if let Ok(out) = self.out.try_recv() {
                self.act(out, &mut batch).await?;
            } else if let Some(Some(turn)) = self.turns.next().now_or_never() {
                self.take(turn, &mut batch).await?;
            } else {
                break;
            }
        }
        self.sink.flush().await.map_err(|_| Broken)?;
        batch.traced.drain(..).for_each(Hop::written);
        if !batch.taken.is_empty() {
            let written = monotonic_ns();
            batch.taken.drain(..).for_each(|taken| taken.written(&self.connection, written));
        }
        self.stats.sent(batch.frames as u64, batch.bytes as u64);
        Ok(None)
    }

    async fn act(&mut self, queued: Box<Queued>, batch: &mut Batch) -> Result<(), Broken> {
        let Queued { out, .. } = *queued;
        match out {
            Out::Frame(text, _permit) => self.feed(text, batch).await,
            Out::Attach { response, permit: _permit, key, order, follower } => {
                self.feed(response, batch).await?;
                if !self.is_newest(&key, order) {
                    return Ok(());
                }
                self.let_go(&key);
                self.stats.stand(&key, Some(follower.standing()));
                self.follow(key, follower);
                Ok(())
            }
            Out::Detach { response, permit: _permit, key, order } => {
                if self.is_newest(&key, order) {
                    self.let_go(&key);
                }
                self.feed(response, batch).await
            }
            Out::Ping => {
                let ping = text(&ServerFrame::Session(ServerSession::Ping));
                if let Some(ping) = ping {
                    self.feed(ping, batch).await?;
                }
                self.sink.feed(Message::Ping(Bytes::new())).await.map_err(|_| Broken)
            }
        }
    }

    /// A follower's frames; then it is asked for the next ones.
    async fn take(&mut self, turn: Result<Turn, Aborted>, batch: &mut Batch) -> Result<(), Broken> {
        let Ok((key, follower, frames)) = turn else { return Ok(()) };
        if frames.is_empty() {
            self.let_go(&key);
            return Ok(());
        }
        batch.taken.extend(follower.taken(&frames));
        self.stats.figures.deliveries.of(follower.gave()).add(frames.len() as u64);
        for frame in frames {
            batch.urgent |= frame.urgent;
            batch.traced.extend(follower.traced(&frame));
            // From the runner's JSON, checked to be UTF-8 when it was wrapped.
            if let Ok(text) = Utf8Bytes::try_from(frame.bytes) {
                self.feed(text, batch).await?;
            }
        }
        self.stats.stand(&key, Some(follower.standing()));
        self.follow(key, follower);
        Ok(())
    }

    /// Whether no later attach or detach of this session was carried out before this one.
    fn is_newest(&mut self, key: &str, order: u64) -> bool {
        if self.orders.get(key).is_some_and(|newest| *newest > order) {
            return false;
        }
        self.orders.insert(key.to_owned(), order);
        if self.orders.len() > MAX_ORDERS {
            // Of a client that attaches to ever other sessions: what it sent first has been answered long since.
            let oldest = self.orders.iter().min_by_key(|(_, order)| **order).map(|(key, _)| key.clone());
            oldest.map(|key| self.orders.remove(&key));
        }
        true
    }

    async fn feed(&mut self, text: Utf8Bytes, batch: &mut Batch) -> Result<(), Broken> {
        batch.frames += 1;
        batch.bytes += text.len();
        self.sink.feed(Message::Text(text)).await.map_err(|_| Broken)
    }

    fn follow(&mut self, key: String, mut follower: Box<Follower>) {
        let (abort, registration) = AbortHandle::new_pair();
        self.followed.insert(key.clone(), abort);
        let turn = async move {
            let frames = follower.next().await;
            (key, follower, frames)
        };
        self.turns.push(Abortable::new(turn, registration).boxed());
    }

    fn let_go(&mut self, key: &str) {
        if let Some(abort) = self.followed.remove(key) {
            abort.abort();
        }
        self.stats.stand(key, None);
    }
}

/// What a batch begins with.
enum First {
    Close(Closing),
    Out(Box<Queued>),
    Turn(Result<Turn, Aborted>),
}

async fn closing(asked: &mut watch::Receiver<Option<Closing>>) -> Closing {
    let asked = asked.wait_for(Option::is_some).await;
    asked.ok().and_then(|closing| closing.clone()).unwrap_or_else(|| Closing::new(1001, "going away"))
}

#[derive(Default)]
struct Batch {
    frames: usize,
    bytes: usize,
    urgent: bool,
    traced: Vec<Hop>,
    taken: Vec<Taken>,
}

impl Batch {
    fn full(&self) -> bool {
        self.urgent || self.frames >= BATCH_FRAMES || self.bytes >= BATCH_BYTES
    }
}
