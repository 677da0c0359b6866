//! What a client saw of one epoch, number by number.

use super::verdict::{Fault, Rule, Verdict, ensure};
use serde_json::Value;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;

/// Events that are pruned when their message is finished.
const DELTAS: [&str; 6] = [
    "stream.message_start",
    "stream.text_delta",
    "stream.thinking_delta",
    "stream.tool_call_start",
    "stream.tool_call_delta",
    "stream.tool_call_end",
];

/// Whether the journal prunes such an event when its message is finished.
pub fn is_delta(event: &str) -> bool {
    DELTAS.contains(&event)
}

/// One numbered event: enough to know it again.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Row {
    name: String,
    digest: u64,
}

/// Numbered events of one epoch.
#[derive(Debug, Default)]
pub struct Record {
    rows: BTreeMap<u64, Row>,
    /// Stretches `(after, upto)` of which everything was to be seen that was not pruned.
    covered: Vec<(u64, u64)>,
}

impl Row {
    fn of(frame: &Value) -> Self {
        let mut digest = DefaultHasher::new();
        frame.to_string().hash(&mut digest);
        Self { name: frame["event"].as_str().unwrap_or_default().to_owned(), digest: digest.finish() }
    }

    fn is_delta(&self) -> bool {
        is_delta(&self.name)
    }
}

impl Record {
    /// From here on everything comes.
    pub fn from(&mut self, after: u64) {
        self.covered.push((after, after));
    }

    /// Everything up to `seq` has come.
    pub fn upto(&mut self, seq: u64) {
        if let Some(last) = self.covered.last_mut() {
            last.1 = last.1.max(seq);
        }
    }

    /// Keeps an event. One that was seen before, after another attach, has to be the same.
    pub fn keep(&mut self, seq: u64, frame: &Value) -> Result<(), Fault> {
        let row = Row::of(frame);
        match self.rows.get(&seq) {
            Some(known) if *known != row => {
                Err(Fault::new(Rule::Changed, format!("number {seq} was another event before ({}); a number was given twice", known.name)))
            }
            Some(_) => Ok(()),
            None => {
                self.rows.insert(seq, row);
                Ok(())
            }
        }
    }

    /// Compares with the whole journal of the epoch, as a replay from its beginning gives it.
    pub fn agrees_with(&self, session: &str, journal: &[Value]) -> Result<(), Box<Verdict>> {
        let mut rows = BTreeMap::new();
        for (at, frame) in journal.iter().enumerate() {
            rows.insert(frame["seq"].as_u64().unwrap_or_default(), (at, Row::of(frame)));
        }
        let head = rows.last_key_value().map_or(0, |(seq, _)| *seq);
        let judge = |fault: Result<(), Fault>, at: Option<usize>| fault.map_err(|fault| Verdict::within(fault, session, journal, at));
        for (after, upto) in &self.covered {
            for (seq, (at, row)) in rows.range((Bound::Excluded(after), Bound::Included(upto))) {
                let seen = self.rows.get(seq);
                judge(
                    ensure(seen.is_some(), Rule::Lost, || {
                        format!(
                            "the journal has {} as number {seq}, and the client, who saw {} to {upto}, did not get it",
                            row.name,
                            after + 1
                        )
                    }),
                    Some(*at),
                )?;
                judge(
                    ensure(seen == Some(row), Rule::Changed, || {
                        format!(
                            "number {seq} is another event in the journal ({}) than the client saw ({:?})",
                            row.name,
                            seen.map(|s| &s.name)
                        )
                    }),
                    Some(*at),
                )?;
            }
        }
        for (seq, row) in &self.rows {
            let beside = rows.range(..=*seq).next_back().map(|(_, (at, _))| *at);
            judge(
                ensure(*seq <= head, Rule::Unjournalled, || {
                    format!(
                        "the client saw {} as number {seq}, and the journal ends at {head}: it was announced before it was journalled",
                        row.name
                    )
                }),
                beside,
            )?;
            judge(
                ensure(row.is_delta() || rows.contains_key(seq), Rule::Unjournalled, || {
                    format!("the client saw {} as number {seq}, and the journal has no such number", row.name)
                }),
                beside,
            )?;
        }
        Ok(())
    }
}
