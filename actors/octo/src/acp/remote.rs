//! A machine in a program of its own (`octo acp`), on a WebSocket of the mux: it connects again by itself, and goes on where it was.

use super::driver::Back;
use super::rpc::{AUTH_REQUIRED, INTERNAL_ERROR, RpcError};
use base64::Engine as _;
use futures_util::{SinkExt as _, StreamExt as _};
use octo_actors::Backoff;
use octo_protocol::CommandFrame;
use octo_protocol::mux::{ClientFrame, MAX_FRAME_BYTES};
use reqwest::StatusCode;
use serde_json::Value;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

/// Patience for one attempt.
const DIAL_WITHIN: Duration = Duration::from_secs(10);
/// How long octo may be away before it was reached for the first time.
const FIRST_PATIENCE: Duration = Duration::from_secs(15);
/// The wait between two attempts.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
/// octo says something every thirty seconds; a connection that is silent for so long is none.
const SILENT_FOR: Duration = Duration::from_secs(90);
/// Largest frame that is taken: octo's largest answer, with its envelope.
const MAX_ANSWER_BYTES: usize = MAX_FRAME_BYTES + 64 * 1024;
/// Largest refusal that is read, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 * 1024;

/// Gives the token for the next attempt; read each time, so that a new one in its place counts.
pub type Token = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

type Socket = WebSocketStream<reqwest::Upgraded>;

/// Where octo is.
pub struct Remote {
    http: reqwest::Client,
    url: String,
    token: Token,
}

/// Why there is no connection.
enum NoWay {
    /// In a moment there may be one.
    Away(String),
    /// There will be none.
    Refused(RpcError),
}

impl Remote {
    /// The octo at `url` (`http://…` or `https://…`).
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(url: &str, token: Token) -> Result<Self, String> {
        // A program that embeds octo may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // An upgrade is of HTTP/1.1.
        let http = reqwest::Client::builder()
            .http1_only()
            .connect_timeout(DIAL_WITHIN)
            .user_agent(concat!("octo-acp/", env!("CARGO_PKG_VERSION")));
        let http = http.build().map_err(|error| format!("no connection can be made: {error}"))?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token })
    }

    /// Keeps a connection for as long as somebody wants it: commands from `asked`, what comes of them to `back`. `note` hears, in sentences, when octo is
    /// away and when it is back.
    pub async fn run(self, mut asked: mpsc::Receiver<CommandFrame>, back: mpsc::Sender<Back>, note: impl Fn(&str)) {
        let began = Instant::now();
        let (mut was_up, mut failures) = (false, 0u32);
        while !back.is_closed() {
            match tokio::time::timeout(DIAL_WITHIN, self.dial()).await.unwrap_or_else(|_| Err(NoWay::Away("it does not answer".to_owned())))
            {
                Ok(socket) => {
                    if was_up {
                        note(&format!("octo is back at {}", self.url));
                    }
                    (was_up, failures) = (true, 0);
                    // Of a connection that was: all that is unanswered is asked again.
                    while asked.try_recv().is_ok() {}
                    if back.send(Back::Up).await.is_err() {
                        return;
                    }
                    carry(socket, &mut asked, &back).await;
                    if asked.is_closed() || back.send(Back::Down).await.is_err() {
                        return;
                    }
                    note(&format!("the connection to octo at {} broke; connecting again", self.url));
                }
                Err(NoWay::Refused(why)) => {
                    note(&why.message);
                    let _ = back.send(Back::Refused(why)).await;
                    break;
                }
                Err(NoWay::Away(why)) if !was_up && began.elapsed() >= FIRST_PATIENCE => {
                    let message =
                        format!("octo does not answer at {} ({why}): start it with `octo serve`, or say where it is with --url", self.url);
                    note(&message);
                    let _ = back.send(Back::Refused(RpcError::new(INTERNAL_ERROR, message))).await;
                    break;
                }
                Err(NoWay::Away(why)) => {
                    if failures == 0 {
                        note(&format!("octo does not answer at {} ({why}); trying again", self.url));
                    }
                    failures = failures.saturating_add(1);
                }
            }
            tokio::select! {
                () = tokio::time::sleep(RETRY.delay(failures.saturating_sub(1))) => {}
                () = back.closed() => return,
            }
        }
        // Nothing follows; the end is the client's to say.
        back.closed().await;
    }

    async fn dial(&self) -> Result<Socket, NoWay> {
        let token = (self.token)().map_err(|why| NoWay::Refused(RpcError::new(AUTH_REQUIRED, why)))?;
        let key = base64::engine::general_purpose::STANDARD.encode(rand::random::<[u8; 16]>());
        let request = self
            .http
            .get(format!("{}/api/ws/mux", self.url))
            .bearer_auth(token)
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", &key);
        let response = request.send().await.map_err(|error| {
            // An address that is none does not become one.
            let why = innermost(&error);
            if error.is_builder() {
                NoWay::Refused(RpcError::new(INTERNAL_ERROR, format!("{}: {why}", self.url)))
            } else {
                NoWay::Away(why)
            }
        })?;
        let status = response.status();
        if status != StatusCode::SWITCHING_PROTOCOLS {
            return Err(refusal(&self.url, response).await);
        }
        let accept = response.headers().get("sec-websocket-accept").map(|accept| accept.as_bytes().to_vec());
        if accept.as_deref() != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
            return Err(NoWay::Refused(RpcError::new(INTERNAL_ERROR, format!("what answers at {} is not octo", self.url))));
        }
        let upgraded = response.upgrade().await.map_err(|error| NoWay::Away(innermost(&error)))?;
        let config = WebSocketConfig::default().max_frame_size(Some(MAX_ANSWER_BYTES)).max_message_size(Some(MAX_ANSWER_BYTES));
        Ok(WebSocketStream::from_raw_socket(upgraded, Role::Client, Some(config)).await)
    }
}

async fn refusal(url: &str, mut response: reqwest::Response) -> NoWay {
    let status = response.status();
    let mut body = Vec::new();
    while let Ok(Some(piece)) = response.chunk().await {
        body.extend_from_slice(&piece);
        if body.len() > MAX_REFUSAL_BYTES {
            break;
        }
    }
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let sentence = said["error"].as_str().map_or_else(|| format!("{url} answered with status {status}"), str::to_owned);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            let message = format!("octo at {url} does not let this client in: {sentence}");
            NoWay::Refused(RpcError::new(AUTH_REQUIRED, message))
        }
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            NoWay::Away(sentence)
        }
        _ => NoWay::Refused(RpcError::new(INTERNAL_ERROR, format!("octo at {url} cannot be used: {sentence}"))),
    }
}

fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// Both ways, until the connection breaks, or nobody wants it any more.
async fn carry(socket: Socket, asked: &mut mpsc::Receiver<CommandFrame>, back: &mpsc::Sender<Back>) {
    let (mut sink, mut stream) = socket.split();
    let (pong, mut pongs) = mpsc::channel::<Bytes>(1);
    let reading = async {
        while let Ok(Some(Ok(message))) = tokio::time::timeout(SILENT_FOR, stream.next()).await {
            match message {
                Message::Text(text) => match back.send(Back::Frame(text)).await {
                    Ok(()) => {}
                    Err(_) => return,
                },
                // The library answers when it writes next, which may be never.
                Message::Ping(payload) => drop(pong.try_send(payload)),
                Message::Close(_) => return,
                _ => {}
            }
        }
    };
    let writing = async {
        loop {
            let message = tokio::select! {
                command = asked.recv() => match command {
                    Some(command) => match serde_json::to_string(&ClientFrame::Agent(command)) {
                        Ok(text) => Message::text(text),
                        Err(_) => continue,
                    },
                    // What was asked is asked; octo does the rest.
                    None => return drop(sink.send(Message::Close(None)).await),
                },
                Some(payload) = pongs.recv() => Message::Pong(payload),
            };
            if sink.send(message).await.is_err() {
                return;
            }
        }
    };
    tokio::select! {
        () = reading => {}
        () = writing => {}
    }
}
