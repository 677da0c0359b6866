//! A client without an SDK: JSON-RPC as it is, over a WebSocket.

use futures_util::{SinkExt as _, StreamExt as _};
use octo_e2e::{Instance, PATIENCE};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

pub struct Raw(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Raw {
    /// Connects with these headers; the status of the refusal when there is one.
    pub async fn connect(instance: &Instance, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = format!("{}/acp", instance.url().replace("http", "ws")).into_client_request().unwrap();
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Connects with a token, and initializes.
    pub async fn open(instance: &Instance, token: &str) -> Self {
        let mut raw = Self::connect(instance, &[("authorization", &format!("Bearer {token}"))]).await.unwrap();
        raw.ask(0, "initialize", json!({"protocolVersion": 1})).await;
        raw
    }

    pub async fn send(&mut self, message: &Value) {
        self.text(&message.to_string()).await;
    }

    pub async fn text(&mut self, text: &str) {
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next message; the code of the close when there is none.
    pub async fn next(&mut self) -> Result<Value, u16> {
        loop {
            match tokio::time::timeout(PATIENCE, self.0.next()).await.expect("something comes") {
                Some(Ok(Message::Text(text))) => return Ok(serde_json::from_str(&text).unwrap()),
                Some(Ok(Message::Close(frame))) => return Err(frame.map_or(1005, |frame| frame.code.into())),
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Err(1006),
            }
        }
    }

    pub async fn until(&mut self, is: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.next().await.unwrap();
            if is(&message) {
                return message;
            }
        }
    }

    /// A request, and its answer.
    pub async fn ask(&mut self, id: u64, method: &str, params: Value) -> Value {
        self.send(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params})).await;
        self.until(|message| message["id"] == id && message.get("method").is_none()).await
    }
}
