//! Plain HTTP requests to an instance.

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use serde_json::Value;

/// What a request was answered.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: http::HeaderMap,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON, `null` when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// One request with an optional bearer token and JSON body; `None` when nobody answers.
pub async fn request(method: &str, url: &str, token: Option<&str>, body: Option<&Value>) -> Option<Answer> {
    let (mut answer, body) = begin(method, url, token, body).await?;
    answer.body = body.collect().await.ok()?.to_bytes().to_vec();
    Some(answer)
}

/// The same where an answer may go on for ever: of one that succeeds only the head is read.
pub async fn request_of_stream(method: &str, url: &str, token: Option<&str>, body: Option<&Value>) -> Option<Answer> {
    let (mut answer, body) = begin(method, url, token, body).await?;
    if answer.status >= 300 {
        answer.body = body.collect().await.ok()?.to_bytes().to_vec();
    }
    Some(answer)
}

async fn begin(method: &str, url: &str, token: Option<&str>, body: Option<&Value>) -> Option<(Answer, Incoming)> {
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new()).build_http::<Full<Bytes>>();
    let mut request = http::Request::builder().method(method).uri(url);
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    let body = body.map(|value| Bytes::from(value.to_string())).unwrap_or_default();
    let answer = client.request(request.body(Full::new(body)).ok()?).await.ok()?;
    let (parts, body) = answer.into_parts();
    Some((Answer { status: parts.status.as_u16(), headers: parts.headers, body: Vec::new() }, body))
}
