//! Length-prefixed framing: four bytes of length, big endian, then postcard. Pure: bytes in, frames out.

use super::{CHUNK_BYTES, Chunk, Frame, MAX_FRAME_BYTES, MAX_MESSAGE_BYTES, MAX_OPEN_MESSAGES};
use bytes::{Buf, BufMut, BytesMut};
use std::collections::HashMap;

/// Why bytes from the peer are not frames. The link is given up: what follows cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    #[error("a link frame of {0} bytes is over the limit of {MAX_FRAME_BYTES}; the peer is not octo or speaks another version")]
    FrameTooLarge(usize),
    #[error("a link message in chunks is over the limit of {MAX_MESSAGE_BYTES} bytes")]
    MessageTooLarge,
    #[error("more than {MAX_OPEN_MESSAGES} link messages in chunks are under way")]
    TooManyMessages,
    #[error("a chunk holds another chunk")]
    NestedChunk,
    #[error("a link frame cannot be read: {0}; the peer is not octo or speaks another version")]
    Malformed(String),
    #[error("a link frame cannot be written: {0}")]
    Unwritable(String),
}

/// Appends `frame` to `out`, in chunks when it is large. `message` numbers this link's messages in chunks; it advances.
///
/// # Errors
/// [`LinkError::MessageTooLarge`] when the frame exceeds [`MAX_MESSAGE_BYTES`]; nothing was appended then.
pub fn encode(frame: &Frame, message: &mut u32, out: &mut BytesMut) -> Result<(), LinkError> {
    let start = out.len();
    put(frame, out)?;
    let encoded = out.len() - start - 4;
    if encoded <= CHUNK_BYTES {
        return Ok(());
    }
    if encoded > MAX_MESSAGE_BYTES {
        out.truncate(start);
        return Err(LinkError::MessageTooLarge);
    }
    let body = out.split_off(start);
    let number = *message;
    *message = message.wrapping_add(1);
    let mut pieces = body[4..].chunks(CHUNK_BYTES).peekable();
    while let Some(piece) = pieces.next() {
        put(&Frame::Chunk(Chunk { message: number, last: pieces.peek().is_none(), data: piece.to_vec() }), out)?;
    }
    Ok(())
}

fn put(frame: &Frame, out: &mut BytesMut) -> Result<(), LinkError> {
    let start = out.len();
    out.put_u32(0);
    let mut writer = out.writer();
    let written = postcard::to_io(frame, &mut writer).map(|_| ());
    if let Err(error) = written {
        out.truncate(start);
        return Err(LinkError::Unwritable(error.to_string()));
    }
    let length = u32::try_from(out.len() - start - 4).map_err(|_| LinkError::MessageTooLarge);
    match length {
        Ok(length) => {
            out[start..start + 4].copy_from_slice(&length.to_be_bytes());
            Ok(())
        }
        Err(error) => {
            out.truncate(start);
            Err(error)
        }
    }
}

/// Takes frames out of a stream of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    open: HashMap<u32, Vec<u8>>,
    open_bytes: usize,
}

impl Decoder {
    /// The next whole frame of `buffer`, which is advanced past it; `None` when more bytes are needed.
    ///
    /// # Errors
    /// [`LinkError`] when the bytes are not frames of this protocol, or a limit is exceeded.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, LinkError> {
        loop {
            if buffer.len() < 4 {
                return Ok(None);
            }
            let length = u32::from_be_bytes([buffer[0], buffer[1], buffer[2], buffer[3]]) as usize;
            if length > MAX_FRAME_BYTES {
                return Err(LinkError::FrameTooLarge(length));
            }
            if buffer.len() < 4 + length {
                buffer.reserve(4 + length - buffer.len());
                return Ok(None);
            }
            let parsed = parse(&buffer[4..4 + length]);
            buffer.advance(4 + length);
            match parsed? {
                Frame::Chunk(chunk) => {
                    if let Some(frame) = self.gather(chunk)? {
                        return Ok(Some(frame));
                    }
                }
                frame => return Ok(Some(frame)),
            }
        }
    }

    fn gather(&mut self, chunk: Chunk) -> Result<Option<Frame>, LinkError> {
        if !self.open.contains_key(&chunk.message) && self.open.len() >= MAX_OPEN_MESSAGES {
            return Err(LinkError::TooManyMessages);
        }
        self.open_bytes += chunk.data.len();
        if self.open_bytes > MAX_MESSAGE_BYTES + CHUNK_BYTES {
            return Err(LinkError::MessageTooLarge);
        }
        let message = self.open.entry(chunk.message).or_default();
        message.extend_from_slice(&chunk.data);
        if !chunk.last {
            return Ok(None);
        }
        let message = self.open.remove(&chunk.message).unwrap_or_default();
        self.open_bytes -= message.len();
        match parse(&message)? {
            Frame::Chunk(_) => Err(LinkError::NestedChunk),
            frame => Ok(Some(frame)),
        }
    }
}

fn parse(body: &[u8]) -> Result<Frame, LinkError> {
    match postcard::take_from_bytes::<Frame>(body) {
        Ok((frame, [])) => Ok(frame),
        Ok((_, rest)) => Err(LinkError::Malformed(format!("{} bytes are left over", rest.len()))),
        Err(error) => Err(LinkError::Malformed(error.to_string())),
    }
}
