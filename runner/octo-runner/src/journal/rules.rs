//! The rules about tool calls that this user has octo remember, in the same file as the conversations they were made in.

use super::{Journal, JournalError, operation};
use octo_protocol::{PermissionMode, PermissionRule};
use rusqlite::{Connection, params};
use tokio::sync::oneshot;

/// What happens to a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RuleChange {
    /// It is remembered; one with its id is replaced, and those that have expired by its creation go.
    Add(Box<PermissionRule>),
    Remove {
        id: String,
    },
    /// It has decided a call. `at` is Unix milliseconds.
    Use {
        id: String,
        at: i64,
    },
}

impl RuleChange {
    /// Whether it has to survive the power too.
    #[must_use]
    pub fn is_a_decision(&self) -> bool {
        !matches!(self, Self::Use { .. })
    }
}

impl Journal {
    /// Every rule, oldest first. What cannot be read any more is left out and said in the log: it decides nothing then.
    ///
    /// # Errors
    /// [`JournalError`] when the journal cannot be read.
    pub async fn rules(&self) -> Result<Vec<PermissionRule>, JournalError> {
        self.readers()
            .run("reading rules", |c| {
                let sql = "SELECT id, mode, tool, workspace, subject, created_at, created_by, session, expires_at, uses, last_used_at FROM rules ORDER BY created_at, id";
                let rows = c.prepare_cached(sql)?.query_map([], row)?.collect::<rusqlite::Result<Vec<_>>>()?;
                Ok(rows.into_iter().flatten().collect())
            })
            .await
    }

    /// Changes the rules outside of a session.
    ///
    /// # Errors
    /// [`JournalError`]; the rules are as they were then.
    pub async fn change_rules(&self, change: RuleChange) -> Result<(), JournalError> {
        let (reply, outcome) = oneshot::channel();
        self.send(operation::Operation::Rule { change, reply }).await?;
        outcome.await.unwrap_or(Err(JournalError::Closed))
    }
}

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Option<PermissionRule>> {
    let (id, mode): (String, String) = (row.get(0)?, row.get(1)?);
    let mode: PermissionMode = match mode.parse() {
        Ok(mode) => mode,
        Err(error) => {
            tracing::error!(rule = id, %error, "a rule in the journal cannot be read; it decides nothing");
            return Ok(None);
        }
    };
    Ok(Some(PermissionRule {
        id,
        mode,
        tool: row.get(2)?,
        workspace: row.get(3)?,
        subject: row.get(4)?,
        created_at: row.get(5)?,
        created_by: row.get(6)?,
        session_id: row.get(7)?,
        expires_at: row.get(8)?,
        uses: row.get::<_, i64>(9)?.unsigned_abs(),
        last_used_at: row.get(10)?,
    }))
}

pub(super) fn apply(connection: &Connection, change: &RuleChange) -> rusqlite::Result<()> {
    match change {
        RuleChange::Add(rule) => {
            connection.prepare_cached("DELETE FROM rules WHERE expires_at <= ?1")?.execute([rule.created_at])?;
            connection
                .prepare_cached(
                    "INSERT INTO rules(id, mode, tool, workspace, subject, created_at, created_by, session, expires_at)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
                     ON CONFLICT(id) DO UPDATE SET mode = excluded.mode, created_at = excluded.created_at, created_by = excluded.created_by,
                       session = excluded.session, expires_at = excluded.expires_at, uses = 0, last_used_at = NULL",
                )?
                .execute(params![
                    rule.id,
                    rule.mode.as_str(),
                    rule.tool,
                    rule.workspace,
                    rule.subject,
                    rule.created_at,
                    rule.created_by,
                    rule.session_id,
                    rule.expires_at
                ])?;
        }
        RuleChange::Remove { id } => {
            connection.prepare_cached("DELETE FROM rules WHERE id = ?1")?.execute([id])?;
        }
        RuleChange::Use { id, at } => {
            connection.prepare_cached("UPDATE rules SET uses = uses + 1, last_used_at = ?2 WHERE id = ?1")?.execute(params![id, at])?;
        }
    }
    Ok(())
}
