//! `octo-runner ask`: whether an agent starts, without a session, a journal or a link. It starts in its sandbox as it would for a session, takes its
//! handshake, and is ended with everything that it started.

use crate::agent::Plan;
use crate::agents::Finder;
use crate::clock::now_ms;
use crate::options::Options;
use octo_harness::{Harness, Outbox, Output};
use octo_protocol::admin::{AgentAnswer, AgentQuestion};
use octo_sandbox::{Exit, Isolation, Launcher};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

/// How long the sandbox may take until the agent's own code runs.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// How long what an agent that has ended still says may take to come.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// What is kept of stderr, and how many of its lines are shown.
const STDERR_TAIL: usize = 16 * 1024;
const SHOWN_LINES: usize = 5;
/// Largest output before the handshake, in bytes.
const MAX_STDOUT: usize = 16 * 1024 * 1024;

/// Starts the agent of `question` with `launcher` and says what came of it.
pub async fn ask(options: Options, launcher: &Launcher, question: AgentQuestion) -> AgentAnswer {
    match answered(options, launcher, question).await {
        Ok(ready_after_ms) => AgentAnswer { ready_after_ms: Some(ready_after_ms), error: None },
        Err(error) => AgentAnswer { ready_after_ms: None, error: Some(error) },
    }
}

async fn answered(options: Options, launcher: &Launcher, question: AgentQuestion) -> Result<u64, String> {
    let patience = Duration::from_millis(question.handshake_ms);
    let plan = Plan {
        session: "ask".to_owned(),
        harness: question.harness,
        cwd: question.cwd.into(),
        profile: None,
        provider: question.provision.default_provider.clone(),
        model: question.provision.default_model.clone(),
        thinking: None,
        resume: None,
        provision: Arc::new(question.provision),
    };
    let mut harness = plan.harness(&options).map_err(|error| error.to_string())?;
    let looking = launcher.clone();
    let spec = tokio::task::spawn_blocking(move || {
        let info = looking.check().map_err(|error| error.to_string())?;
        let bare = matches!(info.isolation, Isolation::None { .. });
        let finder = Finder::from_env(&options.agents_dir);
        plan.launch(&options, &finder, bare).map_err(|error| error.to_string())
    });
    let spec = spec.await.map_err(|error| error.to_string())??;
    let mut sandboxed = launcher.spawn(spec).await.map_err(|error| error.to_string())?;
    let started = tokio::time::timeout(START_PATIENCE, sandboxed.started()).await;
    started.map_err(|_| format!("its sandbox was not ready within {} s", START_PATIENCE.as_secs()))?.map_err(|error| error.to_string())?;
    let (Some(mut stdin), Some(mut stdout), Some(stderr)) = (sandboxed.stdin.take(), sandboxed.stdout.take(), sandboxed.stderr.take())
    else {
        return Err("it has no pipes".to_owned());
    };
    let begun = tokio::time::Instant::now();
    let said = tokio::spawn(tail(stderr));
    let shaken = {
        let hands = shake_hands(harness.as_mut(), &mut stdin, &mut stdout);
        tokio::time::timeout(patience, hands)
            .await
            .unwrap_or_else(|_| Err(format!("it did not answer its handshake within {} s", patience.as_secs())))
    };
    let took = begun.elapsed();
    // One that has ended by itself says how; any other is ended here.
    let exit = match &shaken {
        Err(_) => tokio::time::timeout(LAST_WORDS, sandboxed.wait()).await.ok(),
        Ok(()) => None,
    };
    drop(stdin);
    sandboxed.kill_tree();
    sandboxed.wait().await;
    let Err(error) = shaken else { return Ok(u64::try_from(took.as_millis()).unwrap_or(u64::MAX)) };
    let how = match exit {
        Some(Exit::Code(code)) => format!(" (it ended with exit code {code})"),
        Some(Exit::Signal(signal)) => format!(" (it was ended by signal {signal})"),
        Some(Exit::NotStarted { reason }) => format!(" ({reason})"),
        _ => String::new(),
    };
    let said = said.await.unwrap_or_default();
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let last = lines.get(lines.len().saturating_sub(SHOWN_LINES)..).unwrap_or_default().join(" / ");
    Err(if last.is_empty() { format!("{error}{how}") } else { format!("{error}{how}; the last that it said: {last}") })
}

/// Until the handshake is done.
async fn shake_hands(
    harness: &mut dyn Harness,
    stdin: &mut (impl tokio::io::AsyncWrite + Unpin),
    stdout: &mut (impl AsyncRead + Unpin),
) -> Result<(), String> {
    let mut outbox = Outbox::new();
    harness.start(now_ms(), &mut outbox);
    let (mut chunk, mut heard) = (vec![0_u8; 64 * 1024], 0_usize);
    loop {
        let outputs: Vec<Output> = outbox.drain().collect();
        for output in outputs {
            match output {
                // An agent that is gone does not read; its silence is told below.
                Output::Write(bytes) => drop(stdin.write_all(&bytes).await),
                Output::Ready => return Ok(()),
                Output::Settled { error: Some(error), .. } => return Err(error),
                _ => {}
            }
        }
        let read = stdout.read(&mut chunk).await.map_err(|error| format!("its output cannot be read: {error}"))?;
        heard = heard.saturating_add(read);
        if read == 0 {
            return Err("it ended before its handshake".to_owned());
        }
        if heard > MAX_STDOUT {
            return Err(format!("it wrote over {MAX_STDOUT} bytes and no handshake among them"));
        }
        harness.stdout(chunk.get(..read).unwrap_or_default(), now_ms(), &mut outbox);
    }
}

/// Reads to the end; the end of what was read.
async fn tail(mut from: impl AsyncRead + Unpin) -> String {
    let (mut chunk, mut kept) = (vec![0_u8; 4096], Vec::new());
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        kept.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let over = kept.len().saturating_sub(STDERR_TAIL);
        kept.drain(..over);
    }
    String::from_utf8_lossy(&kept).into_owned()
}
