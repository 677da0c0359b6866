//! `/acp` over HTTP: messages of the client by POST, those of octo on event streams, one for the connection and one for each session.
//!
//! As the official SDKs speak it: POST of `initialize` makes a connection and is answered at once, with `Acp-Connection-Id`; every other message is
//! taken with 202 and answered on a stream; DELETE ends the connection. A message about a session names it in `Acp-Session-Id`.

use super::connection::{Admitted, admit, guard, live};
use super::rpc::{self, Incoming};
use super::serving::serve;
use super::streams::Streams;
use crate::auth::{Principal, UserId};
use crate::mux::pump::Stats;
use crate::rest::ApiError;
use crate::state::AppState;
use ::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use serde_json::Value;
use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Messages on their way, either way.
const MESSAGES: usize = 1;
/// A connection that nobody reads, and that says nothing, is over after so long.
const IDLE_FOR: Duration = Duration::from_secs(60);
/// How long what is said may wait for a client that takes nothing of it; then the connection is over.
const STALLED_FOR: Duration = Duration::from_secs(60);
/// Patience for the answer to `initialize`, which octo gives by itself.
const FIRST_ANSWER: Duration = Duration::from_secs(10);
/// How often a stream without messages shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Methods that open a session which there is.
const OPENING: [&str; 2] = ["session/load", "session/resume"];
/// Methods that are about a session.
const OF_SESSIONS: [&str; 9] = [
    "session/cancel",
    "session/close",
    "session/delete",
    "session/fork",
    "session/load",
    "session/prompt",
    "session/resume",
    "session/set_config_option",
    "session/set_mode",
];

/// The connections that there are. Clones share them.
#[derive(Clone, Default)]
pub struct Connections(Arc<Mutex<HashMap<String, Arc<Connection>>>>);

/// One connection.
struct Connection {
    owner: UserId,
    hear: mpsc::Sender<Utf8Bytes>,
    streams: Streams,
    /// When something was heard of the client last.
    heard: watch::Sender<Instant>,
    /// Set when the client has ended it.
    over: watch::Sender<bool>,
    stats: Arc<Stats>,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Arc<Connection>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection that a request names, if it is this principal's: another's does not exist.
    fn find(&self, principal: &Principal, headers: &HeaderMap) -> Result<Arc<Connection>, ApiError> {
        let id = header_text(headers, &super::CONNECTION_ID).ok_or_else(|| ApiError::bad_request("Acp-Connection-Id is missing"))?;
        let found = self.lock().get(id).filter(|connection| connection.owner == principal.user_id).cloned();
        let connection = found.ok_or_else(|| ApiError::not_found("ACP connection"))?;
        connection.heard.send_replace(Instant::now());
        Ok(connection)
    }
}

fn header_text<'a>(headers: &'a HeaderMap, name: &::http::HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().filter(|text| !text.is_empty())
}

/// `POST /acp`
pub async fn post(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, ApiError> {
    let json = header_text(&headers, &header::CONTENT_TYPE).and_then(|kind| kind.split(';').next()).map(str::trim);
    if !json.is_some_and(|kind| kind.eq_ignore_ascii_case("application/json")) {
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "a message is sent as application/json"));
    }
    let text = Utf8Bytes::try_from(body).map_err(|_| ApiError::bad_request("the message is not UTF-8"))?;
    let message = match rpc::parse(&text) {
        Ok(message) => message,
        Err(answer) => return Ok(answered(StatusCode::BAD_REQUEST, &answer)),
    };
    let begins = matches!(&message, Incoming::Request { method, .. } if method == "initialize");
    match (begins, headers.contains_key(super::CONNECTION_ID)) {
        (true, false) => begin(state, principal, text).await,
        (true, true) => Err(ApiError::bad_request("this connection is initialized already")),
        (false, _) => {
            let connection = state.acp.find(&principal, &headers)?;
            connection.stats.received();
            let named = header_text(&headers, &super::SESSION_ID);
            match about(&message, named)? {
                Some((id, session, Answered::ThereAlready)) => connection.streams.route(&id, &session),
                Some((id, session, Answered::First)) => connection.streams.gather(&id, &session),
                None => {}
            }
            connection.hear.send(text).await.map_err(|_| ApiError::not_found("ACP connection"))?;
            Ok(StatusCode::ACCEPTED.into_response())
        }
    }
}

/// Where a request about a session is answered.
enum Answered {
    /// On the session's stream, which the client has.
    ThereAlready,
    /// On the connection's, after which the client has one for the session.
    First,
}

/// The request that is about a session, which one, and where it is answered.
fn about(message: &Incoming, named: Option<&str>) -> Result<Option<(Value, String, Answered)>, ApiError> {
    let (method, params, id) = match message {
        Incoming::Request { method, params, id } => (method, params, Some(id)),
        Incoming::Notification { method, params } => (method, params, None),
        Incoming::Answer { .. } => return Ok(None),
    };
    let meant = params["sessionId"].as_str();
    match (meant, named) {
        (Some(meant), Some(named)) if meant != named => Err(ApiError::bad_request("Acp-Session-Id names another session than the message")),
        // The SDK for Python names a session only once it has a stream for it, which it opens after the answer; that for TypeScript opens it before.
        (Some(meant), None) if OPENING.contains(&method.as_str()) => Ok(id.map(|id| (id.clone(), meant.to_owned(), Answered::First))),
        (_, None) if meant.is_some() || OF_SESSIONS.contains(&method.as_str()) => Err(ApiError::bad_request("Acp-Session-Id is missing")),
        // Of what is loaded, the answer is the connection's.
        (_, Some(named)) if method != "session/load" => Ok(id.map(|id| (id.clone(), named.to_owned(), Answered::ThereAlready))),
        _ => Ok(None),
    }
}

fn answered(status: StatusCode, message: &Value) -> Response {
    let mut response = Response::new(Body::from(message.to_string()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Makes a connection, and answers its `initialize`.
async fn begin(state: AppState, principal: Principal, text: Utf8Bytes) -> Result<Response, ApiError> {
    let Admitted { user, number, place } = admit(&state, &principal).await?;
    let id = uuid::Uuid::new_v4().to_string();
    let (hear, hearing) = mpsc::channel(MESSAGES);
    let (first, answer) = oneshot::channel();
    let stats = Arc::new(Stats::new(Arc::clone(&state.figures)));
    let connection = Arc::new(Connection {
        owner: principal.user_id.clone(),
        hear,
        streams: Streams::default(),
        heard: watch::Sender::new(Instant::now()),
        over: watch::Sender::new(false),
        stats: Arc::clone(&stats),
    });
    state.acp.lock().insert(id.clone(), Arc::clone(&connection));
    let tracker = state.connections.clone();
    let named = id.clone();
    let kept = Arc::clone(&connection);
    tokio::spawn(tracker.track_future(async move {
        let connections = state.acp.clone();
        let work = Box::pin(work(state, principal, number, Arc::clone(&kept), hearing, first));
        live(user, number, "http", stats, work).await;
        connections.lock().remove(&named);
        kept.streams.close();
        drop(place);
    }));
    let broken = || ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "the connection was not made; try again in a moment");
    connection.hear.send(text).await.map_err(|_| broken())?;
    let answer = tokio::time::timeout(FIRST_ANSWER, answer).await.ok().and_then(Result::ok).ok_or_else(broken)?;
    let mut response = answered(StatusCode::OK, &answer);
    response.headers_mut().insert(super::CONNECTION_ID, HeaderValue::from_str(&id).map_err(|error| ApiError::internal(&error))?);
    Ok(response)
}

/// Serves one connection to its end.
async fn work(
    state: AppState,
    principal: Principal,
    number: u64,
    connection: Arc<Connection>,
    hearing: mpsc::Receiver<Utf8Bytes>,
    first: oneshot::Sender<Value>,
) {
    let (say, mut saying) = mpsc::channel::<Value>(MESSAGES);
    let (hear, heard) = mpsc::channel(MESSAGES);
    let said = async {
        if let Some(answer) = saying.recv().await {
            let _ = first.send(answer);
        }
        while let Some(message) = saying.recv().await {
            let put = tokio::time::timeout(STALLED_FOR, connection.streams.put(&message)).await;
            if put != Ok(true) {
                break;
            }
        }
        // Nothing is heard any more of who takes nothing.
        connection.over.send_replace(true);
        saying.close();
    };
    let over = async {
        let mut hearing = hearing;
        let mut ended = connection.over.subscribe();
        let listen = async {
            while let Some(text) = hearing.recv().await {
                if hear.send(text).await.is_err() {
                    break;
                }
            }
        };
        tokio::select! {
            _ = guard(&state, &principal) => {}
            () = idle(&connection) => {}
            _ = ended.wait_for(|over| *over) => {}
            () = listen => {}
        }
        connection.streams.close();
        // The machine sees the end of its client.
        drop(hear);
    };
    let name = number.to_string();
    tokio::join!(over, said, serve(state.clone(), principal.clone(), &name, Arc::clone(&connection.stats), heard, say));
}

/// Until nobody has read, and nothing was said, for a while.
async fn idle(connection: &Connection) {
    let mut heard = connection.heard.subscribe();
    let mut read_at = Instant::now();
    loop {
        if connection.streams.are_read() {
            read_at = Instant::now();
        }
        let until = read_at.max(*heard.borrow_and_update()) + IDLE_FOR;
        if until <= Instant::now() {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            _ = heard.changed() => {}
            () = connection.streams.moved() => {}
        }
    }
}

/// `GET /acp` that is no upgrade: the stream of the connection, or of a session.
pub fn stream(state: &AppState, principal: &Principal, headers: &HeaderMap) -> Result<Response, ApiError> {
    let accepts = header_text(headers, &header::ACCEPT).is_some_and(|accept| accept.to_ascii_lowercase().contains("text/event-stream"));
    if !accepts {
        let why = "GET /acp is a WebSocket upgrade, or accepts text/event-stream";
        return Err(ApiError::new(StatusCode::NOT_ACCEPTABLE, why));
    }
    let connection = state.acp.find(principal, headers)?;
    let of = header_text(headers, &super::SESSION_ID).map(str::to_owned);
    let reader = connection.streams.take(of).map_err(|refused| ApiError::new(StatusCode::CONFLICT, refused.message))?;
    let events = futures_util::stream::unfold(reader, |mut reader| async move {
        let text = match tokio::time::timeout(KEEP_ALIVE, reader.next()).await {
            Ok(Some(message)) => format!("data: {message}\n\n"),
            Ok(None) => return None,
            Err(_) => ":\n\n".to_owned(),
        };
        Some((Ok::<_, Infallible>(Bytes::from(text)), reader))
    });
    let mut response = Response::new(Body::from_stream(events));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// `DELETE /acp`
pub async fn delete(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    headers: HeaderMap,
) -> Result<StatusCode, ApiError> {
    state.acp.find(&principal, &headers)?.over.send_replace(true);
    Ok(StatusCode::ACCEPTED)
}
