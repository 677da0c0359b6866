//! `watch_actors`: the tree as it changes, for admins all of it, for others their own part.

use super::commands::Context;
use crate::users::{Difference, Tree};
use octo_actors::ActorPath;
use octo_protocol::admin::LeftOut;
use octo_protocol::mux::ServerFrame;
use octo_protocol::mux::system::{ActorRow, ServerSystem};
use std::sync::Arc;
use std::time::Duration;

/// Rows of one frame.
const MAX_ROWS: usize = 500;
/// Longest error in a row, in bytes; all of it is had by inspecting the actor.
const MAX_ERROR: usize = 240;
/// When the branch of all users is being restarted, it is asked again after so long.
const AGAIN: Duration = Duration::from_secs(1);

/// Sends the rows at and below `path`, all of them first, then those that changed, until the task is ended. `id` is that of the `watch_actors`.
pub async fn watch(context: &Context, id: Option<String>, path: ActorPath) {
    let mut frames = Frames { id, path, known: Arc::default(), left_out: Vec::new(), first: true };
    loop {
        if let Ok(mut watch) = context.state.users.watch(frames.path.clone()).await {
            while let Some(tree) = watch.next().await {
                for frame in frames.of(tree) {
                    context.outbox.frame(&ServerFrame::System(frame)).await;
                }
            }
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What a watcher knows, and the frames that tell it what is different.
struct Frames {
    id: Option<String>,
    path: ActorPath,
    known: Arc<Tree>,
    left_out: Vec<LeftOut>,
    first: bool,
}

impl Frames {
    /// At least one: who watches sees by it that the tree was looked at.
    fn of(&mut self, tree: Arc<Tree>) -> Vec<ServerSystem> {
        let Difference { rows, mut gone } = tree.since(&self.known, &self.path);
        let left_out = tree.left_out(&self.path);
        let mut news = (self.first || left_out != self.left_out).then(|| left_out.clone());
        let mut pages: Vec<Vec<ActorRow>> = rows.chunks(MAX_ROWS).map(|page| page.iter().map(|row| short(row)).collect()).collect();
        if pages.is_empty() {
            pages.push(Vec::new());
        }
        let last = pages.len() - 1;
        let frame = |(page, rows)| ServerSystem::Actors {
            id: self.id.clone(),
            rows,
            gone: std::mem::take(&mut gone),
            at: tree.at(),
            first: self.first && page == 0,
            more: page < last,
            left_out: news.take(),
        };
        let frames = pages.into_iter().enumerate().map(frame).collect();
        (self.known, self.left_out, self.first) = (tree, left_out, false);
        frames
    }
}

/// The row with its error cut short.
fn short(row: &ActorRow) -> ActorRow {
    let mut row = row.clone();
    if let Some(error) = row.last_error.as_mut().filter(|error| error.len() > MAX_ERROR) {
        error.truncate(error.floor_char_boundary(MAX_ERROR));
        error.push('…');
    }
    row
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
