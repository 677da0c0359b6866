//! What happened between two readings of the tree.

use std::collections::HashMap;

use octo_protocol::admin::Actors;
use octo_protocol::mux::system::ActorRow;
use serde::Serialize;

use crate::arguments::Sort;
use crate::show::{self, Table};

/// An actor, and how much it handled.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Busy {
    /// Messages a second since the reading before; 0 when there was none.
    pub rate: f64,
    #[serde(flatten)]
    pub row: ActorRow,
}

/// One look at the tree.
#[derive(Debug, Clone, Default)]
pub struct Look {
    /// Unix milliseconds.
    pub at: i64,
    /// Messages a second, of all actors.
    pub rate: f64,
    pub rows: Vec<Busy>,
}

impl Look {
    /// From what was read before, and what is read now.
    pub fn between(before: Option<&Actors>, now: Actors, sort: Sort) -> Self {
        let seconds = before.map_or(0.0, |before| millis(now.at.saturating_sub(before.at)) / 1000.0);
        let known: HashMap<&str, &ActorRow> =
            before.into_iter().flat_map(|before| &before.rows).map(|row| (row.path.as_str(), row)).collect();
        let rate = |row: &ActorRow| {
            // One that was begun anew in between has counted from the start.
            let before = known.get(row.path.as_str()).map_or(0, |known| known.processed);
            if seconds > 0.0 { count(row.processed.saturating_sub(before)) / seconds } else { 0.0 }
        };
        let rows: Vec<Busy> = now.rows.iter().map(|row| Busy { rate: rate(row), row: row.clone() }).collect();
        let mut look = Self { at: now.at, rate: rows.iter().map(|busy| busy.rate).sum(), rows };
        look.sort(sort);
        look
    }

    /// Puts those first that have most of it; among equals the path decides, so that nothing jumps.
    pub fn sort(&mut self, sort: Sort) {
        self.rows.sort_by(|a, b| {
            let most_first = match sort {
                Sort::Rate => b.rate.total_cmp(&a.rate),
                Sort::Mailbox => b.row.mailbox.cmp(&a.row.mailbox),
                Sort::Restarts => b.row.restarts.cmp(&a.row.restarts),
                Sort::Busy => b.row.busy_ms.cmp(&a.row.busy_ms),
                Sort::Path => std::cmp::Ordering::Equal,
            };
            most_first.then_with(|| a.row.path.cmp(&b.row.path))
        });
    }

    /// The first `most` rows, for people.
    pub fn table(&self, most: usize) -> String {
        let mut table = Table::new(&HEAD);
        for busy in self.rows.iter().take(most) {
            table.row(cells(busy).into());
        }
        table.text()
    }
}

/// Columns of a look.
pub const HEAD: [&str; 7] = ["MSG/S", "MAILBOX", "BUSY", "RESTARTS", "STATE", "HANDLED", "PATH"];

/// What stands in them.
pub fn cells(busy: &Busy) -> [String; 7] {
    let row = &busy.row;
    [
        format!("{:.1}", busy.rate),
        show::mailbox(row),
        row.busy_ms.map_or_else(|| "–".to_owned(), show::millis),
        row.restarts.to_string(),
        row.state.clone(),
        row.processed.to_string(),
        row.path.clone(),
    ]
}

#[allow(clippy::cast_precision_loss, reason = "a rate on a screen")]
fn count(messages: u64) -> f64 {
    messages as f64
}

#[allow(clippy::cast_precision_loss, reason = "a rate on a screen")]
fn millis(ms: i64) -> f64 {
    ms as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(path: &str, processed: u64, mailbox: u64) -> ActorRow {
        ActorRow {
            path: path.into(),
            kind: "k".into(),
            state: "running".into(),
            restarts: 0,
            mailbox,
            processed,
            last_error: None,
            trouble: None,
            started_at: 0,
            mailbox_limit: Some(16),
            busy_ms: None,
            busy_with: None,
        }
    }

    #[test]
    fn a_rate_is_what_was_handled_in_the_time_between() {
        let before = Actors { rows: vec![row("/a", 10, 0), row("/b", 5, 3)], at: 1_000, left_out: vec![] };
        let now = Actors { rows: vec![row("/a", 30, 0), row("/b", 5, 3), row("/c", 4, 0)], at: 3_000, left_out: vec![] };
        let mut look = Look::between(Some(&before), now, Sort::Rate);
        assert_eq!(
            look.table(2),
            "MSG/S  MAILBOX  BUSY  RESTARTS  STATE    HANDLED  PATH\n10.0   0/16     –     0         running  30       /a\n2.0    0/16     –     0         running  4        /c"
        );
        look.sort(Sort::Mailbox);
        assert_eq!(look.rows[0].row.path, "/b");
        look.sort(Sort::Path);
        assert_eq!(look.rows.iter().map(|busy| busy.row.path.as_str()).collect::<Vec<_>>(), ["/a", "/b", "/c"]);
    }
}
