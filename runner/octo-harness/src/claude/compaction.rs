//! The compaction under way: one that octo asked for, or one that Claude Code does by itself.
//!
//! Its signs come in this order: `status` compacting, `status` with the result, `compact_boundary` with the size before, a synthetic user message with the
//! summary. `compact.end` waits for the last of them, or for whatever comes in its place.

use super::wire::{BoundaryMetadata, Status, unsigned};
use crate::harness::Outbox;
use octo_protocol::event::{CompactReason, Event};
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
enum Stage {
    #[default]
    None,
    Running,
    Done {
        tokens_before: Option<u64>,
        /// A request follows that did not fit before.
        goes_on: bool,
    },
}

/// `/compact` as octo sent it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Commanded {
    pub token: u64,
    pub uuid: String,
}

/// A compaction that has succeeded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    pub summary: Option<String>,
    /// The line of the summary.
    pub entry: Option<String>,
}

/// The state of it.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    stage: Stage,
    commanded: Option<Commanded>,
    /// Of which the conversation has not said so yet.
    done: Option<Done>,
}

impl Compaction {
    /// octo asks for one.
    pub fn command(&mut self, token: u64, uuid: String) {
        self.commanded = Some(Commanded { token, uuid });
    }

    /// octo asked for one, and has no answer.
    #[must_use]
    pub fn is_commanded(&self) -> bool {
        self.commanded.is_some()
    }

    /// The message with this uuid asked for it.
    #[must_use]
    pub fn is_of(&self, uuid: &str) -> bool {
        self.commanded.as_ref().is_some_and(|commanded| commanded.uuid == uuid)
    }

    /// Its turn is over: the token of the command.
    pub fn concluded(&mut self) -> Option<u64> {
        self.commanded.take().map(|commanded| commanded.token)
    }

    /// The conversation is being compacted.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.stage == Stage::Running
    }

    fn begin(&mut self, manual: bool, out: &mut Outbox) {
        self.flush(out);
        if self.stage == Stage::None {
            self.stage = Stage::Running;
            let manual = manual || self.is_commanded();
            out.event(Event::CompactStart { reason: if manual { CompactReason::Manual } else { CompactReason::Threshold } });
        }
    }

    /// `status`. `true` when it says that a compaction is under way.
    pub fn status(&mut self, status: &Status, out: &mut Outbox) -> bool {
        if status.status.as_deref() == Some("compacting") {
            self.begin(false, out);
            return true;
        }
        match status.compact_result.as_deref() {
            Some("success") if self.is_running() => self.stage = Stage::Done { tokens_before: None, goes_on: false },
            Some("success") | None => {}
            Some(_) => {
                let error = status.compact_error.clone().unwrap_or_else(|| "the conversation could not be compacted".to_owned());
                self.fail(&error, out);
            }
        }
        false
    }

    /// `compact_boundary`.
    pub fn boundary(&mut self, metadata: &BoundaryMetadata, out: &mut Outbox) {
        if self.stage == Stage::None {
            self.begin(metadata.trigger == "manual", out);
        }
        self.stage = Stage::Done { tokens_before: metadata.pre_tokens.map(unsigned), goes_on: metadata.trigger == "auto" };
    }

    /// The summary that the conversation goes on with.
    pub fn summary(&mut self, text: &str, entry: Option<&str>, out: &mut Outbox) {
        self.end(Some(text.to_owned()), entry, out);
    }

    /// The one that has succeeded, once.
    pub fn take_done(&mut self) -> Option<Done> {
        self.done.take()
    }

    /// Something else comes: what is done is told.
    pub fn flush(&mut self, out: &mut Outbox) {
        self.end(None, None, out);
    }

    fn end(&mut self, summary: Option<String>, entry: Option<&str>, out: &mut Outbox) {
        if let Stage::Done { tokens_before, goes_on } = self.stage {
            self.stage = Stage::None;
            self.done = Some(Done { summary: summary.clone(), entry: entry.map(str::to_owned) });
            out.event(Event::CompactEnd { success: true, will_retry: goes_on, error: None, summary, tokens_before });
        }
    }

    /// It is over, and did not succeed unless that was said before.
    pub fn fail(&mut self, error: &str, out: &mut Outbox) {
        self.flush(out);
        if std::mem::take(&mut self.stage) == Stage::Running {
            let error = Some(error.to_owned());
            out.event(Event::CompactEnd { success: false, will_retry: false, error, summary: None, tokens_before: None });
        }
    }
}
