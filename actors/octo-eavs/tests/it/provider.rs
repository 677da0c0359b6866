//! A provider on loopback whose every byte the test decides.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use crate::instance::PATIENCE;

pub struct Provider {
    pub url: String,
    exchanges: mpsc::UnboundedReceiver<Exchange>,
}

/// One request as it arrived, and the connection to answer on.
pub struct Exchange {
    pub head: String,
    pub body: Vec<u8>,
    pub stream: TcpStream,
}

impl Provider {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (sender, exchanges) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let sender = sender.clone();
                tokio::spawn(async move {
                    if let Some(exchange) = read(stream).await {
                        let _ = sender.send(exchange);
                    }
                });
            }
        });
        Self { url, exchanges }
    }

    pub async fn next(&mut self) -> Exchange {
        tokio::time::timeout(PATIENCE, self.exchanges.recv()).await.expect("no request came").unwrap()
    }

    pub fn untouched(&mut self) -> bool {
        self.exchanges.try_recv().is_err()
    }
}

async fn read(mut stream: TcpStream) -> Option<Exchange> {
    let mut bytes = Vec::new();
    let head_end = loop {
        if let Some(at) = find(&bytes, b"\r\n\r\n") {
            break at + 4;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..head_end].to_vec()).ok()?.to_ascii_lowercase();
    let mut body = bytes.split_off(head_end);
    if let Some(line) = head.lines().find(|l| l.starts_with("content-length:")) {
        let length: usize = line["content-length:".len()..].trim().parse().ok()?;
        while body.len() < length {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
    } else if head.contains("transfer-encoding: chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            if stream.read_buf(&mut body).await.ok()? == 0 {
                return None;
            }
        }
        body = dechunk(&body);
    }
    Some(Exchange { head, body, stream })
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    hay.windows(needle.len()).position(|w| w == needle)
}

fn dechunk(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = find(raw, b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&raw[..at]).unwrap(), 16).unwrap();
        if size == 0 {
            break;
        }
        body.extend_from_slice(&raw[at + 2..at + 2 + size]);
        raw = &raw[at + 4 + size..];
    }
    body
}

impl Exchange {
    /// Begins a chunked answer.
    pub async fn head(&mut self, status: &str, headers: &str) {
        let head = format!("HTTP/1.1 {status}\r\ntransfer-encoding: chunked\r\nconnection: close, x-hop\r\nx-hop: 1\r\n{headers}\r\n");
        self.stream.write_all(head.as_bytes()).await.unwrap();
    }

    pub async fn chunk(&mut self, bytes: &[u8]) {
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.stream.write_all(&framed).await.unwrap();
    }

    pub async fn end(mut self) {
        self.stream.write_all(b"0\r\n\r\n").await.unwrap();
        self.stream.shutdown().await.unwrap();
    }

    /// A whole answer.
    pub async fn answer(mut self, status: &str, content_type: &str, body: &str) {
        self.head(status, &format!("content-type: {content_type}\r\n")).await;
        self.chunk(body.as_bytes()).await;
        self.end().await;
    }

    /// A whole answer that tells its length.
    pub async fn answer_of_length(mut self, content_type: &str, body: &str) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        self.stream.write_all(head.as_bytes()).await.unwrap();
        self.stream.shutdown().await.unwrap();
    }

    /// Waits until octo-eavs has closed its side.
    pub async fn closed(&mut self) {
        let mut byte = [0; 64];
        let waiting = async {
            // An end or a reset: both say that nobody listens any more.
            while self.stream.read(&mut byte).await.is_ok_and(|n| n > 0) {}
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the connection to the provider stays open");
    }
}

/// A configuration with this provider once per dialect, priced, with a key that must be seen nowhere else.
pub fn config(url: &str) -> String {
    let cost = "cost = { input = 3.0, output = 15.0, cache_read = 0.3, cache_write = 3.75 }";
    let models = format!("models = [{{ id = \"m\", max_tokens = 1000, {cost} }}]");
    let section =
        |name: &str, api: &str| format!("[providers.{name}]\napi = \"{api}\"\nbase_url = \"{url}\"\napi_key = \"{CANARY}\"\n{models}\n");
    section("ant", "anthropic-messages") + &section("chat", "openai-completions") + &section("resp", "openai-responses")
}

/// The real key of [`config`].
pub const CANARY: &str = "sk-real-CANARY-4711";
