//! Claude Code's lines.

use super::{CALLED, Claude};
use crate::decode::{Decode, Notices};
use crate::harness::Outbox;
use crate::lines::Lines;

impl Decode for Claude {
    fn called(&self) -> &str {
        CALLED
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
        self.event(kind, text, now, out)
    }

    fn after(&mut self, now: i64, out: &mut Outbox) {
        self.mark_compaction(now, out);
    }
}
