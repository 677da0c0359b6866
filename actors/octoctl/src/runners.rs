//! What the runners' own sockets tell when octo is down: which run, since when, and their sessions.
//!
//! As an operator's connection of the link, beside whatever control plane there may be: it shakes hands, reads the list of sessions that a runner sends
//! by itself, and goes. A runner talks to its server's user and to root alone.

use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::future::join_all;
use octo_protocol::SessionSummary;
use octo_protocol::link::{Decoder, Frame, Hello, LINK_VERSION, LINK_VERSION_MIN, Welcome, encode};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::show::{self, Table};

/// Patience for one runner.
const PATIENCE: Duration = Duration::from_secs(2);
/// Sockets that are looked at.
const MAX_SOCKETS: usize = 1024;
/// Room for what a runner says before its list; a list may be larger.
const READ_BYTES: usize = 64 * 1024;

/// A runner that was asked directly.
#[derive(Debug, Serialize)]
pub struct Seen {
    pub user: String,
    pub running: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// Unix milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<i64>,
    pub sessions: Vec<SessionSummary>,
    /// Why nothing is known of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Every runner whose socket lies in `run_dir`, in order of user.
pub async fn look(run_dir: &Path) -> Vec<Seen> {
    let entries = std::fs::read_dir(run_dir.join("runners")).into_iter().flatten().flatten().take(MAX_SOCKETS);
    let mut sockets: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "sock")).collect();
    sockets.sort();
    join_all(sockets.iter().map(|socket| one(socket))).await
}

async fn one(socket: &Path) -> Seen {
    let user = socket.file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let none = |error: String| Seen {
        user: user.clone(),
        running: false,
        pid: None,
        software: None,
        started_at: None,
        sessions: Vec::new(),
        error: Some(error),
    };
    match tokio::time::timeout(PATIENCE, ask(socket, &user)).await {
        Ok(Ok((welcome, sessions))) => Seen {
            running: true,
            pid: Some(welcome.pid),
            software: Some(welcome.software),
            started_at: Some(welcome.started_at),
            sessions,
            error: None,
            user,
        },
        Ok(Err(error)) => none(error),
        Err(_) => Seen { running: true, ..none(format!("it does not answer within {} s: it hangs, or is stopped", PATIENCE.as_secs())) },
    }
}

async fn ask(socket: &Path, user: &str) -> Result<(Welcome, Vec<SessionSummary>), String> {
    let mut stream = UnixStream::connect(socket).await.map_err(|error| format!("it does not run ({error})"))?;
    let hello = Frame::Hello(Hello {
        magic: Hello::MAGIC,
        min_version: LINK_VERSION_MIN,
        max_version: LINK_VERSION,
        software: concat!("octoctl ", env!("CARGO_PKG_VERSION")).to_owned(),
        instance: Hello::OPERATOR.to_owned(),
        user: user.to_owned(),
    });
    let mut out = BytesMut::new();
    encode(&hello, &mut 0, &mut out).map_err(|error| error.to_string())?;
    let broke = |error: std::io::Error| format!("the connection broke: {error}");
    stream.write_all(&out).await.map_err(broke)?;
    let (mut decoder, mut buffer, mut welcome) = (Decoder::default(), BytesMut::with_capacity(READ_BYTES), None);
    loop {
        while let Some(frame) = decoder.decode(&mut buffer).map_err(|error| error.to_string())? {
            match (frame, welcome.take()) {
                (Frame::Welcome(said), _) => welcome = Some(said),
                (Frame::Refused(refused), _) => return Err(format!("it refuses: {}", refused.reason)),
                (Frame::Sessions(sessions), Some(welcome)) => {
                    let list =
                        serde_json::from_slice(&sessions.json).map_err(|error| format!("its list of sessions cannot be read: {error}"))?;
                    return Ok((welcome, list));
                }
                (_, kept) => welcome = kept,
            }
        }
        if stream.read_buf(&mut buffer).await.map_err(broke)? == 0 {
            return Err("it closed the connection".to_owned());
        }
    }
}

/// What is known of the runners, for people.
pub fn table(seen: &[Seen]) -> String {
    let mut table = Table::new(&["RUNNER", "PID", "SOFTWARE", "UP", "SESSIONS"]);
    for runner in seen {
        let pid = runner.pid.map_or_else(|| "–".to_owned(), |pid| pid.to_string());
        let up = runner.started_at.map_or_else(|| "–".to_owned(), show::age);
        let software = runner.software.clone().or_else(|| runner.error.clone()).unwrap_or_default();
        table.row(vec![runner.user.clone(), pid, software, up, summary(&runner.sessions)]);
    }
    table.text()
}

/// `3 (1 working, 2 idle)`
fn summary(sessions: &[SessionSummary]) -> String {
    if sessions.is_empty() {
        return "0".to_owned();
    }
    format!("{} ({})", sessions.len(), show::counts(sessions.iter().map(|session| show::word(&session.state))))
}

/// What is known of the runners, for programs.
pub fn value(seen: &[Seen]) -> Value {
    json!({ "server": "down", "runners": seen })
}
