//! Who may write: the journal counts the runners that opened it, and only the newest of them writes.
//!
//! A lock alone does not do. A runner that was frozen (SIGSTOP, a machine that was suspended) knows nothing of what happened meanwhile, and a lock's
//! file may have been removed under it. So each runner takes the next **generation** when it opens the journal, and every transaction looks whether
//! it is still that one, before it writes.

use super::JournalError;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};
use std::path::Path;
use tokio::sync::watch;

/// One runner's right to write.
#[derive(Debug)]
pub(super) struct Fence {
    generation: i64,
    /// The generation that has come after it, once that is known.
    replaced: watch::Sender<Option<i64>>,
}

impl Fence {
    /// Takes the next generation. On a disk without room it is written together with whatever is written first.
    pub fn take(connection: &mut Connection, path: &Path) -> rusqlite::Result<Self> {
        let fence = Self { generation: newest(connection)? + 1, replaced: watch::Sender::new(None) };
        let taken = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            fence.write(&transaction)?;
            transaction.commit()
        })();
        match taken {
            Err(error) if !JournalError::sqlite("taking the journal over", path, &error).is_temporary() => Err(error),
            Ok(()) | Err(_) => Ok(fence),
        }
    }

    fn write(&self, connection: &Connection) -> rusqlite::Result<()> {
        let sql = "INSERT INTO meta(key, value) VALUES ('generation', ?1) ON CONFLICT(key) DO UPDATE SET value = excluded.value";
        connection.prepare_cached(sql)?.execute([self.generation.to_string()]).map(drop)
    }

    /// One of a journal that is written by nobody.
    pub fn none() -> Self {
        Self { generation: 0, replaced: watch::Sender::new(None) }
    }

    /// Inside a transaction that will write: whether it may. A generation that could not be written yet goes with it.
    pub fn claim(&self, transaction: &Transaction<'_>, path: &Path) -> Result<(), JournalError> {
        if self.check(transaction, path)? < self.generation {
            self.write(transaction).map_err(|error| JournalError::sqlite("taking the journal over", path, &error))?;
        }
        Ok(())
    }

    /// Whether it is still the newest, or the next one; the newest that is written.
    pub fn check(&self, connection: &Connection, path: &Path) -> Result<i64, JournalError> {
        let newest = newest(connection).map_err(|error| JournalError::sqlite("looking for a newer runner", path, &error))?;
        if newest == self.generation || newest == self.generation - 1 {
            return Ok(newest);
        }
        self.replaced.send_replace(Some(newest));
        Err(JournalError::Replaced { own: self.generation, newest })
    }

    /// Waits until [`Fence::check`] has found a newer runner.
    pub async fn replaced(&self) -> JournalError {
        let mut replaced = self.replaced.subscribe();
        let found = replaced.wait_for(Option::is_some).await.ok().and_then(|newest| *newest);
        match found {
            Some(newest) => JournalError::Replaced { own: self.generation, newest },
            None => std::future::pending().await,
        }
    }
}

/// The runner that opened the journal last; 0 when the journal does not say.
fn newest(connection: &Connection) -> rusqlite::Result<i64> {
    let mut statement = connection.prepare_cached("SELECT CAST(value AS INTEGER) FROM meta WHERE key = 'generation'")?;
    Ok(statement.query_row([], |r| r.get(0)).optional()?.unwrap_or(0))
}
