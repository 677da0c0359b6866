//! `octo doctor`: what octo needs, what it found, and what to do about the rest.

use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use octo::auth::UserId;
use octo::config::{Config, Overrides, Settings, Standing};
use octo::launch::{EAVS, Launch, RUNNER, peer};
use octo::server::Listener;
use octo::store::{SCHEMA_VERSION, Store, StoreError};
use octo_protocol::admin::Component;
use serde_json::json;
use tokio::net::TcpStream;

use super::exit::Failure;
use super::output::{Mark, Output};

struct Check {
    name: String,
    mark: Mark,
    found: String,
    /// What to do.
    hint: Option<String>,
}

impl From<Component> for Check {
    fn from(part: Component) -> Self {
        let mark = match part.standing {
            octo_protocol::admin::Standing::Ok => Mark::Good,
            octo_protocol::admin::Standing::Note => Mark::Careful,
            octo_protocol::admin::Standing::Bad => Mark::Bad,
        };
        Self { name: part.name, mark, found: part.found, hint: part.hint }
    }
}

fn good(name: &'static str, found: impl Into<String>) -> Check {
    Check { name: name.to_owned(), mark: Mark::Good, found: found.into(), hint: None }
}

fn careful(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { name: name.to_owned(), mark: Mark::Careful, found: found.into(), hint: Some(hint.into()) }
}

fn bad(name: &'static str, found: impl Into<String>, hint: impl Into<String>) -> Check {
    Check { name: name.to_owned(), mark: Mark::Bad, found: found.into(), hint: Some(hint.into()) }
}

pub fn run(file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    let config = super::load(file, Overrides::default())?;
    let settings = Arc::new(config.settings()?);
    let checks = super::runtime()?.block_on(checks(&config, &settings));
    let mut text = format!("octo {} (profile {})\n", octo::VERSION, settings.profile);
    for check in &checks {
        text.push_str(&format!("{} {:<14} {}\n", output.mark(check.mark), check.name, check.found));
        if let Some(hint) = &check.hint {
            text.push_str(&format!("  {:<14} → {hint}\n", ""));
        }
    }
    let state = |mark: Mark| match mark {
        Mark::Good => "ok",
        Mark::Careful => "note",
        Mark::Bad => "missing",
    };
    let rows: Vec<_> = checks.iter().map(|c| json!({ "name": c.name, "state": state(c.mark), "found": c.found, "hint": c.hint })).collect();
    output.say(text.trim_end(), &json!({ "version": octo::VERSION, "checks": rows }));
    let missing = checks.iter().filter(|c| c.mark == Mark::Bad).count();
    if missing == 0 {
        Ok(())
    } else {
        Err(Failure::other(format!("{missing} of what octo needs is missing; the lines above say what to do")))
    }
}

async fn checks(config: &Config, settings: &Arc<Settings>) -> Vec<Check> {
    let mut checks = vec![configuration(config, settings)];
    checks.extend(directories(settings));
    checks.push(store(settings).await);
    checks.push(port(settings).await);
    let launch = Launch::new(Arc::clone(settings));
    for name in [RUNNER, EAVS, "octo-sandbox"] {
        let path = launch.binary(name);
        checks.push(if path.is_file() {
            good(name, path.display().to_string())
        } else {
            bad(name, format!("not at {}", path.display()), "install octo's binaries side by side (./setup.sh does)")
        });
    }
    checks.push(runner(settings).await);
    checks.push(eavs(settings).await);
    checks.extend(octo::agents::look(settings).into_iter().map(Check::from));
    checks
}

fn configuration(config: &Config, settings: &Settings) -> Check {
    let file = config.file();
    let shown = if file.exists() { file.display().to_string() } else { format!("{} (absent: defaults)", file.display()) };
    match config.check(settings, Standing::process()) {
        Err(error) => bad("configuration", shown, error.to_string()),
        Ok(notes) => {
            let notes: Vec<String> = notes.into_iter().chain(config.warnings()).collect();
            if notes.is_empty() {
                good("configuration", shown)
            } else {
                careful("configuration", shown, notes.join("\n                   → "))
            }
        }
    }
}

fn directories(settings: &Settings) -> Vec<Check> {
    let paths = &settings.paths;
    let check = |name, path: &Path| match std::fs::metadata(path) {
        Ok(meta) if meta.permissions().mode() & 0o077 != 0 => {
            careful(name, path.display().to_string(), "others can look inside; octo closes it at its next start")
        }
        Ok(_) => good(name, path.display().to_string()),
        Err(_) => careful(name, format!("{} (absent)", path.display()), "octo makes it at its first start"),
    };
    vec![check("data", &paths.data_dir), check("state", &paths.state_dir), check("sockets", &paths.run_dir)]
}

async fn store(settings: &Settings) -> Check {
    let dir = settings.paths.store_dir();
    if !dir.exists() {
        return careful("store", format!("{} (absent)", dir.display()), "octo makes it at its first start");
    }
    match Store::open(&dir).await {
        Ok(store) => {
            good("store", format!("{} (schema {SCHEMA_VERSION}, {} accounts)", dir.display(), store.accounts().map_or(0, |a| a.len())))
        }
        Err(StoreError::InUse(_)) => good("store", format!("{} (in use: octo runs)", dir.display())),
        Err(error) => bad("store", dir.display().to_string(), error.to_string()),
    }
}

async fn port(settings: &Settings) -> Check {
    let server = &settings.server;
    let at = format!("{}:{}", server.host, server.port);
    match Listener::bind(&server.host, server.port).await {
        Ok(listener) => good("port", format!("{} is free", listener.address())),
        Err(error) => match octo_at(&server.host, server.port).await {
            Some(version) => good("port", format!("{at} (octo {version} serves there)")),
            None => careful("port", format!("{at} is taken, and not by octo"), error.to_string()),
        },
    }
}

/// Patience for the answer of whoever listens on octo's port.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Its largest answer in bytes.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// The version of the octo that answers there.
async fn octo_at(host: &str, port: u16) -> Option<String> {
    let ask = async {
        let host = host.trim_matches(['[', ']']);
        let host = if host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified()) { "localhost" } else { host };
        let stream = TcpStream::connect((host, port)).await.ok()?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
        let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
        let asked = http::Request::get("/api/health").header("host", authority).body(Empty::<Bytes>::new()).ok()?;
        let answer = async {
            let response = sender.send_request(asked).await.ok()?;
            let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.ok()?.to_bytes();
            let health: serde_json::Value = serde_json::from_slice(&body).ok()?;
            (health["status"] == "ok").then(|| health["version"].as_str().map(str::to_owned))?
        };
        tokio::select! {
            biased;
            answer = answer => answer,
            _ = connection => None,
        }
    };
    tokio::time::timeout(ANSWER_WITHIN, ask).await.ok().flatten()
}

async fn runner(settings: &Settings) -> Check {
    let Ok(user) = UserId::new("admin") else { return bad("runner", "no user", "") };
    match peer(&settings.paths.runner_socket(&user)).await {
        Some(peer) => good("runner", format!("of {user} runs (pid {})", peer.pid)),
        None => careful("runner", format!("of {user} does not run"), "octo starts it when it is needed"),
    }
}

async fn eavs(settings: &Settings) -> Check {
    if !settings.eavs.enabled {
        return careful("eavs", "switched off", "without it sessions have no models; remove eavs.enabled = false");
    }
    match peer(&settings.paths.eavs_admin_socket()).await {
        Some(peer) => good("eavs", format!("runs (pid {})", peer.pid)),
        None => careful("eavs", "does not run", "octo starts it"),
    }
}
