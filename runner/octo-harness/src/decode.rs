//! From bytes to lines with a type, for agents that write JSON objects, one a line. What is not understood is said once per line and skipped; nothing
//! panics, nothing else is lost.

use crate::harness::Outbox;
use crate::lines::{Line, Lines, MAX_LINE_BYTES, excerpt, text};
use octo_protocol::event::{Event, Level};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Most characters of a line in a notice.
const EXCERPT: usize = 200;
/// Most notices about output that was not understood, for one process.
pub const MAX_NOTICES: u32 = 50;

/// How many notices one process has caused.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Notices(u32);

/// What every line is asked first.
#[derive(Debug, Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Cow<'a, str>,
}

/// A translator whose agent writes one JSON object a line: with a `type`, unless it says otherwise by [`Decode::object`].
pub trait Decode {
    /// What sentences call the agent.
    fn called(&self) -> &str;

    /// The line that is not whole yet.
    fn lines(&mut self) -> &mut Lines;

    /// The notices so far.
    fn notices(&mut self) -> &mut Notices;

    /// The process has ended: nothing of it counts any more.
    fn is_gone(&self) -> bool;

    /// A line of this type. An error says what of it was not understood.
    ///
    /// # Errors
    /// When the line is not what its type says.
    fn typed(&mut self, kind: &str, text: &str, now: i64, out: &mut Outbox) -> serde_json::Result<()>;

    /// Takes `text` if it is one object; else it is left, and `false`.
    fn object(&mut self, text: &str, now: i64, out: &mut Outbox) -> bool {
        let Ok(head) = serde_json::from_str::<Head<'_>>(text) else { return false };
        if head.kind.is_empty() {
            self.not_understood(text, "it has no type", out);
        } else if let Err(error) = self.typed(&head.kind, text, now, out) {
            self.not_understood(text, &format!("{}: {error}", head.kind), out);
        }
        true
    }

    /// Every object of a line is followed by this, so that it comes after the same line however the bytes arrive.
    fn after(&mut self, _now: i64, _out: &mut Outbox) {}

    /// Takes what the agent wrote.
    fn decode(&mut self, bytes: &[u8], now: i64, out: &mut Outbox) {
        if self.is_gone() {
            return;
        }
        let mut lines = std::mem::take(self.lines());
        lines.push(bytes, |line| self.line(line, now, out));
        *self.lines() = lines;
    }

    /// The agent has ended: what it was writing counts only when it is whole.
    fn decode_rest(&mut self, now: i64, out: &mut Outbox) {
        let mut lines = std::mem::take(self.lines());
        lines.finish(|line| {
            if let Line::Whole(bytes) = line
                && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
            {
                self.line(Line::Whole(bytes), now, out);
            }
        });
    }

    /// Takes one line.
    fn line(&mut self, line: Line<'_>, now: i64, out: &mut Outbox) {
        let bytes = match line {
            Line::Whole(bytes) => bytes,
            Line::TooLong { bytes } => {
                let what = format!("wrote a line of {bytes} bytes, more than the {MAX_LINE_BYTES} that octo takes; it was skipped");
                return self.notice(|called| format!("{called} {what}"), out);
            }
        };
        let (text, replaced) = text(bytes);
        if replaced {
            self.notice(|called| format!("{called} wrote a line that is not UTF-8; what could not be read was replaced"), out);
        }
        // Almost always a line is one object.
        if self.object(&text, now, out) {
            return self.after(now, out);
        }
        self.several(&text, now, out);
    }

    /// Takes a line that is not one object.
    fn several(&mut self, text: &str, now: i64, out: &mut Outbox) {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        loop {
            let start = values.byte_offset();
            match values.next() {
                None => return,
                Some(Ok(value)) if self.object(value.get(), now, out) => self.after(now, out),
                Some(Ok(value)) => self.not_understood(value.get(), "it is not an event", out),
                Some(Err(_)) => {
                    let rest = text.get(start..).unwrap_or_default();
                    return self.not_understood(rest, "it is not JSON", out);
                }
            }
        }
    }

    /// Says that a line was not understood.
    fn not_understood(&mut self, line: &str, why: &str, out: &mut Outbox) {
        self.notice(|called| format!("{called} wrote what octo does not understand ({why}): {}", excerpt(line, EXCERPT)), out);
    }

    /// Says once in a while that output was not understood; a flood of it is cut off, and then costs no more than reading it.
    fn notice(&mut self, message: impl FnOnce(&str) -> String, out: &mut Outbox) {
        let notices = self.notices();
        notices.0 = notices.0.saturating_add(1);
        let count = notices.0;
        let message = match count {
            ..=MAX_NOTICES => message(self.called()),
            count if count == MAX_NOTICES + 1 => {
                format!("{} keeps writing what octo does not understand; further lines are dropped silently", self.called())
            }
            _ => return,
        };
        out.event(Event::Notify { level: Level::Warning, message });
    }
}
