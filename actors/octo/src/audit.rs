//! The audit: who did what and when, one JSON object a line, appended, never with a secret.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// Entries that may wait for the disk; those beyond are counted, and their number is an entry.
const QUEUE: usize = 1024;
/// How soon an entry that found no room is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Writes the audit. Clones share one writer; without a file nothing is written.
#[derive(Clone, Debug)]
pub struct Audit(Option<Writer>);

#[derive(Clone, Debug)]
struct Writer {
    entries: mpsc::Sender<Value>,
    lost: Arc<AtomicU64>,
}

impl Audit {
    /// Appends to `path` (0600), or nowhere.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub async fn open(path: Option<&Path>) -> std::io::Result<Self> {
        let Some(path) = path else { return Ok(Self(None)) };
        if let Some(dir) = path.parent() {
            tokio::fs::create_dir_all(dir).await?;
        }
        let file = tokio::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).await?;
        let (sender, entries) = mpsc::channel::<Value>(QUEUE);
        let lost = Arc::new(AtomicU64::new(0));
        tokio::spawn(keep(file, entries, Arc::clone(&lost), path.to_owned()));
        Ok(Self(Some(Writer { entries: sender, lost })))
    }

    /// Writes an entry: `event` and the members of `what`, with the time.
    pub async fn write(&self, event: &str, what: Value) {
        let Some(writer) = &self.0 else { return };
        let mut entry = entry(event);
        if let (Some(entry), Value::Object(what)) = (entry.as_object_mut(), what) {
            entry.extend(what);
        }
        // Nobody waits for a disk that is full.
        if writer.entries.try_send(entry).is_err() {
            writer.lost.fetch_add(1, Relaxed);
        }
    }
}

fn entry(event: &str) -> Value {
    json!({ "timestamp": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(), "event": event })
}

/// Writes every entry, in order, and waits with those that find no room.
async fn keep(mut file: tokio::fs::File, mut entries: mpsc::Receiver<Value>, lost: Arc<AtomicU64>, path: PathBuf) {
    while let Some(next) = entries.recv().await {
        let mut line = format!("{next}\n");
        let lost = lost.swap(0, Relaxed);
        if lost > 0 {
            let mut gap = entry("audit.lost");
            gap["entries"] = lost.into();
            line = format!("{gap}\n{line}");
        }
        let mut failed = false;
        // One write per line: a reader never sees half of one, but for what a full disk has cut.
        while let Err(error) = put(&mut file, line.as_bytes()).await {
            if !failed {
                tracing::error!(path = %path.display(), %error, "an audit entry could not be written; it is tried again until it is");
                // It may stand there in part: the whole one begins a line of its own.
                line.insert(0, '\n');
            }
            failed = true;
            tokio::time::sleep(RETRY).await;
        }
    }
}

async fn put(file: &mut tokio::fs::File, line: &[u8]) -> std::io::Result<()> {
    file.write_all(line).await?;
    file.flush().await
}
