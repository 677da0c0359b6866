//! octo's other end: a runner that is killed and started again on the same journal, and the link to it.

use crate::agents::Agents;
use crate::prepared::{BOOT, USER};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use octo::auth::UserId;
use octo::link::{Dial, FromRunner, ToRunner};
use octo_e2e::sim::{Over, Plan};
use octo_e2e::wire::{Grip, connection};
use octo_runner::journal::{Disk, Journal, log_of};
use octo_runner::link::{Serving, serve};
use octo_runner::options::Options;
use octo_runner::runner::Runner;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use tokio::task::AbortHandle;

/// A runner that lives.
struct Living {
    runner: Runner,
    journal: Journal,
    disk: Disk,
}

/// The place of the runner. Clones share it.
#[derive(Clone)]
pub struct Place(Arc<Inner>);

struct Inner {
    plan: Plan,
    options: Options,
    agents: Agents,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    living: Option<Living>,
    boots: u32,
    /// Connections so far.
    connections: u64,
    /// What carries and serves those that are open.
    open: Vec<(Grip, AbortHandle)>,
    calm: bool,
}

/// Below the folder of the seed, in which its process is.
fn options() -> Options {
    let path = PathBuf::from;
    Options {
        user: USER.to_owned(),
        runner_id: "local".to_owned(),
        socket: path("run/alice.sock"),
        data_dir: path("data"),
        state_dir: path("state"),
        config_dir: path("config"),
        agents_dir: path("agents"),
        eavs_dir: path("llm"),
        server_uid: None,
        pi_sessions_dir: Some(path("pi")),
        pi_executable: "pi".to_owned(),
        claude_sessions_dir: None,
        claude_executable: "claude".to_owned(),
        idle_after_secs: None,
        idle_check_secs: 300,
        keep_events_secs: None,
        keep_messages_secs: None,
        journal_max_bytes: None,
        journal_check_secs: 600,
        restart_silent_secs: None,
        handshake_secs: 60,
        permission_default: None,
        permission_tools: Vec::new(),
        permission_timeout_secs: None,
        permission_on_timeout: octo_protocol::PermissionMode::Deny,
        agent_memory_bytes: None,
        agent_tasks: 4096,
        agent_open_files: 65_536,
        allow_unsandboxed: false,
        bwrap: None,
        foreground: true,
    }
}

impl Place {
    pub fn new(plan: Plan, agents: Agents) -> Self {
        Self(Arc::new(Inner { plan, options: options(), agents, state: Mutex::default() }))
    }

    fn journal(&self) -> PathBuf {
        self.0.options.data_dir.join("journal.db")
    }

    /// Starts a runner on the journal.
    pub async fn start(&self) {
        let boot = match self.0.state.lock().unwrap().boots {
            0 => BOOT.to_owned(),
            boots => format!("boot-{boots}"),
        };
        let disk = Disk::default();
        let journal = Journal::embedded(&self.0.options.data_dir, &boot, disk.clone()).unwrap();
        let host = Arc::new(self.0.agents.clone());
        let runner = Runner::embedded(self.0.options.clone(), journal.clone(), host, boot).await.unwrap();
        self.0.state.lock().unwrap().living = Some(Living { runner, journal, disk });
    }

    /// Kills it in whatever it is doing. Whether there was one.
    pub fn kill(&self) -> bool {
        let mut state = self.0.state.lock().unwrap();
        let Some(living) = state.living.take() else { return false };
        // From this moment on nothing that is left of it reaches the disk or the link.
        living.journal.sever();
        for (grip, served) in state.open.drain(..) {
            grip.cut();
            served.abort();
        }
        true
    }

    /// The power goes: of what the disk was not told to keep, `keep` percent are there.
    pub fn lose_power(&self, keep: u64) {
        let synced = self.0.state.lock().unwrap().living.as_ref().map(|living| living.disk.synced_bytes());
        self.kill();
        self.0.state.lock().unwrap().boots += 1;
        let log = log_of(&self.journal());
        let (Some(synced), Ok(file)) = (synced, std::fs::File::options().write(true).open(log)) else { return };
        let written = file.metadata().unwrap().len();
        if synced < written {
            file.set_len(synced + (written - synced) * keep / 100).unwrap();
        }
    }

    /// The disk takes no writes, or takes them again.
    pub fn set_full(&self, full: bool) {
        if let Some(living) = &self.0.state.lock().unwrap().living {
            living.disk.set_full(full);
        }
    }

    /// Breaks every link.
    pub fn cut(&self) {
        self.0.state.lock().unwrap().open.drain(..).for_each(|(grip, _)| grip.cut());
    }

    /// Nothing passes over the link that there is, or it passes again.
    pub fn hold(&self, held: bool) {
        self.0.state.lock().unwrap().open.iter().for_each(|(grip, _)| grip.hold(held));
    }

    /// From here on links have no faults; the one that there is is let go of.
    pub fn calm(&self) {
        self.0.state.lock().unwrap().calm = true;
        self.hold(false);
        self.cut();
    }

    /// Breaks the link that octo lets go of.
    pub fn forget_links(&self) {
        self.cut();
    }

    fn serving(&self) -> Option<Serving> {
        self.0.state.lock().unwrap().living.as_ref().map(|living| living.runner.serving().clone())
    }
}

impl Dial for Place {
    fn dial(&self, _: &UserId) -> BoxFuture<'static, io::Result<(FromRunner, ToRunner)>> {
        let dialled = self.serving().ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionRefused)).map(|serving| {
            let mut state = self.0.state.lock().unwrap();
            state.connections += 1;
            let number = state.connections;
            let wire = if state.calm { octo_e2e::wire::Wire::whole() } else { self.0.plan.wire(Over::Link, number) };
            let grip = Grip::default();
            let (ends, _) = connection(wire, grip.clone());
            let served = tokio::spawn(serve(number, serving, ends.runner.0, ends.runner.1));
            state.open.retain(|(grip, _)| !grip.is_cut());
            state.open.push((grip, served.abort_handle()));
            (Box::new(ends.octo.0) as FromRunner, Box::new(ends.octo.1) as ToRunner)
        });
        async move { dialled }.boxed()
    }
}
