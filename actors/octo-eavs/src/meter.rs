//! A passing answer with its meter: counts usage beside the stream, ends it when it is silent too long or its key is revoked,
//! and settles with the ledger however it ends.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use http::StatusCode;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;

use crate::config::{Cost, Model};
use crate::figures::{ProviderFigures, code_of};
use crate::registry::{Settlement, Ticket};
use crate::sniff::Sniffer;
use crate::trace::RequestSpan;
use crate::usage::{Tokens, UsageReader};

/// Output that is assumed to be possible when neither the request nor the model's entry says so.
pub const ASSUMED_MAX_OUTPUT: u64 = 8192;

/// What is known of a request for its price.
#[derive(Debug, Clone)]
pub struct Bill {
    /// The provider's model entries, to find the price by the model's name.
    pub models: Vec<Model>,
    /// Watches the request's body, which may still be on its way.
    pub request: Arc<Mutex<Sniffer>>,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Whether the path generates at all; listing models costs nothing.
    pub generates: bool,
}

impl Bill {
    /// The requested model, if it is one of the provider's: any other name is whatever somebody wrote.
    fn known_model(&self) -> Option<String> {
        self.model().and_then(|(id, entry)| entry.map(|_| id))
    }

    fn model(&self) -> Option<(String, Option<&Model>)> {
        let id = self.request.lock().unwrap_or_else(PoisonError::into_inner).found().model()?.to_owned();
        let entry = self.models.iter().find(|m| m.id == id);
        Some((id, entry))
    }

    /// Price list entry of the requested model.
    pub fn cost(&self) -> Option<Cost> {
        self.model().and_then(|(_, m)| m.and_then(|m| m.cost))
    }

    /// Three and a half bytes a token, as a rule of thumb for what was sent.
    fn input_tokens(&self) -> u64 {
        self.request_bytes * 2 / 7
    }

    fn max_output(&self) -> u64 {
        let asked = self.request.lock().unwrap_or_else(PoisonError::into_inner).found().max_tokens;
        asked.or_else(|| self.model().and_then(|(_, m)| m.and_then(|m| m.max_tokens))).unwrap_or(ASSUMED_MAX_OUTPUT)
    }

    /// The most the request can cost by estimate, in billionths of a dollar: what is reserved.
    pub fn reserve(&self) -> u64 {
        let tokens = Tokens { input: self.input_tokens(), output: self.max_output(), ..Tokens::default() };
        self.cost().filter(|_| self.generates).map_or(0, |cost| tokens.nano_usd(&cost))
    }
}

/// Settles one request. However the stream ends, `drop` runs.
struct Meter {
    ticket: Option<Ticket>,
    reader: UsageReader,
    bill: Bill,
    status: StatusCode,
    length: Option<u64>,
    ended: bool,
    /// A piece of the body has come.
    begun: bool,
    figures: Arc<ProviderFigures>,
    label: Label,
    span: Option<RequestSpan>,
}

/// What the log says about a request; no secret and no query.
#[derive(Debug, Clone)]
pub struct Label {
    /// The key's name.
    pub key: String,
    /// The provider.
    pub provider: String,
    /// Method and path.
    pub target: String,
    /// When it came.
    pub began: Instant,
}

impl Drop for Meter {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        // An answer of a told length is not asked for its end, and a client may leave once it has read the last event.
        self.ended |= self.length.is_some_and(|n| self.reader.bytes() >= n);
        if self.ended {
            self.reader.end();
        }
        let whole = self.ended || self.reader.complete().is_some();
        let mut s = Settlement { failed: !whole || self.status.as_u16() >= 400, ..Settlement::default() };
        if self.bill.generates && self.status.is_success() {
            let known = self.reader.complete();
            s.estimated = known.is_none();
            s.tokens = known.unwrap_or_else(|| self.reader.estimate(self.bill.input_tokens(), self.bill.max_output()));
            match self.bill.cost() {
                Some(cost) => s.nano = s.tokens.nano_usd(&cost),
                None => s.unpriced = true,
            }
        }
        self.figures.ended(self.label.began.elapsed(), s.tokens, s.nano);
        if let Some(code) = code_of(self.status).or(if whole { None } else { Some("cut") }) {
            self.figures.failed(code);
        }
        tracing::info!(
            key = %self.label.key, provider = %self.label.provider, target = %self.label.target, status = self.status.as_u16(),
            milliseconds = self.label.began.elapsed().as_millis() as u64, ended = self.ended,
            input = s.tokens.input, output = s.tokens.output, cache_read = s.tokens.cache_read, cache_write = s.tokens.cache_write,
            estimated = s.estimated, "request"
        );
        if let Some(span) = &mut self.span {
            if let Some(model) = self.bill.known_model() {
                span.set("gen_ai.request.model", model.as_str());
            }
            span.set("gen_ai.usage.input_tokens", s.tokens.input);
            span.set("gen_ai.usage.output_tokens", s.tokens.output);
            span.outcome(match () {
                () if !whole => Some("the answer was cut"),
                () if self.status.as_u16() >= 400 => Some("the provider refused"),
                () => None,
            });
        }
        ticket.settle(s);
    }
}

struct Passing {
    body: BoxStream<'static, Result<Bytes, std::io::Error>>,
    meter: Meter,
    revoked: CancellationToken,
    idle: Duration,
    _permit: OwnedSemaphorePermit,
}

/// Everything a metered stream needs to know.
pub struct Metering {
    /// The key's reservation.
    pub ticket: Ticket,
    /// The answer's reader.
    pub reader: UsageReader,
    /// The request's price.
    pub bill: Bill,
    /// The answer's status.
    pub status: StatusCode,
    /// The answer's length, if its head told it.
    pub length: Option<u64>,
    /// Where the provider's requests are counted.
    pub figures: Arc<ProviderFigures>,
    /// For the log.
    pub label: Label,
    /// Fires when the key is revoked.
    pub revoked: CancellationToken,
    /// Longest silence.
    pub idle: Duration,
    /// The request's place among all requests.
    pub permit: OwnedSemaphorePermit,
    /// Its span, when it is traced.
    pub span: Option<RequestSpan>,
}

/// Passes an answer on, piece by piece as it comes. An error ends the client's connection as the provider's ended.
pub fn metered(
    body: BoxStream<'static, Result<Bytes, std::io::Error>>,
    m: Metering,
) -> impl Stream<Item = Result<Bytes, std::io::Error>> + Send + 'static {
    let passing = Passing {
        body,
        meter: Meter {
            ticket: Some(m.ticket),
            reader: m.reader,
            bill: m.bill,
            status: m.status,
            length: m.length,
            ended: false,
            begun: false,
            figures: m.figures,
            label: m.label,
            span: m.span,
        },
        revoked: m.revoked,
        idle: m.idle,
        _permit: m.permit,
    };
    futures_util::stream::unfold(Some(passing), |state| async move {
        let mut p = state?;
        let next = tokio::select! {
            biased;
            () = p.revoked.cancelled() => Some(Err(std::io::Error::other("the key of this request was revoked"))),
            next = tokio::time::timeout(p.idle, p.body.next()) => match next {
                Ok(next) => next,
                Err(_) => Some(Err(std::io::Error::new(
                    std::io::ErrorKind::TimedOut,
                    format!("the provider was silent for {} s", p.idle.as_secs()),
                ))),
            },
        };
        match next {
            Some(Ok(piece)) => {
                if let Some(span) = &mut p.meter.span {
                    span.first_byte();
                }
                if !std::mem::replace(&mut p.meter.begun, true) {
                    p.meter.figures.first_byte(p.meter.label.began.elapsed());
                }
                p.meter.reader.feed(&piece);
                Some((Ok(piece), Some(p)))
            }
            Some(Err(error)) => {
                tracing::warn!(key = %p.meter.label.key, provider = %p.meter.label.provider, %error, "answer cut");
                // What came before goes out before the connection breaks.
                tokio::task::yield_now().await;
                Some((Err(error), None))
            }
            None => {
                p.meter.ended = true;
                None
            }
        }
    })
}
