//! What octo adds to pi: the same pi, the same model on loopback, once with octo around it and once alone.
//!
//! The model says when it wrote each piece, so a token's time is from the model's write to where a person's client reads it.

use super::Scale;
use crate::figure::{Figures, Goal, quantile};
use anyhow::{Context, Result};
use octo_e2e::{Client, Instance, Options, Stamp, monotonic_ns, node};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Between two pieces of an answer.
const PACE: Duration = Duration::from_millis(10);

/// A model that answers every request with so many stamped pieces.
async fn model(pieces: u64) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(answer(socket, pieces));
        }
    });
    Ok(port)
}

async fn answer(mut socket: TcpStream, pieces: u64) -> Result<()> {
    socket.set_nodelay(true)?;
    let (mut request, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let read = socket.read(&mut buffer).await?;
        anyhow::ensure!(read > 0, "the request broke off");
        request.extend_from_slice(&buffer[..read]);
        let Some(end) = request.windows(4).position(|w| w == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        let whole = match length {
            Some(length) => request.len() >= end + 4 + length,
            None => request.ends_with(b"0\r\n\r\n"),
        };
        if whole {
            break;
        }
    }
    socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n").await?;
    let mut say = async |kind: &str, mut fields: Value| {
        fields["type"] = json!(kind);
        socket.write_all(format!("event: {kind}\ndata: {fields}\n\n").as_bytes()).await
    };
    let message = json!({"id": "msg", "type": "message", "role": "assistant", "model": "m1", "content": [],
        "usage": {"input_tokens": 10, "output_tokens": 1}});
    say("message_start", json!({"message": message})).await?;
    say("content_block_start", json!({"index": 0, "content_block": {"type": "text", "text": ""}})).await?;
    for piece in 0..pieces {
        if piece > 0 {
            tokio::time::sleep(PACE).await;
        }
        let text = format!("{piece}@{} ..", monotonic_ns());
        say("content_block_delta", json!({"index": 0, "delta": {"type": "text_delta", "text": text}})).await?;
    }
    say("content_block_stop", json!({"index": 0})).await?;
    say("message_delta", json!({"delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": pieces}})).await?;
    say("message_stop", json!({})).await?;
    Ok(())
}

/// Milliseconds: from the prompt to its first piece, and from the model's write of each piece to here.
#[derive(Default)]
struct Times {
    first: Vec<f64>,
    tokens: Vec<f64>,
}

impl Times {
    fn piece(&mut self, delta: &str, prompted: &mut Option<u64>) {
        let Some(stamp) = Stamp::of(delta) else { return };
        let now = monotonic_ns();
        self.tokens.push((now - stamp.written) as f64 / 1e6);
        if let Some(prompted) = prompted.take() {
            self.first.push((now - prompted) as f64 / 1e6);
        }
    }
}

/// pi by itself.
struct Alone {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    _home: tempfile::TempDir,
}

impl Alone {
    fn start(port: u16, agents: &Path) -> Result<Self> {
        let home = tempfile::tempdir()?;
        let settings = home.path().join(".pi/agent");
        std::fs::create_dir_all(&settings)?;
        let models = json!({"providers": {"bench": {"baseUrl": format!("http://127.0.0.1:{port}"), "api": "anthropic-messages", "apiKey": "none",
            "models": [{"id": "m1", "name": "m1", "reasoning": false, "input": ["text"], "contextWindow": 200_000, "maxTokens": 8000,
                "cost": {"input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0}}]}}});
        std::fs::write(settings.join("models.json"), models.to_string())?;
        let mut child = Command::new(node())
            .arg(agents.join("node_modules/.bin/pi").canonicalize()?)
            .args(["--mode", "rpc", "--model", "bench/m1"])
            .env("HOME", home.path())
            .env("PI_CODING_AGENT_DIR", &settings)
            .envs([("PI_OFFLINE", "1"), ("PI_TELEMETRY", "0"), ("PI_SKIP_VERSION_CHECK", "1")])
            .current_dir(home.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let stdin = child.stdin.take().context("a pipe")?;
        let stdout = BufReader::new(child.stdout.take().context("a pipe")?);
        let mut alone = Self { child, stdin, stdout, _home: home };
        alone.send(&json!({"id": "0", "type": "get_state"}))?;
        alone.until(|line| line["type"] == "response")?;
        Ok(alone)
    }

    fn send(&mut self, command: &Value) -> Result<()> {
        Ok(self.stdin.write_all((command.to_string() + "\n").as_bytes())?)
    }

    fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Result<()> {
        let mut line = String::new();
        loop {
            line.clear();
            anyhow::ensure!(self.stdout.read_line(&mut line)? > 0, "pi ended");
            if wanted(&serde_json::from_str(&line)?) {
                return Ok(());
            }
        }
    }

    fn turns(&mut self, turns: u32) -> Result<Times> {
        let mut times = Times::default();
        for _ in 0..turns {
            let mut prompted = Some(monotonic_ns());
            self.send(&json!({"id": "1", "type": "prompt", "message": "Speak."}))?;
            self.until(|line| {
                let event = &line["assistantMessageEvent"];
                if event["type"] == "text_delta" {
                    times.piece(event["delta"].as_str().unwrap_or_default(), &mut prompted);
                }
                line["type"] == "agent_settled"
            })?;
        }
        Ok(times)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn through_octo(client: &mut Client, turns: u32) -> Result<Times> {
    let mut times = Times::default();
    for _ in 0..turns {
        let mut prompted = Some(monotonic_ns());
        client.send_text(json!({"channel": "agent", "session_id": "ses_1", "cmd": "prompt", "message": "Speak."}).to_string()).await;
        let end = client.event("ses_1", |frame| {
            if frame["event"] == "stream.text_delta" {
                times.piece(frame["delta"].as_str().unwrap_or_default(), &mut prompted);
            }
            frame["event"] == "agent.idle" || frame["event"] == "agent.error"
        });
        let end = end.await.context("the connection holds")?;
        anyhow::ensure!(end["event"] == "agent.idle", "{end}");
    }
    Ok(times)
}

pub async fn run(scale: Scale, figures: &mut Figures) -> Result<()> {
    let agents = std::env::var_os("OCTO_AGENTS_DIR").map(std::path::PathBuf::from).filter(|dir| dir.join("node_modules/.bin/pi").exists());
    let agents = agents.context("this bench needs a real pi: OCTO_AGENTS_DIR names the directory that has it")?;
    let (turns, pieces) = scale.pick((12, 40), (2, 3));
    let port = model(pieces).await?;
    let config = format!(
        "[providers.bench]\napi = \"anthropic-messages\"\nbase_url = \"http://127.0.0.1:{port}\"\napi_key = \"none\"\nmodels = [{{ id = \"m1\" }}]\n"
    );
    let mut instance = Instance::new(Options { config, ..Options::default() });
    instance.start().await;
    let mut client = Client::connect(&instance).await;
    let session =
        json!({"cmd": "session.create", "config": {"harness": "pi", "cwd": instance.workspace(), "provider": "bench", "model": "m1"}});
    client.command("ses_1", session).await;
    let mut alone = tokio::task::spawn_blocking(move || Alone::start(port, &agents)).await??;
    // The first turn of a process is another one: code is compiled, connections are made.
    through_octo(&mut client, 2).await?;
    alone.turns(2)?;
    for _ in 0..scale.rounds {
        let mut with = through_octo(&mut client, turns).await?;
        let (back, mut without) = tokio::task::spawn_blocking(move || alone.turns(turns).map(|times| (alone, times))).await??;
        alone = back;
        let mut show = |name, goal, octo, floor| figures.add("pi", name, "ms", goal, octo, Some(("pi alone", floor)));
        show("prompt to first delta, median", Goal::ExtraAtMost(1.0), quantile(&mut with.first, 0.5), quantile(&mut without.first, 0.5));
        show(
            "a token from the model to the client, median",
            Goal::ExtraAtMost(0.25),
            quantile(&mut with.tokens, 0.5),
            quantile(&mut without.tokens, 0.5),
        );
        show(
            "a token from the model to the client, p99",
            Goal::Shown,
            quantile(&mut with.tokens, 0.99),
            quantile(&mut without.tokens, 0.99),
        );
    }
    Ok(())
}
