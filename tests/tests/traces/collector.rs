//! A collector: takes OTLP over HTTP, decodes it with the messages that octo encodes it with, and keeps it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::routing::post;
use http::{HeaderMap, StatusCode};
use octo_e2e::{Options, until};
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use prost::Message;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

/// A span as it came, with the service that it is of.
#[derive(Debug, Clone)]
pub struct Span {
    pub service: String,
    pub trace: String,
    pub id: String,
    pub parent: String,
    pub name: String,
    pub start: u64,
    pub end: u64,
    pub attributes: BTreeMap<String, String>,
    pub events: Vec<(String, u64)>,
    /// Trace and span.
    pub links: Vec<(String, String)>,
    pub error: Option<String>,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    raw: Vec<u8>,
    headers: Vec<HeaderMap>,
    /// How the next requests are answered; with 200 when there is nothing more.
    answers: VecDeque<u16>,
    refused: usize,
}

/// It runs as long as it is held.
pub struct Collector {
    url: String,
    kept: Arc<Mutex<Kept>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Collector {
    pub async fn start() -> Self {
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&kept));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, kept, serving }
    }

    /// The next requests are answered so.
    pub fn answer(&self, answers: &[u16]) {
        self.kept.lock().unwrap().answers.extend(answers);
    }

    /// How often it was not answered with 200.
    pub fn refused(&self) -> usize {
        self.kept.lock().unwrap().refused
    }

    /// octo with `options` sends its traces here.
    pub fn of(&self, options: Options) -> Options {
        configured(options, &self.url)
    }

    pub fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    /// All bytes that came.
    pub fn raw(&self) -> Vec<u8> {
        self.kept.lock().unwrap().raw.clone()
    }

    pub fn headers(&self) -> Vec<HeaderMap> {
        self.kept.lock().unwrap().headers.clone()
    }

    /// Waits until there is a span of each of these names, and gives all of that trace.
    pub async fn trace(&self, trace: &str, names: &[&str]) -> Vec<Span> {
        until(&format!("spans {names:?} of the trace {trace}"), || {
            let spans: Vec<Span> = self.spans().into_iter().filter(|span| span.trace == trace).collect();
            names.iter().all(|name| spans.iter().any(|span| span.name == *name)).then_some(spans)
        })
        .await
    }
}

/// octo with `options` sends its traces to `url`.
pub fn configured(options: Options, url: &str) -> Options {
    let section = format!("\n[telemetry]\notlp_endpoint = {url:?}\notlp_headers = \"env:TRACES_HEADERS\"\nservice_name = \"team\"\n");
    let mut options = options;
    options.config.push_str(&section);
    options.env.push(("TRACES_HEADERS".to_owned(), format!("authorization=Bearer {SECRET}")));
    options
}

/// What only the collector may see, in a header.
pub const SECRET: &str = "collectors-own-secret-4711";

async fn take(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> (StatusCode, Vec<u8>) {
    let mut kept = kept.lock().unwrap();
    if let Some(status) = kept.answers.pop_front() {
        kept.refused += 1;
        return (StatusCode::from_u16(status).unwrap(), Vec::new());
    }
    kept.raw.extend_from_slice(&body);
    kept.headers.push(headers);
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for resource in request.resource_spans {
        let service = attributes(resource.resource.unwrap().attributes).remove("service.name").unwrap();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            let status = span.status.unwrap_or_default();
            kept.spans.push(Span {
                service: service.clone(),
                trace: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                start: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                attributes: attributes(span.attributes),
                events: span.events.into_iter().map(|event| (event.name, event.time_unix_nano)).collect(),
                links: span.links.into_iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
                error: (status.code == 2).then_some(status.message),
            });
        }
    }
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

fn attributes(pairs: Vec<opentelemetry_proto::tonic::common::v1::KeyValue>) -> BTreeMap<String, String> {
    let text = |value: Value| match value {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    pairs.into_iter().map(|pair| (pair.key, pair.value.and_then(|value| value.value).map(text).unwrap_or_default())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
