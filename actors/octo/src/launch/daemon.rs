//! Starting one daemon and waiting until it answers.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::process::{Child, Command};

use super::error::LaunchError;
use super::process::answers;
use crate::paths::{free_bytes, private_dir};

/// How long a daemon may take until it answers: on a slow disk its store has to be opened first.
pub const START_DEADLINE: Duration = Duration::from_secs(30);
/// How often it is asked meanwhile.
const POLL: Duration = Duration::from_millis(20);
/// A disk with less free room than this, in bytes, is called full.
const MIN_FREE_BYTES: u64 = 1024 * 1024;
/// A daemon ends with this code when another process still holds what it needs.
const EXIT_HELD: i32 = 75;
/// Lines and bytes of its log that an error shows.
const SHOWN_LINES: usize = 12;
const SHOWN_BYTES: u64 = 8 * 1024;

/// What is to be started.
pub(super) struct Daemon {
    pub binary: &'static str,
    pub arguments: Vec<(&'static str, PathBuf)>,
    pub socket: PathBuf,
    pub log: PathBuf,
    /// Directories that have to be there and closed to others.
    pub private: Vec<PathBuf>,
    /// Directories that are made when they are absent, and left as they are otherwise.
    pub made: Vec<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Running,
    Started,
}

impl Daemon {
    pub(super) async fn ensure(&self, program: &Path, env: Vec<(String, String)>) -> Result<Found, LaunchError> {
        // Whoever had the turn before may have started it.
        if answers(&self.socket).await {
            return Ok(Found::Running);
        }
        if !program.is_file() {
            return Err(LaunchError::Missing { binary: self.binary, path: program.to_owned() });
        }
        let failed = |reason: String| LaunchError::Start { binary: self.binary, reason };
        for dir in self.private.iter().map(PathBuf::as_path).chain(self.log.parent()).chain(self.socket.parent()) {
            private_dir(dir).map_err(|e| failed(e.to_string()))?;
        }
        for dir in &self.made {
            std::fs::create_dir_all(dir).map_err(|e| failed(format!("the folder {} could not be made: {e}", dir.display())))?;
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).mode(0o600).open(&self.log);
        let log = log.map_err(|e| failed(format!("its log {} cannot be written: {e}", self.log.display())))?;
        let before = log.metadata().map_or(0, |m| m.len());
        let error_log = log.try_clone().map_err(|e| failed(e.to_string()))?;
        let mut command = Command::new(program);
        command.arg("serve");
        for (flag, value) in &self.arguments {
            command.arg(flag);
            if value.as_os_str() != OsStr::new("") {
                command.arg(value);
            }
        }
        command.env_clear().envs(env).current_dir("/").stdin(Stdio::null()).stdout(log).stderr(error_log);
        tracing::info!(binary = self.binary, socket = %self.socket.display(), "starting");
        let mut child = command.spawn().map_err(|e| failed(format!("{}: {e}", program.display())))?;
        let ready = self.ready(&mut child).await;
        // Ended or not, it is reaped by whoever is its parent for as long as that lives.
        tokio::spawn(async move { child.wait().await });
        match ready {
            Ok(()) => Ok(Found::Started),
            Err(Unready { reason, code }) => {
                let said = tail(&self.log, before);
                // What it says last, under its own name, is why it ended.
                let own = format!("{}: ", self.binary);
                if let Some(words) = code.and_then(|_| said.lines().rev().find_map(|line| line.strip_prefix(&own))) {
                    return Err(LaunchError::Ended {
                        binary: self.binary,
                        said: words.to_owned(),
                        log: self.log.clone(),
                        held: code == Some(EXIT_HELD),
                    });
                }
                let end = if said.is_empty() {
                    format!("; {} is empty", self.log.display())
                } else {
                    format!("; the end of {}:\n{said}", self.log.display())
                };
                Err(LaunchError::NotReady {
                    binary: self.binary,
                    socket: self.socket.clone(),
                    reason: format!("{reason}{end}{}", self.full_disk()),
                })
            }
        }
    }

    /// A daemon on a full disk may have had nowhere to say so.
    fn full_disk(&self) -> String {
        let mut places = self.private.iter().map(PathBuf::as_path).chain(self.log.parent());
        let full = places.find(|path| free_bytes(path).is_some_and(|free| free < MIN_FREE_BYTES));
        full.map_or_else(String::new, |path| {
            format!("; the disk of {} is full: make room there, it is tried again by itself", path.display())
        })
    }

    async fn ready(&self, child: &mut Child) -> Result<(), Unready> {
        let answering = async {
            while !answers(&self.socket).await {
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::select! {
            () = answering => Ok(()),
            ended = child.wait() => {
                // Another process may have won the race for the socket.
                if answers(&self.socket).await { return Ok(()) }
                let code = ended.as_ref().ok().and_then(std::process::ExitStatus::code);
                let reason = ended.map_or_else(|e| e.to_string(), |status| format!("it ended at once ({status})"));
                Err(Unready { reason, code })
            }
            () = tokio::time::sleep(START_DEADLINE) => {
                Err(Unready { reason: format!("it is not ready after {} seconds", START_DEADLINE.as_secs()), code: None })
            }
        }
    }
}

/// Why a daemon that was started does not answer.
struct Unready {
    reason: String,
    /// It is not there any more, and ended with this.
    code: Option<i32>,
}

/// The end of what was written to the log since it was `before` bytes long.
fn tail(log: &Path, before: u64) -> String {
    let mut text = Vec::new();
    let read = File::open(log).and_then(|mut file| {
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(before.max(length.saturating_sub(SHOWN_BYTES)).min(length)))?;
        file.take(SHOWN_BYTES).read_to_end(&mut text)
    });
    if read.is_err() {
        return String::new();
    }
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|l| !l.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
}
