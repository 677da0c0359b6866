//! `GET /api/admin/sessions/{user}/{id}/path`: each event of a session as it goes from the agent to the sockets, with a time for each hop.
//!
//! The runner sees one half of the way and octo the other; they are put together here by the events' numbers. Both sides are bounded and lossy: whoever looks slows nobody
//! down, and is told how much was lost.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use futures_util::{Stream, stream};
use http::StatusCode;
use octo_actors::Listener;
use octo_protocol::SessionId;
use octo_protocol::admin::{EventPath, MAX_SOCKETS, PathLine, PathOpened, RunnerHop, RunnerHops, RunnerQuestion, SocketPath};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::super::error::ApiError;
use super::super::extract::Segment;
use super::actors::ask;
use super::record::record;
use super::sessions::{find, row};
use super::stream::respond;
use crate::auth::{Action, Principal, UserId};
use crate::state::AppState;
use crate::users::{Attached, MAX_WATCHERS, Passed, User, watch};

/// Lines that wait for a client.
const LINES: usize = 256;
/// After so long without a line the client is told that the answer goes on, and octo learns whether the client does.
const QUIET: Duration = Duration::from_secs(5);
/// How long one question to the runner waits for hops, and how much longer for the answer.
const WAIT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(10);
/// How often events are looked for whose path is whole.
const LOOK: Duration = Duration::from_millis(100);
/// How long sockets have for an event, from when octo had it.
const SOCKETS_WITHIN: Duration = Duration::from_millis(300);
/// How long the other process's half has.
const HALVES_WITHIN: Duration = Duration::from_secs(2);
/// Events whose path is not whole; beyond that the oldest is given up, and counted.
const MAX_PENDING: usize = 4096;
/// Hops that are taken at once.
const MAX_TAKEN: usize = 1024;
/// Where Linux says which boot of the kernel this is.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// Paths of events: one JSON object a line, until the client goes. Starts no agent.
#[utoipa::path(get, path = "/admin/sessions/{user}/{id}/path", tag = "admin",
    params(("user" = String, Path, description = "whose"), ("id" = String, Path, description = "the session")),
    responses((status = 200, body = String, content_type = "application/x-ndjson"), (status = 400, body = ApiError), (status = 401, body = ApiError), (status = 403, body = ApiError), (status = 404, body = ApiError), (status = 429, body = ApiError), (status = 503, body = ApiError)))]
pub async fn path(
    State(state): State<AppState>,
    Extension(principal): Extension<Principal>,
    Segment(name): Segment<(String, String)>,
) -> Result<Response, ApiError> {
    let object = format!("{}/{}", name.0, name.1);
    let begun = begin(&state, &principal, name).await;
    record(&state, &principal, "session.path", &object, &begun).await;
    Ok(respond(&state, &principal, lines(begun?)))
}

/// The paths, and a line now and then when nothing happens.
pub(in super::super) fn lines(begun: mpsc::Receiver<PathLine>) -> impl Stream<Item = PathLine> + Send + 'static {
    stream::unfold(begun, |mut lines| async move {
        match tokio::time::timeout(QUIET, lines.recv()).await {
            Err(_) => Some((PathLine::Quiet, lines)),
            Ok(line) => line.map(|line| (line, lines)),
        }
    })
}

/// Begins to look at the events of a session, which is authorized here: whose it is, and its id.
pub(in super::super) async fn begin(
    state: &AppState,
    principal: &Principal,
    name: (String, String),
) -> Result<mpsc::Receiver<PathLine>, ApiError> {
    let (owner, id) = find(state, principal, Action::Read, name)?;
    row(state, principal, &owner, &id).await?;
    let user = state.users.user(&owner).await?;
    let feed = user.follow(&id).await?;
    let full = || ApiError::new(StatusCode::TOO_MANY_REQUESTS, format!("{MAX_WATCHERS} look at the events of {id} already; end one first"));
    let heard = watch(feed.watchers()).ok_or_else(full)?;
    let opened: PathOpened = ask(state, principal, &owner, &RunnerQuestion::PathOpen { session: id.clone() }, ANSWER).await?;
    let own_boot = tokio::fs::read_to_string(BOOT_ID_FILE).await.unwrap_or_default();
    let one_clock = !opened.boot_id.is_empty() && own_boot.trim() == opened.boot_id;
    let (out, lines) = mpsc::channel(LINES);
    let looking = Looking { state: state.clone(), principal: principal.clone(), owner, id, path: opened.path, one_clock, out };
    tokio::spawn(looking.run(user, feed, heard));
    Ok(lines)
}

/// One who looks, until the client goes.
struct Looking {
    state: AppState,
    principal: Principal,
    owner: UserId,
    id: SessionId,
    path: u64,
    one_clock: bool,
    out: mpsc::Sender<PathLine>,
}

impl Looking {
    /// Holds the user and the feed: the session is followed as long as somebody looks.
    async fn run(self, _user: User, _feed: Attached, heard: Listener<Passed>) {
        let (halves, mut from_runner) = mpsc::channel(1);
        let asking = self.ask_runner(halves);
        let joining = async {
            let begun = PathLine::Begun { user: self.owner.to_string(), session: self.id.to_string(), one_clock: self.one_clock };
            let mut paths = Paths::new(self.one_clock);
            let mut looks = tokio::time::interval(LOOK);
            looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut told = 0;
            if self.out.send(begun).await.is_err() {
                return;
            }
            loop {
                tokio::select! {
                    (passed, lost) = heard.take(MAX_TAKEN, WAIT) => {
                        paths.lost += lost;
                        passed.into_iter().for_each(|hop| paths.octo(hop));
                    }
                    Some(batch) = from_runner.recv() => {
                        let RunnerHops { hops, dropped } = batch;
                        paths.lost += dropped;
                        hops.into_iter().for_each(|hop| paths.runner(hop));
                    }
                    _ = looks.tick() => {}
                    () = self.out.closed() => return,
                }
                for path in paths.whole() {
                    if self.out.send(PathLine::Event(path)).await.is_err() {
                        return;
                    }
                }
                if paths.lost > told {
                    told = paths.lost;
                    if self.out.send(PathLine::Dropped(told)).await.is_err() {
                        return;
                    }
                }
            }
        };
        tokio::select! {
            () = joining => {}
            // The link is lost, or the runner has let go: whoever looks begins again.
            () = asking => {}
        }
        let _ = ask::<Value>(&self.state, &self.principal, &self.owner, &RunnerQuestion::PathClose { path: self.path }, ANSWER).await;
    }

    async fn ask_runner(&self, halves: mpsc::Sender<RunnerHops>) {
        let wait_ms = u32::try_from(WAIT.as_millis()).unwrap_or(u32::MAX);
        let question = RunnerQuestion::PathNext { path: self.path, wait_ms };
        while let Ok(batch) = ask::<RunnerHops>(&self.state, &self.principal, &self.owner, &question, WAIT + ANSWER).await {
            if halves.send(batch).await.is_err() {
                return;
            }
        }
    }
}

/// What is known of one event.
struct Half {
    since: Instant,
    event: String,
    read: Option<u64>,
    translated: Option<u64>,
    committed: Option<u64>,
    sent: Option<u64>,
    queued: Option<(u64, u64)>,
    sockets: Vec<(String, u64, u64)>,
    more: u64,
}

/// Both halves of the way, put together.
struct Paths {
    one_clock: bool,
    pending: BTreeMap<u64, Half>,
    /// The newest event that was told: what comes of it later is late.
    told: u64,
    lost: u64,
}

impl Paths {
    fn new(one_clock: bool) -> Self {
        Self { one_clock, pending: BTreeMap::new(), told: 0, lost: 0 }
    }

    fn of(&mut self, seq: u64) -> Option<&mut Half> {
        if seq <= self.told {
            return None;
        }
        if self.pending.len() >= MAX_PENDING && !self.pending.contains_key(&seq) {
            self.pending.pop_first();
            self.lost += 1;
        }
        Some(self.pending.entry(seq).or_insert_with(|| Half {
            since: Instant::now(),
            event: String::new(),
            read: None,
            translated: None,
            committed: None,
            sent: None,
            queued: None,
            sockets: Vec::new(),
            more: 0,
        }))
    }

    fn runner(&mut self, hop: RunnerHop) {
        match hop {
            // A range of more events than are kept would not be from a runner of ours.
            RunnerHop::Made { from, to, read, translated } => {
                for seq in (from..=to).take(MAX_PENDING) {
                    if let Some(half) = self.of(seq) {
                        (half.read, half.translated) = (Some(read), Some(translated));
                    }
                }
            }
            RunnerHop::Committed { from, to, at } => {
                for seq in (from..=to).take(MAX_PENDING) {
                    if let Some(half) = self.of(seq) {
                        half.committed = Some(at);
                    }
                }
            }
            RunnerHop::Sent { seq, at } => {
                if let Some(half) = self.of(seq) {
                    // A replay sends it again.
                    half.sent.get_or_insert(at);
                }
            }
        }
    }

    fn octo(&mut self, hop: Passed) {
        match hop {
            Passed::Queued { seq, event, received, queued } => {
                if let Some(half) = self.of(seq) {
                    half.since = Instant::now();
                    half.event = event;
                    half.queued = Some((received, queued));
                }
            }
            Passed::Written { seq, connection, taken, written } => {
                if let Some(half) = self.of(seq) {
                    if half.sockets.len() < MAX_SOCKETS {
                        half.sockets.push((connection.to_string(), taken, written));
                    } else {
                        half.more += 1;
                    }
                }
            }
        }
    }

    /// Takes the events whose path is whole, or will not be any more, in order.
    fn whole(&mut self) -> Vec<EventPath> {
        let mut whole = Vec::new();
        while let Some((seq, half)) = self.pending.first_key_value() {
            let (seq, age) = (*seq, half.since.elapsed());
            let both = half.queued.is_some() && half.sent.is_some() && half.committed.is_some();
            if age < if both { SOCKETS_WITHIN } else { HALVES_WITHIN } {
                break;
            }
            let Some((_, half)) = self.pending.pop_first() else { break };
            self.told = seq;
            // One that has not come here: the subscription began after it.
            if let Some((received, queued)) = half.queued {
                whole.push(half.path(seq, received, queued, self.one_clock));
            }
        }
        whole
    }
}

fn micros(from: Option<u64>, to: Option<u64>) -> Option<u64> {
    Some(to?.saturating_sub(from?) / 1000)
}

impl Half {
    fn path(self, seq: u64, received: u64, queued: u64, one_clock: bool) -> EventPath {
        // Each hop is noted by a thread of its own, which may come to it a little after the next one is done: none ends before it began.
        let received = if one_clock { received.max(self.sent.unwrap_or(0)) } else { received };
        let queued = queued.max(received);
        let last = self.sockets.iter().map(|(.., written)| *written).fold(queued, u64::max);
        let first = self.read.or(self.committed).filter(|_| one_clock);
        let socket = |(connection, taken, written): (String, u64, u64)| {
            let taken = taken.max(queued);
            SocketPath { connection, taken_us: (taken - queued) / 1000, written_us: written.saturating_sub(taken) / 1000 }
        };
        EventPath {
            seq,
            event: self.event,
            translated_us: micros(self.read, self.translated),
            committed_us: micros(self.translated, self.committed),
            sent_us: micros(self.committed, self.sent),
            received_us: micros(self.sent, Some(received)).filter(|_| one_clock),
            queued_us: queued.saturating_sub(received) / 1000,
            sockets: self.sockets.into_iter().map(socket).collect(),
            more_sockets: self.more,
            total_us: micros(first, Some(last)),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn told(one_clock: bool) -> (Paths, u64) {
        let mut paths = Paths::new(one_clock);
        let us = 1000;
        paths.runner(RunnerHop::Made { from: 7, to: 8, read: 10 * us, translated: 12 * us });
        paths.runner(RunnerHop::Committed { from: 7, to: 8, at: 15 * us });
        paths.runner(RunnerHop::Sent { seq: 7, at: 16 * us });
        paths.octo(Passed::Queued { seq: 7, event: "stream.text_delta".into(), received: 20 * us, queued: 21 * us });
        for (connection, taken, written) in [("1", 25, 30), ("2", 26, 40)] {
            paths.octo(Passed::Written { seq: 7, connection: connection.into(), taken: taken * us, written: written * us });
        }
        (paths, us)
    }

    #[tokio::test(start_paused = true)]
    async fn both_halves_of_the_way_are_put_together_once_the_sockets_had_their_time() {
        let (mut paths, _) = told(true);
        assert!(paths.whole().is_empty(), "another socket may have it too");
        tokio::time::advance(SOCKETS_WITHIN).await;
        let whole = paths.whole();
        assert_eq!(whole.len(), 1, "of the other event nothing came here yet");
        let path = &whole[0];
        assert_eq!((path.seq, path.event.as_str()), (7, "stream.text_delta"));
        assert_eq!((path.translated_us, path.committed_us, path.sent_us, path.received_us), (Some(2), Some(3), Some(1), Some(4)));
        assert_eq!((path.queued_us, path.total_us), (1, Some(30)));
        let sockets: Vec<_> = path.sockets.iter().map(|s| (s.connection.as_str(), s.taken_us, s.written_us)).collect();
        assert_eq!(sockets, [("1", 4, 5), ("2", 5, 14)]);
        tokio::time::advance(HALVES_WITHIN).await;
        assert!(paths.whole().is_empty(), "what never came here has no path through here");
        assert!(paths.pending.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn times_of_two_clocks_are_never_compared() {
        let (mut paths, _) = told(false);
        tokio::time::advance(SOCKETS_WITHIN).await;
        let path = paths.whole().remove(0);
        assert_eq!((path.received_us, path.total_us), (None, None));
        assert_eq!((path.committed_us, path.queued_us, path.sockets[0].written_us), (Some(3), 1, 5), "what one clock measured is told");
    }

    #[tokio::test(start_paused = true)]
    async fn an_event_of_which_half_is_missing_is_told_without_it_and_what_is_too_much_is_counted() {
        let mut paths = Paths::new(true);
        paths.octo(Passed::Queued { seq: 3, event: "notify".into(), received: 5, queued: 6 });
        tokio::time::advance(SOCKETS_WITHIN).await;
        assert!(paths.whole().is_empty());
        tokio::time::advance(HALVES_WITHIN).await;
        let path = paths.whole().remove(0);
        assert_eq!((path.seq, path.committed_us, path.total_us), (3, None, None));
        paths.runner(RunnerHop::Sent { seq: 3, at: 1 });
        assert!(paths.pending.is_empty(), "it is late");
        paths.runner(RunnerHop::Committed { from: 4, to: u64::MAX, at: 1 });
        assert_eq!((paths.pending.len(), paths.lost), (MAX_PENDING, 0));
        paths.runner(RunnerHop::Sent { seq: 1 << 40, at: 1 });
        assert_eq!((paths.pending.len(), paths.lost), (MAX_PENDING, 1));
    }
}
