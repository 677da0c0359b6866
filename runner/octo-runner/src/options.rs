//! What the runner is told when it starts.

use crate::retention::Limits;
use clap::Args;
use octo_protocol::PermissionMode;
use octo_protocol::permission::PermissionPolicy;
use std::path::PathBuf;
use std::time::Duration;

/// octo-eavs' socket in its directory.
pub const EAVS_SOCKET: &str = "eavs.sock";

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
    /// Where Claude Code keeps its own session files; `$XDG_DATA_HOME/claude/projects` when absent. Agents write there.
    #[arg(long)]
    pub claude_sessions_dir: Option<PathBuf>,
    /// The program Claude Code: a name, looked for in the prefix and in PATH, or an absolute path.
    #[arg(long, default_value = "claude")]
    pub claude_executable: String,
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
    /// Memory that an agent and everything it started may use, in bytes; 0 is any amount. Half of the machine's when absent.
    #[arg(long)]
    pub agent_memory_bytes: Option<u64>,
    /// Processes and threads that an agent may have with everything it started; 0 is any number.
    #[arg(long, default_value_t = 4096)]
    pub agent_tasks: u64,
    /// Files that one process of an agent may have open.
    #[arg(long, default_value_t = 65_536, value_parser = clap::value_parser!(u64).range(64..))]
    pub agent_open_files: u64,
    /// End and start again an agent that has not answered for so many seconds though it runs. Never when absent.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub restart_silent_secs: Option<u64>,
    /// How many seconds an agent may take for its handshake.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..))]
    pub handshake_secs: u64,
    /// What becomes of a tool call of which nothing else is said: `allow`, `ask` or `deny`. When absent `allow` for agents that ask for every call, `ask` for
    /// those that ask by rules of their own.
    #[arg(long, value_parser = mode)]
    pub permission_default: Option<PermissionMode>,
    /// `TOOL=allow|ask|deny`: what becomes of the calls of one tool. May be given several times.
    #[arg(long = "permission-tool", value_parser = tool_mode)]
    pub permission_tools: Vec<(String, PermissionMode)>,
    /// A question that nobody answers for so many seconds answers itself; one that is not about a tool call is dismissed. Never when absent.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    pub permission_timeout_secs: Option<u64>,
    /// How one about a tool call answers itself then: `allow` or `deny`.
    #[arg(long, default_value = "deny", value_parser = answer)]
    pub permission_on_timeout: PermissionMode,
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
    /// What an agent may use with everything it started.
    #[must_use]
    pub fn agent_limits(&self) -> octo_sandbox::Limits {
        let memory = self.agent_memory_bytes.or_else(|| machine_memory().map(|bytes| bytes / 2));
        octo_sandbox::Limits {
            memory: memory.filter(|bytes| *bytes > 0),
            tasks: Some(self.agent_tasks).filter(|tasks| *tasks > 0),
            nofile: Some(self.agent_open_files),
            ..octo_sandbox::Limits::default()
        }
    }

    /// Where octo-eavs takes the agents' requests, if there is one.
    #[must_use]
    pub fn eavs_socket(&self) -> Option<PathBuf> {
        self.eavs_dir.is_dir().then(|| self.eavs_dir.join(EAVS_SOCKET))
    }

    /// What becomes of tool calls.
    #[must_use]
    pub fn permissions(&self) -> PermissionPolicy {
        PermissionPolicy {
            default: self.permission_default,
            tools: self.permission_tools.iter().cloned().collect(),
            timeout_ms: self.permission_timeout_secs.map(|secs| secs.saturating_mul(1000)),
            on_timeout: self.permission_on_timeout,
        }
    }

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

fn mode(text: &str) -> Result<PermissionMode, String> {
    text.parse()
}

fn tool_mode(text: &str) -> Result<(String, PermissionMode), String> {
    match text.split_once('=') {
        Some((tool, mode)) if !tool.is_empty() => Ok((tool.to_owned(), mode.parse()?)),
        _ => Err(format!("{text:?} is not TOOL=allow, TOOL=ask or TOOL=deny")),
    }
}

fn answer(text: &str) -> Result<PermissionMode, String> {
    match text.parse()? {
        PermissionMode::Ask => Err("a question cannot answer itself with another one; it takes allow or deny".to_owned()),
        mode => Ok(mode),
    }
}

/// Bytes of memory that this machine has.
fn machine_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?.trim().strip_suffix(" kB")?;
    kib.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}
