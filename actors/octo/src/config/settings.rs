//! The configuration as the rest of octo uses it: checked, typed, with every default filled in.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use crate::paths::Paths;

/// Everything that an instance is configured with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where it lives.
    pub paths: Paths,
    /// Listener and limits.
    pub server: ServerSettings,
    /// Tokens, origins, hosts.
    pub auth: AuthSettings,
    /// pi.
    pub pi: PiSettings,
    /// octo-eavs.
    pub eavs: EavsSettings,
    /// What agents run in.
    pub sandbox: SandboxSettings,
    /// The runner daemons.
    pub runner: RunnerSettings,
    /// Sessions.
    pub sessions: SessionSettings,
}

/// `[server]`
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// Address or name to listen on.
    pub host: String,
    /// 0 lets the system choose.
    pub port: u16,
    /// Largest body of an upload, in bytes.
    pub max_upload_bytes: usize,
}

/// `[auth]`
#[derive(Debug, Clone)]
pub struct AuthSettings {
    /// Signs tokens; without it octo makes one at first start and keeps it in its store.
    pub jwt_secret: Option<SecretString>,
    /// Origins of pages that may use octo with its cookie, besides octo's own.
    pub allowed_origins: Vec<String>,
    /// Host names under which octo answers, besides loopback and the configured address.
    pub allowed_hosts: Vec<String>,
    /// Whether a WebSocket upgrade may carry its token in the URL.
    pub query_token: bool,
    /// How long a log in lasts.
    pub token_lifetime: Duration,
}

/// `[pi]`
#[derive(Debug, Clone)]
pub struct PiSettings {
    /// Name or path of pi.
    pub executable: String,
    /// Provider of sessions that name none.
    pub default_provider: String,
    /// Model of sessions that name none.
    pub default_model: String,
}

/// `[eavs]`
#[derive(Debug, Clone)]
pub struct EavsSettings {
    /// Budget of a session's key in US dollars.
    pub session_budget_usd: Option<f64>,
    /// Requests a minute of a session's key.
    pub session_rpm: Option<u32>,
}

/// `[sandbox]`
#[derive(Debug, Clone)]
pub struct SandboxSettings {
    /// Agents may run without a sandbox.
    pub allow_unsandboxed: bool,
}

/// `[runner]`
#[derive(Debug, Clone)]
pub struct RunnerSettings {
    /// Name of this machine's runners.
    pub runner_id: String,
}

/// `[sessions]` and what new sessions start from.
#[derive(Debug, Clone)]
pub struct SessionSettings {
    /// Folder of sessions that name none.
    pub default_workspace: PathBuf,
}
