//! `GET /acp` as a WebSocket: one JSON-RPC message a text frame.

use super::connection::{Admitted, admit, guard, live};
use super::serving::serve;
use crate::auth::Principal;
use crate::mux::outbox::Closing;
use crate::mux::pump::Stats;
use crate::mux::rate::Rate;
use crate::mux::reader::{Heard, TOO_LARGE, size, why};
use crate::mux::socket::{Socket, open, switching};
use crate::rest::ApiError;
use crate::state::AppState;
use crate::users::User;
use ::http::{HeaderMap, HeaderValue, header};
use axum::Extension;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{State, WebSocketUpgrade};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::OnUpgrade;
use octo_protocol::metrics::Limit;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

/// Messages on their way, either way.
const MESSAGES: usize = 1;
/// How long a close may take before the socket is dropped.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// `GET /acp`: an upgrade, or the stream of an HTTP connection.
pub async fn get(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    on_upgrade: Option<Extension<OnUpgrade>>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    if !headers.contains_key(header::UPGRADE) {
        return super::http::stream(&state, &principal, &headers);
    }
    // It has looked at the rest of the request.
    if let Err(error) = upgrade {
        return Err(ApiError::bad_request(error.body_text()));
    }
    let Some(Extension(on_upgrade)) = on_upgrade else {
        return Err(ApiError::bad_request("this connection cannot become a WebSocket"));
    };
    let Admitted { user, number, place } = admit(&state, &principal).await?;
    let mut response = switching(&headers);
    if let Ok(id) = HeaderValue::from_str(&format!("{}-{number}", principal.user_id)) {
        response.headers_mut().insert(super::CONNECTION_ID, id);
    }
    let connections = state.connections.clone();
    tokio::spawn(connections.track_future(async move {
        let stats = Arc::new(Stats::new(Arc::clone(&state.figures)));
        let work = Box::pin(work(state, principal, user.clone(), number, on_upgrade, Arc::clone(&stats)));
        live(user, number, "websocket", stats, work).await;
        drop(place);
    }));
    Ok(response)
}

/// Serves one socket to its end.
async fn work(state: AppState, principal: Principal, user: User, number: u64, on_upgrade: OnUpgrade, stats: Arc<Stats>) {
    let heard = Heard::now();
    let socket = match open(on_upgrade, &heard).await {
        Ok(socket) => socket,
        Err(error) => {
            tracing::debug!(%error, user = %user.id(), "a WebSocket upgrade failed");
            return;
        }
    };
    let (sink, stream) = socket.split();
    let (hear, hearing) = mpsc::channel(MESSAGES);
    let (say, saying) = mpsc::channel(MESSAGES);
    let (close, closing) = watch::channel(None);
    let (ping_every, silent_for) = (state.settings.server.ping_every, state.settings.server.silent_for());
    let over = {
        let (state, principal, stats, heard) = (state.clone(), principal.clone(), Arc::clone(&stats), heard.clone());
        async move {
            let closing = tokio::select! {
                closing = guard(&state, &principal) => closing,
                closing = silence(&heard, silent_for) => closing,
                closing = read(stream, hear, &stats, &heard) => closing,
            };
            let _ = close.send(Some(closing));
        }
    };
    let name = number.to_string();
    let serving = serve(state, principal, &name, Arc::clone(&stats), hearing, say);
    tokio::join!(over, serving, write(sink, saying, closing, ping_every));
}

/// Until the peer was silent for too long.
async fn silence(heard: &Heard, silent_for: Duration) -> Closing {
    loop {
        let until = heard.last() + silent_for;
        tokio::time::sleep_until(until).await;
        if heard.last() + silent_for <= Instant::now() {
            return Closing::new(1001, "nothing was heard of you");
        }
    }
}

/// Reads message by message, each once the one before was taken; how the socket is to be closed then.
async fn read(mut stream: SplitStream<Socket>, hear: mpsc::Sender<Utf8Bytes>, stats: &Stats, heard: &Heard) -> Closing {
    let mut rate = Rate::new(Instant::now());
    let left = || Closing::new(1000, "closed by the client");
    while let Some(message) = stream.next().await {
        heard.touch();
        if let Some(wait) = rate.spend(message.as_ref().map_or(0, size), Instant::now()) {
            stats.throttled();
            tokio::time::sleep(wait).await;
        }
        let text = match message {
            Ok(Message::Text(text)) => text,
            // Answered as what it is: no message of JSON-RPC.
            Ok(Message::Binary(_)) => Utf8Bytes::from_static("null"),
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
            Ok(Message::Close(_)) => break,
            Err(error) => {
                let closing = why(&error).unwrap_or_else(left);
                if closing.code == TOO_LARGE {
                    stats.figures.limits.hit(Limit::FrameBytes);
                }
                return closing;
            }
        };
        stats.received();
        if hear.send(text).await.is_err() {
            break;
        }
        heard.touch();
    }
    stats.left.store(true, Relaxed);
    left()
}

/// Writes what there is to say, and pings; the end of it is the close.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut saying: mpsc::Receiver<Value>,
    mut closing: watch::Receiver<Option<Closing>>,
    ping_every: Duration,
) {
    let mut ping = tokio::time::interval_at(Instant::now() + ping_every, ping_every);
    let end = loop {
        let message = tokio::select! {
            biased;
            said = saying.recv() => match said {
                Some(said) => Message::text(said.to_string()),
                None => break closed(&mut closing).await,
            },
            end = closed(&mut closing) => break end,
            _ = ping.tick() => Message::Ping(Bytes::new()),
        };
        let sent = tokio::select! {
            sent = sink.send(message) => sent,
            // It takes nothing: what it has not taken, it does not get.
            end = closed(&mut closing) => break end,
        };
        if sent.is_err() {
            return;
        }
    };
    let _ = tokio::time::timeout(CLOSE_WITHIN, sink.send(Message::Close(Some(end.frame())))).await;
}

async fn closed(closing: &mut watch::Receiver<Option<Closing>>) -> Closing {
    let asked = closing.wait_for(Option::is_some).await;
    asked.ok().and_then(|closing| closing.clone()).unwrap_or_else(|| Closing::new(1001, "going away"))
}
