//! What an operator asks of this runner, by way of octo: one actor's snapshot, its restart, a trace of messages, a check of the journal.
//!
//! Nothing here asks the actor in question: its row and its snapshot lie beside it, so a stuck one answers as well. Traces are this connection's
//! and end with it, or when nobody asks for them any more.

use crate::figures;
use crate::session::{Answer, Answered, json};
use crate::shared::Shared;
use octo_actors::{ActorPath, Directory, RestartError, Trace};
use octo_protocol::admin::{Found, Inspection, Outcome, RunnerQuestion, TRACE_LAPSES_AFTER, TraceBatch, TraceOpened, Traced};
use octo_protocol::metrics::Limit;
use octo_protocol::mux::system::ActorRow;
use octo_protocol::{ErrorCode, ProtocolError};
use serde_json::Value;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Traces of one connection; one more is `limit_exceeded`.
const MAX_TRACES: usize = 16;
/// Messages in one answer; the rest comes with the next.
const MAX_BATCH: usize = 1024;
/// The longest that an answer waits for messages.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Answers operators on one connection.
pub(super) struct Admin {
    directory: Directory,
    shared: Arc<Shared>,
    traces: Traces,
    /// One check of the journal at a time.
    verifying: Arc<Semaphore>,
}

impl Admin {
    pub fn new(directory: Directory, shared: Arc<Shared>) -> Self {
        Self { directory, shared, traces: Traces::default(), verifying: Arc::new(Semaphore::new(1)) }
    }

    /// Answers the question in `text`, asked by the account `actor`. What takes time does so elsewhere.
    pub fn take(&self, text: &[u8], actor: String, answer: Answer) {
        let question: RunnerQuestion = match serde_json::from_slice(text) {
            Ok(question) => question,
            Err(error) => {
                let message = format!(
                    "this runner cannot do that: {error}; it may be older than octo, `octoctl runner upgrade` brings it up to date"
                );
                let _ = answer.send(Err(ProtocolError::new(ErrorCode::Unsupported, message)));
                return;
            }
        };
        match &question {
            RunnerQuestion::Restart { .. } | RunnerQuestion::TraceOpen { .. } | RunnerQuestion::VerifyJournal => {
                tracing::info!(%actor, ?question, "an operator asks");
            }
            RunnerQuestion::Inspect { .. }
            | RunnerQuestion::TraceNext { .. }
            | RunnerQuestion::TraceClose { .. }
            | RunnerQuestion::Metrics => {}
        }
        match question {
            RunnerQuestion::Inspect { path } => drop(answer.send(self.inspect(&path))),
            RunnerQuestion::Restart { path } => {
                let directory = self.directory.clone();
                tokio::spawn(async move { drop(answer.send(restart(&directory, &path).await)) });
            }
            RunnerQuestion::TraceOpen { path } => drop(answer.send(self.open(&path))),
            RunnerQuestion::TraceNext { trace, wait_ms } => {
                let traces = self.traces.clone();
                let wait = Duration::from_millis(u64::from(wait_ms)).min(MAX_WAIT);
                tokio::spawn(async move { drop(answer.send(traces.next(trace, wait).await)) });
            }
            RunnerQuestion::TraceClose { trace } => {
                self.traces.lock().remove(&trace);
                let _ = answer.send(json(&()));
            }
            RunnerQuestion::VerifyJournal => {
                let Ok(permit) = Arc::clone(&self.verifying).try_acquire_owned() else {
                    let busy = ProtocolError::new(ErrorCode::Busy, "the journal is being checked already; wait for that one's answer");
                    return drop(answer.send(Err(busy)));
                };
                let journal = self.shared.journal.clone();
                tokio::spawn(async move {
                    let report = journal.verify().await.map_err(ProtocolError::from);
                    let _ = answer.send(report.and_then(|report| json(&report)));
                    drop(permit);
                });
            }
            RunnerQuestion::Metrics => {
                let (shared, directory) = (Arc::clone(&self.shared), self.directory.clone());
                tokio::task::spawn_blocking(move || drop(answer.send(json(&figures::samples(&shared, &directory)))));
            }
        }
    }

    fn inspect(&self, path: &str) -> Answered {
        let path = parse(path)?;
        let here =
            self.directory.inspect(&path).map(|seen| Inspection { row: row(seen.row), snapshot: seen.snapshot, age_ms: seen.age_ms });
        json(&here.map_or_else(|| absent(&self.directory, &path), Found::Here))
    }

    fn open(&self, path: &str) -> Answered {
        let path = parse(path)?;
        let limit = |message: String| {
            self.shared.figures.limits.hit(Limit::Traces);
            ProtocolError::new(ErrorCode::LimitExceeded, message)
        };
        if self.traces.lock().len() >= MAX_TRACES {
            return Err(limit(format!("{MAX_TRACES} traces of this runner are open already; end one first")));
        }
        let trace = self.directory.trace(path).map_err(|error| limit(error.to_string()))?;
        json(&TraceOpened { trace: self.traces.add(trace) })
    }
}

async fn restart(directory: &Directory, path: &str) -> Answered {
    let path = parse(path)?;
    let Some(before) = directory.get(&path) else {
        return json(&absent::<ActorRow>(directory, &path));
    };
    match directory.restart(&path).await {
        Ok(()) => json(&Found::Here(row(before))),
        // It ended in this moment.
        Err(RestartError::NotFound(_)) => json(&absent::<ActorRow>(directory, &path)),
        Err(error @ RestartError::Lingers(_)) => Err(ProtocolError::new(ErrorCode::Timeout, error.to_string())),
    }
}

fn absent<T>(directory: &Directory, path: &ActorPath) -> Found<T> {
    if path.is_root() {
        return Found::Root;
    }
    directory.ended_at(path).map_or(Found::Unknown, |ended| Found::Ended(Box::new(row(ended))))
}

fn parse(path: &str) -> Result<ActorPath, ProtocolError> {
    ActorPath::parse(path).map_err(|error| ProtocolError::new(ErrorCode::InvalidRequest, error.to_string()))
}

/// A row of the directory as it goes over the link.
pub(super) fn row(row: octo_actors::ActorRow) -> ActorRow {
    let state = match serde_json::to_value(row.state) {
        Ok(Value::String(state)) => state,
        _ => "running".to_owned(),
    };
    ActorRow {
        path: row.path.to_string(),
        kind: row.kind,
        state,
        restarts: row.restarts,
        mailbox: row.mailbox,
        processed: row.processed,
        last_error: row.last_error,
        started_at: i64::try_from(row.started_at_ms).unwrap_or(i64::MAX),
        mailbox_limit: Some(row.mailbox_limit),
        busy_ms: row.busy_ms,
        busy_with: row.busy_with,
    }
}

/// The open traces of one connection.
#[derive(Clone, Default)]
struct Traces(Arc<Mutex<HashMap<u64, Slot>>>, Arc<AtomicU64>);

struct Slot {
    /// Absent while somebody waits for it.
    trace: Option<Trace>,
    /// When it was asked last.
    asked: Instant,
}

impl Traces {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Slot>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a trace until it is closed, lapses, or the connection ends.
    fn add(&self, trace: Trace) -> u64 {
        let number = self.1.fetch_add(1, Relaxed) + 1;
        self.lock().insert(number, Slot { trace: Some(trace), asked: Instant::now() });
        let open = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(TRACE_LAPSES_AFTER).await;
                let Some(open) = open.upgrade() else { return };
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(slot) = open.get(&number) else { return };
                if slot.trace.is_some() && slot.asked.elapsed() >= TRACE_LAPSES_AFTER {
                    open.remove(&number);
                    return;
                }
            }
        });
        number
    }

    async fn next(&self, number: u64, wait: Duration) -> Answered {
        let over = || ProtocolError::new(ErrorCode::InvalidState, "this trace is over; begin another one");
        let mut trace = match self.lock().get_mut(&number).map(|slot| slot.trace.take()) {
            None => return Err(over()),
            Some(None) => return Err(ProtocolError::new(ErrorCode::Busy, "this trace is being waited for already")),
            Some(Some(trace)) => trace,
        };
        let mut messages = Vec::new();
        if let Ok(Some(first)) = tokio::time::timeout(wait, trace.next()).await {
            messages.push(traced(first));
            while messages.len() < MAX_BATCH
                && let Some(next) = trace.try_next()
            {
                messages.push(traced(next));
            }
        }
        let batch = TraceBatch { messages, dropped: trace.dropped() };
        // Closed meanwhile, it ends here.
        if let Some(slot) = self.lock().get_mut(&number) {
            *slot = Slot { trace: Some(trace), asked: Instant::now() };
        }
        json(&batch)
    }
}

fn traced(traced: octo_actors::Traced) -> Traced {
    let outcome = match traced.outcome {
        octo_actors::Outcome::Ok => Outcome::Ok,
        octo_actors::Outcome::Failed => Outcome::Failed,
        octo_actors::Outcome::Panicked => Outcome::Panicked,
        octo_actors::Outcome::Killed => Outcome::Killed,
    };
    let octo_actors::Traced { path, message, queued_us, handled_us, .. } = traced;
    Traced { path: path.to_string(), message, queued_us, handled_us, outcome }
}
