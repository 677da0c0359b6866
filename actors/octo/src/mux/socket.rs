//! A client's WebSocket, from the upgrade of its HTTP connection on.

use super::pieces::Pieces;
use super::reader::Heard;
use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use octo_protocol::mux::MAX_FRAME_BYTES;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Bytes read at once. tungstenite allocates this much for every socket, idle ones too.
const READ_BUFFER: usize = 1024;
/// Bytes gathered before they are written; grows only when used.
const WRITE_BUFFER: usize = 64 * 1024;

/// What large frames are told while they arrive.
type SignOfLife = Box<dyn Fn() + Send + Sync>;

/// A WebSocket.
pub type Socket = WebSocketStream<Pieces<TokioIo<Upgraded>, SignOfLife>>;

/// Waits until the connection is a WebSocket.
///
/// # Errors
/// When the client went away first.
pub async fn open(upgrade: OnUpgrade, heard: &Heard) -> hyper::Result<Socket> {
    let stream = TokioIo::new(upgrade.await?);
    let heard = heard.clone();
    let sign_of_life: SignOfLife = Box::new(move || heard.touch());
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_frame_size(Some(MAX_FRAME_BYTES))
        .max_message_size(Some(MAX_FRAME_BYTES));
    Ok(WebSocketStream::from_raw_socket(Pieces::new(stream, sign_of_life), Role::Server, Some(config)).await)
}

/// The answer after which the connection is one. The request was looked at already.
pub fn switching(request: &HeaderMap) -> Response {
    let key = request.get(header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = HeaderValue::try_from(derive_accept_key(key)) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}
