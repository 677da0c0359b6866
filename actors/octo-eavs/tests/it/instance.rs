//! A real octo-eavs in a directory of its own, and clients for its two sockets.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;

/// Long enough for a busy machine; a promise that needs it is broken anyway.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub struct Instance {
    pub dir: tempfile::TempDir,
    child: Option<Child>,
    env: Vec<(String, String)>,
    admin: reqwest::Client,
    llm: reqwest::Client,
}

impl Instance {
    pub async fn start(config: &str) -> Self {
        Self::start_with(config, &[]).await
    }

    pub async fn start_with(config: &str, env: &[(&str, &str)]) -> Self {
        let dir = tempfile::Builder::new().prefix("eavs").tempdir().unwrap();
        std::fs::write(dir.path().join("config.toml"), config).unwrap();
        let client = |socket: &str| {
            let _ = rustls::crypto::ring::default_provider().install_default();
            reqwest::Client::builder().unix_socket(dir.path().join(socket)).pool_max_idle_per_host(0).build().unwrap()
        };
        let (admin, llm) = (client("run/admin.sock"), client("run/llm/eavs.sock"));
        let env = env.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let mut instance = Self { dir, child: None, env, admin, llm };
        instance.spawn().await;
        instance
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn command(dir: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_octo-eavs"));
        command.arg("serve");
        for (flag, value) in [
            ("--config", "config.toml"),
            ("--data-dir", "data"),
            ("--llm-socket", "run/llm/eavs.sock"),
            ("--admin-socket", "run/admin.sock"),
            ("--log-file", "log/eavs.log"),
        ] {
            command.arg(flag).arg(dir.join(value));
        }
        command.env_clear().env("OCTO_LOG", "trace,sled=info").stdin(Stdio::null()).stdout(Stdio::null());
        command
    }

    /// Starts the binary and waits until it answers.
    pub async fn spawn(&mut self) {
        let mut command = Self::command(self.dir.path());
        let mut child = command.envs(self.env.iter().cloned()).stderr(Stdio::inherit()).spawn().unwrap();
        let answered = tokio::time::timeout(PATIENCE, async {
            while self.try_health().await.is_none() {
                assert!(child.try_wait().unwrap().is_none(), "octo-eavs ended at its start");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        answered.await.expect("octo-eavs does not answer");
        self.child = Some(child);
    }

    pub async fn try_admin(&self, path: &str) -> Option<Value> {
        self.admin.get(format!("http://eavs{path}")).send().await.ok()?.json().await.ok()
    }

    /// Asks the admin interface; the answer comes when it is read.
    pub async fn admin_asked(&self, path: &str) -> tokio::net::UnixStream {
        let mut stream = tokio::net::UnixStream::connect(self.path("run/admin.sock")).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: eavs\r\n\r\n").as_bytes()).await.unwrap();
        // Whoever came later has been answered, so it is under way.
        self.health().await;
        stream
    }

    async fn try_health(&self) -> Option<Value> {
        self.try_admin("/health").await
    }

    pub async fn health(&self) -> Value {
        self.try_health().await.unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        let pid = self.child.as_ref().unwrap().id();
        kill(Pid::from_raw(pid.try_into().unwrap()), signal).unwrap();
    }

    pub async fn wait(&mut self) -> ExitStatus {
        Ending(self.child.take().unwrap()).ended().await
    }

    /// SIGTERM; waits until it has given up its sockets. The next one can be started then.
    pub async fn give_way(&mut self) -> Ending {
        self.signal(Signal::SIGTERM);
        let gone = async {
            while self.path("run/admin.sock").exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("octo-eavs keeps its socket");
        Ending(self.child.take().unwrap())
    }

    pub async fn admin(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let method = method.parse::<reqwest::Method>().unwrap();
        let mut request = self.admin.request(method, format!("http://eavs{path}"));
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    /// Makes a key and returns its secret.
    pub async fn key(&self, name: &str, permissions: Value) -> String {
        let (status, key) = self.admin("POST", "/admin/keys", json!({"name": name, "permissions": permissions})).await;
        assert_eq!(status, 201, "{key}");
        key["key"].as_str().unwrap().to_owned()
    }

    pub async fn usage(&self, name: &str) -> Value {
        let path = format!("/admin/keys/{}", name.replace('/', "%2F"));
        self.admin("GET", &path, Value::Null).await.1["usage"].clone()
    }

    /// Waits until a key's counters say what `ready` looks for: they are settled when a stream has ended.
    pub async fn settled(&self, name: &str, ready: impl Fn(&Value) -> bool) -> Value {
        let waiting = async {
            loop {
                let usage = self.usage(name).await;
                if ready(&usage) {
                    return usage;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the counters never became what they should")
    }

    pub fn post(&self, key: &str, path: &str, body: impl Into<reqwest::Body>) -> reqwest::RequestBuilder {
        let request = self.llm.post(format!("http://eavs{path}")).body(body);
        let request = request.header("content-type", "application/json");
        if key.is_empty() { request } else { request.header("x-api-key", key) }
    }

    pub fn get(&self, key: &str, path: &str) -> reqwest::RequestBuilder {
        self.llm.get(format!("http://eavs{path}")).header("authorization", format!("Bearer {key}"))
    }

    pub fn request(&self, method: &str, key: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse::<reqwest::Method>().unwrap();
        self.llm.request(method, format!("http://eavs{path}")).header("authorization", format!("Bearer {key}"))
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("log/eavs.log")).unwrap()
    }
}

/// One that was told to end and still serves what was under way.
pub struct Ending(Child);

impl Ending {
    pub async fn ended(mut self) -> ExitStatus {
        let waiting = tokio::task::spawn_blocking(move || self.0.wait().unwrap());
        tokio::time::timeout(PATIENCE, waiting).await.expect("octo-eavs does not end").unwrap()
    }

    pub async fn kill(mut self) {
        self.0.kill().unwrap();
        self.ended().await;
    }

    pub fn terminate(&self) {
        kill(Pid::from_raw(self.0.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
