//! A real runner in directories of its own, a link client, and a scripted agent.

use bytes::BytesMut;
use octo_protocol::link::{
    Credit, Decoder, EndReason, Event, Frame, Hello, Principal, Request, RequestBody, ResponseBody, SUBSCRIPTION_CREDIT, Subscribe,
    Welcome, encode,
};
use octo_protocol::{Epoch, ErrorCode};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// Longer than anything may take on a busy machine; nothing waits for it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const KEY: &str = "sk-octo-secret-of-the-test";

/// The launcher has to lie beside the runner.
fn build_launcher() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let beside = Path::new(env!("CARGO_BIN_EXE_octo-runner")).with_file_name("octo-sandbox");
        if !beside.exists() {
            let status = Command::new(env!("CARGO")).args(["build", "-p", "octo-sandbox"]).status().unwrap();
            assert!(status.success(), "octo-sandbox must be built for these tests");
        }
    });
}

pub struct TestRunner {
    pub root: PathBuf,
    /// Further environment of the process.
    pub env: Vec<(String, std::ffi::OsString)>,
    process: Option<Child>,
    /// Another binary than the built one.
    pub binary: Option<PathBuf>,
    /// It logs to a file and has a session of its own, as octo starts it.
    pub detached: bool,
    agents: PathBuf,
    further: Vec<String>,
    _directory: tempfile::TempDir,
}

impl TestRunner {
    pub fn prepare() -> Self {
        build_launcher();
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for name in ["home", "work", "data/octo/agents/node_modules/.bin", "run/llm"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let pi = root.join("data/octo/agents/node_modules/.bin/pi");
        std::fs::write(&pi, include_str!("scripted_pi.py")).unwrap();
        std::fs::set_permissions(&pi, PermissionsExt::from_mode(0o755)).unwrap();
        Self {
            agents: root.join("data/octo/agents"),
            root,
            env: Vec::new(),
            process: None,
            binary: None,
            detached: false,
            further: Vec::new(),
            _directory: directory,
        }
    }

    /// With a running process that answers.
    pub async fn start() -> Self {
        let mut runner = Self::prepare();
        runner.spawn().await;
        runner
    }

    pub fn agents_dir(&mut self, agents: PathBuf) {
        self.agents = agents;
    }

    /// Further arguments of the runner.
    pub fn arguments(&mut self, further: &[&str]) {
        self.further = further.iter().map(|a| (*a).to_owned()).collect();
    }

    pub fn socket(&self) -> PathBuf {
        self.root.join("run/runners/alice.sock")
    }

    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data/octo/runners/alice")
    }

    pub fn journal(&self) -> PathBuf {
        self.data_dir().join("journal.db")
    }

    pub fn work(&self) -> String {
        self.root.join("work").to_str().unwrap().to_owned()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.process.as_ref().unwrap().id()).unwrap()
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(self.binary.as_deref().unwrap_or(Path::new(env!("CARGO_BIN_EXE_octo-runner"))));
        let at = |name: &str| self.root.join(name);
        command.arg("serve").args(["--user", "alice", "--runner-id", "local"]);
        if !self.detached {
            command.arg("--foreground");
        }
        command.arg("--socket").arg(self.socket()).arg("--data-dir").arg(self.data_dir()).arg("--state-dir").arg(at("state"));
        command.arg("--config-dir").arg(at("config")).arg("--agents-dir").arg(&self.agents).arg("--eavs-dir").arg(at("run/llm"));
        command.args(&self.further);
        command.env("HOME", at("home")).env_remove("OCTO_AGENTS_DIR").env("OCTO_LOG", "info");
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null());
        command
    }

    pub async fn spawn(&mut self) {
        self.begin();
        self.until_it_answers().await;
    }

    /// Starts the process; it does not answer yet.
    pub fn begin(&mut self) {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.root.join("runner.log")).unwrap();
        let mut command = self.command();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
    }

    pub async fn until_it_answers(&mut self) {
        let began = std::time::Instant::now();
        while !self.answers().await {
            assert!(began.elapsed() < PATIENCE, "the runner does not answer:\n{}", self.log());
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the runner ended ({ended:?}):\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Whether a runner answers, and not what a killed one left over.
    async fn answers(&self) -> bool {
        match UnixStream::connect(self.socket()).await {
            Ok(stream) => Client::greet(stream).await.is_ok(),
            Err(_) => false,
        }
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.root.join("runner.log")).unwrap_or_default()
    }

    pub fn signal(&self, signal: nix::sys::signal::Signal) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), signal).unwrap();
    }

    /// Arms a kill point.
    pub fn arm(&self, what: &str) {
        // Renamed into place, so that the runner reads all of it or nothing.
        let (fresh, file) = (self.data_dir().join("kill-point.new"), self.data_dir().join(octo_runner::kill_point::FILE));
        std::fs::write(&fresh, what).unwrap();
        std::fs::rename(fresh, file).unwrap();
    }

    pub fn disarm(&self) {
        std::fs::remove_file(self.data_dir().join(octo_runner::kill_point::FILE)).unwrap();
    }

    pub async fn kill(&mut self) {
        let mut process = self.process.take().unwrap();
        process.kill().unwrap();
        tokio::task::spawn_blocking(move || process.wait()).await.unwrap().unwrap();
    }

    /// Gives the process away: it is no runner of these tests any more.
    pub fn give_away(&mut self) -> Child {
        self.process.take().unwrap()
    }

    pub async fn wait(&mut self) -> std::process::ExitStatus {
        let mut process = self.process.take().unwrap();
        tokio::task::spawn_blocking(move || process.wait()).await.unwrap().unwrap()
    }

    pub async fn client(&self) -> Client {
        let client = Client::connect(&self.socket()).await;
        client.unwrap_or_else(|e| {
            let status = std::fs::read_to_string(format!("/proc/{}/stat", self.pid())).unwrap_or_default();
            panic!("{e}; the process: {status}\n{}", self.log())
        })
    }
}

impl Drop for TestRunner {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
        if std::thread::panicking() {
            eprintln!("--- log of the runner ---\n{}", self.log());
        }
    }
}

pub fn hello() -> Hello {
    Hello { magic: Hello::MAGIC, min_version: 1, max_version: 1, software: "test".into(), instance: "test".into(), user: "alice".into() }
}

/// One connection of a control plane.
pub struct Client {
    stream: UnixStream,
    buffer: BytesMut,
    decoder: Decoder,
    chunks: u32,
    next: u64,
    responses: HashMap<u64, ResponseBody>,
    pub answered: Vec<u64>,
    pub events: HashMap<u32, VecDeque<Event>>,
    pub ended: HashMap<u32, EndReason>,
    pub begun: HashMap<u32, octo_protocol::link::Subscribed>,
    pub sessions: Vec<Value>,
    /// A subscription that gets no credit.
    pub starved: Option<u32>,
    pub welcome: Option<Welcome>,
}

impl Client {
    /// As somebody who is no control plane.
    pub async fn operator(socket: &Path) -> Self {
        let mut client = Self::raw(socket).await;
        client.send(Frame::Hello(Hello { instance: Hello::OPERATOR.into(), ..hello() })).await;
        assert!(matches!(client.frame().await, Some(Frame::Welcome(_))));
        client
    }

    pub async fn raw(socket: &Path) -> Self {
        Self::over(UnixStream::connect(socket).await.unwrap())
    }

    fn over(stream: UnixStream) -> Self {
        Self {
            stream,
            buffer: BytesMut::new(),
            decoder: Decoder::default(),
            chunks: 0,
            next: 0,
            responses: HashMap::new(),
            answered: Vec::new(),
            events: HashMap::new(),
            ended: HashMap::new(),
            begun: HashMap::new(),
            sessions: Vec::new(),
            starved: None,
            welcome: None,
        }
    }

    pub async fn connect(socket: &Path) -> Result<Self, String> {
        Self::greet(UnixStream::connect(socket).await.unwrap()).await
    }

    async fn greet(stream: UnixStream) -> Result<Self, String> {
        let mut client = Self::over(stream);
        client.send(Frame::Hello(hello())).await;
        match client.frame().await {
            Some(Frame::Welcome(welcome)) => client.welcome = Some(welcome),
            other => return Err(format!("not welcome: {other:?}")),
        }
        Ok(client)
    }

    pub async fn send(&mut self, frame: Frame) {
        let mut out = BytesMut::new();
        encode(&frame, &mut self.chunks, &mut out).unwrap();
        let _ = self.stream.write_all(&out).await;
    }

    pub async fn bytes(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes).await;
    }

    /// The next frame; `None` when the runner closed.
    pub async fn frame(&mut self) -> Option<Frame> {
        tokio::time::timeout(PATIENCE, async {
            loop {
                if let Some(frame) = self.decoder.decode(&mut self.buffer).unwrap() {
                    return Some(frame);
                }
                if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(n) if n > 0) {
                    return None;
                }
            }
        })
        .await
        .expect("no frame came")
    }

    /// Takes one frame in and puts it where it belongs.
    pub async fn step(&mut self) {
        let frame = self.frame().await.expect("the runner closed the link");
        self.take(frame).await;
    }

    /// Puts a frame where it belongs.
    pub async fn take(&mut self, frame: Frame) {
        match frame {
            Frame::Response(response) => {
                self.answered.push(response.id);
                self.responses.insert(response.id, response.body);
            }
            Frame::Event(event) => {
                if self.starved != Some(event.sub) {
                    self.send(Frame::Credit(Credit { sub: event.sub, bytes: u32::try_from(event.payload.len()).unwrap() })).await;
                }
                self.events.entry(event.sub).or_default().push_back(event);
            }
            Frame::Ended(ended) => drop(self.ended.insert(ended.sub, ended.reason)),
            Frame::Subscribed(subscribed) => drop(self.begun.insert(subscribed.sub, subscribed)),
            Frame::Ping(ping) => self.send(Frame::Pong(ping)).await,
            Frame::Sessions(sessions) => self.sessions.push(serde_json::from_slice(&sessions.json).unwrap()),
            _ => {}
        }
    }

    pub async fn post(&mut self, body: RequestBody) -> u64 {
        self.next += 1;
        let principal = Principal { user: "alice".into(), actor: "alice".into() };
        self.send(Frame::Request(Request { id: self.next, principal, deadline_ms: 50_000, body })).await;
        self.next
    }

    pub async fn answer(&mut self, id: u64) -> Result<Value, (ErrorCode, String)> {
        let came = tokio::time::timeout(PATIENCE * 2, async {
            while !self.responses.contains_key(&id) {
                self.step().await;
            }
        });
        came.await.expect("no answer came");
        match self.responses.remove(&id).unwrap() {
            ResponseBody::Ok { json } => Ok(serde_json::from_slice(&json).unwrap()),
            ResponseBody::Err { code, message } => Err((code, message)),
        }
    }

    pub async fn request(&mut self, body: RequestBody) -> Result<Value, (ErrorCode, String)> {
        let id = self.post(body).await;
        self.answer(id).await
    }

    pub fn command_body(session: &str, mut command: Value) -> RequestBody {
        command["session_id"] = session.into();
        RequestBody::Command { json: serde_json::to_vec(&command).unwrap() }
    }

    pub async fn command(&mut self, session: &str, command: Value) -> Result<Value, (ErrorCode, String)> {
        self.request(Self::command_body(session, command)).await
    }

    pub fn open_body(session: &str, config: Value) -> RequestBody {
        let json = json!({ "session_id": session, "cmd": "session.create", "config": config });
        RequestBody::Open { json: serde_json::to_vec(&json).unwrap(), provision: Self::provision(KEY) }
    }

    pub fn beside_body(session: &str, mut command: Value, new: &str, key: &str) -> RequestBody {
        command["session_id"] = session.into();
        RequestBody::OpenBeside {
            json: serde_json::to_vec(&command).unwrap(),
            session: new.parse().unwrap(),
            provision: Self::provision(key),
        }
    }

    fn provision(key: &str) -> Vec<u8> {
        let provision = json!({
            "eavs_key": key, "default_provider": "demo", "default_model": "scripted",
            "providers": [{ "name": "demo", "api": "anthropic-messages", "models": [
                { "id": "scripted", "name": "Demo", "input": ["text"], "context_window": 200_000, "max_tokens": 8192 },
                { "id": "other", "name": "Other", "input": ["text"] }] }],
        });
        serde_json::to_vec(&provision).unwrap()
    }

    pub async fn open(&mut self, session: &str, cwd: &str) -> Value {
        self.request(Self::open_body(session, json!({ "cwd": cwd }))).await.unwrap()
    }

    /// Waits until the session has no agent, without asking the session itself; it is idle to everybody.
    pub async fn asleep(&mut self, session: &str) {
        let began = std::time::Instant::now();
        loop {
            let list = self.command("", json!({ "cmd": "list_sessions" })).await.unwrap();
            let row = list["sessions"].as_array().unwrap().iter().find(|s| s["session_id"] == session).unwrap().clone();
            if row["pid"].is_null() && row["state"] == "idle" {
                return;
            }
            assert!(began.elapsed() < PATIENCE, "it does not sleep: {row}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The runner's actors: path → how many messages they have handled.
    pub async fn actors(&mut self) -> HashMap<String, u64> {
        let rows = self.request(RequestBody::Actors).await.unwrap();
        rows.as_array().unwrap().iter().map(|r| (r["path"].as_str().unwrap().to_owned(), r["processed"].as_u64().unwrap())).collect()
    }

    /// Waits until the runner has looked for idle sessions so many times more.
    pub async fn looks(&mut self, times: u64) {
        let first = self.actors().await["/idle"];
        while self.actors().await["/idle"] < first + times {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn prompt(&mut self, session: &str, message: &str) -> Result<Value, (ErrorCode, String)> {
        self.command(session, json!({ "cmd": "prompt", "message": message })).await
    }

    pub async fn subscribe(&mut self, sub: u32, session: &str, after: u64) {
        self.subscribe_with(sub, session, None, Some(after), None, SUBSCRIPTION_CREDIT).await;
    }

    pub async fn subscribe_with(
        &mut self,
        sub: u32,
        session: &str,
        epoch: Option<Epoch>,
        after: Option<u64>,
        until: Option<u64>,
        credit: u32,
    ) {
        let session = session.parse().unwrap();
        self.send(Frame::Subscribe(Subscribe { sub, session, epoch, after, until, credit })).await;
    }

    /// The next event of a subscription.
    pub async fn event(&mut self, sub: u32) -> (Event, Value) {
        loop {
            if let Some(event) = self.events.get_mut(&sub).and_then(VecDeque::pop_front) {
                let payload = serde_json::from_slice(&event.payload).unwrap();
                return (event, payload);
            }
            assert!(!self.ended.contains_key(&sub), "subscription {sub} ended: {:?}", self.ended.get(&sub));
            self.step().await;
        }
    }

    /// Events up to and including the first of this name.
    pub async fn until(&mut self, sub: u32, name: &str) -> Vec<(Event, Value)> {
        let began = std::time::Instant::now();
        let mut seen: Vec<(Event, Value)> = Vec::new();
        loop {
            // Heartbeats keep coming, so it is the whole wait that has an end.
            assert!(began.elapsed() < PATIENCE, "no {name} came after {:?}", seen.iter().map(|(_, p)| p).collect::<Vec<_>>());
            let (event, payload) = self.event(sub).await;
            let last = payload["event"] == name;
            seen.push((event, payload));
            if last {
                return seen;
            }
        }
    }

    pub async fn end_of(&mut self, sub: u32) -> EndReason {
        while !self.ended.contains_key(&sub) {
            self.step().await;
        }
        self.ended[&sub]
    }
}

pub fn names(events: &[(Event, Value)]) -> Vec<String> {
    events.iter().map(|(_, payload)| payload["event"].as_str().unwrap().to_owned()).collect()
}

/// Journalled events have numbers without gap or double.
pub fn assert_contiguous(events: &[(Event, Value)], first: u64) {
    let seqs: Vec<u64> = events.iter().map(|(event, _)| event.seq).filter(|seq| *seq > 0).collect();
    let expected: Vec<u64> = (first..first + seqs.len() as u64).collect();
    assert_eq!(seqs, expected);
}
