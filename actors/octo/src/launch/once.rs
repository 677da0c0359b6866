//! A program that is started for what it has to say, and waited for: octo-runner that asks an agent whether it starts, and npm.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;

use super::environment;
use crate::config::Settings;

/// Lines of its standard error that are kept, and bytes of one.
const KEPT_LINES: usize = 30;
const MAX_LINE_BYTES: usize = 2000;
/// Bytes of its standard output.
const MAX_OUTPUT_BYTES: u64 = 1024 * 1024;
/// How long the streams of a program that has ended may stay open, in somebody else's hands.
const STREAMS_PATIENCE: Duration = Duration::from_secs(5);

/// Why it did not come to an end of its own.
#[derive(Debug, thiserror::Error)]
pub enum OnceError {
    /// Not started.
    #[error("{} could not be started: {source}", .program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not ended.
    #[error("{} did not end within {} s and was ended", .program.display(), .patience.as_secs())]
    Slow {
        /// The program.
        program: PathBuf,
        /// For how long it was waited.
        patience: Duration,
    },
}

/// What there is to start.
pub struct Once {
    program: PathBuf,
    arguments: Vec<OsString>,
    env: Vec<(String, String)>,
    input: Vec<u8>,
    directory: PathBuf,
    patience: Duration,
}

/// How it ended.
pub struct Ended {
    /// With exit code 0.
    pub is_good: bool,
    /// In words.
    pub how: String,
    /// The end of its standard error.
    pub said: String,
    /// Its standard output.
    pub output: Vec<u8>,
}

impl Once {
    /// `program` with `arguments`, an empty environment and no input, for a minute.
    #[must_use]
    pub fn new(program: &Path, arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.into_iter().collect(),
            env: Vec::new(),
            input: Vec::new(),
            directory: "/".into(),
            patience: Duration::from_secs(60),
        }
    }

    /// With the environment of a daemon of octo's: none of the server's secrets.
    #[must_use]
    pub fn of_octo(mut self, settings: &Settings) -> Self {
        self.env = environment::for_daemon(settings);
        self
    }

    /// The same, and what npm itself is configured with.
    #[must_use]
    pub fn of_npm(mut self, settings: &Settings) -> Self {
        let own = settings.env.iter().filter(|(name, _)| name.starts_with("npm_config_") || name.starts_with("NPM_"));
        self.env = environment::for_daemon(settings);
        self.env.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
        self
    }

    /// With this on its standard input.
    #[must_use]
    pub fn input(mut self, input: Vec<u8>) -> Self {
        self.input = input;
        self
    }

    /// In this directory.
    #[must_use]
    pub fn within(mut self, directory: &Path) -> Self {
        directory.clone_into(&mut self.directory);
        self
    }

    /// For so long at most.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Runs it to its end. `hear` gets every line of its standard error and says whether it is worth keeping.
    ///
    /// # Errors
    /// [`OnceError`].
    pub async fn run(self, mut hear: impl FnMut(&str) -> bool) -> Result<Ended, OnceError> {
        let Self { program, arguments, env, input, directory, patience } = self;
        let failed = |source| OnceError::Start { program: program.clone(), source };
        let mut command = Command::new(&program);
        command.args(arguments).env_clear().envs(env).current_dir(directory).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(failed)?;
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(failed(std::io::Error::other("it has no pipes")));
        };
        let mut output = Vec::new();
        let mut kept: VecDeque<String> = VecDeque::new();
        let write = async {
            // One that does not read its input ends for reasons of its own.
            let _ = stdin.write_all(&input).await;
            drop(stdin);
        };
        let read = async {
            let _ = stdout.take(MAX_OUTPUT_BYTES).read_to_end(&mut output).await;
        };
        let listen = async {
            let mut lines = BufReader::new(stderr).split(b'\n');
            while let Ok(Some(line)) = lines.next_segment().await {
                let line = String::from_utf8_lossy(&line[..line.len().min(MAX_LINE_BYTES)]).into_owned();
                if hear(line.trim_end()) && !line.trim().is_empty() {
                    if kept.len() == KEPT_LINES {
                        kept.pop_front();
                    }
                    kept.push_back(line.trim_end().to_owned());
                }
            }
        };
        let streams = async { tokio::join!(write, read, listen) };
        let whole = async {
            let mut streams = std::pin::pin!(streams);
            let mut over = false;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    _ = &mut streams, if !over => over = true,
                }
            };
            if !over {
                let _ = tokio::time::timeout(STREAMS_PATIENCE, streams).await;
            }
            status
        };
        let status = tokio::time::timeout(patience, whole).await.map_err(|_| OnceError::Slow { program: program.clone(), patience })?;
        let status = status.map_err(failed)?;
        Ok(Ended { is_good: status.success(), how: status.to_string(), said: Vec::from(kept).join("\n"), output })
    }
}
