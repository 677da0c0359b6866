//! A reader of a bridge's events, by WebSocket or server-sent events, that judges what it sees and comes back with its cursor.

use crate::room::TOKEN;
use futures_util::{SinkExt, StreamExt};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use octo_e2e::PATIENCE;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

type Socket = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<tokio::net::TcpStream>>;

/// How events are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    WebSocket,
    Sse,
}

enum Open {
    WebSocket(Box<Socket>),
    Sse(Incoming, Vec<u8>),
}

/// A reader.
pub struct Reader {
    by: By,
    url: String,
    open: Option<Open>,
    pub epoch: String,
    pub seq: u64,
    replaying: bool,
    /// Every journalled event that it has seen.
    pub seen: BTreeMap<u64, Value>,
    responses: Vec<Value>,
    next_id: u64,
    /// How often it has connected.
    pub connections: u32,
}

/// Events that are gone from the journal once their message is whole.
fn is_piece(event: &Value) -> bool {
    let name = event["event"].as_str().unwrap_or_default();
    name == "stream.message_start" || name.ends_with("_delta") || name.starts_with("stream.tool_call_")
}

impl Reader {
    pub fn new(by: By, url: &str) -> Self {
        Self {
            by,
            url: url.to_owned(),
            open: None,
            epoch: String::new(),
            seq: 0,
            replaying: false,
            seen: BTreeMap::new(),
            responses: Vec::new(),
            next_id: 0,
            connections: 0,
        }
    }

    /// One that has connected.
    pub async fn connected(by: By, url: &str) -> Self {
        let mut reader = Self::new(by, url);
        reader.connect().await;
        reader
    }

    /// Connects, again and again until the bridge takes it.
    pub async fn connect(&mut self) {
        self.open = None;
        self.replaying = false;
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let opened = match self.by {
                By::WebSocket => self.dial().await,
                By::Sse => self.get().await,
            };
            match opened {
                Ok(open) => {
                    self.open = Some(open);
                    self.connections += 1;
                    return;
                }
                Err(why) => assert!(tokio::time::Instant::now() < end, "no connection to {}: {why}", self.url),
            }
            tokio::time::sleep(std::time::Duration::from_millis(30)).await;
        }
    }

    async fn dial(&self) -> Result<Open, String> {
        let after = if self.seq > 0 { format!("?after={}:{}", self.epoch, self.seq) } else { String::new() };
        let mut request = format!("{}/ws{after}", self.url.replace("http://", "ws://")).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {TOKEN}").parse().unwrap());
        let (socket, _) = tokio_tungstenite::connect_async(request).await.map_err(|error| error.to_string())?;
        Ok(Open::WebSocket(Box::new(socket)))
    }

    async fn get(&self) -> Result<Open, String> {
        let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http::<Empty<Bytes>>();
        let mut request = http::Request::get(format!("{}/events", self.url)).header("authorization", format!("Bearer {TOKEN}"));
        if self.seq > 0 {
            request = request.header("last-event-id", format!("{}:{}", self.epoch, self.seq));
        }
        let answer = client.request(request.body(Empty::new()).unwrap()).await.map_err(|error| error.to_string())?;
        if answer.status() != 200 {
            return Err(answer.status().to_string());
        }
        Ok(Open::Sse(answer.into_body(), Vec::new()))
    }

    /// Sends a command on the socket, and waits for its response; `None` when the connection goes away first.
    pub async fn command(&mut self, mut command: Value) -> Option<Value> {
        self.next_id += 1;
        let id = format!("r{}", self.next_id);
        command["id"] = json!(id);
        self.send(command.to_string()).await;
        loop {
            if let Some(at) = self.responses.iter().position(|response| response["id"] == id) {
                return Some(self.responses.remove(at));
            }
            self.read().await?;
        }
    }

    /// Sends any text on the socket.
    pub async fn send(&mut self, text: String) {
        let Some(Open::WebSocket(socket)) = &mut self.open else { panic!("commands go by WebSocket") };
        let _ = socket.send(Message::text(text)).await;
    }

    /// The next response that nobody waits for.
    pub async fn response(&mut self) -> Value {
        while self.responses.is_empty() {
            self.read().await.expect("the connection holds");
        }
        self.responses.remove(0)
    }

    /// The next frame, judged; `None` when the connection is gone.
    pub async fn read(&mut self) -> Option<Value> {
        let text = tokio::time::timeout(PATIENCE, self.text()).await.unwrap_or_else(|_| panic!("nothing came for {PATIENCE:?}"));
        let Some(text) = text else {
            self.open = None;
            return None;
        };
        let frame: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
        self.judge(&frame);
        Some(frame)
    }

    async fn text(&mut self) -> Option<String> {
        match self.open.as_mut()? {
            Open::WebSocket(socket) => loop {
                match socket.next().await {
                    Some(Ok(Message::Text(text))) => return Some(text.to_string()),
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return None,
                    Some(Ok(_)) => {}
                }
            },
            Open::Sse(body, buffer) => loop {
                if let Some(end) = buffer.windows(2).position(|two| two == b"\n\n") {
                    let block: Vec<u8> = buffer.drain(..end + 2).collect();
                    let block = String::from_utf8(block).unwrap();
                    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|text| text.trim().to_owned());
                    // A comment keeps the connection alive.
                    let Some(data) = field("data:") else { continue };
                    let frame: Value = serde_json::from_str(&data).unwrap();
                    let id = frame["seq"].as_u64().map(|seq| format!("{}:{seq}", frame["epoch"].as_str().unwrap_or_default()));
                    assert_eq!(field("id:"), id, "{block}");
                    return Some(data);
                }
                let frame = body.frame().await?.ok()?;
                buffer.extend_from_slice(&frame.into_data().ok()?);
            },
        }
    }

    fn judge(&mut self, frame: &Value) {
        assert!(frame["channel"] == "agent" || frame["event"] == "response", "{frame}");
        let seq = frame["seq"].as_u64();
        match frame["event"].as_str().unwrap() {
            "response" => self.responses.push(frame.clone()),
            "replay.start" => {
                assert!(!std::mem::replace(&mut self.replaying, true), "brackets in brackets");
                assert_eq!(frame["after"].as_u64(), Some(self.seq));
            }
            "replay.end" => {
                assert!(std::mem::replace(&mut self.replaying, false), "an end without a beginning");
                self.seq = seq.unwrap();
                self.epoch = frame["epoch"].as_str().unwrap().to_owned();
            }
            "stream.resync_required" => panic!("nothing was removed: {frame}"),
            _ => {
                let Some(seq) = seq else { return };
                let epoch = frame["epoch"].as_str().unwrap();
                assert!(self.epoch.is_empty() || self.epoch == epoch, "another epoch: {frame}");
                epoch.clone_into(&mut self.epoch);
                assert!(seq > self.seq, "{seq} came after {}: {frame}", self.seq);
                assert!(self.replaying || seq == self.seq + 1, "{seq} came after {}, outside of brackets: {frame}", self.seq);
                self.seq = seq;
                assert!(self.seen.insert(seq, frame.clone()).is_none());
            }
        }
    }

    /// Reads on until an event satisfies `wanted`; comes back with its cursor when the connection is gone.
    pub async fn until(&mut self, mut wanted: impl FnMut(&Value) -> bool) -> Value {
        loop {
            match self.read().await {
                Some(frame) if wanted(&frame) => return frame,
                Some(_) => {}
                None => self.connect().await,
            }
        }
    }

    /// The same for an event's name.
    pub async fn event(&mut self, name: &str) -> Value {
        self.until(|frame| frame["event"] == name).await
    }

    /// Reads on to the end of a turn that goes well.
    pub async fn idle(&mut self) {
        let end = self.until(|frame| frame["event"] == "agent.idle" || frame["event"] == "agent.error").await;
        assert_eq!(end["event"], "agent.idle", "{end}");
    }

    /// Holds what it saw against the journal, as far as it has read: it has every event of it, as it is, and beyond that nothing but pieces of messages that are
    /// whole.
    pub async fn agrees_with_the_journal(&self) {
        let mut whole = Reader::connected(By::WebSocket, &self.url).await;
        while whole.seq < self.seq || whole.replaying {
            whole.read().await.expect("the connection holds");
        }
        // The other may have read further: a turn that is being aborted goes on for a moment.
        for (seq, event) in whole.seen.iter().filter(|(seq, _)| **seq <= self.seq) {
            assert_eq!(self.seen.get(seq), Some(event), "event {seq} of the journal, and what the reader saw");
        }
        for (seq, event) in &self.seen {
            assert!(whole.seen.contains_key(seq) || is_piece(event), "event {seq} is not in the journal: {event}");
        }
    }

    /// Finished messages as it saw them: role and text.
    pub fn messages(&self) -> Vec<(String, String)> {
        let ends = self.seen.values().filter(|event| event["event"] == "stream.message_end").map(|event| &event["message"]);
        let text =
            |message: &Value| -> String { message["parts"].as_array().unwrap().iter().filter_map(|part| part["text"].as_str()).collect() };
        ends.map(|message| (message["role"].as_str().unwrap().to_owned(), text(message))).collect()
    }
}
