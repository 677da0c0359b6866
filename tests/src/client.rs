//! A client of the mux: one WebSocket, commands with their responses, and every event that came.

use crate::checker::{Checker, NEIGHBOURS};
use crate::{Instance, PATIENCE, request};
use futures_util::future::BoxFuture;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

type Socket = tokio_tungstenite::WebSocketStream<Box<dyn Stream>>;

/// Bytes both ways.
pub trait Stream: AsyncRead + AsyncWrite + Send + Sync + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Sync + Unpin> Stream for S {}

/// Makes connections to a server that listens nowhere.
pub type Dial = Arc<dyn Fn() -> BoxFuture<'static, std::io::Result<Box<dyn Stream>>> + Send + Sync>;

/// Why a client got no connection.
#[derive(Debug)]
pub struct LoginError(pub String);

/// How a client reaches the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Path {
    /// The address it comes from; loopback has sixteen million of them.
    pub source: Option<std::net::Ipv4Addr>,
    /// Bytes that its kernel keeps while it does not read; what the system gives when absent.
    pub receive_buffer: Option<u32>,
}

impl Path {
    /// A TCP connection to an instance's port.
    ///
    /// # Errors
    /// What the system says.
    pub async fn dial(self, port: u16) -> std::io::Result<tokio::net::TcpStream> {
        let socket = tokio::net::TcpSocket::new_v4()?;
        if let Some(source) = self.source {
            socket.bind((source, 0).into())?;
        }
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.connect(([127, 0, 0, 1], port).into()).await
    }
}

/// A logged-in client. What it sees goes to its [`Checker`], which outlives the socket.
pub struct Client {
    url: String,
    token: String,
    path: Path,
    dial: Option<Dial>,
    socket: Option<Socket>,
    /// Of every frame that came, in order.
    digest: DefaultHasher,
    next_id: u64,
    /// Frames read while waiting for something else.
    unread: VecDeque<Value>,
    pub checker: Checker,
}

impl Client {
    /// Logs in as the first admin and connects.
    pub async fn connect(instance: &Instance) -> Self {
        let (username, password) = instance.credentials();
        let token = Self::log_in(&instance.url(), &username, &password).await.expect("the first admin can log in");
        let mut client = Self::new(&instance.url(), &token);
        client.reconnect().await;
        client
    }

    /// A client that has a token and no socket yet.
    #[must_use]
    pub fn new(url: &str, token: &str) -> Self {
        let (url, token) = (url.to_owned(), token.to_owned());
        Self {
            url,
            token,
            path: Path::default(),
            dial: None,
            socket: None,
            digest: DefaultHasher::new(),
            next_id: 0,
            unread: VecDeque::new(),
            checker: Checker::default(),
        }
    }

    /// A client whose connections `dial` makes.
    #[must_use]
    pub fn over(dial: Dial, token: &str) -> Self {
        Self { dial: Some(dial), ..Self::new("http://127.0.0.1:80", token) }
    }

    /// A number that stands for every frame that it has got, in order.
    #[must_use]
    pub fn digest(&self) -> u64 {
        self.digest.finish()
    }

    /// The same by another way.
    #[must_use]
    pub fn by(mut self, path: Path) -> Self {
        self.path = path;
        self
    }

    /// A token for an account.
    ///
    /// # Errors
    /// [`LoginError`] with what the server said.
    pub async fn log_in(url: &str, username: &str, password: &str) -> Result<String, LoginError> {
        let answer = request("POST", &format!("{url}/api/auth/login"), None, Some(&json!({"username": username, "password": password})))
            .await
            .ok_or_else(|| LoginError("nobody answers".to_owned()))?;
        let body = answer.json();
        body["token"].as_str().map(str::to_owned).ok_or_else(|| LoginError(format!("{} {body}", answer.status)))
    }

    /// Its bearer token.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Opens a new socket, again and again until the server takes it.
    ///
    /// # Panics
    /// After [`PATIENCE`].
    pub async fn reconnect(&mut self) {
        self.cut();
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let mut request = format!("{}/api/ws/mux", self.url.replace("http://", "ws://")).into_client_request().unwrap();
            request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
            let why = match self.dial(request).await {
                Ok(socket) => {
                    self.socket = Some(socket);
                    if self.greeted().await {
                        return;
                    }
                    "it broke before the greeting".to_owned()
                }
                Err(error) => error.to_string(),
            };
            assert!(tokio::time::Instant::now() < end, "no connection to {}: {why}", self.url);
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }

    /// The first two frames; false when the connection is gone before.
    async fn greeted(&mut self) -> bool {
        let Some(first) = self.read().await else { return false };
        if first["type"] == "shutdown" {
            return false;
        }
        assert_eq!((first["channel"].as_str(), first["type"].as_str()), (Some("system"), Some("connected")), "{first}");
        assert_eq!(first["resume"], true);
        let Some(second) = self.read().await else { return false };
        assert_eq!((second["channel"].as_str(), second["type"].as_str()), (Some("session"), Some("connected")), "{second}");
        true
    }

    /// Tries once to open a socket and to be greeted.
    pub async fn try_reconnect(&mut self) -> bool {
        self.cut();
        let mut request = format!("{}/api/ws/mux", self.url.replace("http://", "ws://")).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        self.socket = self.dial(request).await.ok();
        self.read().await.is_some()
    }

    async fn dial(&self, request: Request) -> Result<Socket, tokio_tungstenite::tungstenite::Error> {
        if let Some(dial) = &self.dial {
            let stream = dial().await?;
            return Ok(tokio_tungstenite::client_async(request, stream).await?.0);
        }
        let port = self.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a URL with a port");
        let stream = self.path.dial(port).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = Box::new(stream);
        Ok(tokio_tungstenite::client_async(request, stream).await?.0)
    }

    /// It has a connection, as far as it knows.
    #[must_use]
    pub fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Drops the socket without a word, as a crashed browser does.
    pub fn cut(&mut self) {
        self.socket = None;
        self.unread.clear();
        self.checker.disconnected();
    }

    /// The next frame; `None` when the connection is gone. Events go to the checker first.
    async fn read(&mut self) -> Option<Value> {
        loop {
            let socket = self.socket.as_mut()?;
            let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}"));
            match message {
                Some(Ok(Message::Text(text))) => {
                    text.as_str().hash(&mut self.digest);
                    let frame: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("not JSON: {error}: {text}"));
                    if frame["channel"] == "session" && frame["type"] == "ping" {
                        continue;
                    }
                    if frame["channel"] == "agent"
                        && let Err(mut verdict) = self.checker.judge(&frame)
                    {
                        verdict.after = self.peek().await;
                        panic!("{verdict}");
                    }
                    return Some(frame);
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => {
                    self.socket = None;
                    self.checker.disconnected();
                    return None;
                }
                Some(Ok(_)) => {}
            }
        }
    }

    /// What comes next by itself, unjudged: the neighbours of a wrong frame.
    async fn peek(&mut self) -> Vec<Value> {
        let mut frames = Vec::new();
        while frames.len() < NEIGHBOURS
            && let Some(socket) = self.socket.as_mut()
            && let Ok(Some(Ok(message))) = tokio::time::timeout(std::time::Duration::from_millis(300), socket.next()).await
        {
            if let Message::Text(text) = message {
                frames.extend(serde_json::from_str(&text).ok().filter(|frame: &Value| frame["channel"] == "agent"));
            }
        }
        frames
    }

    /// The next frame that no command was waiting for; `None` when the connection is gone.
    pub async fn next(&mut self) -> Option<Value> {
        if let Some(frame) = self.unread.pop_front() {
            return Some(frame);
        }
        self.read().await
    }

    /// Sends any text.
    pub async fn send_text(&mut self, text: String) -> bool {
        let Some(socket) = self.socket.as_mut() else { return false };
        self.checker.sent(&text);
        socket.send(Message::text(text)).await.is_ok()
    }

    /// Sends a command of the agent channel and waits for its response; `None` when the connection went away first.
    pub async fn try_command(&mut self, session: &str, command: Value) -> Option<Value> {
        let id = self.send_command(session, command).await;
        self.response(&id).await
    }

    /// Sends a command of the agent channel; the id of the response that it will have.
    pub async fn send_command(&mut self, session: &str, mut command: Value) -> String {
        self.next_id += 1;
        let id = format!("c{}", self.next_id);
        command["channel"] = json!("agent");
        command["session_id"] = json!(session);
        command["id"] = json!(id);
        // On a connection that is gone nothing is answered.
        self.send_text(command.to_string()).await;
        id
    }

    /// The response with this id; `None` when the connection went away first.
    pub async fn response(&mut self, id: &str) -> Option<Value> {
        loop {
            let frame = self.read().await?;
            if frame["event"] == "response" && frame["id"] == id {
                return Some(frame);
            }
            self.unread.push_back(frame);
        }
    }

    /// A command that succeeds; its `data`.
    ///
    /// # Panics
    /// When it is refused or the connection goes away.
    pub async fn command(&mut self, session: &str, command: Value) -> Value {
        let response = self.try_command(session, command.clone()).await.expect("the connection holds");
        assert_eq!(response["success"], true, "{command} → {response}");
        response["data"].clone()
    }

    /// A command that is refused: code and sentence.
    ///
    /// # Panics
    /// When it succeeds.
    pub async fn refused(&mut self, session: &str, command: Value) -> (String, String) {
        let response = self.try_command(session, command.clone()).await.expect("the connection holds");
        assert_eq!(response["success"], false, "{command} → {response}");
        (response["code"].as_str().unwrap_or_default().to_owned(), response["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Makes a session of pi on the demo model in `cwd` and waits until events flow.
    pub async fn create(&mut self, session: &str, cwd: &std::path::Path) -> Value {
        self.create_of("pi", session, cwd).await
    }

    /// The same of another agent.
    pub async fn create_of(&mut self, harness: &str, session: &str, cwd: &std::path::Path) -> Value {
        let config = json!({"harness": harness, "cwd": cwd, "provider": "demo", "model": "scripted"});
        let opened = self.command(session, json!({"cmd": "session.create", "config": config})).await;
        // Live from the end of its first brackets on: a turn that is over before that comes as messages, and its end as no event.
        let live = |frame: &Value| frame["session_id"] == session && frame["event"] == "replay.end";
        while !self.unread.iter().any(live) {
            let Some(frame) = self.read().await else { break };
            self.unread.push_back(frame);
        }
        opened
    }

    /// Attaches again where the checker stands (from the beginning when it stands nowhere).
    pub async fn attach(&mut self, session: &str) -> Option<Value> {
        let mut command = json!({"cmd": "session.attach"});
        if let Some(cursor) = self.checker.cursor(session) {
            command["cursor"] = cursor;
        }
        self.try_command(session, command).await
    }

    /// Reads until an event of `session` satisfies `wanted`; `None` when the connection goes away first.
    pub async fn event(&mut self, session: &str, mut wanted: impl FnMut(&Value) -> bool) -> Option<Value> {
        loop {
            let frame = self.next().await?;
            if frame["channel"] == "agent" && frame["session_id"] == session && wanted(&frame) {
                return Some(frame);
            }
        }
    }

    /// Reads until the turn of `session` is over: `agent.idle`.
    ///
    /// # Panics
    /// When it ends in an error, or the connection goes away.
    pub async fn idle(&mut self, session: &str) -> Value {
        let end = self
            .event(session, |frame| frame["event"] == "agent.idle" || frame["event"] == "agent.error")
            .await
            .expect("the connection holds");
        assert_eq!(end["event"], "agent.idle", "{end}");
        // Who was behind sees the end of the turn within the brackets; they end right after it.
        while self.checker.is_replaying(session) {
            self.next().await.expect("the connection holds");
        }
        end
    }
}

impl Client {
    /// A command that only reads, sent again while the runner is out of reach, as the refusal says one may: it may just be upgraded.
    ///
    /// # Panics
    /// When it is refused for another reason or for longer than [`PATIENCE`], or the connection goes away.
    async fn read_out(&mut self, session: &str, command: Value) -> Value {
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let response = self.try_command(session, command.clone()).await.expect("the connection holds");
            if response["success"] == true {
                return response["data"].clone();
            }
            let away = response["code"] == "runner_unavailable" && tokio::time::Instant::now() < end;
            assert!(away, "{command} → {response}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    /// The whole history of a session, oldest first, page by page.
    pub async fn history(&mut self, session: &str) -> Vec<Value> {
        let mut pages = Vec::new();
        let mut before: Option<u64> = None;
        loop {
            let before_idx = before.unwrap_or(i64::MAX.cast_unsigned() >> 11);
            let page = self.read_out(session, json!({"cmd": "get_messages", "before_idx": before_idx, "limit": 50})).await;
            let messages = page["messages"].as_array().unwrap().clone();
            let Some(first) = messages.first() else { break };
            before = first["idx"].as_u64();
            pages.push(messages);
            if before == Some(0) {
                break;
            }
        }
        pages.into_iter().rev().flatten().collect()
    }
}

impl Client {
    /// Connects to an instance that was restarted.
    pub async fn reconnect_to(&mut self, instance: &Instance) {
        self.url = instance.url();
        self.reconnect().await;
    }
}
