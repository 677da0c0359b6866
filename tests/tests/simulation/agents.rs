//! Agents that are tasks: the scripted agent over pipes in memory, which can be ended, or be silent for a while.

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use octo_e2e::scripted::{Exit as Ended, Heard, Stage, Start, command, live};
use octo_e2e::sim::Ending;
use octo_runner::agent::{Control, Host, HostError, Pipe, Plan, Running, Tree};
use octo_runner::shared::Shared;
use octo_sandbox::Exit;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, DuplexStream, Lines};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

/// How long a start takes. No process starts in no time: two of one conversation in one millisecond would give their messages the same ids.
const START: Duration = Duration::from_millis(3);
/// Bytes in a pipe, as the kernel has it.
const PIPE: usize = 64 * 1024;
/// No process has such a number.
const FIRST_PID: u32 = 1_000_000_000;

/// The hand on one agent.
#[derive(Default)]
struct Life {
    end: watch::Sender<Option<End>>,
    silent: watch::Sender<bool>,
}

#[derive(Debug, Clone, Copy)]
enum End {
    Code(i32),
    Signal(i32),
    Tree,
}

impl Life {
    fn end(&self, end: End) {
        self.end.send_if_modified(|now| {
            let first = now.is_none();
            if first {
                *now = Some(end);
            }
            first
        });
    }
}

impl Control for Life {
    fn terminate(&self) {
        // As with a real one: who is stopped does not hear it.
        if !*self.silent.borrow() {
            self.end(End::Signal(15));
        }
    }

    fn kill_tree(&self) {
        self.end(End::Tree);
    }
}

/// Every agent of a simulation. Clones share them.
#[derive(Clone)]
pub struct Agents(Arc<Inner>);

struct Inner {
    /// Where their session files are.
    sessions: PathBuf,
    started: AtomicU32,
    /// The newest of each session.
    living: Mutex<BTreeMap<String, Arc<Life>>>,
}

impl Agents {
    pub fn new(sessions: PathBuf) -> Self {
        Self(Arc::new(Inner { sessions, started: AtomicU32::new(0), living: Mutex::default() }))
    }

    /// Ends the agent of a session, or has it be silent. Whether there was one.
    pub fn strike(&self, session: &str, ending: Ending) -> bool {
        let Some(life) = self.0.living.lock().unwrap().get(session).cloned() else { return false };
        if life.end.borrow().is_some() || life.end.receiver_count() == 0 {
            return false;
        }
        match ending {
            Ending::Code(code) => life.end(End::Code(code)),
            Ending::Killed => life.end(End::Signal(9)),
            Ending::Silent(ms) => {
                life.silent.send_replace(true);
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                    life.silent.send_replace(false);
                });
            }
        }
        true
    }

    /// Nobody is silent any more.
    pub fn calm(&self) {
        for life in self.0.living.lock().unwrap().values() {
            life.silent.send_replace(false);
        }
    }

    /// How many were started.
    pub fn started(&self) -> u64 {
        u64::from(self.0.started.load(Relaxed))
    }
}

impl Host for Agents {
    fn start(&self, plan: Plan, _: Arc<Shared>) -> BoxFuture<'static, Result<Running, HostError>> {
        let inner = Arc::clone(&self.0);
        async move {
            sleep(START).await;
            Ok(inner.start(&plan))
        }
        .boxed()
    }
}

impl Inner {
    fn start(&self, plan: &Plan) -> Running {
        let number = self.started.fetch_add(1, Relaxed);
        let session = plan.cwd.file_name().unwrap().to_str().unwrap().to_owned();
        let life = Arc::new(Life::default());
        self.living.lock().unwrap().insert(session, Arc::clone(&life));
        let (stdin, own_stdin) = tokio::io::duplex(PIPE);
        let (own_stdout, stdout) = tokio::io::duplex(PIPE);
        let (own_stderr, stderr) = tokio::io::duplex(PIPE);
        let start = Start {
            session: plan.resume.clone(),
            session_dir: Some(self.sessions.display().to_string()),
            model: Some(format!("{}/{}", plan.provider, plan.model)),
            thinking: plan.thinking.map(|level| level.as_str().to_owned()),
        };
        let stage = Pipes {
            lines: BufReader::new(own_stdin).lines(),
            stdout: own_stdout,
            stderr: own_stderr,
            silent: life.silent.subscribe(),
            began: Instant::now(),
        };
        let mut end = life.end.subscribe();
        // It ends with its place: whoever lets go of the exit lets go of the agent.
        let exit = async move {
            let mut task = AbortOnDrop(tokio::spawn(live(start, stage)));
            let ended = tokio::select! {
                biased;
                ended = end.wait_for(Option::is_some) => ended.ok().and_then(|end| *end),
                exit = &mut task.0 => exit.ok().map(|Ended(code)| End::Code(code)),
            };
            match ended {
                Some(End::Code(code)) => Exit::Code(code),
                Some(End::Signal(signal)) => Exit::Signal(signal),
                Some(End::Tree) | None => Exit::TreeKilled,
            }
        };
        Running {
            pid: FIRST_PID + number,
            stdin: Pipe::without_descriptor(Box::new(stdin)),
            stdout: Pipe::without_descriptor(Box::new(stdout)),
            stderr: Pipe::without_descriptor(Box::new(stderr)),
            control: life,
            tree: Tree::Embedded(exit.boxed()),
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Ended>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

struct Pipes {
    lines: Lines<BufReader<DuplexStream>>,
    stdout: DuplexStream,
    stderr: DuplexStream,
    silent: watch::Receiver<bool>,
    began: Instant,
}

impl Pipes {
    async fn voice(&mut self) {
        // Its hand lives as long as it does.
        let _ = self.silent.wait_for(|silent| !silent).await;
    }
}

impl Stage for Pipes {
    async fn write(&mut self, bytes: &[u8]) -> Result<(), Ended> {
        self.voice().await;
        self.stdout.write_all(bytes).await.map_err(|_| Ended(1))
    }

    async fn hear(&mut self, until: Option<Duration>) -> Heard {
        self.voice().await;
        let line = match until {
            Some(until) => tokio::time::timeout_at(self.began + until, self.lines.next_line()).await,
            None => Ok(self.lines.next_line().await),
        };
        match line {
            Ok(Ok(Some(line))) => Heard::Command(command(line.as_bytes()).unwrap()),
            Ok(Ok(None) | Err(_)) => Heard::End,
            Err(_) => Heard::Nothing,
        }
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn complain(&mut self, text: &mut (dyn std::io::Read + Send)) {
        let mut said = Vec::new();
        if text.read_to_end(&mut said).is_ok() {
            // What does not fit is not said: nobody waits here.
            let _ = self.stderr.write_all(&said).now_or_never();
        }
    }

    fn run_away(&mut self) {}
}
