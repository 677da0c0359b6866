//! An event from a runner, checked once and wrapped once.
//!
//! It comes from the user's uid, so the agent itself could have sent it: it has to be one JSON object, not too large or deep, with an
//! `event` and without members that belong to the envelope. A journalled event that fails keeps its place in the sequence as a notice.

use bytes::Bytes;
use octo_actors::Frame;
use octo_protocol::event::{EventKind, Level};
use octo_protocol::mux::agent::{Envelope, envelope};
use octo_protocol::{Epoch, Event, EventPayload, link};
use serde::Deserialize;
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Largest payload of an event.
pub const MAX_EVENT_BYTES: usize = 8 * 1024 * 1024;
/// Deepest nesting of a payload.
pub const MAX_EVENT_DEPTH: usize = 128;
/// Longest name of an event that is not known here.
const MAX_NAME_BYTES: usize = 64;

/// Events that are the server's own to send.
const RESERVED: [&str; 7] =
    ["response", "messages", "replay.start", "replay.end", "stream.resync_required", "session.unreachable", "session.reachable"];
/// Events of a runner that are never journalled.
const EPHEMERAL: [&str; 3] = ["session.heartbeat", "tool.progress", "persisted"];

#[derive(Deserialize)]
struct Peek<'a> {
    #[serde(borrow)]
    event: Cow<'a, str>,
    channel: Option<IgnoredAny>,
    session_id: Option<IgnoredAny>,
    runner_id: Option<IgnoredAny>,
    ts: Option<IgnoredAny>,
    epoch: Option<IgnoredAny>,
    seq: Option<IgnoredAny>,
}

/// Why a payload is not passed on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadPayload {
    #[error("it has {0} bytes, more than {MAX_EVENT_BYTES}")]
    TooLarge(usize),
    #[error("it is nested deeper than {MAX_EVENT_DEPTH}")]
    TooDeep,
    #[error("it is not an event: {0}")]
    NotAnEvent(String),
    #[error("it has members of the envelope")]
    Envelope,
    #[error("its name is not one that a runner may send")]
    Name,
    #[error("it is journalled and should not be, or the other way round")]
    Kind,
}

/// Checks one payload.
///
/// # Errors
/// [`BadPayload`].
pub fn check(payload: &[u8], kind: EventKind, seq: u64) -> Result<(), BadPayload> {
    if payload.len() > MAX_EVENT_BYTES {
        return Err(BadPayload::TooLarge(payload.len()));
    }
    let text = std::str::from_utf8(payload).map_err(|e| BadPayload::NotAnEvent(e.to_string()))?;
    if depth(payload) > MAX_EVENT_DEPTH {
        return Err(BadPayload::TooDeep);
    }
    let peek: Peek<'_> = serde_json::from_str(text).map_err(|e| BadPayload::NotAnEvent(e.to_string()))?;
    if [&peek.channel, &peek.session_id, &peek.runner_id, &peek.ts, &peek.epoch, &peek.seq].iter().any(|m| m.is_some()) {
        return Err(BadPayload::Envelope);
    }
    let name = &*peek.event;
    let well_formed = !name.is_empty()
        && name.len() <= MAX_NAME_BYTES
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'));
    if !well_formed || RESERVED.contains(&name) {
        return Err(BadPayload::Name);
    }
    let ephemeral = kind == EventKind::Ephemeral;
    if ephemeral != (seq == 0) || (EPHEMERAL.contains(&name) && !ephemeral) {
        return Err(BadPayload::Kind);
    }
    Ok(())
}

/// Deepest nesting of objects and lists in JSON text, well-formed or not.
pub(crate) fn depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in json {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The frame of an event, shared by all who watch. `None` when it is not passed on: not journalled, and not acceptable.
#[must_use]
pub fn wrap(session: &str, runner_id: &str, epoch: &Epoch, event: &link::Event) -> Option<Frame> {
    let seq = (event.seq != 0).then_some(event.seq);
    let header = Envelope { session_id: session, runner_id, ts: event.ts, epoch, seq };
    let checked = check(&event.payload, event.kind, event.seq)
        .and_then(|()| envelope(header, event.payload.trim_ascii()).ok_or_else(|| BadPayload::NotAnEvent("it is empty".to_owned())));
    let bytes = match checked {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::warn!(session, seq = event.seq, %error, "an event of the runner is not passed on");
            let message = format!("event {} of this session could not be shown: {error}", event.seq);
            own_event(session, runner_id, epoch, Some((seq?, event.ts)), Event::Notify { level: Level::Error, message })?
        }
    };
    Some(Frame { seq: event.seq, urgent: event.kind == EventKind::Urgent, bytes: Bytes::from(bytes) })
}

/// An event that this server sends itself, in its envelope. `place`: `seq` and `ts` of one that stands in the sequence.
#[must_use]
pub fn own_event(session: &str, runner_id: &str, epoch: &Epoch, place: Option<(u64, i64)>, event: Event) -> Option<Vec<u8>> {
    let payload = serde_json::to_vec(&EventPayload::new(event)).ok()?;
    let ts = place.map_or_else(now_ms, |(_, ts)| ts);
    envelope(Envelope { session_id: session, runner_id, ts, epoch, seq: place.map(|(seq, _)| seq) }, &payload)
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(seq: u64, kind: EventKind, payload: impl AsRef<[u8]>) -> link::Event {
        link::Event { sub: 1, seq, ts: 7, kind, payload: payload.as_ref().to_vec() }
    }

    fn text(frame: &Frame) -> serde_json::Value {
        serde_json::from_slice(&frame.bytes).unwrap()
    }

    #[test]
    fn a_good_event_is_wrapped_as_it_is() {
        let frame = wrap("s", "local", &Epoch::new("e").unwrap(), &event(3, EventKind::Delta, br#"{"event":"x.new","a":[1]}"#)).unwrap();
        assert_eq!(
            frame.bytes,
            r#"{"channel":"agent","session_id":"s","runner_id":"local","ts":7,"epoch":"e","seq":3,"event":"x.new","a":[1]}"#
        );
    }

    #[test]
    fn a_bad_event_keeps_its_place_in_the_sequence_and_shows_nothing_of_itself() {
        let epoch = Epoch::new("e").unwrap();
        let deep = format!(r#"{{"event":"x","a":{}{}}}"#, "[".repeat(10_000), "]".repeat(10_000));
        let large = format!(r#"{{"event":"x","a":"{}"}}"#, "x".repeat(MAX_EVENT_BYTES));
        let bad: [&[u8]; 14] = [
            b"",
            b"{}",
            b"null",
            b"[1]",
            br#"{"event":1}"#,
            br#"{"event":"x""#,
            br#"{"event":"x"} {}"#,
            b"{\"event\":\"\xff\"}",
            br#"{"event":"x","seq":1}"#,
            br#"{"event":"x","channel":"system"}"#,
            br#"{"event":"replay.end"}"#,
            br#"{"event":"X <b>"}"#,
            deep.as_bytes(),
            large.as_bytes(),
        ];
        for payload in bad {
            let frame = wrap("s", "local", &epoch, &event(9, EventKind::Normal, payload)).unwrap();
            let (value, name) = (text(&frame), String::from_utf8_lossy(&payload[..payload.len().min(40)]));
            assert_eq!((&value["event"], &value["seq"]), (&"notify".into(), &9.into()), "{name}");
            assert!(frame.bytes.len() < 400, "{name}");
            assert_eq!(wrap("s", "local", &epoch, &event(0, EventKind::Ephemeral, payload)), None, "{name}");
        }
        let swapped = wrap("s", "local", &epoch, &event(9, EventKind::Normal, br#"{"event":"tool.progress"}"#)).unwrap();
        assert_eq!(text(&swapped)["event"], "notify");
        assert_eq!(wrap("s", "local", &epoch, &event(0, EventKind::Normal, br#"{"event":"usage"}"#)), None);
    }

    #[test]
    fn brackets_in_strings_are_not_nesting() {
        assert_eq!(depth(br#"{"a":"[[[\"[[[","b":[{}]}"#), 3);
    }
}
