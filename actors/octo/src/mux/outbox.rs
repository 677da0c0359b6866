//! What a connection sends besides events: responses and control frames, through a small bounded queue that has priority.

use super::follower::Follower;
use axum::extract::ws::{CloseFrame, Utf8Bytes};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};

/// Frames that may wait; whoever has one more waits, so that a client that does not read is not read from either.
pub const OUTBOX_FRAMES: usize = 128;

/// One thing for the pump to do, in order.
pub enum Out {
    /// Send a frame. The permit of the command it answers is given back once it is written.
    Frame(Utf8Bytes, Option<OwnedSemaphorePermit>),
    /// Send the response, then follow under this key in place of whatever followed there.
    Attach { response: Utf8Bytes, permit: OwnedSemaphorePermit, key: String, follower: Box<Follower> },
    /// Follow no more, then send the response.
    Detach { response: Utf8Bytes, permit: OwnedSemaphorePermit, key: String },
    /// Keep-alive.
    Ping,
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
        CloseFrame { code: self.code, reason: Utf8Bytes::from_static(self.reason) }
    }
}

/// The sender's side. Clones share one queue.
#[derive(Clone)]
pub struct Outbox {
    /// Boxed, as the queue takes room for 32 of them while nothing waits.
    queue: mpsc::Sender<Box<Out>>,
    closing: watch::Sender<Option<Closing>>,
}

impl Outbox {
    pub fn new() -> (Self, mpsc::Receiver<Box<Out>>) {
        let (queue, out) = mpsc::channel(OUTBOX_FRAMES);
        (Self { queue, closing: watch::Sender::new(None) }, out)
    }

    /// Queues; waits for room.
    pub async fn put(&self, out: Out) {
        // A pump that is gone has closed the connection.
        let _ = self.queue.send(Box::new(out)).await;
    }

    /// Queues a frame; waits for room.
    pub async fn frame(&self, frame: &impl Serialize) {
        if let Some(text) = text(frame) {
            self.put(Out::Frame(text, None)).await;
        }
    }

    /// Queues if there is room.
    pub fn offer(&self, out: Out) {
        let _ = self.queue.try_send(Box::new(out));
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
