//! `GET /ws`: commands in; responses and events out, on one socket.

use super::command::unreadable;
use super::{MAX_COMMAND_BYTES, Place, Refusal, Shared, cursor_of};
use crate::door::{respond, session_named};
use crate::follower::Follower;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Query, State};
use axum::response::Response as HttpResponse;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use http::{HeaderName, HeaderValue, StatusCode};
use octo_protocol::{CommandFrame, ErrorCode, ProtocolError, Response, SessionId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

/// The agent behind the bridge, in the answer to an upgrade.
pub const HEADER_HARNESS: HeaderName = HeaderName::from_static("pi-bridge-harness");
/// What is spoken with it.
pub const HEADER_PROTOCOL: HeaderName = HeaderName::from_static("pi-bridge-protocol");
/// The session that is followed.
pub const HEADER_SESSION: HeaderName = HeaderName::from_static("pi-bridge-session");

/// Commands of one socket under way; further ones are not read before one of them has its response.
const MAX_UNDER_WAY: usize = 64;
/// Responses that may wait for the writer.
const QUEUE: usize = 64;
/// How often a silent peer is asked for a sign of life.
const PING: Duration = Duration::from_secs(20);
/// A peer that says nothing for so long is gone.
const DEAD_AFTER: Duration = Duration::from_secs(75);
/// A peer that takes nothing for so long is gone; it may come back with its cursor.
const WRITE_PATIENCE: Duration = Duration::from_secs(60);
/// What a socket keeps to write into.
const WRITE_BUFFER: usize = 64 * 1024;
/// Most bytes that wait in a socket's buffer: one frame may be larger than the buffer.
const MAX_WRITE_BUFFER: usize = 32 * 1024 * 1024;

pub(super) async fn upgrade(
    State(shared): State<Shared>,
    Query(place): Query<Place>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<HttpResponse, Refusal> {
    if shared.stop.is_cancelled() {
        return Err(Refusal::ending());
    }
    let upgrade = upgrade.map_err(|rejection| {
        let message = format!("GET /ws is for WebSockets ({rejection}); events without one are at GET /events");
        Refusal { status: StatusCode::UPGRADE_REQUIRED, error: ProtocolError::new(ErrorCode::InvalidRequest, message) }
    })?;
    let permit = shared.reader()?;
    let session = session_named(place.session.as_deref())?;
    let cursor = place.after.as_deref().map(cursor_of).transpose()?;
    shared.door.open(&session).await?;
    let follower = Follower::new(Arc::clone(&shared.door), session.clone(), cursor);
    let headers = [(HEADER_HARNESS, shared.door.harness()), (HEADER_PROTOCOL, shared.door.protocol()), (HEADER_SESSION, session.as_str())]
        .map(|(name, value)| HeaderValue::from_str(value).map(|value| (name, value)));
    let upgrade = upgrade
        .max_message_size(MAX_COMMAND_BYTES)
        .max_frame_size(MAX_COMMAND_BYTES)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER);
    let tracker = shared.sockets.clone();
    let mut answer = upgrade.on_upgrade(move |socket| tracker.track_future(live(shared, socket, follower, session, permit)));
    answer.headers_mut().extend(headers.into_iter().flatten());
    Ok(answer)
}

/// Why a socket ends.
fn closing(code: u16, reason: &'static str) -> Message {
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}

async fn live(shared: Shared, socket: WebSocket, follower: Follower, session: SessionId, _permit: OwnedSemaphorePermit) {
    let (sink, stream) = socket.split();
    let (responses, waiting) = mpsc::channel(QUEUE);
    let stop = shared.stop.clone();
    let mut reading = tokio::spawn(read(shared, stream, session, responses));
    tokio::select! {
        () = write(sink, follower, waiting, stop) => {}
        _ = &mut reading => {}
    }
    reading.abort();
}

/// Takes commands until the peer is gone. They are handed over in the order they come; a slow one delays no other.
async fn read(shared: Shared, mut stream: SplitStream<WebSocket>, session: SessionId, responses: mpsc::Sender<Response>) {
    let free = Arc::new(Semaphore::new(MAX_UNDER_WAY));
    // Commands of one session start in the order sent: each is handed over before the next is.
    let (hand, mut handed) = mpsc::channel::<(CommandFrame, OwnedSemaphorePermit)>(MAX_UNDER_WAY);
    let (door, own, out) = (Arc::clone(&shared.door), session.clone(), responses.clone());
    let carrying = tokio::spawn(async move {
        while let Some((frame, permit)) = handed.recv().await {
            let carried = Arc::clone(&door).hand_over(frame, Some(own.as_str())).await;
            let out = out.clone();
            tokio::spawn(async move {
                let _ = out.send(carried.response().await).await;
                drop(permit);
            });
        }
    });
    while let Ok(Some(Ok(message))) = tokio::time::timeout(DEAD_AFTER, stream.next()).await {
        let text = match &message {
            Message::Text(text) => text.as_str(),
            Message::Close(_) => break,
            Message::Binary(_) => "",
            // Pings are answered by the socket itself.
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        match serde_json::from_str::<CommandFrame>(text) {
            Ok(frame) => {
                let Ok(permit) = Arc::clone(&free).acquire_owned().await else { break };
                if hand.send((frame, permit)).await.is_err() {
                    break;
                }
            }
            Err(error) => {
                let (id, cmd) = named(text);
                if responses.send(respond(session.to_string(), id, &cmd, Err(unreadable(&error)))).await.is_err() {
                    break;
                }
            }
        }
    }
    // What was handed over is carried out, though nobody hears of it.
    drop(hand);
    let _ = carrying.await;
}

/// What can be said of a command that cannot be read.
fn named(text: &str) -> (Option<String>, String) {
    let value: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
    let of = |name: &str| value[name].as_str().map(|text| text.chars().take(128).collect::<String>());
    (of("id"), of("cmd").unwrap_or_default())
}

/// Writes responses and events until the peer or the session is gone.
async fn write(
    mut sink: SplitSink<WebSocket, Message>,
    mut follower: Follower,
    mut responses: mpsc::Receiver<Response>,
    stop: tokio_util::sync::CancellationToken,
) {
    let mut ping = tokio::time::interval_at(Instant::now() + PING, PING);
    loop {
        let message = tokio::select! {
            biased;
            () = stop.cancelled() => closing(close_code::RESTART, "the bridge is ending"),
            Some(response) = responses.recv() => match serde_json::to_string(&response) {
                Ok(text) => Message::text(text),
                Err(error) => {
                    tracing::error!(%error, "a response cannot be written");
                    continue;
                }
            },
            told = follower.next() => match told {
                Some(told) => Message::text(String::from_utf8_lossy(&told.json).into_owned()),
                None => closing(close_code::AWAY, "the session is gone"),
            },
            _ = ping.tick() => Message::Ping(bytes::Bytes::new()),
        };
        let last = matches!(message, Message::Close(_));
        match tokio::time::timeout(WRITE_PATIENCE, sink.send(message)).await {
            Ok(Ok(())) if !last => {}
            _ => return,
        }
    }
}
