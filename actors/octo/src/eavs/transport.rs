//! One request to the admin socket.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

/// Patience for one answer; everything is local.
const DEADLINE: Duration = Duration::from_secs(15);
/// Largest answer, in bytes.
const MAX_ANSWER_BYTES: usize = 8 * 1024 * 1024;

/// Sends a request and returns the status and the JSON of the answer (`null` when it has none).
pub(super) async fn call(socket: &Path, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), String> {
    tokio::time::timeout(DEADLINE, exchange(socket, method, path, body))
        .await
        .map_err(|_| format!("no answer within {} seconds", DEADLINE.as_secs()))?
}

async fn exchange(socket: &Path, method: Method, path: &str, body: Option<&Value>) -> Result<(StatusCode, Value), String> {
    let stream = UnixStream::connect(socket).await.map_err(|e| format!("{}: {e}", socket.display()))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
    let bytes = body.map(|b| Bytes::from(b.to_string())).unwrap_or_default();
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", "octo-eavs")
        .header("content-type", "application/json")
        .body(Full::new(bytes))
        .map_err(|e| e.to_string())?;
    let answer = async {
        let response = sender.send_request(request).await.map_err(|e| e.to_string())?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|e| e.to_string())?.to_bytes();
        let value =
            if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).map_err(|_| "the answer is not JSON".to_owned())? };
        Ok((status, value))
    };
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The connection may end right after it has handed over the answer.
        _ = &mut connection => answer.await,
    }
}
