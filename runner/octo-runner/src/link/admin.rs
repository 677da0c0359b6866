//! What an operator asks of this runner, by way of octo: one actor's snapshot, its restart, a trace of messages, a check of the journal.
//!
//! Nothing here asks the actor in question: its row and its snapshot lie beside it, so a stuck one answers as well. Traces are this connection's
//! and end with it, or when nobody asks for them any more.

use super::open::Open;
use crate::figures;
use crate::session::{Answer, Answered, Registry, json};
use octo_actors::{ActorPath, Directory, Listener, RestartError, Trace};
use octo_protocol::admin::{
    Found, Inspection, Outcome, PathOpened, RunnerHop, RunnerHops, RunnerQuestion, TraceBatch, TraceOpened, Traced,
};
use octo_protocol::metrics::Limit;
use octo_protocol::mux::system::ActorRow;
use octo_protocol::{ErrorCode, ProtocolError};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Those who look at the events of one session; one more is `limit_exceeded`.
const MAX_WATCHERS: usize = 4;
/// Hops that wait for one of them; more are lost to it.
const MAX_HOPS: usize = 8192;
/// Messages in one answer; the rest comes with the next.
const MAX_BATCH: usize = 1024;
/// The longest that an answer waits for messages.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// Answers operators on one connection.
pub(super) struct Admin {
    directory: Directory,
    registry: Registry,
    traces: Open<Trace>,
    watchers: Open<Watcher>,
    /// One check of the journal at a time.
    verifying: Arc<Semaphore>,
}

impl Admin {
    pub fn new(directory: Directory, registry: Registry) -> Self {
        Self { directory, registry, traces: Open::default(), watchers: Open::default(), verifying: Arc::new(Semaphore::new(1)) }
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
            RunnerQuestion::Restart { .. }
            | RunnerQuestion::TraceOpen { .. }
            | RunnerQuestion::PathOpen { .. }
            | RunnerQuestion::VerifyJournal => {
                tracing::info!(%actor, ?question, "an operator asks");
            }
            RunnerQuestion::Inspect { .. }
            | RunnerQuestion::TraceNext { .. }
            | RunnerQuestion::TraceClose { .. }
            | RunnerQuestion::PathNext { .. }
            | RunnerQuestion::PathClose { .. }
            | RunnerQuestion::Spans { .. }
            | RunnerQuestion::Trouble
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
                tokio::spawn(async move {
                    drop(answer.send(traces.ask(trace, async |trace: &mut Trace| next_messages(trace, wait).await).await));
                });
            }
            RunnerQuestion::TraceClose { trace } => {
                self.traces.close(trace);
                let _ = answer.send(json(&()));
            }
            RunnerQuestion::Trouble => {
                // It looks at the disk, which may hang.
                let journal = self.registry.shared().journal.clone();
                tokio::task::spawn_blocking(move || drop(answer.send(json(&crate::trouble::trouble(&journal)))));
            }
            RunnerQuestion::PathOpen { session } => drop(answer.send(self.watch(session.as_str()))),
            RunnerQuestion::PathNext { path, wait_ms } => {
                let watchers = self.watchers.clone();
                let wait = Duration::from_millis(u64::from(wait_ms)).min(MAX_WAIT);
                tokio::spawn(async move {
                    drop(answer.send(watchers.ask(path, async |watcher: &mut Watcher| watcher.next(wait).await).await));
                });
            }
            RunnerQuestion::PathClose { path } => {
                self.watchers.close(path);
                let _ = answer.send(json(&()));
            }
            RunnerQuestion::Spans { wait_ms } => {
                let shared = Arc::clone(self.registry.shared());
                let mut answer = answer;
                tokio::spawn(async move {
                    tokio::select! {
                        // Whoever asked has gone: the spans are for the next one.
                        () = answer.closed() => {}
                        batch = shared.spans.take(Duration::from_millis(u64::from(wait_ms))) => drop(answer.send(json(&batch))),
                    }
                });
            }
            RunnerQuestion::VerifyJournal => {
                let Ok(permit) = Arc::clone(&self.verifying).try_acquire_owned() else {
                    let busy = ProtocolError::new(ErrorCode::Busy, "the journal is being checked already; wait for that one's answer");
                    return drop(answer.send(Err(busy)));
                };
                let journal = self.registry.shared().journal.clone();
                tokio::spawn(async move {
                    let report = journal.verify().await.map_err(ProtocolError::from);
                    let _ = answer.send(report.and_then(|report| json(&report)));
                    drop(permit);
                });
            }
            RunnerQuestion::Metrics => {
                let (shared, directory) = (Arc::clone(self.registry.shared()), self.directory.clone());
                tokio::task::spawn_blocking(move || drop(answer.send(json(&figures::samples(&shared, &directory)))));
            }
        }
    }

    fn inspect(&self, path: &str) -> Answered {
        let path = parse(path)?;
        let here = self.directory.inspect(&path).map(|seen| Inspection {
            row: row(seen.row),
            snapshot: seen.snapshot,
            age_ms: seen.age_ms,
            may_restart: None,
        });
        json(&here.map_or_else(|| absent(&self.directory, &path), Found::Here))
    }

    fn open(&self, path: &str) -> Answered {
        let path = parse(path)?;
        let limit = |message: String| {
            self.registry.shared().figures.limits.hit(Limit::Traces);
            ProtocolError::new(ErrorCode::LimitExceeded, message)
        };
        self.traces.has_room()?;
        let trace = self.directory.trace(path).map_err(|error| limit(error.to_string()))?;
        json(&TraceOpened { trace: self.traces.add(trace) })
    }

    fn watch(&self, session: &str) -> Answered {
        self.watchers.has_room()?;
        let log = self.registry.get(session).and_then(|entry| entry.log()).ok_or_else(|| ProtocolError::session_not_found(session))?;
        let listener = log.watchers.listen(MAX_WATCHERS, MAX_HOPS).ok_or_else(|| {
            let message = format!("{MAX_WATCHERS} look at the events of {session} already; end one first");
            ProtocolError::new(ErrorCode::LimitExceeded, message)
        })?;
        let shared = self.registry.shared();
        let watching = Arc::clone(&shared.watching);
        watching.fetch_add(1, Relaxed);
        let path = self.watchers.add(Watcher { listener, watching });
        json(&PathOpened { path, boot_id: shared.boot_id.clone() })
    }
}

async fn restart(directory: &Directory, path: &str) -> Answered {
    let path = parse(path)?;
    let Some(before) = directory.get(&path) else {
        return json(&absent::<ActorRow>(directory, &path));
    };
    if let Some(session) = path.as_str().strip_prefix("/sessions/").and_then(|below| below.strip_suffix("/agent")) {
        // A process that its session has not asked for would be nobody's.
        let message = format!("the agent at {path} is started by its session alone: `octoctl session restart {session}` starts it again");
        return Err(ProtocolError::new(ErrorCode::InvalidState, message));
    }
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
        trouble: row.trouble,
        started_at: i64::try_from(row.started_at_ms).unwrap_or(i64::MAX),
        mailbox_limit: Some(row.mailbox_limit),
        busy_ms: row.busy_ms,
        busy_with: row.busy_with,
    }
}

/// What came within `wait`.
async fn next_messages(trace: &mut Trace, wait: Duration) -> Answered {
    let mut messages = Vec::new();
    if let Ok(Some(first)) = tokio::time::timeout(wait, trace.next()).await {
        messages.push(traced(first));
        while messages.len() < MAX_BATCH
            && let Some(next) = trace.try_next()
        {
            messages.push(traced(next));
        }
    }
    json(&TraceBatch { messages, dropped: trace.dropped() })
}

/// Somebody who looks at a session's events.
struct Watcher {
    listener: Listener<RunnerHop>,
    watching: Arc<AtomicUsize>,
}

impl Watcher {
    async fn next(&mut self, wait: Duration) -> Answered {
        let (hops, dropped) = self.listener.take(MAX_BATCH, wait).await;
        json(&RunnerHops { hops, dropped })
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.watching.fetch_sub(1, Relaxed);
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
