//! `octo serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Mutex;

use octo::config::{Config, Environment, Overrides, Settings};
use octo::paths::Paths;
use octo::server::Listener;
use octo::{Builder, Octo};
use serde_json::json;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing_subscriber::EnvFilter;

use super::arguments::Serve;
use super::exit::Failure;
use super::output::Output;

/// Serves until it is told to end. Why it did not start is left for `octoctl doctor`.
pub fn serve(arguments: Serve, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    octo_actors::prepare_process();
    let mut place = None;
    let served = start(arguments, file.clone(), output, &mut place);
    if let Err(failure) = &served {
        let env = Environment::process();
        if let Some(paths) = place.or_else(|| octo::door::guess(&env, file.as_deref())) {
            // There is nobody left to tell of a disk that does not take this.
            let _ = octo::door::leave_failure(&paths, &failure.message);
        }
    }
    served
}

fn start(arguments: Serve, file: Option<PathBuf>, output: Output, place: &mut Option<Paths>) -> Result<(), Failure> {
    let overrides = Overrides::default().flag("server.host", arguments.host, "--host").flag(
        "server.port",
        arguments.port.map(|p| p.to_string()),
        "--port",
    );
    let config = super::load(file, overrides)?;
    let settings = config.settings()?;
    *place = Some(settings.paths.clone());
    // Before the port is taken: what is dangerous is not even tried.
    config.check(&settings, octo::config::Standing::process())?;
    log(&settings)?;
    if let Err(error) = octo::server::raise_limit() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    super::runtime()?.block_on(run(config, &settings, output))
}

async fn run(config: Config, settings: &Settings, output: Output) -> Result<(), Failure> {
    let listener = Listener::bind(&settings.server.host, settings.server.port).await?;
    let address = listener.address();
    let octo = Builder::new().config(config).build().await?;
    for note in octo.notes() {
        output.note(note);
        tracing::warn!("{note}");
    }
    // Before anybody learns that octo is there, so that a signal never finds it unprepared.
    let mut told = Signals::listen().map_err(|e| Failure::other(format!("signals cannot be listened for: {e}")))?;
    let admin = octo.admin_socket().await?;
    let url = url(&settings.server.host, address);
    if let Err(error) = octo::door::leave(settings, &url) {
        tracing::warn!(path = %settings.paths.door().display(), %error, "octoctl is not told where octo is; it takes --socket");
    }
    announce(&octo, &url, address, output);
    tokio::spawn(octo_actors::tidy_memory());
    let stop = octo.shutdown();
    tokio::spawn(async move {
        told.next().await;
        tracing::info!("stopping; runners and octo-eavs go on");
        stop.cancel();
        // Told twice: at once.
        told.next().await;
        std::process::exit(130);
    });
    let served = octo.serve_with(listener, Some(admin)).await;
    octo.stop().await;
    served.map_err(|why| Failure::tree(&why))
}

/// SIGTERM and SIGINT.
struct Signals(Signal, Signal);

impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self(signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

fn announce(octo: &Octo, url: &str, address: SocketAddr, output: Output) {
    let mut text = format!("octo {} serves at {url}", octo::VERSION);
    let mut value = json!({ "url": url, "version": octo::VERSION, "address": address.to_string() });
    let kept = octo.state().settings.paths.initial_admin();
    if let Some(admin) = octo.initial_admin() {
        text.push_str(&format!(
            "\n\nThe first account was made. It is shown once, and kept in {} until the password is changed:\n  username  {}\n  password  {}\n",
            kept.display(),
            admin.username,
            admin.password
        ));
        value["initial_admin"] = json!({ "username": admin.username, "password": admin.password, "path": kept });
    } else if kept.exists() {
        text.push_str(&format!("\nlog in with the credentials in {}, and change the password", kept.display()));
        value["initial_admin"] = json!({ "path": kept });
    }
    output.say(&text, &value);
}

/// As a browser on this machine reaches it.
fn url(host: &str, address: SocketAddr) -> String {
    let port = address.port();
    if address.ip().is_unspecified() {
        return format!("http://127.0.0.1:{port}");
    }
    match host.parse::<std::net::IpAddr>() {
        Ok(_) => format!("http://{address}"),
        Err(_) => format!("http://{host}:{port}"),
    }
}

fn log(settings: &Settings) -> Result<(), Failure> {
    let level = &settings.logging.level;
    // Of the libraries only what somebody has to do something about.
    let default = format!("warn,octo={level},octo_actors={level}");
    let default = if matches!(level.as_str(), "off" | "error" | "warn") { level.clone() } else { default };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    // A log that cannot be written loses lines and nothing else: said on stderr, it would panic there on the same full disk.
    let subscriber = tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_ansi(false).log_internal_errors(false);
    match &settings.logging.file {
        None if settings.logging.json => {
            subscriber.json().flatten_event(true).with_span_list(false).with_target(true).with_writer(std::io::stderr).init();
        }
        None => subscriber.with_writer(std::io::stderr).init(),
        Some(path) => {
            use std::os::unix::fs::OpenOptionsExt;
            let file = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(path);
            let file =
                file.map_err(|e| Failure::other(format!("the log file {} cannot be written: {e}; change logging.file", path.display())))?;
            if settings.logging.json {
                subscriber.json().flatten_event(true).with_span_list(false).with_target(true).with_writer(Mutex::new(file)).init();
            } else {
                subscriber.with_writer(Mutex::new(file)).init();
            }
        }
    }
    Ok(())
}
