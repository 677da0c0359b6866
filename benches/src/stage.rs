//! What most benches stand on: an instance of octo with one session of the scripted agent, and the same agent without octo.

use crate::audience::{Audience, Came, Go, number_of, text_of};
use crate::process::FloorProcess;
use anyhow::{Context, Result};
use octo_e2e::{Client, Instance, Script, Stamp, binary, monotonic_ns};
use serde_json::{Value, json};
use std::io::Write;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

/// The one session.
pub const SESSION: &str = "ses_1";
/// Nothing here takes as long; a bench that hangs ends.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running instance with an idle session.
pub struct Stage {
    pub instance: Instance,
    pub client: Client,
}

impl Stage {
    pub async fn new() -> Self {
        let instance = Instance::scripted().await;
        let mut client = Client::connect(&instance).await;
        client.create(SESSION, &instance.workspace()).await;
        client.event(SESSION, |frame| frame["event"] == "replay.end").await;
        Self { instance, client }
    }

    /// octo and its runner.
    pub fn pids(&self) -> Result<[i32; 2]> {
        Ok([self.instance.octo_pid().context("octo runs")?, self.instance.runner().pid])
    }

    /// Gives the agent a script; its turn has begun when this returns.
    pub async fn prompt(&mut self, script: &Script) {
        self.client.command(SESSION, json!({"cmd": "prompt", "message": script.prompt("Speak.")})).await;
    }

    /// Where the session's journal ends; the agent is idle.
    pub fn cursor(&self) -> Result<Value> {
        self.client.checker.cursor(SESSION).context("the client has seen the session")
    }

    /// Watchers that are attached to the session and up to date.
    pub async fn audience(&self, watchers: usize) -> Result<(Audience, Watching)> {
        let mut audience = Audience::new(self.instance.port(), "/api/ws/mux", Some(self.client.token()), watchers)?;
        let cursor = self.cursor()?;
        tokio::task::spawn_blocking(move || {
            let mut watching = Watching::new(watchers);
            watching.attach(&mut audience, &cursor)?;
            Ok((audience, watching))
        })
        .await?
    }
}

/// The scripted agent by itself, its stdout read by a floor.
pub struct BareAgent {
    child: Child,
    stdin: ChildStdin,
}

impl BareAgent {
    /// An agent and the floor that copies what it says to so many watchers.
    pub fn copied_to(watchers: usize) -> Result<(Self, FloorProcess)> {
        let mut child = Command::new(binary("octo-scripted-agent")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let stdin = child.stdin.take().context("stdin is a pipe")?;
        let stdout = child.stdout.take().context("stdout is a pipe")?;
        let floor = FloorProcess::start(&["copy", "--watchers", &watchers.to_string()], Some(stdout.into()))?;
        Ok((Self { child, stdin }, floor))
    }

    pub fn prompt(&mut self, script: &Script) -> Result<()> {
        let line = json!({"id": "1", "type": "prompt", "message": script.prompt("Speak.")}).to_string() + "\n";
        Ok(self.stdin.write_all(line.as_bytes())?)
    }
}

impl Drop for BareAgent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What one watcher has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub seq: u64,
    replaying: bool,
    pub frames: u64,
    pub deltas: u64,
    /// Numbers that never came, or came out of their order.
    pub wrong: u64,
    pub done: bool,
}

/// What all watchers have seen of a stream: octo's frames, or pi's lines as the copying floor sends them.
#[derive(Debug, Default)]
pub struct Watching {
    pub seen: Vec<Seen>,
    /// Microseconds from the agent's write to the watcher's read, of every stamped delta.
    pub latencies: Vec<f64>,
    /// When the first and the newest delta came ([`monotonic_ns`]).
    pub first: u64,
    pub last: u64,
    pub done: usize,
    /// Attaches that were refused because octo was busy.
    pub refused: u64,
}

impl Watching {
    pub fn new(watchers: usize) -> Self {
        Self { seen: vec![Seen::default(); watchers], ..Self::default() }
    }

    /// Forgets what was counted, not where the watchers stand.
    pub fn again(&mut self) {
        let seen = std::mem::take(&mut self.seen);
        let stands = |seen: Seen| Seen { seq: seen.seq, replaying: seen.replaying, ..Seen::default() };
        *self = Self { seen: seen.into_iter().map(stands).collect(), ..Self::default() };
    }

    /// Looks at a frame. Whether that was the last of its watcher's turn.
    pub fn see(&mut self, index: usize, frame: &[u8]) -> bool {
        let seen = &mut self.seen[index];
        let event = text_of(frame, "event").or_else(|| text_of(frame, "type")).unwrap_or_default();
        if let Some(seq) = number_of(frame, "seq") {
            match event {
                b"replay.end" => {
                    seen.wrong += u64::from(seq < seen.seq);
                    seen.replaying = false;
                }
                _ => {
                    let next = seen.seq == 0 || seq == seen.seq + 1 || (seen.replaying && seq > seen.seq);
                    seen.wrong += u64::from(!next);
                }
            }
            seen.seq = seq;
        } else if event == b"replay.start" {
            seen.replaying = true;
            seen.seq = number_of(frame, "after").unwrap_or_default();
        }
        seen.frames += 1;
        // pi's lines name the delta in a member of the event.
        let delta = if event == b"stream.text_delta" || event == b"message_update" { text_of(frame, "delta") } else { None };
        if let Some(stamp) = delta.and_then(|delta| Stamp::of(std::str::from_utf8(delta).ok()?)) {
            seen.deltas += 1;
            let now = monotonic_ns();
            if self.first == 0 {
                self.first = now;
            }
            self.last = now;
            if stamp.written > 0 {
                #[allow(clippy::cast_precision_loss, reason = "microseconds of a few seconds")]
                self.latencies.push(now.saturating_sub(stamp.written) as f64 / 1000.0);
            }
        }
        let end = !seen.done && (event == b"agent.idle" || event == b"agent_settled");
        seen.done |= end;
        self.done += usize::from(end);
        end
    }

    /// Connects and attaches every watcher at a cursor, and reads until each has what it missed. Who is refused because octo is busy tries again, as
    /// a browser does.
    pub fn attach(&mut self, audience: &mut Audience, cursor: &Value) -> Result<()> {
        let attach = json!({"channel": "agent", "session_id": SESSION, "id": "a", "cmd": "session.attach", "cursor": cursor}).to_string();
        let (mut left, mut failed) = (audience.len(), None);
        audience.run(PATIENCE, |audience, index, came| {
            match came {
                Came::Open => failed = failed.take().or(audience.send(index, &attach).err()),
                Came::Text(frame) => match text_of(frame, "event") {
                    Some(b"response") if frame.windows(15).any(|w| w == b"\"success\":false") => {
                        if text_of(frame, "code") == Some(b"busy") {
                            self.refused += 1;
                            audience.send_again(index, attach.clone());
                        } else {
                            failed = Some(anyhow::anyhow!("watcher {index} is refused: {}", String::from_utf8_lossy(frame)));
                        }
                    }
                    event => {
                        left -= usize::from(event == Some(b"replay.end"));
                        self.see(index, frame);
                    }
                },
                Came::Closed => failed = Some(anyhow::anyhow!("octo closed watcher {index}")),
            }
            if left == 0 || failed.is_some() { Go::Stop } else { Go::On }
        })?;
        failed.map_or(Ok(()), Err)
    }

    /// Reads until every watcher has seen the end of the turn.
    pub fn turn(&mut self, audience: &mut Audience) -> Result<()> {
        let all = audience.len();
        let mut closed = 0;
        audience.run(PATIENCE, |_, index, came| {
            match came {
                Came::Text(frame) => drop(self.see(index, frame)),
                Came::Closed => closed += 1,
                Came::Open => {}
            }
            if self.done == all || closed > 0 { Go::Stop } else { Go::On }
        })?;
        anyhow::ensure!(closed == 0, "watchers were closed in the middle of a turn");
        Ok(())
    }

    /// All frames of all watchers.
    pub fn frames(&self) -> f64 {
        self.seen.iter().map(|seen| seen.frames as f64).sum()
    }

    /// Deltas that some watcher did not get, or numbers that were wrong.
    pub fn lost(&self, deltas: u64) -> f64 {
        self.seen.iter().map(|seen| (deltas.abs_diff(seen.deltas) + seen.wrong) as f64).sum()
    }

    /// Seconds from the first delta to the last.
    pub fn seconds(&self) -> f64 {
        self.last.saturating_sub(self.first).max(1) as f64 / 1e9
    }
}
