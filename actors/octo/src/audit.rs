//! The audit: who did what and when, one JSON object a line, appended, never with a secret.

use std::path::Path;

use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc;

/// Entries that may wait for the disk; beyond that the oldest requests wait with them.
const QUEUE: usize = 1024;

/// Writes the audit. Clones share one writer; without a file nothing is written.
#[derive(Clone, Debug)]
pub struct Audit(Option<mpsc::Sender<Value>>);

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
        let mut file = tokio::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path).await?;
        let (sender, mut entries) = mpsc::channel::<Value>(QUEUE);
        let shown = path.to_owned();
        tokio::spawn(async move {
            while let Some(entry) = entries.recv().await {
                let mut line = entry.to_string();
                line.push('\n');
                // One write per line: a reader never sees half of one.
                if let Err(error) = async {
                    file.write_all(line.as_bytes()).await?;
                    file.flush().await
                }
                .await
                {
                    tracing::error!(path = %shown.display(), %error, "an audit entry could not be written");
                }
            }
        });
        Ok(Self(Some(sender)))
    }

    /// Writes an entry: `event` and the members of `what`, with the time.
    pub async fn write(&self, event: &str, what: Value) {
        let Some(sender) = &self.0 else { return };
        let mut entry = json!({ "timestamp": OffsetDateTime::now_utc().format(&Rfc3339).unwrap_or_default(), "event": event });
        if let (Some(entry), Value::Object(what)) = (entry.as_object_mut(), what) {
            entry.extend(what);
        }
        // The writer ends only with the runtime.
        let _ = sender.send(entry).await;
    }
}
