//! A WebSocket to a bridge.

use octo_protocol::Cursor;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderMap, HeaderValue, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, http};

/// How long an attempt may take, the start of the bridge's agent included.
const PATIENCE: Duration = Duration::from_secs(150);
/// How long the way to the bridge may take.
const WAY_PATIENCE: Duration = Duration::from_secs(10);
/// Largest frame of a bridge. Its events have 8 MiB at most.
const MAX_FRAME_BYTES: usize = 16 * 1024 * 1024;
/// Most of a refusal that is shown.
const SHOWN: usize = 500;

/// Where a bridge is, and what opens it.
pub struct Address {
    /// As it was given.
    pub url: String,
    host: String,
    port: u16,
    authority: String,
    path: String,
    authorization: HeaderValue,
}

/// A connection.
pub struct Attempt {
    pub socket: WebSocketStream<TcpStream>,
    pub session: String,
    pub harness: String,
    pub protocol: String,
}

/// Why there is none.
#[derive(Debug)]
pub enum Failure {
    /// Another attempt may succeed.
    Passing(String),
    /// Another one would fail as well.
    Final(String),
}

impl Address {
    /// Reads the URL of a bridge.
    ///
    /// # Errors
    /// A sentence.
    pub fn parse(url: &str, token: &str) -> Result<Self, String> {
        let token = token.trim();
        if token.is_empty() {
            return Err("there is no token for the bridge: PI_BRIDGE_TOKEN is not set".to_owned());
        }
        let bad = |what: &str| format!("{url:?} is no address of a bridge: {what}");
        let parsed = url::Url::parse(url).map_err(|error| bad(&format!("{error}; write http://HOST:PORT")))?;
        if parsed.scheme() != "http" {
            return Err(bad("write http://HOST:PORT; what is to be encrypted goes through a tunnel"));
        }
        if !parsed.username().is_empty() || parsed.password().is_some() || parsed.query().is_some() {
            return Err(bad("it holds more than host, port and path"));
        }
        let (host, port) = (parsed.host_str().ok_or_else(|| bad("it has no host"))?, parsed.port().unwrap_or(80));
        let mut authorization =
            HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| "the token cannot stand in a header".to_owned())?;
        authorization.set_sensitive(true);
        Ok(Self {
            url: url.to_owned(),
            host: host.trim_matches(['[', ']']).to_owned(),
            port,
            authority: format!("{host}:{port}"),
            path: parsed.path().trim_end_matches('/').to_owned(),
            authorization,
        })
    }

    /// Connects and attaches to `session` after `cursor`.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn connect(&self, session: &str, cursor: Option<&Cursor>) -> Result<Attempt, Failure> {
        let way = tokio::time::timeout(WAY_PATIENCE, TcpStream::connect((self.host.as_str(), self.port)));
        let stream = way.await.map_err(|_| Failure::Passing(format!("no answer within {WAY_PATIENCE:?}")))?;
        let stream = stream.map_err(|error| Failure::Passing(error.to_string()))?;
        let _ = stream.set_nodelay(true);
        let after = cursor.map(|cursor| format!("&after={}:{}", cursor.epoch, cursor.seq)).unwrap_or_default();
        let url = format!("ws://{}{}/ws?session={session}{after}", self.authority, self.path);
        let mut request = url.into_client_request().map_err(|error| Failure::Final(error.to_string()))?;
        request.headers_mut().insert(http::header::AUTHORIZATION, self.authorization.clone());
        let config = WebSocketConfig::default().max_message_size(Some(MAX_FRAME_BYTES)).max_frame_size(Some(MAX_FRAME_BYTES));
        let shaking = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
        match tokio::time::timeout(PATIENCE, Box::pin(shaking)).await {
            Err(_) => Err(Failure::Passing(format!("no answer within {PATIENCE:?}"))),
            Ok(Ok((socket, answer))) => {
                let headers = answer.headers();
                Ok(Attempt {
                    socket,
                    session: text(headers, crate::http::HEADER_SESSION.as_str()),
                    harness: text(headers, crate::http::HEADER_HARNESS.as_str()),
                    protocol: text(headers, crate::http::HEADER_PROTOCOL.as_str()),
                })
            }
            Ok(Err(Error::Http(answer))) => Err(refused(answer.status(), answer.body().as_deref().unwrap_or_default())),
            Ok(Err(error)) => Err(Failure::Passing(error.to_string())),
        }
    }
}

fn text(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

/// What a bridge said instead of opening.
fn refused(status: StatusCode, body: &[u8]) -> Failure {
    let said = serde_json::from_slice::<serde_json::Value>(body).ok().and_then(|said| said["error"].as_str().map(str::to_owned));
    let said: String = said.unwrap_or_else(|| String::from_utf8_lossy(body).into_owned()).trim().chars().take(SHOWN).collect();
    let why = match (status, said.is_empty()) {
        (_, false) => said,
        (StatusCode::UNAUTHORIZED, true) => "the token is not the bridge's: mend harness.NAME.token".to_owned(),
        (status, true) => format!("it answered {status}"),
    };
    let passing = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if passing { Failure::Passing(why) } else { Failure::Final(why) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_address_is_a_host_a_port_and_nothing_secret() {
        let address = Address::parse("http://[::1]:41824/box/", "t").unwrap();
        assert_eq!(
            (address.host.as_str(), address.port, address.authority.as_str(), address.path.as_str()),
            ("::1", 41824, "[::1]:41824", "/box")
        );
        for (url, want) in
            [("ftp://x", "http://HOST:PORT"), ("https://x", "tunnel"), ("x", "http://HOST:PORT"), ("http://a:b@x", "more than host")]
        {
            let said = Address::parse(url, "t").err().unwrap();
            assert!(said.contains(want), "{url}: {said}");
        }
        assert!(Address::parse("http://x", " ").err().unwrap().contains("PI_BRIDGE_TOKEN is not set"));
    }

    #[test]
    fn a_refusal_is_shown_in_the_bridges_own_words_and_only_what_passes_is_tried_again() {
        let said = br#"{"error":"the token is wrong","code":"permission_denied"}"#;
        assert!(matches!(refused(StatusCode::UNAUTHORIZED, said), Failure::Final(why) if why.contains("token is wrong")));
        assert!(matches!(refused(StatusCode::UNAUTHORIZED, b""), Failure::Final(why) if why.contains("harness.NAME.token")));
        assert!(matches!(refused(StatusCode::SERVICE_UNAVAILABLE, b"{}"), Failure::Passing(_)));
    }
}
