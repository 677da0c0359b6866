//! What is said to a connection that gets no place: a whole HTTP answer, before anything is read.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::places::Full;

/// Refusals under way; more connections are closed without a word.
const AT_ONCE: usize = 64;
/// How long one may take. A close while the request is unread would reset the connection before the answer is.
const LINGER: Duration = Duration::from_secs(1);
/// Read of a request that is refused.
const READ_BYTES: usize = 1024;
/// When to come back, in seconds.
const RETRY_AFTER: u32 = 5;

/// Refuses.
pub struct Refusals(Arc<Semaphore>);

impl Refusals {
    /// None under way.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }

    /// Says why, and closes. Never waits.
    pub fn refuse(&self, mut stream: TcpStream, why: Full) {
        let Ok(permit) = Arc::clone(&self.0).try_acquire_owned() else { return };
        tokio::spawn(async move {
            let saying = async {
                stream.write_all(answer(why).as_bytes()).await?;
                stream.shutdown().await?;
                let mut passed_over = [0; READ_BYTES];
                while stream.read(&mut passed_over).await? > 0 {}
                Ok::<_, std::io::Error>(())
            };
            let _ = tokio::time::timeout(LINGER, saying).await;
            drop(permit);
        });
    }
}

/// Says it in one write that never waits, and closes: for when a descriptor is too much to hold.
pub fn refuse_at_once(stream: &TcpStream, why: Full) {
    // There is room for it: nothing was written before.
    let _ = stream.try_write(answer(why).as_bytes());
}

fn answer(why: Full) -> String {
    let (status, code) = match why {
        Full::Server(_) | Full::Descriptors => (StatusCode::SERVICE_UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        Full::Address(_) => (StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_REQUESTS"),
    };
    let body = json!({ "error": why.to_string(), "code": code }).to_string();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nretry-after: {RETRY_AFTER}\r\nx-content-type-options: nosniff\r\nconnection: close\r\n\r\n{body}",
        body.len(),
    )
}
