//! Traces of turns: the W3C trace context by which every part of octo names one, and finished spans on their way to whoever exports them.
//!
//! A turn has one trace. Its context travels with the command to the runner, is kept with the input in the journal, and stands as `traceparent` on a
//! few of the turn's events. Spans hold ids, times and names, never what somebody wrote.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Bytes of a `traceparent` of version 00.
pub const TRACEPARENT_BYTES: usize = 55;
/// What stands before and after the `traceparent` that ends an event's payload.
const STAMP: (&[u8], &[u8]) = (b",\"traceparent\":\"", b"\"}");

/// Attributes of one span, span events of one span, and links of one span at most; more are cut off.
pub const MAX_OF_EACH: usize = 32;
/// Characters of a name, of an attribute's text, or of an error at most; the rest is cut off.
pub const MAX_TEXT_CHARS: usize = 256;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $bytes]);

        impl $name {
            /// The id of these bytes; `None` when all are zero, which names nothing.
            #[must_use]
            pub fn new(bytes: [u8; $bytes]) -> Option<Self> {
                (bytes != [0; $bytes]).then_some(Self(bytes))
            }

            /// The first of the bytes that `draw` gives which is one.
            #[must_use]
            pub fn drawn(mut draw: impl FnMut() -> [u8; $bytes]) -> Self {
                loop {
                    if let Some(id) = Self::new(draw()) {
                        return id;
                    }
                }
            }

            /// Its bytes.
            #[must_use]
            pub fn bytes(&self) -> &[u8; $bytes] {
                &self.0
            }

            fn parse(text: &[u8]) -> Option<Self> {
                let mut bytes = [0; $bytes];
                if text.len() != 2 * $bytes {
                    return None;
                }
                for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
                    *byte = digit(pair[0])? << 4 | digit(pair[1])?;
                }
                Self::new(bytes)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                Self::parse(text.as_bytes()).ok_or_else(|| serde::de::Error::custom(concat!("not a ", stringify!($name))))
            }
        }
    };
}

id!(
    /// Names a trace.
    TraceId,
    16
);
id!(
    /// Names a span within its trace.
    SpanId,
    8
);

/// A lower-case hexadecimal digit; the standard knows no others.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

/// A `traceparent`: the trace, the span in it that is the parent of what follows, and whether spans are recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceContext {
    pub trace: TraceId,
    pub span: SpanId,
    /// Nobody records anything of a trace that is not sampled.
    pub sampled: bool,
}

/// Why a text is no `traceparent`. The standard has whoever gets one begin a trace of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not a W3C traceparent: 00-<32 hexadecimal digits>-<16>-<2>")]
pub struct NoTraceparent;

impl TraceContext {
    /// The same trace below another span.
    #[must_use]
    pub fn below(self, span: SpanId) -> Self {
        Self { span, ..self }
    }

    /// The context that an event's payload ends with, if it does. The event itself is not looked at: this costs a few comparisons.
    #[must_use]
    pub fn stamped_on(payload: &[u8]) -> Option<Self> {
        let text = payload.strip_suffix(STAMP.1)?;
        let at = text.len().checked_sub(TRACEPARENT_BYTES)?;
        let (before, text) = text.split_at(at);
        before.ends_with(STAMP.0).then_some(())?;
        std::str::from_utf8(text).ok()?.parse().ok()
    }
}

/// Whether an event's payload, or a frame with it, may end with the context of a trace that is sampled: [`TraceContext::stamped_on`] says whether it does.
#[must_use]
pub fn may_be_traced(payload: &[u8]) -> bool {
    payload.ends_with(b"-01\"}")
}

impl FromStr for TraceContext {
    type Err = NoTraceparent;

    fn from_str(text: &str) -> Result<Self, NoTraceparent> {
        let parse = || {
            let bytes = text.as_bytes();
            let (head, rest) = bytes.split_at_checked(TRACEPARENT_BYTES)?;
            let version = digit(head[0])? << 4 | digit(head[1])?;
            // Later versions may have more, after another dash.
            let ends = if version == 0 { rest.is_empty() } else { rest.is_empty() || rest[0] == b'-' };
            let dashes = head[2] == b'-' && head[35] == b'-' && head[52] == b'-';
            if version == 0xff || !ends || !dashes {
                return None;
            }
            let flags = digit(head[53])? << 4 | digit(head[54])?;
            Some(Self { trace: TraceId::parse(&head[3..35])?, span: SpanId::parse(&head[36..52])?, sampled: flags & 1 == 1 })
        };
        parse().ok_or(NoTraceparent)
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-0{}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl Serialize for TraceContext {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TraceContext {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Which side of a call a span is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpanKind {
    #[default]
    Internal,
    /// Carries out what another process asks for.
    Server,
    /// Asks another process.
    Client,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Attribute {
    Flag(bool),
    Number(i64),
    Text(String),
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Attribute {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// A moment within a span.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanEvent {
    pub name: String,
    /// Unix nanoseconds.
    pub at: u64,
}

/// A finished span. Names and attributes are octo's own words, ids, and names of models and tools.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    pub trace: TraceId,
    pub span: SpanId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<SpanId>,
    pub name: String,
    #[serde(default)]
    pub kind: SpanKind,
    /// Unix nanoseconds.
    pub start: u64,
    /// Unix nanoseconds, not before `start`.
    pub end: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, Attribute)>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<SpanEvent>,
    /// Spans of other traces that this one has to do with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<TraceContext>,
    /// What failed, in a word or a sentence of octo's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Span {
    /// The span that `own` names, which lasted from `start` to `end`.
    #[must_use]
    pub fn new(own: TraceContext, parent: Option<SpanId>, name: &str, start: u64, end: u64) -> Self {
        Self {
            trace: own.trace,
            span: own.span,
            parent,
            name: name.to_owned(),
            kind: SpanKind::Internal,
            start,
            // A clock that was set back in between makes no negative time.
            end: end.max(start),
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            error: None,
        }
    }

    /// Of this kind.
    #[must_use]
    pub fn kind(mut self, kind: SpanKind) -> Self {
        self.kind = kind;
        self
    }

    /// With an attribute.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Self {
        self.attributes.push((name.to_owned(), value.into()));
        self
    }

    /// Failed, when there is an error.
    #[must_use]
    pub fn failed(mut self, error: Option<String>) -> Self {
        self.error = error;
        self
    }

    /// With an attribute that stands once, whatever was there before.
    pub fn set(&mut self, name: &str, value: impl Into<Attribute>) {
        self.attributes.retain(|(known, _)| known != name);
        self.attributes.push((name.to_owned(), value.into()));
    }

    /// Cuts off what is too long or too much. It may come from a process that is a user's.
    pub fn bound(&mut self) {
        let cut = |text: &mut String| {
            if let Some((end, _)) = text.char_indices().nth(MAX_TEXT_CHARS) {
                text.truncate(end);
            }
        };
        self.end = self.end.max(self.start);
        self.attributes.truncate(MAX_OF_EACH);
        self.events.truncate(MAX_OF_EACH);
        self.links.truncate(MAX_OF_EACH);
        cut(&mut self.name);
        self.events.iter_mut().for_each(|event| cut(&mut event.name));
        self.error.iter_mut().for_each(cut);
        for (name, value) in &mut self.attributes {
            cut(name);
            if let Attribute::Text(text) = value {
                cut(text);
            }
        }
    }
}

/// Spans as one process gives them to octo.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpanBatch {
    pub spans: Vec<Span>,
    /// Those that were lost since the last time, because nobody fetched them.
    #[serde(default)]
    pub dropped: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::event::{Event, EventPayload};
    use proptest::prelude::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn what_is_a_traceparent_is_read_and_written_as_it_came() {
        let context: TraceContext = GOOD.parse().unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_string(), GOOD);
        assert!(!GOOD.replace("-01", "-fe").parse::<TraceContext>().unwrap().sampled);
        // Of a later version, what is known of it.
        assert_eq!(format!("cc{}-what", &GOOD[2..]).parse::<TraceContext>().unwrap(), context);
    }

    #[test]
    fn what_is_none_is_not_read_as_one() {
        let zeros = |n| "0".repeat(n);
        let bad = [
            String::new(),
            GOOD[..54].to_owned(),
            format!("{GOOD}0"),
            format!("{GOOD}-more"),
            GOOD.to_uppercase(),
            format!("ff{}", &GOOD[2..]),
            GOOD.replace('-', "_"),
            format!("00-{}-00f067aa0ba902b7-01", zeros(32)),
            format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{}-01", zeros(16)),
            "é".repeat(55),
        ];
        for text in bad {
            assert_eq!(text.parse::<TraceContext>(), Err(NoTraceparent), "{text}");
        }
    }

    #[test]
    fn a_context_ends_its_event_and_is_found_there() {
        let context: TraceContext = GOOD.parse().unwrap();
        let event = Event::TextDelta { message_id: "m".into(), delta: format!("\",\"traceparent\":\"{GOOD}\"}}"), content_index: 0 };
        let plain = serde_json::to_vec(&EventPayload { event: event.clone(), turn_id: Some("t".into()), traceparent: None }).unwrap();
        assert_eq!(TraceContext::stamped_on(&plain), None, "what an agent says stamps nothing");
        let stamped = serde_json::to_vec(&EventPayload { event, turn_id: Some("t".into()), traceparent: Some(context) }).unwrap();
        assert!(may_be_traced(&stamped));
        assert_eq!(TraceContext::stamped_on(&stamped), Some(context));
        let unsampled = String::from_utf8(stamped).unwrap().replace("-01\"}", "-00\"}");
        assert!(!may_be_traced(unsampled.as_bytes()));
        assert!(!TraceContext::stamped_on(unsampled.as_bytes()).unwrap().sampled);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..120)) {
            let _ = TraceContext::stamped_on(&bytes);
            let _ = String::from_utf8_lossy(&bytes).parse::<TraceContext>();
        }
    }

    #[test]
    fn a_span_from_somebody_else_is_bounded() {
        let own: TraceContext = GOOD.parse().unwrap();
        let long = "ä".repeat(10_000);
        let mut span = Span::new(own, None, &long, 9, 3).failed(Some(long.clone()));
        span.attributes = vec![(long.clone(), Attribute::Text(long.clone())); 1000];
        span.links = vec![own; 1000];
        span.events = vec![SpanEvent { name: long, at: 1 }; 1000];
        span.bound();
        assert_eq!((span.attributes.len(), span.links.len(), span.events.len()), (MAX_OF_EACH, MAX_OF_EACH, MAX_OF_EACH));
        assert!(serde_json::to_vec(&span).unwrap().len() < 2 * 4 * MAX_OF_EACH * MAX_TEXT_CHARS, "{span:?}");
        assert_eq!(span.end, span.start);
    }
}
