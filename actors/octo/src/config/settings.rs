//! The configuration as the rest of octo uses it: checked, typed, with every default filled in.

use std::path::{Path, PathBuf};
use std::time::Duration;

use octo_protocol::PermissionMode;
use octo_protocol::permission::PermissionPolicy;
use secrecy::SecretString;

use super::environment::Environment;
use super::harness::Harnesses;
use super::load::{Config, ConfigError, Problem};
use super::telemetry::TelemetrySettings;
use crate::auth::UserId;
use crate::paths::Paths;

/// Everything that an instance is configured with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it lives.
    pub paths: Paths,
    /// Its environment, from which daemons get their part.
    pub env: Environment,
    /// Name of the configuration.
    pub profile: String,
    /// Listener and limits.
    pub server: ServerSettings,
    /// Tokens, origins, hosts.
    pub auth: AuthSettings,
    /// What is written down.
    pub logging: LogSettings,
    /// The agents that there are.
    pub harnesses: Harnesses,
    /// Models of sessions that name none.
    pub pi: PiSettings,
    /// octo-eavs.
    pub eavs: EavsSettings,
    /// What agents run in.
    pub sandbox: SandboxSettings,
    /// The runner daemons.
    pub runner: RunnerSettings,
    /// Sessions.
    pub sessions: SessionSettings,
    /// What becomes of tool calls.
    pub permissions: PermissionPolicy,
    /// What runners keep.
    pub journal: JournalSettings,
    /// Where traces go; `None` = nowhere.
    pub telemetry: Option<TelemetrySettings>,
}

/// `[journal]`: for how long a user's runner keeps what.
#[derive(Debug, Clone)]
pub struct JournalSettings {
    /// Events that are no messages; `None` = for ever.
    pub keep_events: Option<Duration>,
    /// Messages; `None` = for ever.
    pub keep_messages: Option<Duration>,
    /// Bytes of one user's journal; `None` = any number.
    pub max_bytes: Option<u64>,
    /// How often it is looked at.
    pub check_every: Duration,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Address or name to listen on.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once from one address; `None` = nobody chose.
    pub max_connections_per_address: Option<usize>,
    /// WebSockets of one account at once.
    pub max_connections_per_account: usize,
    /// Between two pings on a WebSocket.
    pub ping_every: Duration,
    /// Where operators look inside.
    pub admin_socket: PathBuf,
    /// Whose members may do so, besides octo's own user and root.
    pub admin_group: Option<String>,
    /// With it `/metrics` may be read.
    pub metrics_token: Option<SecretString>,
}

impl ServerSettings {
    /// A client that has said nothing for so long is gone.
    #[must_use]
    pub fn silent_for(&self) -> Duration {
        self.ping_every * 5 / 2
    }
}

/// `[auth]`
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Signs tokens; without it octo makes one at first start and keeps it in its store.
    pub jwt_secret: Option<SecretString>,
    /// Origins of pages that may use octo with its cookie, besides octo's own.
    pub allowed_origins: Vec<String>,
    /// Host names under which octo answers, besides loopback and addresses.
    pub allowed_hosts: Vec<String>,
    /// Whether a WebSocket upgrade may carry its token in the URL.
    pub query_token: bool,
    /// How long a log in lasts.
    pub token_lifetime: Duration,
    /// Whether browsers may log in over http from other machines.
    pub allow_plain_http: bool,
}

/// The variable that says how octo and its daemons write their logs: `text` or `json`.
pub const LOG_FORMAT: &str = "OCTO_LOG_FORMAT";

/// `[logging]`
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// `off` to `trace`.
    pub level: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// Instead of standard error.
    pub file: Option<PathBuf>,
    /// Where the audit goes; `None` = nowhere.
    pub audit: Option<PathBuf>,
}

/// `[pi]`, apart from how pi is started.
#[derive(Debug, Clone)]
pub struct PiSettings {
    /// Provider of sessions that name none.
    pub default_provider: String,
    /// Model of sessions that name none.
    pub default_model: String,
    /// Whether somebody chose them, or they are the table's.
    pub default_chosen: bool,
}

/// `[eavs]`
#[derive(Debug, Clone)]
pub struct EavsSettings {
    /// Whether octo starts it.
    pub enabled: bool,
    /// Budget of a session's key in US dollars.
    pub session_budget_usd: Option<f64>,
    /// Requests a minute of a session's key.
    pub session_rpm: Option<u32>,
    /// Variables that hold providers' keys.
    pub key_variables: Vec<String>,
}

/// `[sandbox]`
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Agents may run without a sandbox.
    pub allow_unsandboxed: bool,
    /// Bytes of memory of an agent with everything it started; 0 = any, `None` = the runner decides.
    pub max_memory: Option<u64>,
    /// Processes and threads of an agent with everything it started; 0 = any.
    pub max_processes: u64,
    /// Open files of one of its processes.
    pub max_open_files: u64,
}

/// `[runner]`
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// Name of this machine's runners.
    pub runner_id: String,
    /// Where pi keeps its own session files; `None` = where the runner chooses.
    pub pi_sessions_dir: Option<PathBuf>,
}

/// `[sessions]` and what new sessions start from.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// `off`, `attach` or `resume`.
    pub auto_attach: String,
    /// Whether to look for running sessions at log in.
    pub auto_attach_scan: bool,
    /// An agent that is idle for longer is put to sleep; `None` = never.
    pub idle_after: Option<Duration>,
    /// How often idle agents are looked for.
    pub idle_check: Duration,
    /// An agent that is silent for longer is started again; `None` = never.
    pub restart_silent: Option<Duration>,
    /// Harness of sessions that name none.
    pub default_harness: String,
    /// Folder of sessions that name none; `{user_id}` stands for the account.
    workspace_pattern: PathBuf,
}

impl SessionSettings {
    /// Folder of `user`'s sessions that name none.
    #[must_use]
    pub fn default_workspace(&self, user: &UserId) -> PathBuf {
        PathBuf::from(self.workspace_pattern.to_string_lossy().replace("{user_id}", user.as_str()))
    }
}

impl Config {
    /// The typed settings.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`] when a value makes no sense (a relative path, an `env:NAME` that is not set).
    pub fn settings(&self) -> Result<Settings, ConfigError> {
        let mut problems = Vec::new();
        let mut path = |key: &str, default: PathBuf| self.path(key, &mut problems).unwrap_or(default);
        let data_dir = path("paths.data_dir", self.paths.data_dir.clone());
        let state_dir = path("paths.state_dir", self.paths.state_dir.clone());
        let audit = path("logging.audit_file", state_dir.join("audit.log.jsonl"));
        let workspace_pattern = path("local.workspace_dir", PathBuf::from("/"));
        let log_file = self.path("logging.file", &mut problems);
        let admin_socket = self.path("server.admin_socket", &mut problems);
        let pi_sessions_dir = self.path("runner.pi_sessions_dir", &mut problems);
        let telemetry = self.telemetry(&mut problems);
        let harnesses = self.harnesses(&mut problems);
        let jwt_secret = self.secret("auth.jwt_secret", &mut problems);
        let metrics_token = self.secret("server.metrics_token", &mut problems);
        let text = |key: &str| self.text(key).unwrap_or_default().to_owned();
        let count = |key: &str| self.integer(key).and_then(|n| usize::try_from(n).ok());
        let seconds = |key: &str, unit: u64| self.integer(key).map(|n| Duration::from_secs(n.unsigned_abs().saturating_mul(unit)));
        let idle_after = seconds("pi.idle_timeout_secs", 1).or_else(|| seconds("sessions.idle_timeout_minutes", 60));
        let paths = self.paths.clone().with_dirs(&self.env, data_dir, state_dir);
        let admin_socket = admin_socket.unwrap_or_else(|| paths.admin_socket());
        let settings = Settings {
            paths,
            env: self.env.clone(),
            profile: text("profile"),
            server: ServerSettings {
                host: text("server.host"),
                port: self.integer("server.port").and_then(|n| u16::try_from(n).ok()).unwrap_or(8080),
                max_connections: count("server.max_connections").unwrap_or(32_768),
                max_connections_per_address: count("server.max_connections_per_address"),
                max_connections_per_account: count("server.max_connections_per_account").unwrap_or(16_384),
                ping_every: Duration::from_secs(self.integer("server.ping_seconds").unwrap_or(30).unsigned_abs()),
                admin_socket,
                admin_group: self.text("server.admin_group").map(str::to_owned),
                metrics_token,
            },
            auth: AuthSettings {
                jwt_secret,
                allowed_origins: self.list("auth.allowed_origins"),
                allowed_hosts: self.list("auth.allowed_hosts"),
                query_token: self.flag("auth.query_token"),
                token_lifetime: Duration::from_secs(self.integer("auth.token_hours").unwrap_or(24).unsigned_abs() * 3600),
                allow_plain_http: self.flag("auth.allow_plain_http"),
            },
            logging: LogSettings {
                level: text("logging.level"),
                json: self.env.get(LOG_FORMAT).or_else(|| self.text("logging.format")) == Some("json"),
                file: log_file,
                audit: self.flag("logging.audit_enabled").then_some(audit),
            },
            harnesses,
            pi: PiSettings {
                default_provider: text("pi.default_provider"),
                default_model: text("pi.default_model"),
                default_chosen: self.is_set("pi.default_provider") || self.is_set("pi.default_model"),
            },
            eavs: EavsSettings {
                enabled: self.flag("eavs.enabled"),
                session_budget_usd: self.number("eavs.default_session_budget_usd"),
                session_rpm: self.integer("eavs.default_session_rpm").and_then(|n| u32::try_from(n).ok()),
                key_variables: self.key_variables(),
            },
            sandbox: SandboxSettings {
                allow_unsandboxed: self.flag("sandbox.allow_unsandboxed"),
                max_memory: self.integer("sandbox.max_memory_mb").map(|mib| mib.unsigned_abs() << 20),
                max_processes: self.integer("sandbox.max_processes").unwrap_or(4096).unsigned_abs(),
                max_open_files: self.integer("sandbox.max_open_files").unwrap_or(65_536).unsigned_abs(),
            },
            runner: RunnerSettings {
                runner_id: self.text("runner.runner_id").or_else(|| self.env.get("OCTO_RUNNER_ID")).unwrap_or("local").to_owned(),
                pi_sessions_dir,
            },
            sessions: SessionSettings {
                auto_attach: text("sessions.auto_attach"),
                auto_attach_scan: self.flag("sessions.auto_attach_scan"),
                idle_after: idle_after.filter(|idle| !idle.is_zero()),
                restart_silent: seconds("sessions.restart_silent_seconds", 1).filter(|after| !after.is_zero()),
                idle_check: seconds("sessions.idle_check_interval_seconds", 1).unwrap_or(Duration::from_secs(300)),
                default_harness: super::harness::canonical(self.text("local.default_agent").unwrap_or("pi")).to_owned(),
                workspace_pattern,
            },
            permissions: self.permissions(),
            journal: JournalSettings {
                keep_events: seconds("journal.keep_events_days", 86_400).filter(|keep| !keep.is_zero()),
                keep_messages: seconds("journal.keep_messages_days", 86_400),
                max_bytes: self.integer("journal.max_size_mb").map(|mb| mb.unsigned_abs() * 1024 * 1024),
                check_every: seconds("journal.check_interval_seconds", 1).unwrap_or(Duration::from_secs(600)),
            },
            telemetry,
        };
        if octo_protocol::RunnerId::new(settings.runner.runner_id.as_str()).is_err() {
            problems.push(self.problem("runner.runner_id", "takes letters, digits, . _ and -"));
        }
        if problems.is_empty() { Ok(settings) } else { Err(ConfigError::Invalid(problems)) }
    }

    fn permissions(&self) -> PermissionPolicy {
        let mode = |key: &str| self.text(key).and_then(|word| word.parse().ok());
        let tools = self.entries().filter_map(|(path, ..)| {
            let tool = path.strip_prefix("permissions.tools.")?;
            Some((tool.to_owned(), mode(path)?))
        });
        PermissionPolicy {
            default: mode("permissions.default"),
            tools: tools.collect(),
            timeout_ms: self.integer("permissions.timeout_seconds").filter(|n| *n > 0).map(|n| n.unsigned_abs().saturating_mul(1000)),
            on_timeout: mode("permissions.on_timeout").unwrap_or(PermissionMode::Deny),
        }
    }

    fn path(&self, key: &str, problems: &mut Vec<Problem>) -> Option<PathBuf> {
        let text = self.text(key)?;
        let home = self.env.path("HOME");
        let path = match text.strip_prefix("~/").or_else(|| text.strip_prefix("$HOME/")) {
            Some(rest) => home.unwrap_or_default().join(rest),
            None => PathBuf::from(text),
        };
        if !path.is_absolute() {
            problems.push(self.problem(key, "is a relative path: write it from / or ~/ on"));
        }
        Some(path)
    }

    pub(super) fn secret(&self, key: &str, problems: &mut Vec<Problem>) -> Option<SecretString> {
        let text = self.text(key)?;
        self.resolved(key, text, problems)
    }

    /// What `text` stands for: the variable of `env:NAME`, else itself.
    pub(super) fn resolved(&self, key: &str, text: &str, problems: &mut Vec<Problem>) -> Option<SecretString> {
        let Some(variable) = text.strip_prefix("env:") else { return Some(text.to_owned().into()) };
        let value = self.env.get(variable);
        if value.is_none() {
            problems.push(self.problem(key, &format!("names the environment variable {variable}, which is not set")));
        }
        value.map(|v| v.to_owned().into())
    }

    pub(super) fn problem(&self, key: &str, what: &str) -> Problem {
        Problem { place: self.origin(key).to_string(), what: format!("{key} {what}") }
    }

    /// Variables that `env:NAME` names below `[providers]`, and those that make providers by themselves.
    fn key_variables(&self) -> Vec<String> {
        let mut names: Vec<String> =
            ["ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"].map(str::to_owned).into();
        for (_, value, _) in self.entries().filter(|(path, ..)| path.starts_with("providers.")) {
            collect(&value.to_json(), &mut names);
        }
        names.sort();
        names.dedup();
        names
    }
}

fn collect(value: &serde_json::Value, names: &mut Vec<String>) {
    match value {
        serde_json::Value::String(text) => names.extend(text.strip_prefix("env:").map(str::to_owned)),
        serde_json::Value::Array(list) => list.iter().for_each(|v| collect(v, names)),
        serde_json::Value::Object(members) => members.values().for_each(|v| collect(v, names)),
        _ => {}
    }
}

impl Settings {
    /// The home of octo's user, for `~/`.
    #[must_use]
    pub fn home(&self) -> Option<&Path> {
        self.env.get("HOME").map(Path::new)
    }
}
