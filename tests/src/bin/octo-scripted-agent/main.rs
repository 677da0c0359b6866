//! The scripted agent ([`octo_e2e::scripted`]) as a process: it stands on its own stdin, stdout and stderr.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an agent that cannot go on ends, and its stderr says where")]

use futures_util::FutureExt as _;
use octo_e2e::scripted::{Exit, Heard, Stage, Start, command, live};
use serde_json::Value;
use std::fs::File;
use std::io::{BufRead, Read, Write};
use std::os::fd::AsFd;
use std::process::Stdio;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant};

/// Commands that may wait while the agent is in the middle of something.
const COMMANDS: usize = 1024;

/// Its pipes. Whatever is waited for is waited for here, so that its futures are ready at once.
struct Pipes {
    commands: Receiver<Value>,
    stdout: File,
    began: Instant,
}

impl Stage for Pipes {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Exit> {
        self.stdout.write_all(bytes).map_err(|_| Exit(1))
    }

    async fn hear(&mut self, until: Option<Duration>) -> Heard {
        let heard = match until {
            Some(until) => self.commands.recv_timeout(until.saturating_sub(self.began.elapsed())),
            None => self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
        };
        match heard {
            Ok(command) => Heard::Command(command),
            Err(RecvTimeoutError::Timeout) => Heard::Nothing,
            Err(RecvTimeoutError::Disconnected) => Heard::End,
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn complain(&mut self, text: &mut (dyn Read + Send)) {
        let _ = std::io::copy(text, &mut std::io::stderr());
    }

    fn run_away(&mut self) {
        let away = "(setsid env -i sleep 300 >/dev/null 2>&1 </dev/null &)";
        let _ = std::process::Command::new("sh").args(["-c", away]).stdin(Stdio::null()).stdout(Stdio::null()).status();
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let start = Start {
        session: option("--session"),
        session_dir: option("--session-dir"),
        model: option("--model"),
        thinking: option("--thinking"),
    };
    let (say, commands) = sync_channel(COMMANDS);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        let mut stdin = std::io::stdin().lock();
        while stdin.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if !line.trim_ascii().is_empty() {
                let heard = command(&line).unwrap_or_else(|error| {
                    eprintln!("{error}");
                    std::process::exit(1);
                });
                if say.send(heard).is_err() {
                    return;
                }
            }
            line.clear();
        }
        // Also while the run goes on, or waits for somebody to read it.
        std::process::exit(0);
    });
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().expect("stdout is open");
    let pipes = Pipes { commands, stdout: File::from(stdout), began: Instant::now() };
    let Exit(code) = live(start, pipes).now_or_never().expect("whatever it waits for, it waits for on its stage");
    std::process::exit(code);
}
