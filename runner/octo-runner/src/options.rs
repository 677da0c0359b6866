//! What the runner is told when it starts.

use crate::retention::Limits;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// The arguments of `octo-runner serve`. None of them is a secret.
#[derive(Debug, Clone, Args)]
pub struct Options {
    /// The octo user whose runner this is.
    #[arg(long)]
    pub user: String,
    /// The name of this runner.
    #[arg(long, default_value = "local")]
    pub runner_id: String,
    /// The Unix socket to serve; its directory is made private.
    #[arg(long)]
    pub socket: PathBuf,
    /// Where the journal is kept.
    #[arg(long)]
    pub data_dir: PathBuf,
    /// octo's state; the log goes to its directory `logs`.
    #[arg(long)]
    pub state_dir: PathBuf,
    /// octo's configuration; hidden from agents.
    #[arg(long)]
    pub config_dir: PathBuf,
    /// The prefix of installed agents.
    #[arg(long)]
    pub agents_dir: PathBuf,
    /// The directory of the socket on which octo-eavs takes LLM traffic.
    #[arg(long)]
    pub eavs_dir: PathBuf,
    /// The uid whose connections are served, besides root's. Its own when absent.
    #[arg(long)]
    pub server_uid: Option<u32>,
    /// Where pi keeps its own session files; `$XDG_DATA_HOME/pi/sessions` when absent. Agents write there.
    #[arg(long)]
    pub pi_sessions_dir: Option<PathBuf>,
    /// The program pi: a name, looked for in the prefix and in PATH, or an absolute path.
    #[arg(long, default_value = "pi")]
    pub pi_executable: String,
    /// End the agent of a session that has been idle for so many seconds; the next input starts it again. Never when absent.
    #[arg(long)]
    pub idle_after_secs: Option<u64>,
    /// How often to look for idle sessions, in seconds.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u64).range(1..))]
    pub idle_check_secs: u64,
    /// Keep events that are no messages for so many seconds. For ever when absent.
    #[arg(long)]
    pub keep_events_secs: Option<u64>,
    /// Keep messages for so many seconds. For ever when absent.
    #[arg(long)]
    pub keep_messages_secs: Option<u64>,
    /// Keep the journal below so many bytes. Any size when absent.
    #[arg(long)]
    pub journal_max_bytes: Option<u64>,
    /// How often to look at the journal's ages and size, in seconds.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..))]
    pub journal_check_secs: u64,
    /// Run agents without isolation where there is none. Without this they do not start there.
    #[arg(long)]
    pub allow_unsandboxed: bool,
    /// Another bubblewrap than the one in PATH.
    #[arg(long)]
    pub bwrap: Option<PathBuf>,
    /// Log to stderr and stay in the foreground session.
    #[arg(long)]
    pub foreground: bool,
}

impl Options {
    /// For how long the journal keeps things, and how much of them.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            events: self.keep_events_secs.map(Duration::from_secs),
            messages: self.keep_messages_secs.map(Duration::from_secs),
            bytes: self.journal_max_bytes,
            every: Duration::from_secs(self.journal_check_secs),
        }
    }
}
