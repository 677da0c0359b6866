//! `/telemetry` in the tree: sends what waits to the collector, in batches, and tries again later what it did not take.
//!
//! Spans wait in a bounded queue, so a collector that is away costs spans and nothing else. That it is away is said once, and once that it is back.

use super::{Shared, Telemetry, of_eavs, otlp};
use crate::config::TelemetrySettings;
use crate::eavs::EavsClient;
use http::StatusCode;
use octo_actors::{Actor, Backoff, Ctx, Failure, Kind};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

/// Started again whatever happens: what waits is kept meanwhile.
pub(crate) const KIND: Kind = Kind::permanent("telemetry").unlimited().restart_stuck(Duration::from_secs(60));

/// Spans of one request.
const BATCH: usize = 512;
/// How long the first span of a batch waits for others.
const GATHER: Duration = Duration::from_millis(500);
/// How long the collector may take for one request.
const DEADLINE: Duration = Duration::from_secs(10);
/// The wait after a request that was not taken.
const RETRY: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
/// The longest wait that a collector may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// How often it shows what became of spans.
const LOOK: Duration = Duration::from_secs(1);
/// How much of an answer is read.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Why traces cannot be exported.
#[derive(Debug, thiserror::Error)]
#[error("no client for telemetry.otlp_endpoint can be made: {0}")]
pub struct BuildError(String);

/// The actor.
pub struct Exporter {
    shared: Arc<Shared>,
}

/// What it is told. What it works on waits elsewhere.
pub enum Message {
    /// Take a new look at yourself.
    Look,
}

/// What the exporter needs.
#[derive(Clone)]
pub struct Args {
    shared: Arc<Shared>,
    client: reqwest::Client,
    /// Whose spans are fetched, if octo looks after it.
    eavs: Option<EavsClient>,
}

impl Args {
    /// For `telemetry`; nothing when that is off.
    ///
    /// # Errors
    /// [`BuildError`].
    pub fn new(telemetry: &Telemetry, eavs: Option<EavsClient>) -> Result<Option<Self>, BuildError> {
        let Some(shared) = telemetry.shared() else { return Ok(None) };
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Losing a race against another instance in this process is as good as winning it.
            let _ = rustls::crypto::ring::default_provider().install_default();
        }
        // What its headers prove is for this collector and no other.
        let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).connect_timeout(DEADLINE).timeout(DEADLINE);
        let client = client.build().map_err(|error| BuildError(error.to_string()))?;
        Ok(Some(Self { shared, client, eavs }))
    }
}

impl Actor for Exporter {
    type Msg = Message;
    type Args = Args;

    async fn start(Args { shared, client, eavs }: Args, ctx: &Ctx<Message>) -> Result<Self, Failure> {
        ctx.tell_every(LOOK, || Message::Look)?;
        ctx.spawn_quiet(run(Arc::clone(&shared), client))?;
        if let Some(eavs) = eavs {
            ctx.spawn_quiet(of_eavs(Telemetry(Some(Arc::clone(&shared))), eavs))?;
        }
        Ok(Self { shared })
    }

    async fn handle(&mut self, message: Message, _: &Ctx<Message>) -> Result<(), Failure> {
        match message {
            // What became of spans is seen by whoever inspects.
            Message::Look => Ok(()),
        }
    }

    fn inspect(&self) -> Value {
        self.shared.view()
    }
}

impl Shared {
    fn view(&self) -> Value {
        let tally = &self.tally;
        json!({
            "waiting": self.waiting.len(), "exported": tally.exported.load(Relaxed), "lost": tally.lost.load(Relaxed),
            "rejected": tally.rejected.load(Relaxed), "failing": *tally.failing(),
        })
    }

    /// Says it once.
    fn fails(&self, why: String) {
        let mut failing = self.tally.failing();
        if failing.is_none() {
            tracing::warn!(%why, "the collector takes no spans; they are kept for a while, and tried again");
        }
        *failing = Some(why);
    }

    fn is_well(&self) {
        if self.tally.failing().take().is_some() {
            tracing::info!(lost = self.tally.lost.load(Relaxed), "the collector takes spans again");
        }
    }
}

/// How a request ended.
enum Sent {
    /// Taken, but for so many.
    Taken(u64),
    /// Not to be tried again.
    Refused(String),
    /// To be tried again, not before so long if the collector says so.
    Later(String, Option<Duration>),
}

async fn run(shared: Arc<Shared>, client: reqwest::Client) {
    while !shared.flush.is_cancelled() || !shared.waiting.is_empty() {
        tokio::select! {
            () = shared.waiting.filled() => {}
            () = shared.flush.cancelled() => {}
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = shared.flush.cancelled() => {}
        }
        let (spans, lost) = shared.waiting.take_now(BATCH);
        shared.tally.lost.fetch_add(lost, Relaxed);
        if !spans.is_empty() {
            let count = spans.len() as u64;
            let body = otlp::request(spans, &shared.settings.service_name, &shared.instance).encode_to_vec();
            deliver(&shared, &client, count, body.into()).await;
        }
    }
    shared.flushed.cancel();
}

/// Sends one batch until it is taken, refused, or there is no time left.
async fn deliver(shared: &Shared, client: &reqwest::Client, count: u64, body: bytes::Bytes) {
    let mut failures = 0;
    loop {
        match post(&shared.settings, client, body.clone()).await {
            Sent::Taken(rejected) => {
                shared.tally.rejected.fetch_add(rejected.min(count), Relaxed);
                shared.tally.exported.fetch_add(count.saturating_sub(rejected), Relaxed);
                return shared.is_well();
            }
            Sent::Refused(why) => {
                shared.tally.rejected.fetch_add(count, Relaxed);
                return shared.fails(why);
            }
            Sent::Later(why, wait) => {
                shared.fails(why);
                let wait = RETRY.delay(failures).max(wait.unwrap_or_default()).min(LONGEST_WAIT);
                failures = failures.saturating_add(1);
                let over = shared.flush.is_cancelled();
                tokio::select! {
                    () = tokio::time::sleep(wait), if !over => {}
                    // Once more, at once; then it is over.
                    () = shared.flush.cancelled(), if !over => {}
                    () = std::future::ready(()), if over => {
                        shared.tally.lost.fetch_add(count, Relaxed);
                        return;
                    }
                }
            }
        }
    }
}

async fn post(settings: &TelemetrySettings, client: &reqwest::Client, body: bytes::Bytes) -> Sent {
    let mut request = client.post(settings.endpoint.clone()).header(http::header::CONTENT_TYPE, "application/x-protobuf");
    for (name, value) in &settings.headers {
        let Ok(mut value) = http::HeaderValue::from_str(value.expose_secret()) else { continue };
        value.set_sensitive(true);
        request = request.header(name.clone(), value);
    }
    let mut answer = match request.body(body).send().await {
        Ok(answer) => answer,
        // Without the URL, which may hold a secret.
        Err(error) => return Sent::Later(causes(&error.without_url()), None),
    };
    let status = answer.status();
    let wait = answer.headers().get(http::header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok().map(Duration::from_secs));
    match status {
        StatusCode::TOO_MANY_REQUESTS | StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
            return Sent::Later(format!("it answers {status}"), wait);
        }
        status if !status.is_success() => {
            return Sent::Refused(format!("it answers {status}: look at telemetry.otlp_endpoint and its headers"));
        }
        _ => {}
    }
    let mut whole = Vec::new();
    while let Ok(Some(piece)) = answer.chunk().await {
        if whole.len() + piece.len() > MAX_ANSWER_BYTES {
            break;
        }
        whole.extend_from_slice(&piece);
    }
    // An answer that cannot be read has a good status all the same.
    let partial = ExportTraceServiceResponse::decode(whole.as_slice()).ok().and_then(|answer| answer.partial_success);
    Sent::Taken(partial.map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or_default()))
}

/// An error with what it comes from.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
