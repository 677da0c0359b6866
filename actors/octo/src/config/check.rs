//! Combinations that would be dangerous stop the start with a sentence.

use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::load::{Config, ConfigError};
use super::settings::Settings;

/// Shortest secret that may sign tokens, in bytes: as many as HMAC-SHA256 puts out.
pub const MIN_SECRET_BYTES: usize = 32;
/// A secret of fewer different characters was typed, not made.
const MIN_DIFFERENT: usize = 10;

/// Under what circumstances octo starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Whether it runs as root.
    pub root: bool,
}

impl Standing {
    /// Of this process.
    #[must_use]
    pub fn process() -> Self {
        Self { root: nix::unistd::geteuid().is_root() }
    }
}

impl Config {
    /// Refuses dangerous combinations; returns what an operator should know about the others.
    ///
    /// # Errors
    /// [`ConfigError::Dangerous`].
    pub fn check(&self, settings: &Settings, standing: Standing) -> Result<Vec<String>, ConfigError> {
        let refuse = |sentence: String| Err(ConfigError::Dangerous(sentence));
        let mut notes = Vec::new();
        let host = &settings.server.host;
        let loopback = is_loopback(host);
        if settings.auth.jwt_secret.as_ref().is_some_and(|secret| can_be_guessed(secret.expose_secret())) {
            return refuse(format!(
                "auth.jwt_secret is short or can be guessed, so anybody could log in: remove it and octo makes its own, or set {MIN_SECRET_BYTES} random characters (`openssl rand -hex 32`)"
            ));
        }
        if settings.server.metrics_token.as_ref().is_some_and(|secret| can_be_guessed(secret.expose_secret())) {
            return refuse(format!(
                "server.metrics_token is short or can be guessed, so anybody could read /metrics: set {MIN_SECRET_BYTES} random characters (`openssl rand -hex 32`), or remove it"
            ));
        }
        if standing.root && !loopback {
            return refuse(format!(
                "octo runs as root and would listen on {host}: as root it serves on loopback only. Run it as a user of its own, or set server.host = \"127.0.0.1\" and put a proxy in front"
            ));
        }
        if self.flag("auth.dev_mode") && !loopback {
            return refuse(format!(
                "auth.dev_mode is for developing on one machine and octo would listen on {host}: switch it off, or listen on 127.0.0.1"
            ));
        }
        if self.flag("local.linux_users.enabled") {
            return refuse(
                "local.linux_users.enabled asks for a Linux user for every account, which this build cannot make: agents would run as octo's own user without that isolation. Remove it to serve one account".to_owned(),
            );
        }
        if standing.root {
            notes.push("octo runs as root, so it serves on loopback only; a user of its own is safer".to_owned());
        }
        if !loopback {
            notes.push(format!("octo listens on {host} over plain http: put a proxy with TLS in front of it"));
        }
        if settings.sandbox.allow_unsandboxed {
            notes.push(
                "sandbox.allow_unsandboxed is set: without bubblewrap, agents can read and write whatever octo's user can".to_owned(),
            );
        }
        let socket = &settings.server.admin_socket;
        if !is_hidden_from_agents(socket, settings) && !settings.sandbox.allow_unsandboxed {
            return refuse(format!(
                "server.admin_socket is {}, where agents can reach it, and they run as octo's own user: whoever connects there is an admin. Put it below /run, or leave it out",
                socket.display()
            ));
        }
        if let Some(group) = &settings.server.admin_group
            && settings.server.admin_socket == settings.paths.admin_socket()
        {
            notes.push(format!(
                "server.admin_group = {group:?} has no effect: its members cannot reach {}; set server.admin_socket to a path that they can",
                settings.server.admin_socket.display()
            ));
        }
        let default = &settings.sessions.default_harness;
        if settings.harnesses.find(default).is_none_or(|harness| !harness.enabled) {
            notes.push(format!(
                "local.default_agent is {default:?}, which is not an agent that is offered, so a session that names none is refused: offered are {}",
                settings.harnesses.names()
            ));
        }
        if settings.auth.query_token {
            notes.push("auth.query_token is set: tokens in URLs end up in the logs of proxies and browsers".to_owned());
        }
        if let Some(telemetry) = &settings.telemetry
            && telemetry.endpoint.scheme() == "http"
            && !telemetry.headers.is_empty()
            && let Some(host) = telemetry.endpoint.host_str().filter(|host| !is_loopback(host))
        {
            notes.push(format!("telemetry.otlp_headers go to {host} in the clear: use https, or a collector on this machine"));
        }
        Ok(notes)
    }
}

/// Whether a secret was typed, copied, or is short.
fn can_be_guessed(secret: &str) -> bool {
    let different = secret.bytes().collect::<std::collections::BTreeSet<_>>().len();
    let lower = secret.to_ascii_lowercase();
    let known = ["changeme", "change-me", "change_me", "your-secret", "dev-secret", "example"].iter().any(|word| lower.contains(word));
    secret.len() < MIN_SECRET_BYTES || different < MIN_DIFFERENT || known
}

/// Whether agents do not see what lies at `path`: octo's own directories are masked, and of these system directories they have their own.
fn is_hidden_from_agents(path: &Path, settings: &Settings) -> bool {
    let paths = &settings.paths;
    let own = [&paths.run_dir, &paths.state_dir, &paths.data_dir, &paths.config_dir];
    let private = ["/run", "/tmp", "/var/tmp"].map(Path::new);
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    plain && own.into_iter().map(PathBuf::as_path).chain(private).any(|hidden| path.starts_with(hidden))
}

/// Whether everything that `host` names is on this machine.
pub(crate) fn is_loopback(host: &str) -> bool {
    if let Ok(address) = host.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address.to_canonical().is_loopback();
    }
    match (host, 0).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.collect();
            !addresses.is_empty() && addresses.iter().all(|a| a.ip().to_canonical().is_loopback())
        }
        Err(_) => false,
    }
}
