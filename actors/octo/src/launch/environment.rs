//! The environment of a daemon: what a program needs to find its way, and none of the server's secrets.

use crate::config::{LOG_FORMAT, Settings};

/// Variables that a daemon gets when they are set.
const PASSED: &[&str] = &[
    "HOME",
    "PATH",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "OCTO_AGENTS_DIR",
    "RUST_LOG",
    "RUST_BACKTRACE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NODE_EXTRA_CA_CERTS",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// What a daemon of this instance gets.
pub(super) fn for_daemon(settings: &Settings) -> Vec<(String, String)> {
    let wanted = |name: &str| PASSED.contains(&name) || name.starts_with("LC_");
    let format = if settings.logging.json { "json" } else { "text" };
    let passed = settings.env.iter().filter(|(name, _)| wanted(name)).map(|(k, v)| (k.to_owned(), v.to_owned()));
    passed.chain([(LOG_FORMAT.to_owned(), format.to_owned())]).collect()
}
