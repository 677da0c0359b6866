//! What each side of the link makes of the other's frames. An input is one of [`crate::link`].
//!
//! What must hold: only who is meant passes the handshake, in a version that both speak; an event of a runner goes on to browsers as one JSON object
//! whose envelope is octo's own, or keeps its place as a notice; what is the server's own to say no runner says.

use crate::link::{USER, frames};
use octo::link::{Target, welcomed};
use octo::users::{MAX_EVENT_BYTES, wrap};
use octo_protocol::Epoch;
use octo_protocol::link::{Event, Frame, Hello, LINK_VERSION, LINK_VERSION_MIN};
use serde::Deserialize;
use std::borrow::Cow;

/// What octo adds to an event at most, in bytes.
const ENVELOPE: usize = 512;

/// One connection's bytes.
pub fn run(input: &[u8]) {
    for frame in frames(input) {
        match &frame {
            Frame::Hello(hello) => {
                if let Ok(version) = octo_runner::link::version(hello, USER) {
                    assert!((LINK_VERSION_MIN..=LINK_VERSION).contains(&version));
                    assert!(version >= hello.min_version && version <= hello.max_version);
                    assert_eq!((hello.magic, hello.user.as_str()), (Hello::MAGIC, USER));
                }
            }
            Frame::Event(event) => passed_on(event),
            _ => {}
        }
        let target = Target { socket: "/run/s".into(), uid: 1, user: USER.into(), instance: "i".into() };
        let is_welcome = matches!(frame, Frame::Welcome(_));
        if let Ok(welcome) = welcomed(frame, &target) {
            assert!(is_welcome && welcome.user == USER && (LINK_VERSION_MIN..=LINK_VERSION).contains(&welcome.version));
        }
    }
}

/// What a browser reads first of an event. A member that stood twice would be an error here.
#[derive(Deserialize)]
struct Envelope<'a> {
    channel: &'a str,
    session_id: &'a str,
    runner_id: &'a str,
    ts: i64,
    epoch: &'a str,
    seq: Option<u64>,
    #[serde(borrow)]
    event: Cow<'a, str>,
}

fn passed_on(event: &Event) {
    if event.payload.len() > MAX_EVENT_BYTES {
        return;
    }
    let epoch = Epoch::new("e1").expect("an epoch");
    let Some(frame) = wrap("ses_1", "local", &epoch, event) else {
        assert_eq!(event.seq, 0, "an event has lost its place");
        return;
    };
    assert_eq!(frame.seq, event.seq);
    assert!(frame.bytes.len() <= event.payload.len() + ENVELOPE, "{} bytes of {}", frame.bytes.len(), event.payload.len());
    let text = std::str::from_utf8(&frame.bytes).expect("an event is text");
    let passed: Envelope<'_> = serde_json::from_str(text).expect("an event is one JSON object with one envelope");
    let seq = (event.seq != 0).then_some(event.seq);
    let expected = ("agent", "ses_1", "local", event.ts, "e1", seq);
    assert_eq!((passed.channel, passed.session_id, passed.runner_id, passed.ts, passed.epoch, passed.seq), expected);
    let servers_own = ["response", "messages", "replay.start", "replay.end", "stream.resync_required"];
    assert!(!servers_own.contains(&&*passed.event), "{} is the server's to send", passed.event);
}
