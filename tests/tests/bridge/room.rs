//! An octo-eavs with a virtual key, and bridges that have their models from it.

use octo_e2e::{PATIENCE, Process, binary, descendants, until};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What opens the bridges of these tests.
pub const TOKEN: &str = "token-of-the-bridge-5b21c9d07e";

/// A folder for everything, and octo-eavs.
pub struct Room {
    pub home: tempfile::TempDir,
    eavs: Child,
    eavs_url: String,
    key: String,
    /// Held and never listening, so that nobody else gets the port.
    _reserved: tokio::net::TcpSocket,
}

/// A bridge. Dropping it ends it with its agents.
pub struct Running {
    process: Child,
    pub port: u16,
}

fn reserve() -> (u16, tokio::net::TcpSocket) {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    (socket.local_addr().unwrap().port(), socket)
}

/// The agents as they were installed for the tests.
pub fn agents_dir() -> PathBuf {
    std::env::var_os("OCTO_AGENTS_DIR")
        .map_or_else(|| PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".local/share/octo/agents"), PathBuf::from)
}

impl Room {
    pub async fn new() -> Self {
        let home = tempfile::Builder::new().prefix("octo-bridge-").tempdir().unwrap();
        let at = |name: &str| home.path().join(name);
        for folder in ["work", "eavs", "home"] {
            std::fs::create_dir_all(at(folder)).unwrap();
            std::fs::set_permissions(at(folder), std::fs::Permissions::from_mode(0o700)).unwrap();
        }
        std::fs::write(at("config.toml"), "").unwrap();
        let (port, reserved) = reserve();
        let admin = at("eavs/admin.sock");
        let eavs = Command::new(binary("octo-eavs"))
            .args(["serve", "--listen", &format!("127.0.0.1:{port}")])
            .arg("--config")
            .arg(at("config.toml"))
            .arg("--data-dir")
            .arg(at("eavs/data"))
            .arg("--llm-socket")
            .arg(at("eavs/llm.sock"))
            .arg("--admin-socket")
            .arg(&admin)
            .arg("--log-file")
            .arg(at("eavs.log"))
            .env_clear()
            .env("HOME", at("home"))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let end = tokio::time::Instant::now() + PATIENCE;
        let key = loop {
            if let Some(key) = generate(&admin).await {
                break key;
            }
            assert!(
                tokio::time::Instant::now() < end,
                "octo-eavs gives no key: {}",
                std::fs::read_to_string(at("eavs.log")).unwrap_or_default()
            );
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        Self { home, eavs, eavs_url: format!("http://127.0.0.1:{port}"), key, _reserved: reserved }
    }

    /// The folder that agents work in.
    pub fn work(&self) -> PathBuf {
        self.home.path().join("work")
    }

    /// `pi-bridge` in the environment of this room, without a token.
    pub fn command(&self) -> Command {
        let mut command = Command::new(binary("pi-bridge"));
        command.env_clear();
        for name in ["PATH", "LANG", "TZ"] {
            command.envs(std::env::var_os(name).map(|value| (name, value)));
        }
        command.env("HOME", self.home.path().join("home")).env("OCTO_AGENTS_DIR", agents_dir());
        command.env("EAVS_URL", &self.eavs_url).env("EAVS_VIRTUAL_KEY", &self.key).env("PI_PROVIDER", "demo").env("PI_MODEL", "scripted");
        command.stdin(Stdio::null());
        command
    }

    /// A bridge whose agent has its own providers and the key to one of them.
    pub async fn bridge_of_its_own(&self, harness: &str) -> Running {
        let mut command = self.command();
        for name in ["EAVS_URL", "EAVS_VIRTUAL_KEY", "PI_PROVIDER", "PI_MODEL"] {
            command.env_remove(name);
        }
        command.env("ANTHROPIC_API_KEY", "sk-of-nobody");
        self.started(command, harness, 0, &["--pass-env", "ANTHROPIC_API_KEY"]).await
    }

    /// A bridge in front of `harness`, at `port` where that is not 0, with the journal that it had before.
    pub async fn bridge(&self, harness: &str, port: u16, further: &[&str]) -> Running {
        self.started(self.command(), harness, port, further).await
    }

    async fn started(&self, mut command: Command, harness: &str, port: u16, further: &[&str]) -> Running {
        let log = std::fs::File::options().create(true).append(true).open(self.log(harness)).unwrap();
        command.args(["serve", "--harness", harness, "--port", &port.to_string()]).args(further);
        command.arg("--cwd").arg(self.work()).arg("--data-dir").arg(self.home.path().join(format!("bridge-{harness}")));
        let mut process = command.env("PI_BRIDGE_TOKEN", TOKEN).stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let stdout = process.stdout.take().unwrap();
        let line = tokio::task::spawn_blocking(move || BufReader::new(stdout).lines().next()).await.unwrap();
        let Some(Ok(line)) = line else {
            let _ = process.wait();
            panic!("the bridge does not serve: {}", self.said(harness));
        };
        let port = line.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("no port in {line:?}"));
        Running { process, port }
    }

    fn log(&self, harness: &str) -> PathBuf {
        self.home.path().join(format!("{harness}.log"))
    }

    /// What a bridge has logged.
    pub fn said(&self, harness: &str) -> String {
        std::fs::read_to_string(self.log(harness)).unwrap_or_default()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for log in ["pi.log", "claude.log", "eavs.log"] {
                let text = std::fs::read_to_string(self.home.path().join(log)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                lines[lines.len().saturating_sub(30)..].iter().for_each(|line| eprintln!("{log}: {line}"));
            }
        }
        let _ = self.eavs.kill();
        let _ = self.eavs.wait();
    }
}

impl Running {
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn pid(&self) -> i32 {
        self.process.id().cast_signed()
    }

    /// Everything that it started.
    pub fn tree(&self) -> Vec<Process> {
        descendants(self.pid())
    }

    /// kill -9 of it alone; its agents end with it.
    pub async fn kill(mut self) {
        let tree = self.tree();
        assert!(!tree.is_empty(), "an agent runs");
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        until("its agents are gone", || tree.iter().all(|process| !process.is_alive()).then_some(())).await;
    }

    /// SIGTERM; its exit status.
    pub async fn stop(mut self) -> std::process::ExitStatus {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), nix::sys::signal::Signal::SIGTERM).unwrap();
        until("it ends after SIGTERM", || self.process.try_wait().unwrap()).await
    }

    /// A command by `POST /command`; its response.
    pub async fn command(&self, command: Value) -> Value {
        post(&self.url(), &command).await
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let tree = self.tree();
        let _ = self.process.kill();
        let _ = self.process.wait();
        tree.iter().for_each(Process::kill);
    }
}

/// A command that succeeds; its `data`.
pub async fn post(url: &str, command: &Value) -> Value {
    let answer = octo_e2e::request("POST", &format!("{url}/command"), Some(TOKEN), Some(command)).await.expect("the bridge answers");
    let response = answer.json();
    assert_eq!((answer.status, &response["success"]), (200, &json!(true)), "{command} → {response}");
    response["data"].clone()
}

/// A new virtual key of octo-eavs; `None` while it does not answer.
async fn generate(admin: &Path) -> Option<String> {
    let mut socket = tokio::net::UnixStream::connect(admin).await.ok()?;
    let body = r#"{"name":"box"}"#;
    let head = "POST /admin/keys HTTP/1.1\r\nhost: eavs\r\ncontent-type: application/json\r\nconnection: close\r\n";
    socket.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.ok()?;
    let body: Value = serde_json::from_str(answer.split("\r\n\r\n").nth(1)?).ok()?;
    body["key"].as_str().map(str::to_owned)
}
