//! What is reported of the whole: status, sessions, users, runners, logs, the journal, the store.

use crate::session::SessionSummary;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;

/// Rows of a journal that a report names one by one; further ones are counted.
pub const MAX_DAMAGED: usize = 100;

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    Ok,
    /// Worth knowing, nothing is broken.
    Note,
    Bad,
}

/// A part of octo: what it is, which version, how it stands, what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    pub name: String,
    pub standing: Standing,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    pub found: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Something that is wrong right now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// The actor, or the part.
    pub what: String,
    pub sentence: String,
}

/// octo as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub pid: u32,
    /// Unix milliseconds.
    pub started_at: i64,
    pub accounts: u64,
    /// Users whose actors run.
    pub users_awake: u64,
    /// WebSockets.
    pub connections: u64,
    /// Sessions by their state, of the runners that could be asked.
    pub sessions: BTreeMap<String, u64>,
    /// Actors by their state, across octo and its runners.
    pub actors: BTreeMap<String, u64>,
    /// octo itself, octo-eavs, the store, each runner.
    pub components: Vec<Component>,
    pub trouble: Vec<Trouble>,
}

/// A session, and whose it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AdminSession {
    pub user: String,
    #[serde(flatten)]
    pub session: SessionSummary,
}

/// Sessions of several users.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AdminSessions {
    /// Those that were used last come first.
    pub sessions: Vec<AdminSession>,
    /// Users whose sessions are not among them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<super::LeftOut>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminUser {
    pub id: String,
    pub username: String,
    pub display_name: String,
    /// `user` or `admin`.
    pub role: String,
    pub is_active: bool,
    /// Unix milliseconds.
    pub created_at: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_login_at: Option<i64>,
    /// Whether its actors run.
    pub awake: bool,
    /// WebSockets.
    pub connections: u64,
    /// Sessions that somebody watches.
    pub followed: u64,
}

/// Accounts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminUsers {
    pub users: Vec<AdminUser>,
}

/// A user was put to sleep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slept {
    pub user: String,
    /// Whether it was awake.
    pub was_awake: bool,
    /// WebSockets that were closed; their clients come back, and wake it again.
    pub connections: u64,
}

/// A user's runner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runner {
    pub user: String,
    pub socket: String,
    /// Whether somebody answers on its socket.
    pub running: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
    /// Whether octo has its link.
    pub linked: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Version of the link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<u16>,
    /// Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessions: Option<u64>,
    pub log: String,
}

/// Runners.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runners {
    pub runners: Vec<Runner>,
}

/// A runner, or an actor, was restarted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restarted {
    pub what: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid_before: Option<i32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<i32>,
}

/// A runner goes on as another program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgraded {
    pub user: String,
    pub pid: u32,
    pub before: String,
    pub after: String,
    pub binary: String,
}

/// A log file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFile {
    /// What `octoctl logs` takes.
    pub name: String,
    pub path: String,
    pub bytes: u64,
    /// Unix milliseconds.
    pub changed_at: i64,
}

/// Log files.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogFiles {
    pub files: Vec<LogFile>,
}

/// The end of a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogText {
    pub name: String,
    pub lines: Vec<String>,
    /// Whether there are older lines.
    pub has_more: bool,
    /// Where the next look goes on.
    pub next: u64,
}

/// What stands for a secret.
pub const HIDDEN: &str = "…";

/// A key of the configuration as it is shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ShownKey {
    /// `section.key`
    pub key: String,
    /// The value; [`HIDDEN`] for a secret.
    pub value: Value,
    /// `default`, `FILE:LINE`, `env NAME`, `flag NAME`.
    pub origin: String,
    /// Why it has no effect, if it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_built: Option<String>,
}

/// The configuration that octo runs with.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ShownConfig {
    pub file: String,
    pub keys: Vec<ShownKey>,
}

/// A row of a journal that is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Damaged {
    /// Absent when no session has the row any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<String>,
    pub seq: u64,
}

/// What reading a whole journal came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalReport {
    pub path: String,
    /// Of the file.
    pub bytes: u64,
    pub schema: i64,
    pub sessions: u64,
    /// Rows that were read.
    pub events: u64,
    /// Of these, rows from before there were checksums.
    pub unsummed: u64,
    /// Rows whose checksum does not fit.
    pub damaged: u64,
    /// The first [`MAX_DAMAGED`] of them.
    pub rows: Vec<Damaged>,
    /// Sessions with events beyond their newest number.
    pub beyond_head: Vec<String>,
    /// What SQLite says of the file; empty when it is whole.
    pub structure: Vec<String>,
    pub took_ms: u64,
}

impl JournalReport {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.damaged == 0 && self.beyond_head.is_empty() && self.structure.is_empty()
    }
}

/// First line of an exported store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoreHead {
    /// Schema version of the store.
    pub octo_store: u32,
    /// Of octo.
    pub version: String,
    /// Unix milliseconds.
    pub exported_at: i64,
    /// Lines that follow.
    pub entries: u64,
}

/// Every further line of an exported store.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoreEntry {
    pub tree: String,
    pub key: String,
    /// JSON where the tree holds JSON, else text or a number.
    pub value: Value,
}

/// A store was put in the place of the one before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Imported {
    pub entries: u64,
    /// Entries that were there before and are not any more.
    pub removed: u64,
    /// Whether log ins are signed with another secret after the next start of octo.
    pub restart_needed: bool,
}
