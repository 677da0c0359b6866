//! Requests to `/api/admin`, over the socket or HTTP, and what their refusals mean.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use reqwest::{Method, Response, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::exit::{Exit, Failure};
use crate::place::{Place, TOKEN, Way};

/// Patience for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Patience for an answer; octo has deadlines of its own, which are shorter.
const ANSWER: Duration = Duration::from_secs(660);
/// Longest line of an answer that goes on.
const MAX_LINE_BYTES: usize = 64 * 1024 * 1024;

/// Talks to one octo.
pub struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    /// For messages.
    at: String,
}

impl Client {
    /// For the octo at `place`. Looks whether anybody is there.
    ///
    /// # Errors
    /// `Down` when nobody answers, `NoPermission` when the socket is not ours to open.
    pub fn new(place: &Place) -> Result<Self, Failure> {
        // One of several tests in one process may have done it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = reqwest::Client::builder().connect_timeout(CONNECT).user_agent(concat!("octoctl/", env!("CARGO_PKG_VERSION")));
        let (builder, base, token, at) = match &place.way {
            Way::Socket(socket) => {
                knock(socket)?;
                (builder.unix_socket(socket.as_path()), "http://localhost".to_owned(), None, socket.display().to_string())
            }
            Way::Http { url, token } => (builder, url.clone(), token.clone(), url.clone()),
        };
        let http = builder.build().map_err(|error| Failure::other(format!("no connection can be made: {error}")))?;
        Ok(Self { http, base, token, at })
    }

    /// Asks, and reads the whole answer.
    pub async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.ask(Method::GET, path, None).await
    }

    /// Asks for something to be done.
    pub async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, Failure> {
        self.ask(Method::POST, path, Some(Body::Json(body.clone()))).await
    }

    /// As [`Client::post`], with a body that is sent as it is.
    pub async fn send<T: DeserializeOwned>(&self, path: &str, body: Vec<u8>) -> Result<T, Failure> {
        self.ask(Method::POST, path, Some(Body::Raw(body))).await
    }

    /// Deletes.
    pub async fn delete(&self, path: &str) -> Result<(), Failure> {
        self.ask::<Value>(Method::DELETE, path, None).await.map(drop)
    }

    /// What is counted, as text.
    pub async fn metrics(&self) -> Result<String, Failure> {
        let request = self.http.request(Method::GET, format!("{}/api/metrics", self.base)).timeout(ANSWER);
        self.response(request).await?.text().await.map_err(|error| self.broken(&error))
    }

    /// An answer as it is, in pieces.
    pub async fn open(&self, path: &str) -> Result<Response, Failure> {
        self.response(self.http.request(Method::GET, self.url(path))).await
    }

    /// An answer that goes on, line by line.
    pub async fn lines(&self, path: &str) -> Result<Lines, Failure> {
        let response = self.open(path).await?;
        Ok(Lines { pieces: Box::pin(response.bytes_stream()), held: Vec::new(), at: self.at.clone() })
    }

    async fn ask<T: DeserializeOwned>(&self, method: Method, path: &str, body: Option<Body>) -> Result<T, Failure> {
        let request = self.http.request(method, self.url(path)).timeout(ANSWER);
        let request = match body {
            None => request,
            Some(Body::Json(json)) => request.json(&json),
            Some(Body::Raw(bytes)) => request.header("content-type", "application/x-ndjson").body(bytes),
        };
        let response = self.response(request).await?;
        let bytes = response.bytes().await.map_err(|error| self.broken(&error))?;
        let text: &[u8] = if bytes.is_empty() { b"null" } else { &bytes };
        serde_json::from_slice(text).map_err(|error| {
            Failure::other(format!("the answer of {} cannot be read ({error}): octoctl and octo are of versions that do not fit", self.at))
        })
    }

    async fn response(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        let request = if let Some(token) = &self.token { request.bearer_auth(token) } else { request };
        let response = request.send().await.map_err(|error| self.broken(&error))?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let said: Value = response.json().await.unwrap_or_default();
        let sentence = said["error"].as_str().map_or_else(|| format!("{} answered with status {status}", self.at), str::to_owned);
        Err(self.refusal(status, sentence))
    }

    fn refusal(&self, status: StatusCode, sentence: String) -> Failure {
        let exit = match status {
            StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Exit::Usage,
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Exit::NoPermission,
            StatusCode::NOT_FOUND => Exit::NotFound,
            StatusCode::GONE => Exit::Gone,
            StatusCode::CONFLICT => Exit::Refused,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => Exit::Later,
            _ => Exit::Failed,
        };
        if status == StatusCode::UNAUTHORIZED && self.token.is_none() {
            let also = if std::env::var_os("OCTO_DEV_USER").is_some() {
                "; OCTO_DEV_USER is not taken: there are no log ins without a password"
            } else {
                ""
            };
            return Failure::new(exit, format!("{} asks who you are: put the token of an admin into {TOKEN}{also}", self.at));
        }
        Failure::new(exit, sentence)
    }

    fn broken(&self, error: &reqwest::Error) -> Failure {
        if error.is_connect() {
            return Failure::new(Exit::Down, format!("octo does not answer at {}: {}", self.at, innermost(error)));
        }
        let message = format!("the connection to {} broke ({}); whether octo acted is not known", self.at, innermost(error));
        Failure::new(Exit::Later, message)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/admin{path}", self.base)
    }
}

enum Body {
    Json(Value),
    Raw(Vec<u8>),
}

/// Whether somebody answers on the socket.
fn knock(socket: &Path) -> Result<(), Failure> {
    let error = match UnixStream::connect(socket) {
        Ok(_) => return Ok(()),
        Err(error) => error,
    };
    let at = socket.display();
    Err(match error.kind() {
        ErrorKind::PermissionDenied => Failure::new(
            Exit::NoPermission,
            format!(
                "you may not open the admin socket {at}: run octoctl as octo's own user or as root, or join the group of server.admin_group"
            ),
        ),
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => Failure::new(
            Exit::Down,
            format!("octo is down: nobody answers on {at}; start it with `octo serve`, or have your service manager do it"),
        ),
        _ => Failure::new(Exit::Down, format!("the admin socket {at} cannot be reached: {error}")),
    })
}

fn innermost(error: &reqwest::Error) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}

/// An answer that goes on.
pub struct Lines {
    pieces: std::pin::Pin<Box<dyn futures_util::Stream<Item = reqwest::Result<Bytes>> + Send>>,
    held: Vec<u8>,
    at: String,
}

impl Lines {
    /// The next line; `None` at the end.
    ///
    /// # Errors
    /// When the connection breaks, or what comes is no line of JSON.
    pub async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Failure> {
        loop {
            if let Some(end) = self.held.iter().position(|b| *b == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                let unreadable = |error| Failure::other(format!("a line of {} cannot be read: {error}", self.at));
                return serde_json::from_slice(&line).map(Some).map_err(unreadable);
            }
            if self.held.len() > MAX_LINE_BYTES {
                return Err(Failure::other(format!("{} sends a line of more than {MAX_LINE_BYTES} bytes", self.at)));
            }
            match self.pieces.next().await {
                None => return Ok(None),
                Some(Ok(piece)) => self.held.extend_from_slice(&piece),
                Some(Err(_)) => return Err(Failure::new(Exit::Down, format!("octo at {} ended in the middle of its answer", self.at))),
            }
        }
    }
}
