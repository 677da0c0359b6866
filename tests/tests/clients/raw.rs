//! A client below the level of WebSocket libraries: it writes what it likes.

use octo_e2e::{Instance, PATIENCE, Path};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

pub const TEXT: u8 = 0x81;
pub const PING: u8 = 0x89;
const KEY: [u8; 4] = [0x12, 0x34, 0x56, 0x78];

pub struct Raw {
    pub stream: TcpStream,
}

/// The head of an upgrade.
pub fn upgrade(token: Option<&str>) -> String {
    let authorization = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    format!(
        "GET /api/ws/mux HTTP/1.1\r\nhost: localhost\r\n{authorization}connection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// A masked frame.
pub fn frame(head: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = header(head, payload.len() as u64);
    bytes.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    bytes
}

/// The header of a masked frame whose payload is still to come.
pub fn header(head: u8, length: u64) -> Vec<u8> {
    let mut bytes = vec![head];
    match length {
        0..126 => bytes.push(0x80 | length as u8),
        126..65536 => {
            bytes.push(0x80 | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend(length.to_be_bytes());
        }
    }
    bytes.extend(KEY);
    bytes
}

impl Raw {
    /// Upgraded; the greeting is not read.
    pub async fn open(instance: &Instance, token: &str, path: Path) -> Self {
        let mut stream = path.dial(instance.port()).await.unwrap();
        stream.write_all(upgrade(Some(token)).as_bytes()).await.unwrap();
        let head = head(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 101"), "{head}");
        Self { stream }
    }

    /// Writes; whether the server still took it.
    pub async fn write(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).await.is_ok()
    }

    /// Reads one frame: its first byte and its payload; `None` when the connection is over.
    pub async fn read(&mut self) -> Option<(u8, Vec<u8>)> {
        let reading = async {
            let mut head = [0; 2];
            self.stream.read_exact(&mut head).await.ok()?;
            let length = match head[1] {
                126 => u64::from(self.stream.read_u16().await.ok()?),
                127 => self.stream.read_u64().await.ok()?,
                length => u64::from(length),
            };
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.stream.read_exact(&mut payload).await.ok()?;
            Some((head[0], payload))
        };
        tokio::time::timeout(PATIENCE, reading).await.expect("the server closes or says something")
    }

    /// Reads until the server closes; its code, `None` when it said none.
    pub async fn closed(&mut self) -> Option<u16> {
        let mut code = None;
        while let Some((head, payload)) = self.read().await {
            if head == 0x88 {
                code = payload.first_chunk().map(|code| u16::from_be_bytes(*code));
            }
        }
        code
    }
}

/// The head of an answer.
pub async fn head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    let reading = async {
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) => break,
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.expect("an answer");
    String::from_utf8(head).unwrap()
}

/// Everything until the server closes.
pub async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes");
    String::from_utf8_lossy(&bytes).into_owned()
}
