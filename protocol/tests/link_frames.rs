//! Every frame of the runner link, as bytes: a change of these snapshots breaks runners that live across an upgrade.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use bytes::BytesMut;
use octo_protocol::event::EventKind;
use octo_protocol::link::*;
use octo_protocol::response::ErrorCode;
use octo_protocol::{Epoch, SessionId};
use proptest::prelude::*;
use std::fmt::Write as _;

fn principal() -> Principal {
    Principal { user: "alice".into(), actor: "root".into() }
}

fn session() -> SessionId {
    SessionId::new("ses_1").unwrap()
}

fn samples() -> Vec<(&'static str, Frame)> {
    let epoch = Epoch::new("e1").unwrap();
    let request = |body| Frame::Request(Request { id: 7, principal: principal(), deadline_ms: 30_000, body });
    let mut all = vec![
        (
            "hello",
            Frame::Hello(Hello {
                magic: Hello::MAGIC,
                min_version: 1,
                max_version: 2,
                software: "octo 0.1.0".into(),
                instance: "i1".into(),
                user: "alice".into(),
            }),
        ),
        (
            "welcome",
            Frame::Welcome(Welcome {
                version: 1,
                software: "octo-runner 0.1.0".into(),
                runner_id: "local".into(),
                user: "alice".into(),
                pid: 4711,
                boot_id: "b".into(),
                started_at: 1_795_365_176_228,
            }),
        ),
        ("refused", Frame::Refused(Refused { code: ErrorCode::Conflict, reason: "no".into() })),
        ("request.command", request(RequestBody::Command { json: b"{}".to_vec() })),
        ("request.open", request(RequestBody::Open { json: b"{}".to_vec(), provision: b"{\"a\":1}".to_vec() })),
        ("request.snapshot", request(RequestBody::Snapshot { session: session() })),
        ("request.history", request(RequestBody::History { json: b"[]".to_vec() })),
        ("request.actors", request(RequestBody::Actors)),
        (
            "request.open_beside",
            request(RequestBody::OpenBeside { json: b"{}".to_vec(), session: session(), provision: b"{\"a\":1}".to_vec() }),
        ),
        ("request.admin", request(RequestBody::Admin { json: br#"{"ask":"verify_journal"}"#.to_vec() })),
        ("response.ok", Frame::Response(Response { id: 7, body: ResponseBody::Ok { json: b"null".to_vec() } })),
        (
            "subscribe",
            Frame::Subscribe(Subscribe {
                sub: 3,
                session: session(),
                epoch: Some(epoch.clone()),
                after: Some(41),
                until: None,
                credit: SUBSCRIPTION_CREDIT,
            }),
        ),
        ("subscribed", Frame::Subscribed(Subscribed { sub: 3, epoch, head: 50, after: 41 })),
        ("credit", Frame::Credit(Credit { sub: 3, bytes: 65_536 })),
        ("unsubscribe", Frame::Unsubscribe(Unsubscribe { sub: 3 })),
        ("sessions", Frame::Sessions(Sessions { json: b"[]".to_vec() })),
        ("ping", Frame::Ping(Ping { nonce: 300 })),
        ("pong", Frame::Pong(Ping { nonce: 300 })),
        ("upgrade", Frame::Upgrade(Upgrade { binary: "/usr/bin/octo-runner".into() })),
        ("chunk", Frame::Chunk(Chunk { message: 1, last: true, data: vec![1, 2, 3] })),
        ("open_stream", Frame::OpenStream(OpenStream { id: 1, principal: principal(), json: b"{}".to_vec() })),
        ("stream_data", Frame::StreamData(StreamData { data: vec![0xff, 0] })),
        ("stream_close", Frame::StreamClose(StreamClose { error: Some("gone".into()) })),
    ];
    for kind in [EventKind::Delta, EventKind::Normal, EventKind::Durable, EventKind::Urgent, EventKind::Ephemeral] {
        all.push((
            "event",
            Frame::Event(Event { sub: 3, seq: 42, ts: 1_795_365_176_228, kind, payload: b"{\"event\":\"session.reachable\"}".to_vec() }),
        ));
    }
    for reason in [
        EndReason::Complete,
        EndReason::Unsubscribed,
        EndReason::NoSession,
        EndReason::EpochChanged,
        EndReason::AheadOfJournal,
        EndReason::JournalError,
        EndReason::LimitExceeded,
    ] {
        all.push(("ended", Frame::Ended(Ended { sub: 3, reason })));
    }
    for code in [
        ErrorCode::SessionNotFound,
        ErrorCode::InvalidRequest,
        ErrorCode::InvalidState,
        ErrorCode::Unsupported,
        ErrorCode::PermissionDenied,
        ErrorCode::NotReady,
        ErrorCode::Busy,
        ErrorCode::RunnerUnavailable,
        ErrorCode::AgentFailed,
        ErrorCode::Timeout,
        ErrorCode::Cancelled,
        ErrorCode::LimitExceeded,
        ErrorCode::Conflict,
        ErrorCode::Internal,
    ] {
        all.push(("response.err", Frame::Response(Response { id: 7, body: ResponseBody::Err { code, message: "why".into() } })));
    }
    all
}

#[test]
fn the_bytes_of_every_frame_stay_what_they_are() {
    let mut listing = String::new();
    for (name, frame) in samples() {
        let mut bytes = BytesMut::new();
        encode(&frame, &mut 0, &mut bytes).unwrap();
        writeln!(listing, "{name} {}", hex::encode(&bytes)).unwrap();
    }
    insta::assert_snapshot!(listing);
}

#[test]
fn every_frame_is_read_back_wherever_the_bytes_are_cut() {
    let mut bytes = BytesMut::new();
    let mut number = 0;
    // A lone chunk is not a frame to the reader, only a piece of one.
    let frames: Vec<Frame> = samples().into_iter().map(|(_, frame)| frame).filter(|frame| !matches!(frame, Frame::Chunk(_))).collect();
    for frame in &frames {
        encode(frame, &mut number, &mut bytes).unwrap();
    }
    for step in [1, 2, 3, 7, 64, bytes.len()] {
        let (mut decoder, mut buffer, mut read) = (Decoder::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(step) {
            buffer.extend_from_slice(piece);
            while let Some(frame) = decoder.decode(&mut buffer).unwrap() {
                read.push(frame);
            }
        }
        assert!(buffer.is_empty());
        assert_eq!(read, frames, "cut every {step} bytes");
    }
}

#[test]
fn a_large_frame_travels_in_chunks_that_others_may_overtake() {
    let large = Frame::Sessions(Sessions { json: vec![b'x'; 9 * 1024 * 1024] });
    let small = Frame::Ping(Ping { nonce: 1 });
    let (mut pieces, mut number) = (BytesMut::new(), 5);
    encode(&large, &mut number, &mut pieces).unwrap();
    assert_eq!(number, 6);
    // The first chunk, then a ping, then the rest.
    let first = 4 + u32::from_be_bytes(pieces[..4].try_into().unwrap()) as usize;
    assert!(first <= CHUNK_BYTES + 64);
    let rest = pieces.split_off(first);
    encode(&small, &mut number, &mut pieces).unwrap();
    pieces.extend_from_slice(&rest);
    let mut decoder = Decoder::default();
    assert_eq!(decoder.decode(&mut pieces).unwrap(), Some(small));
    assert_eq!(decoder.decode(&mut pieces).unwrap(), Some(large));
    assert_eq!(decoder.decode(&mut pieces).unwrap(), None);
}

#[test]
fn an_oversized_length_is_refused_before_anything_is_allocated() {
    let mut buffer = BytesMut::from(&[0xff, 0xff, 0xff, 0xff][..]);
    let before = buffer.capacity();
    assert_eq!(Decoder::default().decode(&mut buffer), Err(LinkError::FrameTooLarge(u32::MAX as usize)));
    assert!(buffer.capacity() <= before.max(64));
}

#[test]
fn chunks_cannot_fill_the_memory() {
    let mut decoder = Decoder::default();
    let mut feed = |message, data: Vec<u8>| {
        let mut buffer = BytesMut::new();
        encode(&Frame::Chunk(Chunk { message, last: false, data }), &mut 0, &mut buffer).unwrap();
        decoder.decode(&mut buffer)
    };
    for message in 0..u32::try_from(MAX_OPEN_MESSAGES).unwrap() {
        assert_eq!(feed(message, vec![0]), Ok(None));
    }
    assert_eq!(feed(99, vec![0]), Err(LinkError::TooManyMessages));
    let mut last = Ok(None);
    for _ in 0..=(MAX_MESSAGE_BYTES / (CHUNK_BYTES - 64) + 2) {
        last = feed(0, vec![0; CHUNK_BYTES - 64]);
        if last.is_err() {
            break;
        }
    }
    assert_eq!(last, Err(LinkError::MessageTooLarge));
}

#[test]
fn a_chunk_within_a_chunk_is_refused() {
    let inner = postcard::to_stdvec(&Frame::Chunk(Chunk { message: 1, last: true, data: vec![] })).unwrap();
    let mut buffer = BytesMut::new();
    encode(&Frame::Chunk(Chunk { message: 0, last: true, data: inner }), &mut 0, &mut buffer).unwrap();
    assert_eq!(Decoder::default().decode(&mut buffer), Err(LinkError::NestedChunk));
}

proptest! {
    #[test]
    fn any_bytes_are_frames_or_an_error_and_never_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let mut buffer = BytesMut::from(&bytes[..]);
        let mut decoder = Decoder::default();
        while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
    }

    #[test]
    fn a_flipped_bit_never_panics(index in 0_usize..4000, bit in 0_u8..8) {
        let mut bytes = BytesMut::new();
        for (_, frame) in samples() {
            encode(&frame, &mut 0, &mut bytes).unwrap();
        }
        let index = index % bytes.len();
        bytes[index] ^= 1 << bit;
        let mut decoder = Decoder::default();
        while let Ok(Some(_)) = decoder.decode(&mut bytes) {}
    }

    #[test]
    fn an_event_survives_the_link(sub in any::<u32>(), seq in any::<u64>(), ts in any::<i64>(), payload in proptest::collection::vec(any::<u8>(), 0..4096)) {
        let frame = Frame::Event(Event { sub, seq, ts, kind: EventKind::Delta, payload });
        let mut bytes = BytesMut::new();
        encode(&frame, &mut 0, &mut bytes).unwrap();
        prop_assert_eq!(Decoder::default().decode(&mut bytes).unwrap(), Some(frame));
    }
}
