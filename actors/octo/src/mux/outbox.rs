//! What a connection sends besides events: responses and control frames, through a small bounded queue that has priority.

use super::commands::MAX_ANSWER_BYTES;
use super::follower::Follower;
use crate::figures::Figures;
use octo_protocol::metrics::Limit;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_tungstenite::tungstenite::Utf8Bytes;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Frames that may wait; whoever has one more waits, so that a client that does not read is not read from either.
pub const OUTBOX_FRAMES: usize = 128;
/// Bytes of those frames. The largest answer fits when nothing else waits.
pub const OUTBOX_BYTES: usize = MAX_ANSWER_BYTES + 64 * 1024;
/// A frame of so many bytes or less is never given up for want of room.
const SMALL_BYTES: usize = 16 * 1024;

/// One thing for the pump to do, in order.
pub enum Out {
    /// Send a frame. The permit of the command it answers is given back once it is written.
    Frame(Utf8Bytes, Option<OwnedSemaphorePermit>),
    /// Send the response, then follow under this key in place of whatever followed there; but for one that the client sent before it
    /// (`order`) and that took longer, which changes nothing any more.
    Attach { response: Utf8Bytes, permit: OwnedSemaphorePermit, key: String, order: u64, follower: Box<Follower> },
    /// Follow no more, then send the response. `order` as above.
    Detach { response: Utf8Bytes, permit: OwnedSemaphorePermit, key: String, order: u64 },
    /// Keep-alive.
    Ping,
}

impl Out {
    fn bytes(&self) -> usize {
        match self {
            Self::Frame(text, _) | Self::Attach { response: text, .. } | Self::Detach { response: text, .. } => text.len(),
            Self::Ping => 0,
        }
    }
}

/// A thing to do, with the room it takes while it waits.
pub struct Queued {
    pub out: Out,
    _room: Room,
}

/// Room that is taken, counted among all that is.
struct Room {
    permit: OwnedSemaphorePermit,
    figures: Arc<Figures>,
}

impl Room {
    fn new(permit: OwnedSemaphorePermit, figures: &Arc<Figures>) -> Self {
        figures.outbox.add(permit.num_permits() as u64);
        Self { permit, figures: Arc::clone(figures) }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.figures.outbox.take(self.permit.num_permits() as u64);
    }
}

/// How a connection is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closing {
    /// Sent before the close frame.
    pub farewell: Option<Utf8Bytes>,
    pub code: u16,
    pub reason: &'static str,
}

impl Closing {
    pub fn new(code: u16, reason: &'static str) -> Self {
        Self { farewell: None, code, reason }
    }

    pub fn frame(&self) -> CloseFrame {
        CloseFrame { code: self.code.into(), reason: Utf8Bytes::from_static(self.reason) }
    }
}

/// The sender's side. Clones share one queue.
#[derive(Clone)]
pub struct Outbox {
    /// Boxed, as the queue takes room for 32 of them while nothing waits.
    queue: mpsc::Sender<Box<Queued>>,
    room: Arc<Semaphore>,
    figures: Arc<Figures>,
    closing: watch::Sender<Option<Closing>>,
}

impl Outbox {
    pub fn new(figures: Arc<Figures>) -> (Self, mpsc::Receiver<Box<Queued>>) {
        let (queue, out) = mpsc::channel(OUTBOX_FRAMES);
        (Self { queue, room: Arc::new(Semaphore::new(OUTBOX_BYTES)), figures, closing: watch::Sender::new(None) }, out)
    }

    fn queued(&self, out: Out, permit: OwnedSemaphorePermit) -> Box<Queued> {
        Box::new(Queued { out, _room: Room::new(permit, &self.figures) })
    }

    /// Queues; waits for room.
    pub async fn put(&self, out: Out) {
        // Only a connection that has ended closes the queue; the room is never closed.
        let Ok(permit) = Arc::clone(&self.room).acquire_many_owned(room(&out)).await else { return };
        let _ = self.queue.send(self.queued(out, permit)).await;
    }

    /// Queues, or gives the thing back when it is large and the client has not read what is queued already.
    pub async fn put_or_give_back(&self, out: Out) -> Result<(), Out> {
        if out.bytes() > SMALL_BYTES {
            let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(room(&out)) else {
                self.figures.limits.hit(Limit::Outbox);
                return Err(out);
            };
            let _ = self.queue.send(self.queued(out, permit)).await;
        } else {
            self.put(out).await;
        }
        Ok(())
    }

    /// Queues a frame; waits for room.
    pub async fn frame(&self, frame: &impl Serialize) {
        if let Some(text) = text(frame) {
            self.put(Out::Frame(text, None)).await;
        }
    }

    /// Queues if there is room.
    pub fn offer(&self, out: Out) {
        if let Ok(permit) = Arc::clone(&self.room).try_acquire_many_owned(room(&out)) {
            let _ = self.queue.try_send(self.queued(out, permit));
        }
    }

    /// Closes the connection once what the pump has in hand is written. Only the first closing counts.
    pub fn close(&self, closing: Closing) {
        self.closing.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(closing);
            }
            first
        });
    }

    pub fn closing(&self) -> watch::Receiver<Option<Closing>> {
        self.closing.subscribe()
    }
}

/// The room that a thing takes: its bytes, or all there is.
fn room(out: &Out) -> u32 {
    u32::try_from(out.bytes().min(OUTBOX_BYTES)).unwrap_or(u32::MAX)
}

/// A frame as it goes over the wire.
pub fn text(frame: &impl Serialize) -> Option<Utf8Bytes> {
    match serde_json::to_string(frame) {
        Ok(text) => Some(text.into()),
        Err(error) => {
            tracing::error!(%error, "a frame cannot be written as JSON");
            None
        }
    }
}
