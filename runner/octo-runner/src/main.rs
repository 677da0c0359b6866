//! The binary: arguments, a session of its own, a log file, a runtime, signals.

use anyhow::Context;
use clap::{Parser, Subcommand};
use octo_protocol::admin::AgentQuestion;
use octo_runner::journal::JournalError;
use octo_runner::link::ListenError;
use octo_runner::options::Options;
use octo_runner::runner::{Runner, StartRunnerError, launcher};
use octo_runner::upgrade::{Asked, Handover, Program, UpgradeError, examine};
use octo_sandbox::Signals;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::process::ExitCode;
use tokio::sync::oneshot;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Exit code when the supervision tree has failed: the service manager starts the runner again.
const EXIT_FAILED: u8 = 70;
/// Exit code when another runner has taken the journal over: this one was frozen, or its locks were removed.
const EXIT_REPLACED: u8 = 76;
/// Largest question of `ask`, in bytes.
const MAX_QUESTION_BYTES: u64 = 8 * 1024 * 1024;
/// The variable that says how the log is written: `json` is one object a line.
const LOG_FORMAT: &str = "OCTO_LOG_FORMAT";
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
    /// Serve the link until SIGTERM; SIGUSR2 replaces the program in place by the one at its path.
    Serve(Box<Serve>),
    /// Start the agent that is asked about on standard input, say on standard output whether it takes its handshake, and end it.
    Ask(Box<Options>),
}

#[derive(clap::Args)]
struct Serve {
    #[command(flatten)]
    options: Options,
    /// The descriptor with what the program before has handed over.
    #[arg(long, hide = true)]
    handover: Option<RawFd>,
    /// Only say whether what is on standard input could be gone on with.
    #[arg(long, hide = true)]
    examine: bool,
}

fn main() -> ExitCode {
    // First of all: asked for in its first milliseconds, it is replaced when it serves, and does not end.
    octo_sandbox::hold_replacement();
    octo_actors::prepare_process();
    let program = Program::of_this_process();
    let done = match Cli::parse().command {
        Cmd::Serve(serve) => run(*serve, program),
        Cmd::Ask(options) => answer(*options),
    };
    match done {
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

fn run(Serve { options, handover, examine }: Serve, program: std::io::Result<Program>) -> anyhow::Result<ExitCode> {
    if examine {
        return say_verdict(&options);
    }
    if !options.foreground {
        // Fails only for the leader of a group, which has what it wants already or was started by a shell.
        let _ = nix::unistd::setsid();
    }
    log_to(&options)?;
    // Before anything else is opened: what is not taken here would stay open.
    let handover = handover.map(Handover::receive).transpose()?;
    let mut program = program.context("this program's own file is not known")?;
    if let Some(handover) = &handover {
        program.path.clone_from(&handover.binary);
    }
    octo_sandbox::hold_signals();
    // Two at least: a small commit is made on one of them, and a disk that hangs shall not hold everything.
    let threads = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .thread_name("octo-runner")
        .build()
        .context("the runtime cannot be started")?;
    runtime.block_on(serve(options, handover, program))
}

/// Says on standard output whether the agent starts that is asked about on standard input. What is logged is for whoever started it.
fn answer(options: Options) -> anyhow::Result<ExitCode> {
    let log = tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_ansi(false).log_internal_errors(false);
    log.with_writer(std::io::stderr).init();
    let mut text = Vec::new();
    std::io::stdin().lock().take(MAX_QUESTION_BYTES).read_to_end(&mut text).context("there is nothing on standard input")?;
    let question: AgentQuestion = serde_json::from_slice(&text).context("what is asked cannot be read")?;
    let launcher = launcher(&options)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime cannot be started")?;
    let answer = runtime.block_on(octo_runner::ask::ask(options, &launcher, question));
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(&answer)?).and_then(|()| out.flush()).context("nobody hears it")?;
    Ok(ExitCode::SUCCESS)
}

/// Whether this program could go on with what is on standard input: the program that asks will act on it.
fn say_verdict(options: &Options) -> anyhow::Result<ExitCode> {
    let document = std::io::stdin().as_fd().try_clone_to_owned().context("there is nothing on standard input")?;
    let verdict = examine(File::from(document), &options.user);
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::to_string(&verdict)?).and_then(|()| out.flush()).context("nobody hears it")?;
    Ok(ExitCode::SUCCESS)
}

/// Nothing of this runner may go on.
fn replaced_by_another(replaced: &JournalError) -> ExitCode {
    tracing::error!(%replaced, "ending at once, with every agent of this runner");
    ExitCode::from(EXIT_REPLACED)
}

async fn serve(options: Options, handover: Option<Handover>, program: Program) -> anyhow::Result<ExitCode> {
    let mut signals = Signals::listen().context("signals cannot be listened for")?;
    tokio::spawn(octo_actors::tidy_memory());
    let socket = options.socket.clone();
    let mut runner = match handover {
        None => Runner::start(options).await?,
        Some(handover) => {
            tracing::info!(before = handover.software, sessions = handover.sessions.len(), "taking over");
            Runner::take_over(options, handover).await?
        }
    };
    let mut upgrades = runner.upgrades().context("the runner's upgrades are taken")?;
    tracing::info!(socket = %socket.display(), pid = std::process::id(), "serving");
    loop {
        let asked = tokio::select! {
            told = signals.end.next() => {
                told?;
                break;
            }
            told = signals.replace.next() => {
                told?;
                Asked { binary: None, answer: oneshot::channel().0 }
            }
            Some(asked) = upgrades.recv() => asked,
            replaced = runner.replaced() => return Ok(replaced_by_another(&replaced)),
            why = runner.failed() => {
                tracing::error!(%why, "the tree of actors has failed");
                return Ok(ExitCode::from(EXIT_FAILED));
            }
        };
        let path: PathBuf = asked.binary.unwrap_or_else(|| program.path.clone());
        tracing::info!(program = %path.display(), "the runner shall be replaced");
        let (error, ends) = tokio::select! {
            // Whatever rests for the upgrade goes on, and ends as it should.
            told = signals.end.next() => {
                told?;
                (UpgradeError::Ending, true)
            }
            replaced = runner.replaced() => return Ok(replaced_by_another(&replaced)),
            error = Box::pin(runner.replace(&program, &path)) => (error, false),
        };
        tracing::error!(%error, "the runner was not replaced and goes on as before");
        let _ = asked.answer.send((&error).into());
        if ends {
            break;
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
    // Said in the environment, which a program that is executed in place keeps.
    let json = std::env::var(LOG_FORMAT).is_ok_and(|format| format == "json");
    if options.foreground {
        if json {
            log.json().flatten_event(true).with_span_list(false).with_writer(std::io::stderr).init();
        } else {
            log.with_writer(std::io::stderr).init();
        }
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
    if json {
        log.json().flatten_event(true).with_span_list(false).with_writer(std::sync::Mutex::new(file)).init();
    } else {
        log.with_writer(std::sync::Mutex::new(file)).init();
    }
    Ok(())
}
