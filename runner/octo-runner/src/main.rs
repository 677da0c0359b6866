//! The binary: arguments, a session of its own, a log file, a runtime, signals.

use anyhow::Context;
use clap::{Parser, Subcommand};
use octo_runner::link::ListenError;
use octo_runner::options::Options;
use octo_runner::runner::{Runner, StartRunnerError};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when the supervision tree has failed: the service manager starts the runner again.
const EXIT_FAILED: u8 = 70;
/// Exit code when another runner has taken the journal over: this one was frozen, or its locks were removed.
const EXIT_REPLACED: u8 = 76;
/// Exit code when another runner still holds the socket or the journal: it may be on its way out, so another try may succeed.
const EXIT_HELD: u8 = 75;

#[derive(Parser)]
#[command(name = "octo-runner", version, about = "octo's per-user daemon: sessions, their journal, and their agents")]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Serve the link until SIGTERM.
    Serve(Box<Options>),
}

fn main() -> ExitCode {
    octo_actors::prepare_process();
    let Cmd::Serve(options) = Cli::parse().command;
    match run(*options) {
        Ok(code) => code,
        Err(error) => {
            tracing::error!("{error:#}");
            // Not `eprintln`, which panics where nothing can be written.
            let _ = writeln!(std::io::stderr(), "octo-runner: {error:#}");
            match error.downcast_ref::<StartRunnerError>() {
                Some(StartRunnerError::Listen(ListenError::Locked { .. } | ListenError::Served { .. })) => ExitCode::from(EXIT_HELD),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

fn run(options: Options) -> anyhow::Result<ExitCode> {
    if !options.foreground {
        // Fails only for the leader of a group, which has what it wants already or was started by a shell.
        let _ = nix::unistd::setsid();
    }
    log_to(&options)?;
    // Two at least: a small commit is made on one of them, and a disk that hangs shall not hold everything.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .thread_name("octo-runner")
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(serve(options))
}

async fn serve(options: Options) -> anyhow::Result<ExitCode> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::spawn(octo_actors::tidy_memory());
    let socket = options.socket.clone();
    let runner = Runner::start(options).await?;
    tracing::info!(socket = %socket.display(), pid = std::process::id(), "serving");
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        replaced = runner.replaced() => {
            tracing::error!(%replaced, "ending at once, with every agent of this runner");
            return Ok(ExitCode::from(EXIT_REPLACED));
        }
        why = runner.failed() => {
            tracing::error!(%why, "the tree of actors has failed");
            return Ok(ExitCode::from(EXIT_FAILED));
        }
    }
    tracing::info!("ending");
    runner.shutdown().await;
    tracing::info!("ended");
    Ok(ExitCode::SUCCESS)
}

fn log_to(options: &Options) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("OCTO_LOG").unwrap_or_else(|_| "info".into());
    // A log that cannot be written loses lines and nothing else: said on stderr, it would panic there on the same full disk.
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).log_internal_errors(false);
    if options.foreground {
        log.with_writer(std::io::stderr).init();
        return Ok(());
    }
    let directory = options.state_dir.join("logs");
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&directory)
        .with_context(|| format!("creating {}", directory.display()))?;
    let path = directory.join(format!("octo-runner-{}.log", options.user));
    let file =
        OpenOptions::new().create(true).append(true).mode(0o600).open(&path).with_context(|| format!("opening {}", path.display()))?;
    log.with_writer(std::sync::Mutex::new(file)).init();
    Ok(())
}
