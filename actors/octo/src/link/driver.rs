//! What keeps a link alive: one reader, one writer, the heartbeat. A single future, owned by the `runner` actor.

use super::connect::{FromRunner, ToRunner};
use super::handle::{Inner, Queued, Queues};
use super::subscription::Item;
use bytes::BytesMut;
use octo_protocol::SessionSummary;
use octo_protocol::link::{CHUNK_BYTES, DEAD_AFTER, Decoder, Frame, HEARTBEAT, Ping, ResponseBody, encode};
use octo_protocol::{ErrorCode, ProtocolError};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::{OwnedSemaphorePermit, watch};

/// Written at once at most, when that much waits.
const WRITE_BATCH: usize = 64 * 1024;
/// Room asked for before each read.
const READ_BYTES: usize = 16 * 1024;

/// The life of a link. Dropped or ended, everything on the link has its outcome.
pub struct Driver {
    inner: Arc<Inner>,
    queues: Queues,
    halves: (FromRunner, ToRunner),
    buffer: BytesMut,
    decoder: Decoder,
    sessions: watch::Sender<Option<Arc<Vec<SessionSummary>>>>,
}

/// Ends the link however its driver ends, also by being dropped.
struct Ender(Arc<Inner>);

impl Drop for Ender {
    fn drop(&mut self) {
        self.0.end("the link was closed");
    }
}

impl Driver {
    pub(super) fn new(
        inner: Arc<Inner>,
        queues: Queues,
        halves: (FromRunner, ToRunner),
        buffer: BytesMut,
        decoder: Decoder,
        sessions: watch::Sender<Option<Arc<Vec<SessionSummary>>>>,
    ) -> Self {
        Self { inner, queues, halves, buffer, decoder, sessions }
    }

    /// Runs the link until it is lost; says why.
    pub async fn run(self) -> String {
        let Self { inner, queues, halves: (from, to), buffer, decoder, sessions } = self;
        let _ender = Ender(Arc::clone(&inner));
        let mut ended = inner.ended();
        let reader = Reader { inner: &inner, from, buffer, decoder, sessions: &sessions };
        let reason = tokio::select! {
            reason = reader.run() => reason,
            reason = write(&inner, queues, to) => reason,
            () = beat(&inner) => String::new(),
            reason = ended.wait_for(Option::is_some) => reason.ok().and_then(|r| r.as_deref().map(str::to_owned)).unwrap_or_default(),
        };
        inner.end(&reason);
        reason
    }
}

async fn beat(inner: &Inner) {
    let mut nonce = 0;
    let mut ticks = tokio::time::interval(HEARTBEAT);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        nonce += 1;
        inner.control(Frame::Ping(Ping { nonce }));
    }
}

struct Reader<'a> {
    inner: &'a Inner,
    from: FromRunner,
    buffer: BytesMut,
    decoder: Decoder,
    sessions: &'a watch::Sender<Option<Arc<Vec<SessionSummary>>>>,
}

impl Reader<'_> {
    async fn run(mut self) -> String {
        loop {
            loop {
                match self.decoder.decode(&mut self.buffer) {
                    Ok(Some(frame)) => {
                        if let Err(reason) = self.take(frame) {
                            return reason.to_owned();
                        }
                    }
                    Ok(None) => break,
                    Err(error) => return error.to_string(),
                }
            }
            self.buffer.reserve(READ_BYTES);
            match tokio::time::timeout(DEAD_AFTER, self.from.read_buf(&mut self.buffer)).await {
                Ok(Ok(0)) => return "the runner closed the link".to_owned(),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return format!("the link broke: {error}"),
                Err(_) => return format!("the runner was silent for {DEAD_AFTER:?}"),
            }
        }
    }

    fn take(&self, frame: Frame) -> Result<(), &'static str> {
        let put = |sub, item| self.inner.with_sub(sub, |entry| entry.put(item)).unwrap_or(Ok(()));
        match frame {
            Frame::Response(response) => self.inner.answer(response.id, response.body),
            Frame::Subscribed(started) => put(started.sub, Item::Started(started))?,
            Frame::Event(event) => put(event.sub, Item::Event(event))?,
            Frame::Ended(ended) => {
                if let Some(mut entry) = self.inner.take_sub(ended.sub) {
                    entry.put(Item::Ended(ended.reason))?;
                }
            }
            Frame::Sessions(sessions) => match serde_json::from_slice::<Vec<SessionSummary>>(&sessions.json) {
                Ok(list) => {
                    self.sessions.send_replace(Some(Arc::new(list)));
                }
                Err(error) => tracing::warn!(user = %self.inner.welcome.user, %error, "the runner's list of sessions cannot be read"),
            },
            Frame::Ping(ping) => self.inner.control(Frame::Pong(ping)),
            Frame::Pong(_) => {}
            Frame::Hello(_)
            | Frame::Welcome(_)
            | Frame::Refused(_)
            | Frame::Request(_)
            | Frame::Subscribe(_)
            | Frame::Credit(_)
            | Frame::Unsubscribe(_)
            | Frame::Upgrade(_)
            | Frame::Chunk(_)
            | Frame::OpenStream(_)
            | Frame::StreamData(_)
            | Frame::StreamClose(_) => return Err("the runner sent a frame that is not its to send"),
        }
        Ok(())
    }
}

/// Writes what is queued, in batches. Control frames overtake requests, also between the chunks of a large one; requests keep
/// their order among themselves, because the commands of a session do.
async fn write(inner: &Inner, mut queues: Queues, mut to: ToRunner) -> String {
    let mut out = BytesMut::new();
    let mut large: VecDeque<BytesMut> = VecDeque::new();
    let mut large_room: Option<OwnedSemaphorePermit> = None;
    let mut number = 0;
    loop {
        tokio::select! {
            biased;
            Some(frame) = queues.control.recv() => {
                inner.queued_control.fetch_sub(1, Relaxed);
                if let Err(error) = encode(&frame, &mut number, &mut out) {
                    return error.to_string();
                }
            }
            () = std::future::ready(()), if !large.is_empty() => {
                if let Some(piece) = large.pop_front() {
                    out.extend_from_slice(&piece);
                }
                if large.is_empty() {
                    large_room = None;
                }
            }
            Some(queued) = queues.requests.recv(), if large.is_empty() => {
                if let Some((pieces, room)) = put(inner, queued, &mut number, &mut out) {
                    large = pieces;
                    large_room = Some(room);
                }
            }
            else => return "closed".to_owned(),
        }
        while out.len() < WRITE_BATCH {
            if let Ok(frame) = queues.control.try_recv() {
                inner.queued_control.fetch_sub(1, Relaxed);
                if let Err(error) = encode(&frame, &mut number, &mut out) {
                    return error.to_string();
                }
            } else if large.is_empty()
                && let Ok(queued) = queues.requests.try_recv()
            {
                if let Some((pieces, room)) = put(inner, queued, &mut number, &mut out) {
                    large = pieces;
                    large_room = Some(room);
                }
            } else {
                break;
            }
        }
        if let Err(error) = to.write_all(&out).await {
            return format!("the link broke: {error}");
        }
        out.clear();
        if out.capacity() > 2 * CHUNK_BYTES {
            out = BytesMut::new();
        }
        let _ = &large_room;
    }
}

/// Encodes a request: small into `out`, large into pieces of which others may overtake each.
fn put(inner: &Inner, queued: Queued, number: &mut u32, out: &mut BytesMut) -> Option<(VecDeque<BytesMut>, OwnedSemaphorePermit)> {
    let Queued { frame, room } = queued;
    let start = out.len();
    if let Err(error) = encode(&frame, number, out) {
        if let Frame::Request(request) = frame {
            let ProtocolError { code, message } = ProtocolError::new(ErrorCode::LimitExceeded, error.to_string());
            inner.answer(request.id, ResponseBody::Err { code, message });
        }
        return None;
    }
    if out.len() - start <= CHUNK_BYTES + 4 {
        return None;
    }
    let mut rest = out.split_off(start);
    let mut pieces = VecDeque::new();
    while let Some(prefix) = rest.first_chunk::<4>() {
        let length = u32::from_be_bytes(*prefix) as usize;
        pieces.push_back(rest.split_to((4 + length).min(rest.len())));
    }
    Some((pieces, room))
}
