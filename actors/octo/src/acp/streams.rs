//! What is said to a client over HTTP, until one of its streams takes it: bounded in bytes for all of them together.

use super::rpc::RpcError;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Bytes that wait for the streams of one connection; more wait in octo's rings and journals. One message may be larger.
pub const MAX_BUFFERED_BYTES: usize = 1024 * 1024;
/// Streams of one connection: one for itself, one for each session.
pub const MAX_STREAMS: usize = 64;
/// Requests whose answers go to the stream of a session.
const MAX_ROUTES: usize = 256;

/// The stream of a session, or (`None`) that of the connection.
pub type Of = Option<String>;

#[derive(Default)]
struct Stream {
    queue: VecDeque<String>,
    /// Somebody reads it.
    taken: bool,
}

#[derive(Default)]
struct Inner {
    streams: BTreeMap<Of, Stream>,
    buffered: usize,
    /// Where the answers to requests go, by the JSON of their ids.
    routes: BTreeMap<String, String>,
    /// Sessions whose client opens no stream for them before the answer to a request, by the JSON of its id.
    gathered: BTreeMap<String, String>,
    closed: bool,
}

/// The streams of one connection. Clones share them.
#[derive(Clone, Default)]
pub struct Streams {
    inner: Arc<Mutex<Inner>>,
    /// Something was put, or taken.
    moved: Arc<Notify>,
}

impl Streams {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to request `id` is said on the stream of `session`.
    pub fn route(&self, id: &Value, session: &str) {
        let mut inner = self.lock();
        if inner.routes.len() < MAX_ROUTES {
            inner.routes.insert(id.to_string(), session.to_owned());
        }
    }

    /// Until request `id` is answered, all that is said of `session` is said on the stream of the connection.
    pub fn gather(&self, id: &Value, session: &str) {
        let mut inner = self.lock();
        if inner.gathered.len() < MAX_ROUTES {
            inner.gathered.insert(id.to_string(), session.to_owned());
        }
    }

    /// Says something; waits for room first. False once the streams are closed.
    pub async fn put(&self, message: &Value) -> bool {
        let text = message.to_string();
        loop {
            let moved = self.moved.notified();
            {
                let mut inner = self.lock();
                if inner.closed {
                    return false;
                }
                if inner.buffered == 0 || inner.buffered + text.len() <= MAX_BUFFERED_BYTES {
                    inner.put(message, text);
                    break;
                }
            }
            moved.await;
        }
        self.moved.notify_waiters();
        true
    }

    /// Becomes the reader of a stream.
    ///
    /// # Errors
    /// When it has one, or there are too many streams.
    pub fn take(&self, of: Of) -> Result<Reader, RpcError> {
        let refuse = |why: String| Err(RpcError::new(super::rpc::INVALID_REQUEST, why));
        let mut inner = self.lock();
        if !inner.streams.contains_key(&of) && inner.streams.len() >= MAX_STREAMS {
            return refuse(format!("this connection has {MAX_STREAMS} streams; open another connection"));
        }
        let stream = inner.streams.entry(of.clone()).or_default();
        if std::mem::replace(&mut stream.taken, true) {
            return refuse("this stream has a reader already".to_owned());
        }
        Ok(Reader { streams: self.clone(), of })
    }

    /// Whether somebody reads any of them.
    #[must_use]
    pub fn are_read(&self) -> bool {
        self.lock().streams.values().any(|stream| stream.taken)
    }

    /// Ends them; their readers get what waits, and then the end.
    pub fn close(&self) {
        self.lock().closed = true;
        self.moved.notify_waiters();
    }

    /// When something is put or taken.
    pub async fn moved(&self) {
        self.moved.notified().await;
    }
}

impl Inner {
    fn put(&mut self, message: &Value, text: String) {
        let of = match message.get("method") {
            Some(_) => message["params"]["sessionId"].as_str().map(str::to_owned),
            None => {
                let id = message["id"].to_string();
                self.gathered.remove(&id);
                self.routes.remove(&id)
            }
        };
        let of = of.filter(|of| !self.gathered.values().any(|gathered| gathered == of));
        // The session's own stream may come later; what is for more of them than there may be goes to that of the connection.
        let of = if self.streams.contains_key(&of) || self.streams.len() < MAX_STREAMS { of } else { None };
        self.buffered += text.len();
        self.streams.entry(of).or_default().queue.push_back(text);
    }
}

/// The one reader of a stream, until it is dropped.
pub struct Reader {
    streams: Streams,
    of: Of,
}

impl Reader {
    /// The next message; `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            let moved = self.streams.moved.notified();
            let (text, closed) = {
                let mut inner = self.streams.lock();
                let text = inner.streams.get_mut(&self.of).and_then(|stream| stream.queue.pop_front());
                inner.buffered -= text.as_ref().map_or(0, String::len);
                (text, inner.closed)
            };
            if text.is_some() {
                self.streams.moved.notify_waiters();
                return text;
            }
            if closed {
                return None;
            }
            moved.await;
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut inner = self.streams.lock();
        if let Some(stream) = inner.streams.get_mut(&self.of) {
            stream.taken = false;
            if stream.queue.is_empty() {
                inner.streams.remove(&self.of);
            }
        }
        drop(inner);
        self.streams.moved.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn each_message_goes_to_its_stream_and_a_stream_has_one_reader() {
        let streams = Streams::default();
        streams.route(&json!(7), "s");
        assert!(streams.put(&json!({"id": 7, "result": {}})).await);
        assert!(streams.put(&json!({"method": "session/update", "params": {"sessionId": "s"}})).await);
        assert!(streams.put(&json!({"id": 8, "result": {}})).await);
        let mut session = streams.take(Some("s".into())).unwrap();
        assert!(streams.take(Some("s".into())).is_err());
        assert!(session.next().await.unwrap().contains("7"));
        assert!(session.next().await.unwrap().contains("session/update"));
        let mut connection = streams.take(None).unwrap();
        assert!(connection.next().await.unwrap().contains("8"));
        drop(session);
        assert!(streams.take(Some("s".into())).is_ok());
        streams.close();
        assert!(connection.next().await.is_none());
        assert!(!streams.put(&json!({"id": 9})).await);
    }

    #[tokio::test]
    async fn what_nobody_takes_is_bounded() {
        let streams = Streams::default();
        let large = json!({"id": 1, "result": "x".repeat(MAX_BUFFERED_BYTES / 2)});
        assert!(streams.put(&large).await);
        let waiting = streams.clone();
        let put = tokio::spawn(async move { waiting.put(&large).await });
        tokio::task::yield_now().await;
        assert!(!put.is_finished());
        let mut reader = streams.take(None).unwrap();
        reader.next().await.unwrap();
        assert!(put.await.unwrap());
    }
}
