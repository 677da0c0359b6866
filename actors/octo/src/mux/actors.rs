//! `watch_actors`: the tree as it changes, for admins.

use super::commands::Context;
use octo_actors::ActorPath;
use octo_protocol::mux::ServerFrame;
use octo_protocol::mux::system::{ActorRow, ServerSystem};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a watcher looks.
const EVERY: Duration = Duration::from_secs(1);
/// Rows of one frame.
const MAX_ROWS: usize = 1000;

/// Sends the rows below `path`, all of them first, then those that changed, until the task is ended.
pub async fn watch(context: &Context, path: ActorPath) {
    let users = &context.state.users;
    let mut known: BTreeMap<String, ActorRow> = BTreeMap::new();
    let mut first = true;
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        users.mount_runners(&context.principal).await;
        let now: BTreeMap<String, ActorRow> =
            users.directory().subtree(&path).into_iter().map(row).map(|row| (row.path.clone(), row)).collect();
        let rows: Vec<ActorRow> = now.values().filter(|row| known.get(&row.path) != Some(row)).cloned().collect();
        let mut gone: Vec<String> = known.keys().filter(|path| !now.contains_key(*path)).cloned().collect();
        known = now;
        if rows.is_empty() && gone.is_empty() && !first {
            continue;
        }
        first = false;
        let mut pages = rows.chunks(MAX_ROWS).map(<[ActorRow]>::to_vec).collect::<Vec<_>>();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        for rows in pages {
            let gone = std::mem::take(&mut gone);
            context.outbox.frame(&ServerFrame::System(ServerSystem::Actors { rows, gone })).await;
        }
    }
}

/// A row of the directory as it goes over the wire.
pub(crate) fn row(row: octo_actors::ActorRow) -> ActorRow {
    let state = match serde_json::to_value(row.state) {
        Ok(serde_json::Value::String(state)) => state,
        _ => "running".to_owned(),
    };
    ActorRow {
        path: row.path.as_str().to_owned(),
        kind: row.kind,
        state,
        restarts: row.restarts,
        mailbox: row.mailbox,
        processed: row.processed,
        last_error: row.last_error,
        trouble: row.trouble,
        started_at: i64::try_from(row.started_at_ms).unwrap_or(i64::MAX),
        // A runner from before this was told leaves it open.
        mailbox_limit: Some(row.mailbox_limit).filter(|limit| *limit > 0),
        busy_ms: row.busy_ms,
        busy_with: row.busy_with,
    }
}
