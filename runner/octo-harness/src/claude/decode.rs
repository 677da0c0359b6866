//! From bytes to events and answers. What is not understood is said once per line and skipped; nothing panics, nothing else is lost.

use super::{CALLED, Claude, wire};
use crate::harness::Outbox;
use crate::lines::{Line, MAX_LINE_BYTES, excerpt, text};
use serde_json::value::RawValue;

/// Most characters of a line in a notice.
const EXCERPT: usize = 200;

impl Claude {
    pub(super) fn decode(&mut self, bytes: &[u8], now: i64, out: &mut Outbox) {
        if self.gone {
            return;
        }
        let mut lines = std::mem::take(&mut self.lines);
        lines.push(bytes, |line| self.line(line, now, out));
        self.lines = lines;
    }

    pub(super) fn line(&mut self, line: Line<'_>, now: i64, out: &mut Outbox) {
        let bytes = match line {
            Line::Whole(bytes) => bytes,
            Line::TooLong { bytes } => {
                let message =
                    || format!("{CALLED} wrote a line of {bytes} bytes, more than the {MAX_LINE_BYTES} that octo takes; it was skipped");
                return self.notice(message, out);
            }
        };
        let (text, replaced) = text(bytes);
        if replaced {
            self.notice(|| format!("{CALLED} wrote a line that is not UTF-8; what could not be read was replaced"), out);
        }
        // Almost always a line is one object.
        if let Ok(head) = serde_json::from_str::<wire::Head<'_>>(&text) {
            return self.value(&head.kind, &text, now, out);
        }
        self.several(&text, now, out);
    }

    fn several(&mut self, text: &str, now: i64, out: &mut Outbox) {
        let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
        loop {
            let start = values.byte_offset();
            match values.next() {
                None => return,
                Some(Ok(value)) => match serde_json::from_str::<wire::Head<'_>>(value.get()) {
                    Ok(head) => self.value(&head.kind, value.get(), now, out),
                    Err(_) => self.not_understood(value.get(), "it is not an event", out),
                },
                Some(Err(_)) => {
                    let rest = text.get(start..).unwrap_or_default();
                    return self.not_understood(rest, "it is not JSON", out);
                }
            }
        }
    }

    fn not_understood(&mut self, line: &str, why: &str, out: &mut Outbox) {
        self.notice(|| format!("{CALLED} wrote what octo does not understand ({why}): {}", excerpt(line, EXCERPT)), out);
    }

    fn value(&mut self, kind: &str, text: &str, now: i64, out: &mut Outbox) {
        let understood = match kind {
            "" => {
                self.not_understood(text, "it has no type", out);
                Ok(())
            }
            _ => self.event(kind, text, now, out),
        };
        if let Err(error) = understood {
            self.not_understood(text, &format!("{kind}: {error}"), out);
        }
    }
}
