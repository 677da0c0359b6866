//! A client: sends, reads, and has everything it sees checked.

use super::{Checker, Instance, PATIENCE};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use std::collections::HashMap;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

pub type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

pub struct Client {
    pub socket: Socket,
    pub checkers: HashMap<String, Checker>,
    /// Responses by id.
    pub responses: HashMap<String, Value>,
    /// Frames of other channels.
    pub others: Vec<Value>,
    pub closed: Option<CloseCode>,
    sent: u64,
}

impl Client {
    pub async fn try_connect(instance: &Instance, headers: &[(&'static str, String)], query: &str) -> Result<Socket, Error> {
        let mut request = format!("ws://{}/api/ws/mux{query}", instance.address).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        Ok(tokio_tungstenite::connect_async(request).await?.0)
    }

    pub async fn connect(instance: &Instance, token: &str) -> Self {
        let socket = Self::try_connect(instance, &[("authorization", format!("Bearer {token}"))], "").await.unwrap();
        let mut client = Self { socket, checkers: HashMap::new(), responses: HashMap::new(), others: Vec::new(), closed: None, sent: 0 };
        client.until(|client| client.others.len() >= 2).await;
        client
    }

    /// Connects anew with what this client knows.
    pub async fn reconnect(self, instance: &Instance, token: &str) -> Self {
        let mut next = Self::connect(instance, token).await;
        next.checkers = self.checkers;
        next
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_text(frame.to_string()).await;
    }

    pub async fn send_text(&mut self, text: String) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// Sends a command; its id.
    pub async fn command(&mut self, session: &str, cmd: &str, payload: Value) -> String {
        self.sent += 1;
        let id = format!("c{}", self.sent);
        let mut frame = json!({"channel": "agent", "id": id, "session_id": session, "cmd": cmd});
        frame.as_object_mut().unwrap().extend(payload.as_object().cloned().unwrap_or_default());
        self.send(frame).await;
        id
    }

    /// Sends a command and reads until its response.
    pub async fn ask(&mut self, session: &str, cmd: &str, payload: Value) -> Value {
        let id = self.command(session, cmd, payload).await;
        self.until(|client| client.responses.contains_key(&id)).await;
        self.responses[&id].clone()
    }

    /// Attaches with the cursor the client has, and reads until it is live.
    pub async fn attach(&mut self, session: &str) {
        self.begin_attach(session).await;
        self.until(|client| client.checkers[session].live()).await;
    }

    pub async fn begin_attach(&mut self, session: &str) {
        let checker = self.checkers.entry(session.to_owned()).or_default();
        checker.attach();
        let payload = match &checker.cursor {
            Some(cursor) => json!({ "cursor": cursor }),
            None => json!({}),
        };
        let end = tokio::time::Instant::now() + PATIENCE;
        loop {
            let response = self.ask(session, "session.attach", payload.clone()).await;
            if response["success"] == true {
                return;
            }
            // The link broke under it: what was sent may be sent again.
            assert_eq!(response["code"], "runner_unavailable", "{response}");
            assert!(tokio::time::Instant::now() < end, "{response}");
        }
    }

    /// Reads one frame; `None` when the connection is closed.
    pub async fn read(&mut self) -> Option<Value> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("nothing came");
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    self.take(&frame);
                    return Some(frame);
                }
                Some(Ok(Message::Close(frame))) => self.closed = frame.map(|frame| frame.code),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    fn take(&mut self, frame: &Value) {
        if frame["channel"] != "agent" {
            self.others.push(frame.clone());
        } else if frame["event"] == "response" {
            let id = frame["id"].as_str().unwrap().to_owned();
            let double = self.responses.insert(id.clone(), frame.clone());
            assert!(double.is_none() || id.is_empty(), "two responses to {id}");
        } else {
            let session = frame["session_id"].as_str().unwrap().to_owned();
            self.checkers.get_mut(&session).expect("an event of a session that is not attached").take(frame);
        }
    }

    pub async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            assert!(self.read().await.is_some(), "closed: {:?}", self.closed);
        }
    }

    /// Reads until the client has come to `seq`.
    pub async fn reach(&mut self, session: &str, seq: u64) {
        self.until(|client| {
            let checker = &client.checkers[session];
            checker.live() && checker.cursor.as_ref().is_some_and(|cursor| cursor.seq >= seq)
        })
        .await;
    }

    pub fn seen(&self, session: &str) -> &Checker {
        &self.checkers[session]
    }

    /// Reads until the connection is closed; the code.
    pub async fn until_closed(&mut self) -> Option<CloseCode> {
        while self.read().await.is_some() {}
        self.closed
    }

    /// Waits for a frame of another channel than `agent`.
    pub async fn other(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            if let Some(at) = self.others.iter().position(&wanted) {
                return self.others.remove(at);
            }
            assert!(self.read().await.is_some(), "closed: {:?}", self.closed);
        }
    }
}
