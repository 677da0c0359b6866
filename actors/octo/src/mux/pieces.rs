//! Large frames of a client, handed on in pieces.
//!
//! The WebSocket library keeps a buffer as large as the largest frame it ever read, for as long as the connection lives. What it reads here are
//! frames of [`PIECE`] bytes at most: a larger one becomes a first piece and its continuations (RFC 6455, 5.4), which say the same. The message
//! grows as it arrives, and is gone once it was read.
//!
//! Everything else passes as it is: small frames, control frames, frames that break the rules, and frames beyond all limits, which the library
//! refuses by their header. A message that the client itself cuts into crumbs is refused: each would cost as much as a frame and count as none.

use octo_protocol::mux::MAX_FRAME_BYTES;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Bytes of a piece: a multiple of four, so that the mask begins anew where it would have gone on.
pub const PIECE: usize = 16 * 1024;
/// Bytes that are read at once where a header may follow; less than a piece.
const READ_BYTES: usize = 4 * 1024;
/// A large frame that arrives is a sign of life for each of so many pieces.
const SIGN_OF_LIFE: u32 = 4;
/// Continuations of fewer bytes are crumbs; browsers and libraries that cut messages make pieces of many times that.
const CRUMB: u64 = 1024;
/// Crumbs of one message.
pub const MAX_CRUMBS: u32 = 64;
const MAX_HEADER: usize = 14;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const CONTROL: u8 = 0x08;
const KIND: u8 = 0x0f;

/// A socket whose large frames come in pieces.
pub struct Pieces<S, F> {
    inner: S,
    place: Place,
    /// Headers to be handed on before anything else.
    ready: Header,
    /// The beginning of a header.
    held: Header,
    /// Of the message that arrives.
    crumbs: u32,
    sign_of_life: F,
}

/// Some bytes of a header, or of what stands for one.
#[derive(Default)]
struct Header {
    bytes: [u8; MAX_HEADER],
    len: usize,
}

#[derive(Clone, Copy)]
enum Place {
    Header,
    /// In a payload that passes as it is.
    Payload(u64),
    Large(Large),
}

/// In a frame that is handed on in pieces.
#[derive(Clone, Copy)]
struct Large {
    /// Of the frame.
    left: u64,
    /// Of the piece.
    piece: usize,
    /// Whether the frame ends its message.
    ends: u8,
    mask: [u8; 4],
    pieces: u32,
}

struct Parsed {
    first: u8,
    size: usize,
    length: u64,
    /// Kind of frame and mask, where it is one to be handed on in pieces.
    large: Option<(u8, [u8; 4])>,
}

impl Header {
    fn of(parts: &[&[u8]]) -> Self {
        let mut header = Self::default();
        for part in parts {
            header.push(part);
        }
        header
    }

    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.bytes[self.len..];
        let n = bytes.len().min(room.len());
        room[..n].copy_from_slice(&bytes[..n]);
        self.len += n;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Hands on what fits.
    fn give(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.len.min(buf.remaining());
        buf.put_slice(&self.bytes[..n]);
        self.bytes.copy_within(n..self.len, 0);
        self.len -= n;
    }

    /// The header of one piece.
    fn of_piece(first: u8, length: usize, mask: [u8; 4]) -> Self {
        match u8::try_from(length) {
            Ok(short) if short < 126 => Self::of(&[&[first, MASKED | short], &mask]),
            _ => Self::of(&[&[first, MASKED | 126], &u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes(), &mask]),
        }
    }
}

/// Reads a header; how many bytes it takes at least when there are too few.
fn parse(bytes: &[u8]) -> Result<Parsed, usize> {
    let [first, second, ..] = *bytes else { return Err(2) };
    let masked = second & MASKED != 0;
    let extended = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    let size = 2 + extended + if masked { 4 } else { 0 };
    if bytes.len() < size {
        return Err(size);
    }
    let length = match extended {
        0 => u64::from(second & 0x7f),
        _ => bytes[2..2 + extended].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    let splits = masked && first & CONTROL == 0 && length > PIECE as u64 && length <= MAX_FRAME_BYTES as u64;
    let mask = bytes[size.saturating_sub(4)..size].first_chunk().copied().unwrap_or_default();
    Ok(Parsed { first, size, length, large: splits.then_some((first, mask)) })
}

impl<S, F> Pieces<S, F> {
    /// In front of the first frame. `sign_of_life` is called while a large frame arrives.
    pub fn new(inner: S, sign_of_life: F) -> Self {
        Self { inner, place: Place::Header, ready: Header::default(), held: Header::default(), crumbs: 0, sign_of_life }
    }

    /// Counts a frame that passes as it is.
    fn count(&mut self, first: u8, length: u64) {
        match first & KIND {
            0 if length < CRUMB => self.crumbs += 1,
            1..CONTROL => self.crumbs = 0,
            _ => {}
        }
    }

    /// Looks through `bytes` that were read where a header may follow; how many of them are to be handed on now.
    fn look(&mut self, bytes: &mut [u8]) -> usize {
        let mut at = 0;
        loop {
            match self.place {
                Place::Payload(left) => {
                    let n = left.min((bytes.len() - at) as u64);
                    at += usize::try_from(n).unwrap_or(usize::MAX);
                    if left > n {
                        self.place = Place::Payload(left - n);
                        return at;
                    }
                    self.place = Place::Header;
                }
                Place::Header if at == bytes.len() => return at,
                Place::Header => match parse(&bytes[at..]) {
                    Err(_) => {
                        self.held = Header::of(&[&bytes[at..]]);
                        return at;
                    }
                    Ok(Parsed { first, size, length, large: None }) => {
                        self.count(first, length);
                        at += size;
                        self.place = Place::Payload(length);
                    }
                    Ok(Parsed { size, length, large: Some((first, mask)), .. }) => {
                        // The header of the first piece is shorter than the one it stands for.
                        let header = Header::of_piece(first & !FINAL, PIECE, mask);
                        let payload = bytes.len() - at - size;
                        bytes[at..at + header.len].copy_from_slice(header.bytes());
                        bytes.copy_within(at + size.., at + header.len);
                        let left = length - payload as u64;
                        self.place = Place::Large(Large { left, piece: PIECE - payload, ends: first & FINAL, mask, pieces: 0 });
                        return at + header.len + payload;
                    }
                },
                Place::Large(_) => return at,
            }
        }
    }

    /// A header that was put together from several reads.
    fn begin(&mut self, parsed: &Parsed) {
        let held = std::mem::take(&mut self.held);
        match parsed.large {
            None => {
                self.count(parsed.first, parsed.length);
                self.ready = held;
                self.place = if parsed.length == 0 { Place::Header } else { Place::Payload(parsed.length) };
            }
            Some((first, mask)) => {
                self.ready = Header::of_piece(first & !FINAL, PIECE, mask);
                self.place = Place::Large(Large { left: parsed.length, piece: PIECE, ends: first & FINAL, mask, pieces: 0 });
            }
        }
    }
}

impl<S: AsyncRead + Unpin, F: Fn() + Unpin> AsyncRead for Pieces<S, F> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.crumbs > MAX_CRUMBS {
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "a message in crumbs")));
            }
            if this.ready.len > 0 {
                this.ready.give(buf);
                return Poll::Ready(Ok(()));
            }
            if this.held.len > 0 {
                let need = match parse(this.held.bytes()) {
                    Ok(parsed) => {
                        this.begin(&parsed);
                        continue;
                    }
                    Err(need) => need,
                };
                let mut few = [0; MAX_HEADER];
                let mut few = ReadBuf::new(&mut few[..need - this.held.len]);
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut few))?;
                if few.filled().is_empty() {
                    // The end, in the middle of a header: the library shall see as much.
                    this.ready = std::mem::take(&mut this.held);
                    if this.ready.len == 0 {
                        return Poll::Ready(Ok(()));
                    }
                } else {
                    this.held.push(few.filled());
                }
                continue;
            }
            if let Place::Large(large) = &mut this.place {
                if large.left == 0 {
                    this.place = Place::Header;
                    continue;
                }
                if large.piece == 0 {
                    let length = large.left.min(PIECE as u64);
                    let first = if large.left == length { large.ends } else { 0 };
                    large.piece = usize::try_from(length).unwrap_or(PIECE);
                    large.pieces += 1;
                    this.ready = Header::of_piece(first, large.piece, large.mask);
                    if large.pieces.is_multiple_of(SIGN_OF_LIFE) {
                        (this.sign_of_life)();
                    }
                    continue;
                }
                let n = large.piece.min(buf.remaining());
                let mut part = ReadBuf::new(buf.initialize_unfilled_to(n));
                ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
                let n = part.filled().len();
                buf.advance(n);
                large.piece -= n;
                large.left -= n as u64;
                return Poll::Ready(Ok(()));
            }
            let n = READ_BYTES.min(buf.remaining());
            let mut part = ReadBuf::new(buf.initialize_unfilled_to(n));
            ready!(Pin::new(&mut this.inner).poll_read(cx, &mut part))?;
            let read = part.filled().len();
            let give = this.look(part.filled_mut());
            buf.advance(give);
            if give > 0 || read == 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncWrite + Unpin, F: Unpin> AsyncWrite for Pieces<S, F> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use futures_util::StreamExt as _;
    use proptest::prelude::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

    const MASK: [u8; 4] = [0x5a, 0xa5, 0x11, 0xee];

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        match payload.len() {
            n @ 0..126 => bytes.push(MASKED | n as u8),
            n @ 126..65536 => {
                bytes.push(MASKED | 126);
                bytes.extend((n as u16).to_be_bytes());
            }
            n => {
                bytes.push(MASKED | 127);
                bytes.extend((n as u64).to_be_bytes());
            }
        }
        bytes.extend(MASK);
        bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, key)| byte ^ key));
        bytes
    }

    /// Gives its bytes in the chunks that it is told to give.
    struct Chunks {
        bytes: Vec<u8>,
        at: usize,
        sizes: Vec<usize>,
        next: usize,
    }

    impl AsyncRead for Chunks {
        fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
            let size = self.sizes[self.next % self.sizes.len()];
            self.next += 1;
            let n = size.min(buf.remaining()).min(self.bytes.len() - self.at);
            buf.put_slice(&self.bytes[self.at..self.at + n]);
            self.at += n;
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Chunks {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    async fn messages(io: impl AsyncRead + AsyncWrite + Unpin) -> Vec<String> {
        let config =
            WebSocketConfig::default().read_buffer_size(4096).max_frame_size(Some(MAX_FRAME_BYTES)).max_message_size(Some(MAX_FRAME_BYTES));
        let mut socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let mut seen = Vec::new();
        while let Some(message) = socket.next().await {
            let over = message.is_err();
            let mut said = format!("{message:?}");
            let end = said.char_indices().nth(200).map_or(said.len(), |(at, _)| at);
            let length = said.len();
            said.truncate(end);
            seen.push(format!("{length} {said}"));
            if over {
                break;
            }
        }
        seen
    }

    #[derive(Debug, Clone)]
    struct Sent {
        first: u8,
        length: usize,
    }

    fn sent() -> impl Strategy<Value = Sent> {
        let first = prop_oneof![8 => Just(0x81u8), 2 => Just(0x82u8), 2 => Just(0x01u8), 2 => Just(0x80u8), 1 => Just(0x00u8), 2 => Just(0x89u8), 1 => any::<u8>()];
        let length = prop_oneof![4 => 0usize..130, 2 => 65_000usize..66_000, 3 => (PIECE - 3)..(PIECE + 3), 2 => (4 * PIECE - 3)..(4 * PIECE + 3), 1 => 0usize..200_000];
        (first, length).prop_map(|(first, length)| Sent { first, length: if first & 0x0f >= 8 { length % 126 } else { length } })
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_would_have_been_read_without(
            frames in prop::collection::vec(sent(), 1..8),
            sizes in prop::collection::vec(prop_oneof![1usize..20, 1usize..5000, Just(100_000)], 1..6),
            cut in prop::option::of(0usize..100_000),
        ) {
            let mut bytes: Vec<u8> = Vec::new();
            for (n, Sent { first, length }) in frames.iter().enumerate() {
                let payload: Vec<u8> = (0..*length).map(|at| b'a' + ((at + n) % 26) as u8).collect();
                bytes.extend(frame(*first, &payload));
            }
            if let Some(cut) = cut {
                bytes.truncate(cut);
            }
            let chunks = |sizes: &[usize]| Chunks { bytes: bytes.clone(), at: 0, sizes: sizes.to_vec(), next: 0 };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mut plain, mut pieces) = runtime.block_on(async {
                (messages(chunks(&[4096])).await, messages(Pieces::new(chunks(&sizes), || {})).await)
            });
            if cut.is_some() {
                // A frame that breaks the rules and does not end is known for what it is a little earlier in pieces.
                for seen in [&mut plain, &mut pieces] {
                    seen.retain(|message| message.contains(" Ok("));
                }
            }
            prop_assert_eq!(plain, pieces);
        }
    }

    #[tokio::test]
    async fn no_piece_is_larger_than_it_may_be_and_a_large_frame_is_a_sign_of_life() {
        let signs = Arc::new(AtomicU32::new(0));
        let counted = Arc::clone(&signs);
        let bytes = [frame(0x81, &[b'x'; 1 << 20]), frame(0x81, b"small")].concat();
        let chunks = Chunks { bytes, at: 0, sizes: vec![1000], next: 0 };
        let mut pieces = Pieces::new(chunks, move || {
            counted.fetch_add(1, Relaxed);
        });
        let mut out = Vec::new();
        tokio::io::AsyncReadExt::read_to_end(&mut pieces, &mut out).await.unwrap();
        let (mut at, mut lengths) = (0, Vec::new());
        while at < out.len() {
            let Ok(Parsed { size, length, large, .. }) = parse(&out[at..]) else { panic!("not a header at {at}") };
            assert!(large.is_none());
            lengths.push(length);
            at += size + usize::try_from(length).unwrap();
        }
        assert_eq!(lengths, [vec![PIECE as u64; 64], vec![5]].concat());
        assert_eq!(signs.load(Relaxed), 15);
    }

    #[tokio::test]
    async fn a_message_in_crumbs_is_refused_and_one_in_pieces_or_few_crumbs_is_read() {
        let message = |crumbs: u32, length: usize| {
            let mut bytes = frame(0x01, b"");
            (0..crumbs).for_each(|_| bytes.extend(frame(0x00, &vec![b'a'; length])));
            bytes.extend(frame(0x80, b""));
            bytes
        };
        let read = async |bytes: Vec<u8>| messages(Pieces::new(Chunks { bytes, at: 0, sizes: vec![5000, 7], next: 0 }, || {})).await;
        let few = MAX_CRUMBS - 1;
        let twice = [message(few, 1), message(few, 1)].concat();
        let seen = read(twice).await;
        assert!(seen[0].contains("Ok(Text") && seen[1].contains("Ok(Text"), "{seen:?}");
        assert!(read(message(1000, 2000)).await[0].contains("Ok(Text"));
        let seen = read(message(10_000, 0)).await;
        assert!(seen[0].contains("a message in crumbs"), "{seen:?}");
    }
}
