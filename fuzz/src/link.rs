//! Bytes on the runner link, from either side, and what follows from each frame.
//!
//! What must hold: however the bytes are cut, the frames and the error are the same; a frame that was read is written and read again as the same, and
//! so is the JSON in it; the buffer never asks for more than the largest frame.
//!
//! The first byte says whether the rest is a raw stream or records that get their true length prefix; the second where the stream is cut.

use crate::dice::Dice;
use crate::json::assert_same;
use bytes::BytesMut;
use octo_protocol::admin::RunnerQuestion;
use octo_protocol::event::EventKind;
use octo_protocol::history::HistoryQuery;
use octo_protocol::link::{Chunk, Decoder, Event, Frame, LinkError, MAX_FRAME_BYTES, Principal, Request, RequestBody, Sessions, encode};
use octo_protocol::{CommandFrame, EventPayload, SessionSummary};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// The user whose link it is.
pub const USER: &str = "alice";

/// One connection's bytes.
pub fn run(input: &[u8]) {
    let (stream, cut) = stream(input);
    let whole = read(&stream, stream.len().max(1));
    assert_eq!(read(&stream, cut), whole, "cut every {cut} bytes");
    for frame in &whole.frames {
        written_again(frame);
        json_within(frame);
    }
}

/// The frames of an input, up to the first mistake.
#[must_use]
pub fn frames(input: &[u8]) -> Vec<Frame> {
    let (stream, _) = stream(input);
    read(&stream, stream.len().max(1)).frames
}

/// The bytes on the wire, and the size of the pieces in which they come as well.
fn stream(input: &[u8]) -> (Vec<u8>, usize) {
    let mut dice = Dice::new(input);
    let (framed, cut) = (dice.byte() & 1 == 1, usize::from(dice.byte()) + 1);
    (if framed { records(dice) } else { input.get(2..).unwrap_or_default().to_vec() }, cut)
}

/// Frames with their true length: the body of each is given, or is a frame around the bytes that are given.
fn records(mut dice: Dice<'_>) -> Vec<u8> {
    let mut stream = BytesMut::new();
    let mut number = 0;
    while !dice.is_empty() {
        let kind = dice.byte();
        let number_given = u32::from(dice.byte());
        let body = dice.bytes();
        let data = body.to_vec();
        let principal = || Principal { user: USER.into(), actor: USER.into() };
        let request = |body| Frame::Request(Request { id: 1, principal: principal(), deadline_ms: 1, body });
        let frame = match kind % 8 {
            1 => Frame::Chunk(Chunk { message: number_given & 0x1f, last: number_given & 0x80 != 0, data }),
            2 => {
                let kinds = [EventKind::Normal, EventKind::Delta, EventKind::Durable, EventKind::Urgent, EventKind::Ephemeral];
                let kind = kinds[usize::from(kind >> 3) % kinds.len()];
                Frame::Event(Event { sub: 1, seq: u64::from(number_given), ts: 7, kind, payload: data })
            }
            3 => Frame::Sessions(Sessions { json: data }),
            4 => request(RequestBody::Command { json: data }),
            5 => request(RequestBody::History { json: data }),
            _ => {
                stream.extend_from_slice(&u32::try_from(body.len()).unwrap_or_default().to_be_bytes());
                stream.extend_from_slice(body);
                continue;
            }
        };
        encode(&frame, &mut number, &mut stream).expect("a small frame can be written");
    }
    stream.to_vec()
}

#[derive(Debug, PartialEq)]
struct Read {
    frames: Vec<Frame>,
    error: Option<LinkError>,
    left: usize,
}

fn read(stream: &[u8], step: usize) -> Read {
    let (mut decoder, mut buffer, mut frames) = (Decoder::default(), BytesMut::new(), Vec::new());
    for piece in stream.chunks(step) {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return Read { frames, error: Some(error), left: 0 },
            }
        }
        assert!(buffer.capacity() <= 2 * (MAX_FRAME_BYTES + stream.len()), "a buffer of {} bytes", buffer.capacity());
    }
    Read { frames, error: None, left: buffer.len() }
}

fn written_again(frame: &Frame) {
    let mut bytes = BytesMut::new();
    encode(frame, &mut 0, &mut bytes).expect("a frame that was read can be written");
    assert_eq!(Decoder::default().decode(&mut bytes).expect("and read"), Some(frame.clone()));
    assert!(bytes.is_empty());
}

fn json_within(frame: &Frame) {
    match frame {
        Frame::Event(event) => same_json::<EventPayload>(&event.payload),
        Frame::Sessions(sessions) => same_json::<Vec<SessionSummary>>(&sessions.json),
        Frame::Request(request) => match &request.body {
            RequestBody::Command { json } => same_json::<CommandFrame>(json),
            RequestBody::History { json } => same_json::<HistoryQuery>(json),
            RequestBody::Admin { json } => same_json::<RunnerQuestion>(json),
            _ => {}
        },
        _ => {}
    }
}

fn same_json<T: DeserializeOwned + Serialize + PartialEq + Debug>(json: &[u8]) {
    if let Ok(value) = serde_json::from_slice::<T>(json) {
        let written = serde_json::to_string(&value).expect("what was read can be written");
        assert_same(&serde_json::from_str::<T>(&written).expect("and read"), &value, &written);
    }
}
