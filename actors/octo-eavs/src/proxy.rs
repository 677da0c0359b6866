//! The LLM side: `/{provider}/v1/{path}` with a virtual key, to the provider with the real one, and back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use http::{HeaderMap, Method, Request, StatusCode, header};
use octo_protocol::TraceContext;
use time::OffsetDateTime;

use crate::app::App;
use crate::config::{DEMO, Provider, Unpriced};
use crate::demo;
use crate::dialect::{Api, Refusal};
use crate::key::KEY_PREFIX;
use crate::limits::{BODY_IDLE_TIMEOUT, BODY_LIMIT_BYTES, REFUSED_BODY_DRAIN_BYTES, REFUSED_BODY_DRAIN_TIME};
use crate::meter::{Bill, Label, Metering, metered};
use crate::registry::Key;
use crate::trace::{self, RequestSpan};
use crate::upstream::{Answer, KEY_HEADERS};
use crate::usage::UsageReader;

/// Routes of the LLM listener.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/health", get(crate::app::health))
        .route("/octo/trace", put(begin_turn).delete(end_turn))
        .fallback(entry)
        .with_state(app)
}

/// A runner says which turn is under way in the session of this key.
async fn begin_turn(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    told(&app, &headers, Key::begin_turn)
}

async fn end_turn(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    told(&app, &headers, Key::end_turn)
}

fn told(app: &App, headers: &HeaderMap, act: impl FnOnce(&Key, TraceContext)) -> Response {
    let context = trace::of_headers(headers)
        .ok_or_else(|| Refusal::new(StatusCode::BAD_REQUEST, "invalid_traceparent", "a traceparent is needed, as the W3C has it"));
    match authenticate(app, headers).and_then(|key| Ok((key, context?))) {
        Ok((key, context)) => {
            act(&key, context);
            StatusCode::NO_CONTENT.into_response()
        }
        Err(refusal) => refusal.response(Api::guess("")),
    }
}

async fn entry(State(app): State<Arc<App>>, request: Request<Body>) -> Response {
    let path = request.uri().path().trim_start_matches('/');
    let (provider, rest) = path.split_once('/').unwrap_or((path, ""));
    let (provider, rest) = (provider.to_owned(), rest.to_owned());
    let live = app.live();
    let api = live.catalog.providers.get(&provider).map_or_else(|| Api::guess(&rest), |p| p.api);
    let expects = request.headers().contains_key(header::EXPECT);
    let (parts, body) = request.into_parts();
    // A refusal may find the body still coming: the place it waits in is kept for draining it.
    let mut body = Some(body);
    match forward(&app, &provider, &rest, parts, &mut body).await {
        Ok(response) => response,
        Err(refusal) => {
            tracing::info!(%provider, path = %rest, status = refusal.status.as_u16(), code = refusal.code, "refused");
            let known = provider == DEMO || live.catalog.providers.contains_key(&provider);
            app.figures.provider(&provider, known).failed(refusal.code);
            app.figures.refused(refusal.code);
            if let (Some(body), false) = (body, expects) {
                drain(body.into_data_stream()).await;
            }
            refusal.response(api)
        }
    }
}

async fn forward(
    app: &Arc<App>,
    provider: &str,
    path: &str,
    parts: http::request::Parts,
    body: &mut Option<Body>,
) -> Result<Response, Refusal> {
    let began = Instant::now();
    let key = authenticate(app, &parts.headers)?;
    check_path(path)?;
    let mut span = RequestSpan::begin(&app.spans, key.turn(), &parts.headers, provider);
    let record = key.record();
    let live = app.live();
    let target = live.catalog.providers.get(provider);
    if target.is_none() && provider != DEMO {
        let text = format!("there is no provider {provider:?}: name one that octo's configuration has, or demo");
        return Err(Refusal::new(StatusCode::NOT_FOUND, "invalid_provider", text));
    }
    if !record.permissions.allows_provider(provider) {
        let text = format!("this key may not use the provider {provider}");
        return Err(Refusal::new(StatusCode::FORBIDDEN, "provider_not_allowed", text));
    }
    let length = content_length(&parts.headers);
    if length.is_some_and(|n| n > BODY_LIMIT_BYTES as u64) {
        return Err(too_large());
    }
    let permit = Arc::clone(&app.streams).try_acquire_owned().map_err(|_| {
        Refusal::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "octo-eavs has as many requests under way as it takes: try again")
            .after(2)
    })?;

    let mut bill = Bill {
        models: target.map_or_else(demo::models, |p| p.models.clone()),
        request: Arc::default(),
        request_bytes: length.unwrap_or(0),
        generates: parts.method == Method::POST && Api::of_path(path).is_some(),
    };
    let reads = parts.method == Method::POST && (target.is_none() || record.permissions.reads_body());
    let whole = if reads { Some(collect(body, &mut bill).await?) } else { None };
    if reads {
        check_model(&record.permissions, provider, &parts.headers, &bill, live.catalog.unpriced)?;
    }
    let ticket = app.registry.begin(&key, bill.reserve())?;
    let figures = app.figures.provider(provider, true);
    figures.begun();

    let answer = match target {
        None => {
            let whole = whole.unwrap_or_default();
            Answer::local(demo::answer(&app.demo, record.name.as_str(), &parts.method, path, &whole))
        }
        Some(target) => {
            let (sent, counted) = match whole {
                Some(bytes) => (reqwest::Body::from(bytes), None),
                None => stream_body(body, &parts, &bill),
            };
            let mut headers = parts.headers.clone();
            if counted.is_some() && length.is_none() {
                headers.remove(header::CONTENT_LENGTH);
            }
            let send = live.upstream.send(target, parts.method.clone(), path, parts.uri.query(), &headers, sent);
            let sent = tokio::select! {
                biased;
                () = key.revoked().cancelled() => return Err(unauthorized("key_disabled", "this key was revoked")),
                sent = send => sent,
            };
            if let Some(counted) = counted {
                if counted.overflow.load(Ordering::Relaxed) {
                    return Err(too_large());
                }
                bill.request_bytes = counted.bytes.load(Ordering::Relaxed);
            }
            answer_of(app, target, sent).await?
        }
    };
    if let Some(span) = &mut span {
        span.set("http.response.status_code", u64::from(answer.head.status.as_u16()));
    }
    let text = |name| answer.head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let encoded = !matches!(text(header::CONTENT_ENCODING), "" | "identity");
    let metering = Metering {
        ticket,
        reader: UsageReader::new(text(header::CONTENT_TYPE), encoded),
        bill,
        status: answer.head.status,
        length: content_length(&answer.head.headers),
        figures,
        label: Label { key: record.name.to_string(), provider: provider.to_owned(), target: format!("{} {path}", parts.method), began },
        revoked: key.revoked().clone(),
        idle: live.upstream.idle(),
        permit,
        span,
    };
    Ok(Answer::respond(answer.head, metered(answer.body, metering)))
}

async fn answer_of(app: &App, target: &Provider, sent: Result<reqwest::Response, Refusal>) -> Result<Answer, Refusal> {
    match sent {
        Ok(response) => {
            app.standings.answered(&target.name, response.status());
            Ok(Answer::of(target, response).await)
        }
        Err(refusal) => {
            app.standings.unreached(&target.name, &refusal);
            tracing::warn!(provider = %target.name, code = refusal.code, "{}", refusal.message);
            Err(refusal)
        }
    }
}

/// The key out of any of the headers that SDKs put it in.
fn authenticate(app: &App, headers: &HeaderMap) -> Result<Arc<Key>, Refusal> {
    let values = KEY_HEADERS.into_iter().flat_map(|name| headers.get_all(name)).filter_map(|v| v.to_str().ok());
    let bare = values.map(|v| v.strip_prefix("Bearer ").or_else(|| v.strip_prefix("bearer ")).unwrap_or(v).trim());
    let mut presented = false;
    for secret in bare {
        presented = true;
        if let Some(key) = secret.starts_with(KEY_PREFIX).then(|| app.registry.find(secret)).flatten() {
            if key.record().expires_at.is_some_and(|t| t <= OffsetDateTime::now_utc()) {
                return Err(unauthorized("key_expired", "this key has expired"));
            }
            return Ok(key);
        }
    }
    Err(if presented {
        unauthorized("invalid_api_key", "this key is not known to octo-eavs, or was revoked")
    } else {
        unauthorized("missing_api_key", "no key was sent: send the session's key as Authorization: Bearer, x-api-key or x-goog-api-key")
    })
}

fn unauthorized(code: &'static str, message: &str) -> Refusal {
    Refusal::new(StatusCode::UNAUTHORIZED, code, message)
}

fn too_large() -> Refusal {
    let text = format!("the request is larger than {} MiB", BODY_LIMIT_BYTES / 1024 / 1024);
    Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", text)
}

/// `v1/…` without segments that would climb out of the provider's base URL.
fn check_path(path: &str) -> Result<(), Refusal> {
    let lower = path.to_ascii_lowercase().replace("%2e", ".");
    let climbs = lower.contains('\\') || lower.contains("%2f") || lower.contains("%5c") || lower.split('/').any(|s| s == ".." || s == ".");
    if climbs || !(lower == "v1" || lower.starts_with("v1/")) {
        let text = "octo-eavs serves /{provider}/v1/…, for example /demo/v1/messages";
        return Err(Refusal::new(StatusCode::NOT_FOUND, "unknown_path", text));
    }
    Ok(())
}

fn check_model(
    permissions: &crate::key::Permissions,
    provider: &str,
    headers: &HeaderMap,
    bill: &Bill,
    unpriced: Unpriced,
) -> Result<(), Refusal> {
    if permissions.limits_models() {
        let encoding = headers.get(header::CONTENT_ENCODING).map_or(&b""[..], |v| v.as_bytes());
        if !matches!(encoding, b"" | b"identity") {
            let text = "this key is bound to certain models, so its requests must not be compressed";
            return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "compressed_request", text));
        }
        let found = bill.request.lock().unwrap_or_else(PoisonError::into_inner).found().clone();
        if found.models.is_empty() || !found.models.iter().all(|m| permissions.allows_model(provider, m)) {
            let text = format!("this key may not use the model {:?} of {provider}", found.model().unwrap_or(""));
            return Err(Refusal::new(StatusCode::FORBIDDEN, "model_not_allowed", text));
        }
    }
    if permissions.max_budget_usd.is_some() && bill.generates && unpriced == Unpriced::Block && bill.cost().is_none() {
        let text = format!("this key has a budget, and the model has no price in octo's configuration: add cost to [providers.{provider}]");
        return Err(Refusal::new(StatusCode::FORBIDDEN, "unpriced_model", text));
    }
    Ok(())
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads the whole body (bounded), for keys whose limits depend on it and for the demo.
async fn collect(body: &mut Option<Body>, bill: &mut Bill) -> Result<Bytes, Refusal> {
    let Some(taken) = body.take() else {
        return Ok(Bytes::new());
    };
    let mut stream = taken.into_data_stream();
    let mut whole = BytesMut::new();
    loop {
        let next = tokio::time::timeout(BODY_IDLE_TIMEOUT, stream.next())
            .await
            .map_err(|_| Refusal::new(StatusCode::REQUEST_TIMEOUT, "slow_request", "the request's body stopped coming"))?;
        match next {
            None => break,
            Some(Ok(piece)) if whole.len() + piece.len() > BODY_LIMIT_BYTES => {
                *body = Some(Body::from_stream(stream));
                drop(piece);
                return Err(too_large());
            }
            Some(Ok(piece)) => whole.extend_from_slice(&piece),
            Some(Err(_)) => {
                return Err(Refusal::new(StatusCode::BAD_REQUEST, "broken_request", "the request's body ended too early"));
            }
        }
    }
    bill.request_bytes = whole.len() as u64;
    bill.request.lock().unwrap_or_else(PoisonError::into_inner).feed(&whole);
    Ok(whole.freeze())
}

#[derive(Default)]
struct Counted {
    bytes: AtomicU64,
    overflow: AtomicBool,
}

/// The body as a stream towards the provider, counted and looked at while it passes.
fn stream_body(body: &mut Option<Body>, parts: &http::request::Parts, bill: &Bill) -> (reqwest::Body, Option<Arc<Counted>>) {
    let has_body = parts.headers.contains_key(header::CONTENT_LENGTH) || parts.headers.contains_key(header::TRANSFER_ENCODING);
    let Some(taken) = body.take().filter(|_| has_body) else {
        return (reqwest::Body::from(Bytes::new()), None);
    };
    let counted = Arc::new(Counted::default());
    let passing = (taken.into_data_stream(), Arc::clone(&counted), Arc::clone(&bill.request));
    let stream = futures_util::stream::unfold(Some(passing), |passing| async move {
        let (mut stream, tally, sniffer) = passing?;
        let piece = match stream.next().await? {
            Ok(piece) => piece,
            Err(error) => return Some((Err(std::io::Error::other(error)), None)),
        };
        let so_far = tally.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
        if so_far > BODY_LIMIT_BYTES as u64 {
            tally.overflow.store(true, Ordering::Relaxed);
            drain(stream).await;
            return Some((Err(std::io::Error::other("the request is too large")), None));
        }
        sniffer.lock().unwrap_or_else(PoisonError::into_inner).feed(&piece);
        Some((Ok(piece), Some((stream, tally, sniffer))))
    });
    (reqwest::Body::wrap_stream(stream), Some(counted))
}

/// Reads what a refused client still sends, within bounds, so that it reads the refusal instead of a broken pipe.
async fn drain(mut stream: BodyDataStream) {
    let reading = async {
        let mut read = 0;
        while let Some(Ok(piece)) = stream.next().await {
            read += piece.len();
            if read > REFUSED_BODY_DRAIN_BYTES {
                return;
            }
        }
    };
    // Out of time is as good as read: the refusal goes out either way.
    let _ = tokio::time::timeout(REFUSED_BODY_DRAIN_TIME, reading).await;
}
