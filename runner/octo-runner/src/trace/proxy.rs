//! Telling octo-eavs, with the session's own key, which turn the requests made with that key belong to.
//!
//! An agent lives longer than a turn and has one key, so it cannot carry the trace itself. It is told before the agent has the input, so that no request
//! overtakes it; the key proves that it is this session's to say.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::header::{AUTHORIZATION, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use octo_protocol::TraceContext;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;

/// How long octo-eavs may take to hear it. A turn waits no longer, and goes on without.
const WITHIN: Duration = Duration::from_millis(250);

/// What a turn is to octo-eavs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Begins,
    Ends,
}

/// Tells the octo-eavs at `socket`. What it does not hear, it does not trace.
pub async fn tell(socket: PathBuf, key: String, context: TraceContext, told: Told) {
    match tokio::time::timeout(WITHIN, exchange(&socket, &key, context, told)).await {
        Ok(Ok(status)) if status.is_success() => {}
        Ok(Ok(status)) => tracing::debug!(%status, "octo-eavs takes no trace"),
        Ok(Err(error)) => tracing::debug!(%error, "octo-eavs was not told of a trace"),
        Err(_) => tracing::debug!("octo-eavs was not told of a trace in time"),
    }
}

async fn exchange(
    socket: &Path,
    key: &str,
    context: TraceContext,
    told: Told,
) -> Result<StatusCode, Box<dyn std::error::Error + Send + Sync>> {
    let stream = UnixStream::connect(socket).await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::builder()
        .method(if told == Told::Begins { Method::PUT } else { Method::DELETE })
        .uri("/octo/trace")
        .header(HOST, "octo-eavs")
        .header(AUTHORIZATION, format!("Bearer {key}"))
        .header("traceparent", context.to_string())
        .body(Empty::<Bytes>::new())?;
    let mut connection = std::pin::pin!(connection);
    let mut answer = std::pin::pin!(sender.send_request(request));
    tokio::select! {
        answer = &mut answer => Ok(answer?.status()),
        // The connection may end right after it has handed over the answer.
        _ = &mut connection => Ok(answer.await?.status()),
    }
}
