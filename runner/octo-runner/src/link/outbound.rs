//! The one task that writes to a connection: it alone owns the framing.

use bytes::BytesMut;
use octo_protocol::link::{DEAD_AFTER, Frame, LinkError, encode};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Frames that may wait for the writer; beyond it their senders wait.
pub(super) const QUEUE: usize = 256;
/// Bytes that are written at once at most, unless one frame is larger.
const BATCH_BYTES: usize = 256 * 1024;
/// Room that an idle connection keeps.
const IDLE_ROOM: usize = 16 * 1024;

/// Writes until the queue is closed or the peer is gone. Many frames go in one write.
pub(super) async fn write(mut half: impl AsyncWrite + Unpin, mut queue: mpsc::Receiver<Frame>) {
    let mut message = 0;
    let mut buffer = BytesMut::with_capacity(IDLE_ROOM);
    while let Some(frame) = queue.recv().await {
        put(&frame, &mut message, &mut buffer);
        while buffer.len() < BATCH_BYTES {
            let Ok(frame) = queue.try_recv() else { break };
            put(&frame, &mut message, &mut buffer);
        }
        // A peer that reads nothing for so long is as dead as one that says nothing.
        match tokio::time::timeout(DEAD_AFTER, half.write_all(&buffer)).await {
            Ok(Ok(())) => buffer.clear(),
            Ok(Err(_)) | Err(_) => return,
        }
        if buffer.capacity() > BATCH_BYTES * 2 {
            buffer = BytesMut::with_capacity(IDLE_ROOM);
        }
    }
    let _ = half.shutdown().await;
}

fn put(frame: &Frame, message: &mut u32, buffer: &mut BytesMut) {
    if let Err(error) = encode(frame, message, buffer) {
        tracing::error!(%error, "a frame cannot be sent");
        if let (Frame::Response(response), LinkError::MessageTooLarge) = (frame, &error) {
            let body = octo_protocol::link::ResponseBody::Err {
                code: octo_protocol::ErrorCode::LimitExceeded,
                message: "the answer is too large for the link; ask for less".to_owned(),
            };
            let _ = encode(&Frame::Response(octo_protocol::link::Response { id: response.id, body }), message, buffer);
        }
    }
}
