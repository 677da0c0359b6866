//! Snapshots: an actor's own view of itself, kept where anyone can read it.
//!
//! The actor refreshes its snapshot after messages, at most every [`REFRESH`]; a reader takes the last one
//! without sending anything, so inspecting works on an actor that is stuck inside a message, and costs it nothing.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::ActorRow;

/// Shortest time between two snapshots of one actor.
pub const REFRESH: Duration = Duration::from_millis(250);

/// What inspecting an actor gives.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Inspection {
    /// Its row.
    pub row: ActorRow,
    /// What its `inspect` returned last; null before the first snapshot.
    pub snapshot: Value,
    /// The snapshot's age in milliseconds; `None` before the first.
    pub age_ms: Option<u64>,
}

#[derive(Default)]
pub(crate) struct SnapshotCell(ArcSwapOption<Snapshot>);

struct Snapshot {
    taken: Instant,
    /// Its JSON: a fraction of what the value takes in memory, and most are never looked at.
    text: Box<str>,
    trouble: Option<Box<str>>,
}

impl SnapshotCell {
    pub fn put(&self, value: &Value, trouble: Option<String>, taken: Instant) {
        let trouble = trouble.map(String::into_boxed_str);
        self.0.store(Some(Arc::new(Snapshot { taken, text: value.to_string().into(), trouble })));
    }

    /// What was wrong then.
    pub fn trouble(&self) -> Option<String> {
        self.0.load().as_ref().and_then(|snapshot| snapshot.trouble.as_deref().map(str::to_owned))
    }

    pub fn read(&self) -> (Value, Option<Duration>) {
        let snapshot = self.0.load();
        snapshot.as_ref().map_or((Value::Null, None), |s| (serde_json::from_str(&s.text).unwrap_or_default(), Some(s.taken.elapsed())))
    }
}
