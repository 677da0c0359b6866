//! The binary: arguments, a runtime, signals.

use anyhow::Context;
use clap::{Parser, Subcommand};
use pi_bridge::connect::{Connect, run};
use pi_bridge::http::{Shared, router};
use pi_bridge::token::{ENV_TOKEN, Token};
use pi_bridge::{Bridge, Serve, listener};
use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when the bridge cannot go on: whoever manages the container starts it again.
const EXIT_FAILED: u8 = 70;
/// The variable that switches the bridge off where a container starts it always.
const ENV_ENABLED: &str = "PI_BRIDGE_ENABLED";
/// Its words for no.
const NO: [&str; 4] = ["0", "false", "no", "off"];

#[derive(Parser)]
#[command(name = "pi-bridge", version, about = "An HTTP and WebSocket front for one agent (pi, Claude Code), in a container or a VM")]
struct Cli {
    #[command(subcommand)]
    command: Cmd,
}

#[derive(Subcommand)]
enum Cmd {
    /// Serve the agent until SIGTERM.
    Serve(Box<Serve>),
    /// Carry a bridge's WebSocket to standard input and output, for octo-runner.
    Connect(Connect),
}

fn main() -> ExitCode {
    octo_actors::prepare_process();
    let done = match Cli::parse().command {
        Cmd::Serve(serve) => serve_it(*serve),
        Cmd::Connect(connect) => connect_it(connect),
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            // Not `eprintln`, which panics where nothing can be written.
            let _ = writeln!(std::io::stderr(), "pi-bridge: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn connect_it(connect: Connect) -> anyhow::Result<ExitCode> {
    let token = std::env::var(ENV_TOKEN).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime cannot be started")?;
    let done = runtime.block_on(run(connect, &token));
    // A read of standard input under way does not hold up the end.
    runtime.shutdown_background();
    done?;
    Ok(ExitCode::SUCCESS)
}

fn serve_it(serve: Serve) -> anyhow::Result<ExitCode> {
    if std::env::var(ENV_ENABLED).is_ok_and(|word| NO.contains(&word.to_ascii_lowercase().as_str())) {
        let _ = writeln!(std::io::stderr(), "pi-bridge: switched off by {ENV_ENABLED}");
        return Ok(ExitCode::SUCCESS);
    }
    let filter = tracing_subscriber::EnvFilter::try_from_env("OCTO_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_ansi(false).log_internal_errors(false).with_writer(std::io::stderr).init();
    let token = Token::find(serve.token_file.as_deref())?;
    octo_sandbox::hold_signals();
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(until_told(serve, token))
}

async fn until_told(serve: Serve, token: Token) -> anyhow::Result<ExitCode> {
    let mut signals = octo_sandbox::Signals::listen().context("signals cannot be listened for")?;
    tokio::spawn(octo_actors::tidy_memory());
    let address = SocketAddr::new(serve.host, serve.port);
    let bound = listener::bind(address).with_context(|| {
        format!("{address} cannot be listened at: is another bridge there? --port and PI_BRIDGE_PORT name another port")
    })?;
    let bridge = Bridge::start(&serve).await?;
    let shared = Shared::new(bridge.door().clone(), token);
    let (stop, failed, sockets) = (shared.stop.clone(), shared.failed.clone(), shared.sockets.clone());
    let address = bound.local_addr().context("the listener has no address")?;
    tracing::info!(%address, harness = serve.harness, provider = serve.provider, model = serve.model, "serving");
    if !address.ip().is_loopback() {
        tracing::warn!("whoever reaches {address} and has the token can use the agent, and what is sent is not encrypted");
    }
    // Whoever starts it with port 0 reads here which one it is.
    let mut out = std::io::stdout();
    let _ = writeln!(out, "pi-bridge serves {} at http://{address}", serve.harness).and_then(|()| out.flush());
    let serving = tokio::spawn(listener::serve(bound, router(shared), stop.clone(), sockets));
    let code = loop {
        tokio::select! {
            told = signals.end.next() => {
                told?;
                break ExitCode::SUCCESS;
            }
            told = signals.replace.next() => {
                told?;
                tracing::warn!("a bridge is not replaced in place: end it and start the new one, clients come back with their cursors");
            }
            why = bridge.failed() => {
                tracing::error!(why, "the bridge cannot go on");
                failed.cancel();
                break ExitCode::from(EXIT_FAILED);
            }
        }
    };
    tracing::info!("ending");
    // Readers are told first: what the end brings they get when they come back.
    stop.cancel();
    let _ = serving.await;
    bridge.shutdown().await;
    tracing::info!("ended");
    Ok(code)
}
