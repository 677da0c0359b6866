//! `octo-eavs serve`: the LLM proxy as a process. It detaches itself from its starter's session, logs to a file and outlives octo.

use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use octo_eavs::limits::DRAIN_TIME;
use octo_eavs::{Options, Server};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// octo's LLM proxy: virtual keys, budgets, usage, byte-exact pass-through, and a demonstration model.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve until SIGTERM, which lets requests under way finish; a second SIGTERM ends at once. SIGHUP reads the configuration again.
    Serve(Serve),
}

#[derive(clap::Args)]
struct Serve {
    /// octo's config.toml; only [eavs] and [providers] are read
    #[arg(long)]
    config: PathBuf,
    /// Directory of the store
    #[arg(long)]
    data_dir: PathBuf,
    /// Unix socket for LLM traffic
    #[arg(long)]
    llm_socket: PathBuf,
    /// Unix socket of the admin interface, for octo alone
    #[arg(long)]
    admin_socket: PathBuf,
    /// Serve LLM traffic on this address as well
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// Log there instead of to stderr
    #[arg(long)]
    log_file: Option<PathBuf>,
    /// Form of the log
    #[arg(long, default_value = "text", env = "OCTO_LOG_FORMAT")]
    log_format: LogFormat,
    /// Seconds that requests under way get at SIGTERM
    #[arg(long, default_value_t = DRAIN_TIME.as_secs())]
    drain_seconds: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

/// A listener failed beyond its intensity: exit code 70, so that the service manager starts the process again.
#[derive(Debug)]
struct TreeDown(String);

impl std::fmt::Display for TreeDown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a listener failed too often: {}", self.0)
    }
}

impl std::error::Error for TreeDown {}

fn main() -> ExitCode {
    octo_actors::prepare_process();
    let Command::Serve(serve) = Cli::parse().command;
    // Fails only when this process leads its group already, and then it is detached enough.
    let _ = nix::unistd::setsid();
    nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o077));
    match run(serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            // Not `eprintln`, which panics where nothing can be written.
            let _ = writeln!(std::io::stderr(), "octo-eavs: {error:#}");
            if error.is::<TreeDown>() { ExitCode::from(70) } else { ExitCode::FAILURE }
        }
    }
}

fn run(serve: Serve) -> anyhow::Result<()> {
    log(serve.log_file.as_deref(), serve.log_format)?;
    rustls::crypto::ring::default_provider().install_default().map_err(|_| anyhow::anyhow!("a TLS provider is installed already"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start the runtime")?;
    let result = runtime.block_on(serve_until_told(serve));
    // Connections beyond the drain time end here.
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

async fn serve_until_told(serve: Serve) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate()).context("could not listen for SIGTERM")?;
    let mut int = signal(SignalKind::interrupt()).context("could not listen for SIGINT")?;
    let mut hangup = signal(SignalKind::hangup()).context("could not listen for SIGHUP")?;
    tokio::spawn(octo_actors::tidy_memory());
    let server = Server::start(Options {
        config: serve.config,
        data_dir: serve.data_dir,
        llm_socket: serve.llm_socket,
        admin_socket: serve.admin_socket,
        listen: serve.listen,
    })
    .await?;
    if let Some(address) = server.address() {
        println!("listening on http://{address}");
    }
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            why = server.failed() => return Err(TreeDown(why).into()),
            _ = hangup.recv() => {
                if let Err(error) = server.reload() {
                    tracing::error!("configuration not read again, the former one stays: {error}");
                }
            }
        }
    }
    tracing::info!(seconds = serve.drain_seconds, "draining");
    tokio::select! {
        finished = server.drain(Duration::from_secs(serve.drain_seconds)) => tracing::info!(finished, "ended"),
        _ = term.recv() => tracing::info!("ended at once"),
        _ = int.recv() => tracing::info!("ended at once"),
    }
    Ok(())
}

fn log(file: Option<&Path>, format: LogFormat) -> anyhow::Result<()> {
    let filter = EnvFilter::try_from_env("OCTO_LOG").unwrap_or_else(|_| EnvFilter::new("info,sled=warn"));
    // A log that cannot be written loses lines and nothing else: said on stderr, it would panic there on the same full disk.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).log_internal_errors(false);
    match (file, format) {
        (Some(path), format) => {
            if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
                std::fs::DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(dir)
                    .with_context(|| format!("could not make the log directory {}", dir.display()))?;
            }
            let file = std::fs::OpenOptions::new()
                .append(true)
                .create(true)
                .mode(0o600)
                .open(path)
                .with_context(|| format!("could not open the log file {}", path.display()))?;
            match format {
                LogFormat::Text => builder.with_writer(Mutex::new(file)).init(),
                LogFormat::Json => builder.json().flatten_event(true).with_span_list(false).with_writer(Mutex::new(file)).init(),
            }
        }
        (None, LogFormat::Text) => builder.with_writer(std::io::stderr).init(),
        (None, LogFormat::Json) => builder.json().flatten_event(true).with_span_list(false).with_writer(std::io::stderr).init(),
    }
    Ok(())
}
