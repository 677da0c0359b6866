//! The tree of actors, drawn.

use std::collections::BTreeMap;

use octo_protocol::mux::system::ActorRow;

use super::{Table, age, millis, short};
use crate::output::Output;

/// Characters of an error that stand behind an actor.
const ERROR_CHARS: usize = 60;

#[derive(Default)]
struct Node<'a> {
    row: Option<&'a ActorRow>,
    children: BTreeMap<&'a str, Node<'a>>,
}

/// Draws the rows below `top`, each below its parent.
pub fn tree(top: &str, rows: &[ActorRow], output: Output) -> String {
    let mut root = Node::default();
    let base = top.trim_end_matches('/');
    for row in rows {
        let below = row.path.strip_prefix(base).unwrap_or(&row.path);
        let mut node = &mut root;
        for segment in below.split('/').filter(|segment| !segment.is_empty()) {
            node = node.children.entry(segment).or_default();
        }
        node.row = Some(row);
    }
    let mut table = Table::new(&["ACTOR", "KIND", "STATE", "MAILBOX", "HANDLED", "RESTARTS", "AGE", ""]);
    table.row(cells(top.to_owned(), root.row, output));
    draw(&root, "", &mut table, output);
    table.text()
}

fn draw(node: &Node<'_>, indent: &str, table: &mut Table, output: Output) {
    let last = node.children.len().saturating_sub(1);
    for (place, (name, child)) in node.children.iter().enumerate() {
        let (branch, below) = if place == last { ("└─ ", "   ") } else { ("├─ ", "│  ") };
        table.row(cells(format!("{indent}{branch}{name}"), child.row, output));
        draw(child, &format!("{indent}{below}"), table, output);
    }
}

fn cells(name: String, row: Option<&ActorRow>, output: Output) -> Vec<String> {
    let Some(row) = row else { return vec![name] };
    vec![
        name,
        row.kind.clone(),
        output.state(&row.state),
        mailbox(row),
        row.processed.to_string(),
        row.restarts.to_string(),
        age(row.started_at),
        remark(row),
    ]
}

/// `3/256`
pub fn mailbox(row: &ActorRow) -> String {
    row.mailbox_limit.map_or_else(|| row.mailbox.to_string(), |limit| format!("{}/{limit}", row.mailbox))
}

/// What it is inside of, what it finds wrong, or why it failed last.
pub fn remark(row: &ActorRow) -> String {
    if let (Some(ms), Some(message)) = (row.busy_ms.filter(|ms| *ms >= 1000), &row.busy_with) {
        return format!("inside {message} for {}", millis(ms));
    }
    let said = row.trouble.as_deref().or(row.last_error.as_deref());
    said.map(|error| short(error, ERROR_CHARS)).unwrap_or_default()
}
