//! pi's lines: answers, and everything else.

use super::{NAME, Pi};
use crate::decode::{Decode, Notices};
use crate::harness::Outbox;
use crate::lines::Lines;

impl Decode for Pi {
    fn called(&self) -> &str {
        NAME
    }

    fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    fn notices(&mut self) -> &mut Notices {
        &mut self.notices
    }

    fn is_gone(&self) -> bool {
        self.gone
    }

    fn typed(&mut self, kind: &str, text: &str, now: i64, out: &mut Outbox) -> serde_json::Result<()> {
        match kind {
            "response" => serde_json::from_str(text).map(|answer| self.answer(&answer, now, out)),
            _ => self.event(kind, text, now, out),
        }
    }

    fn after(&mut self, _now: i64, out: &mut Outbox) {
        self.release_held(out);
    }
}
