//! Towards a provider: the HTTP client, the headers that go out and come back, and the sentences for what fails.

use std::error::Error as _;
use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use secrecy::ExposeSecret;
use url::Host;

use crate::config::{Credential, Provider};
use crate::dialect::{Api, Refusal};
use crate::limits::{Deadlines, ERROR_BODY_BYTES};

/// Bound to one connection (RFC 9110 section 7.6.1): never passed on in either direction.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Where a virtual key may stand; all of them are taken out of what goes to a provider.
pub const KEY_HEADERS: [HeaderName; 3] =
    [header::AUTHORIZATION, HeaderName::from_static("x-api-key"), HeaderName::from_static("x-goog-api-key")];

/// Why no client could be made.
#[derive(Debug, thiserror::Error)]
#[error("could not set up the HTTP client for providers: {0}")]
pub struct ClientError(String);

/// The clients. Loopback servers are reached without a system proxy, and their idle connections are kept shorter than they
/// keep them (5 s is usual), so that a request seldom meets one that is just being closed.
#[derive(Debug, Clone)]
pub struct Upstream {
    remote: reqwest::Client,
    local: reqwest::Client,
    deadlines: Deadlines,
}

impl Upstream {
    /// Makes the clients. Needs a rustls provider: installs ring as the process default when there is none.
    pub fn new(deadlines: Deadlines) -> Result<Self, ClientError> {
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Losing a race against another instance in this process is as good as winning it.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        let builder = || {
            reqwest::Client::builder()
                .connect_timeout(deadlines.connect)
                .redirect(reqwest::redirect::Policy::none())
                .tcp_nodelay(true)
                .referer(false)
                .no_gzip()
                .no_brotli()
                .no_deflate()
                .no_zstd()
        };
        let build = |b: reqwest::ClientBuilder| b.build().map_err(|e| ClientError(sentence(&e)));
        Ok(Self {
            remote: build(builder().pool_idle_timeout(Duration::from_secs(60)))?,
            local: build(builder().no_proxy().pool_idle_timeout(Duration::from_secs(3)))?,
            deadlines,
        })
    }

    /// Sends a request and waits for the head of the answer.
    pub async fn send(
        &self,
        provider: &Provider,
        method: Method,
        path: &str,
        query: Option<&str>,
        headers: &HeaderMap,
        body: reqwest::Body,
    ) -> Result<reqwest::Response, Refusal> {
        let name = &provider.name;
        let url = provider.url(path, query).map_err(|e| {
            Refusal::new(StatusCode::BAD_REQUEST, "invalid_path", format!("the path cannot be joined to the base URL of {name}: {e}"))
        })?;
        let client = if is_loopback(&url) { &self.local } else { &self.remote };
        let request = client.request(method, url).headers(outgoing(provider, headers)?).body(body);
        let limit = self.deadlines.first_byte;
        match tokio::time::timeout(limit, request.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(failure(name, &error, self.deadlines)),
            Err(_) => Err(Refusal::new(
                StatusCode::GATEWAY_TIMEOUT,
                "upstream_timeout",
                format!("the provider {name} did not begin to answer within {} s", limit.as_secs()),
            )),
        }
    }

    /// How long an answer may be silent.
    pub fn idle(&self) -> Duration {
        self.deadlines.idle
    }
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => IpAddr::V6(ip).is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    }
}

fn connection_names(headers: &HeaderMap) -> Vec<HeaderName> {
    headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .filter_map(|name| HeaderName::from_bytes(name.trim().as_bytes()).ok())
        .collect()
}

/// The client's headers without hop-by-hop ones and without its key, with the provider's key in the style of its dialect.
///
/// The answer is asked for uncompressed: its usage has to be readable, and a compressed one would be passed on as it is.
fn outgoing(provider: &Provider, headers: &HeaderMap) -> Result<HeaderMap, Refusal> {
    let named = connection_names(headers);
    let mut out = HeaderMap::with_capacity(headers.len() + 4);
    for (name, value) in headers {
        let dropped = HOP_BY_HOP.contains(name)
            || KEY_HEADERS.contains(name)
            || named.contains(name)
            || [header::HOST, header::COOKIE, header::EXPECT, header::ACCEPT_ENCODING].contains(name);
        if !dropped {
            out.append(name.clone(), value.clone());
        }
    }
    out.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    match &provider.credential {
        Credential::None => {}
        Credential::Missing(variable) => {
            let text = format!(
                "the provider {} has no key: the environment variable {variable} is not set; set it for octo and restart or reload",
                provider.name
            );
            return Err(Refusal::new(StatusCode::BAD_GATEWAY, "provider_key_missing", text));
        }
        Credential::Key(key) => {
            let key = key.expose_secret();
            let (name, text) = match provider.api {
                Api::AnthropicMessages => (KEY_HEADERS[1].clone(), key.to_owned()),
                Api::OpenaiCompletions | Api::OpenaiResponses => (header::AUTHORIZATION, format!("Bearer {key}")),
            };
            if let Ok(mut value) = HeaderValue::from_str(&text) {
                value.set_sensitive(true);
                out.insert(name, value);
            }
        }
    }
    for (name, value) in &provider.headers {
        out.insert(name.clone(), value.clone());
    }
    Ok(out)
}

/// An answer of a provider on its way to the client: head, and body piece by piece.
pub struct Answer {
    /// Status and end-to-end headers.
    pub head: http::response::Parts,
    /// The body as it arrives.
    pub body: futures_util::stream::BoxStream<'static, Result<Bytes, std::io::Error>>,
}

impl Answer {
    /// Takes a provider's answer. An error answer that quotes one of the provider's secrets gets it blotted out.
    pub async fn of(provider: &Provider, response: reqwest::Response) -> Self {
        let mut headers = response.headers().clone();
        let named = connection_names(&headers);
        for name in HOP_BY_HOP.iter().chain(&named) {
            headers.remove(name);
        }
        let secrets = provider.secrets();
        let tells = |v: &HeaderValue| secrets.iter().any(|s| find(v.as_bytes(), s.as_bytes()).is_some());
        let telling: Vec<HeaderName> = headers.iter().filter(|(_, v)| tells(v)).map(|(n, _)| n.clone()).collect();
        for name in telling {
            headers.remove(name);
        }
        let status = response.status();
        let mut body = response.bytes_stream().map(|r| r.map_err(|e| std::io::Error::other(sentence(&e)))).boxed();
        if status.as_u16() >= 400 && !secrets.is_empty() {
            let (held, rest) = hold(body).await;
            let (clean, changed) = blot(held, &secrets);
            if changed {
                headers.remove(header::CONTENT_LENGTH);
            }
            body = match rest {
                Some(rest) => futures_util::stream::iter([Ok(clean)]).chain(rest).boxed(),
                None => futures_util::stream::iter([Ok(clean)]).boxed(),
            };
        }
        let mut head = Response::new(()).into_parts().0;
        head.status = status;
        head.headers = headers;
        Self { head, body }
    }

    /// An answer made here.
    pub fn local(response: Response) -> Self {
        let (head, body) = response.into_parts();
        Self { head, body: body.into_data_stream().map(|r| r.map_err(std::io::Error::other)).boxed() }
    }

    /// The answer with the given body.
    pub fn respond(head: http::response::Parts, body: impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static) -> Response {
        Response::from_parts(head, Body::from_stream(body))
    }
}

type Rest = futures_util::stream::BoxStream<'static, Result<Bytes, std::io::Error>>;

async fn hold(mut body: Rest) -> (Vec<u8>, Option<Rest>) {
    let mut held = Vec::new();
    while held.len() < ERROR_BODY_BYTES {
        match body.next().await {
            Some(Ok(piece)) => held.extend_from_slice(&piece),
            Some(Err(error)) => {
                return (held, Some(futures_util::stream::iter([Err(error)]).boxed()));
            }
            None => return (held, None),
        }
    }
    (held, Some(body))
}

fn blot(mut text: Vec<u8>, secrets: &[&str]) -> (Bytes, bool) {
    let mut changed = false;
    for secret in secrets {
        while let Some(at) = find(&text, secret.as_bytes()) {
            text.splice(at..at + secret.len(), *b"[key]");
            changed = true;
        }
    }
    (text.into(), changed)
}

fn find(hay: &[u8], needle: &[u8]) -> Option<usize> {
    if needle.is_empty() || needle == b"[key]" {
        return None;
    }
    hay.windows(needle.len()).position(|w| w == needle)
}

fn failure(name: &str, error: &reqwest::Error, deadlines: Deadlines) -> Refusal {
    let detail = sentence(error);
    if error.is_timeout() {
        let text =
            format!("the provider {name} could not be reached within {} s; check base_url and the network", deadlines.connect.as_secs());
        return Refusal::new(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", text);
    }
    let text = if error.is_connect() {
        format!("the provider {name} could not be reached ({detail}); check that it runs and its base_url")
    } else {
        format!("the connection to the provider {name} broke before it answered ({detail})")
    };
    Refusal::new(StatusCode::BAD_GATEWAY, "upstream_unreachable", text)
}

/// The innermost cause, which is the readable one, never with a URL.
fn sentence(error: &reqwest::Error) -> String {
    let mut cause: Option<&dyn std::error::Error> = error.source();
    let mut text = None;
    while let Some(e) = cause {
        text = Some(e.to_string());
        cause = e.source();
    }
    text.unwrap_or_else(|| "no further detail".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_key_is_blotted_out_and_nothing_else_changes() {
        let (text, changed) = blot(b"bad key sk-1 and sk-1.".to_vec(), &["sk-1"]);
        assert_eq!((&text[..], changed), (&b"bad key [key] and [key]."[..], true));
        let (text, changed) = blot(b"fine".to_vec(), &["sk-1"]);
        assert_eq!((&text[..], changed), (&b"fine"[..], false));
    }
}
