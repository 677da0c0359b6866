//! Asking everybody at once, and waiting for nobody for long.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use octo_actors::{ProcessUsage, room};
use octo_protocol::admin::RunnerQuestion;
use octo_protocol::link::RequestBody;
use octo_protocol::metrics::{ActorKind, Limit, Part, Process, Sample, Sheet, admitted};
use octo_protocol::{ErrorCode, SessionStatus};

use super::CursorState;
use crate::auth::Principal;
use crate::state::AppState;
use crate::users::User;

/// Patience for one process; who takes longer is shown as down.
pub const ANSWERS: Duration = Duration::from_secs(2);
/// Bytes of a runner's answer that are looked at; a longer one is none.
const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// What one process tells.
#[derive(Debug)]
pub struct Told {
    /// Which.
    pub part: Part,
    /// Whose runner it is; empty for the others.
    pub user: String,
    /// Its samples, those that the table knows.
    pub samples: Vec<Sample>,
}

/// The states of a session.
const STATUSES: [(SessionStatus, &str); 7] = [
    (SessionStatus::Starting, "starting"),
    (SessionStatus::Idle, "idle"),
    (SessionStatus::Working, "working"),
    (SessionStatus::NeedsInput, "needs_input"),
    (SessionStatus::Error, "error"),
    (SessionStatus::Closed, "closed"),
    (SessionStatus::Unreachable, "unreachable"),
];

/// Everything that is known now; `None` when too many read already.
pub async fn gather(state: &AppState, principal: &Principal) -> Option<Vec<Told>> {
    let Ok(_place) = state.figures.readers.try_acquire() else {
        state.figures.limits.hit(Limit::Scrapes);
        return None;
    };
    let began = Instant::now();
    let users = state.users.awake();
    let runners = join_all(users.iter().map(|user| runner(state, principal, user)));
    let own = tokio::task::spawn_blocking({
        let dir = state.settings.paths.store_dir();
        move || (ProcessUsage::now(), room::free_bytes(&dir))
    });
    let (runners, eavs, own) = tokio::join!(runners, eavs(state), own);
    let (usage, free) = own.unwrap_or_default();
    let mut sheet = Sheet::default();
    itself(&mut sheet, state, usage);
    traffic(&mut sheet, state);
    population(&mut sheet, &users);
    if let Some(free) = free {
        sheet.count("octo_disk_free_bytes", &[], free);
    }
    let mut told = Vec::new();
    for (user, samples) in users.iter().zip(runners) {
        sheet.count("octo_runner_up", &[user.id().as_str()], u64::from(samples.is_some()));
        told.extend(samples.map(|samples| Told { part: Part::Runner, user: user.id().to_string(), samples }));
    }
    if state.settings.eavs.enabled {
        sheet.count("octo_eavs_up", &[], u64::from(eavs.is_some()));
    }
    told.extend(eavs.map(|samples| Told { part: Part::Eavs, user: String::new(), samples }));
    sheet.number("octo_gather_seconds", &[], began.elapsed().as_secs_f64());
    told.insert(0, Told { part: Part::Octo, user: String::new(), samples: sheet.samples() });
    Some(told)
}

/// What a user's runner tells. One that is too old to be asked has nothing to tell, and is up.
async fn runner(state: &AppState, principal: &Principal, user: &User) -> Option<Vec<Sample>> {
    let link = user.linked()?;
    let json = serde_json::to_vec(&RunnerQuestion::Metrics).ok()?;
    let asked = link.request(principal.on_behalf_of(user.id()), RequestBody::Admin { json }, ANSWERS);
    match tokio::time::timeout(ANSWERS, asked).await {
        Ok(Ok(json)) if json.len() <= MAX_ANSWER_BYTES => checked(state, Part::Runner, serde_json::from_slice(&json).ok()?),
        Ok(Err(error)) if error.code == ErrorCode::Unsupported => Some(Vec::new()),
        _ => None,
    }
}

async fn eavs(state: &AppState) -> Option<Vec<Sample>> {
    if !state.settings.eavs.enabled {
        return None;
    }
    let answer = tokio::time::timeout(ANSWERS, state.eavs.metrics()).await.ok()?.ok()?;
    checked(state, Part::Eavs, answer)
}

fn checked(state: &AppState, part: Part, told: Vec<Sample>) -> Option<Vec<Sample>> {
    let (samples, passed_over) = admitted(part, told);
    state.figures.limits.add(Limit::Samples, passed_over);
    Some(samples)
}

fn itself(sheet: &mut Sheet, state: &AppState, usage: ProcessUsage) {
    let ProcessUsage { cpu_seconds, resident_bytes, open_fds, max_fds } = usage;
    let process = Process { started_at: state.started_at as f64 / 1000.0, cpu_seconds, resident_bytes, open_fds, max_fds };
    sheet.process(crate::VERSION, &process);
    let census = state.system.directory().census();
    for kind in &census {
        sheet.actors(&ActorKind {
            kind: kind.kind,
            states: &kind.states,
            waiting: kind.waiting,
            waiting_max: kind.waiting_max,
            fill_max: kind.fill_max,
            restarts: kind.restarts,
            given_up: kind.given_up,
        });
    }
    sheet.limits(Part::Octo, &state.figures.limits, census.iter().map(|kind| kind.busy).sum());
}

fn traffic(sheet: &mut Sheet, state: &AppState) {
    let figures = &state.figures;
    sheet.counter("octo_connections_opened_total", &[], &figures.connections);
    for cursor in CursorState::ALL {
        sheet.counter("octo_subscriptions", &[cursor.word()], figures.cursors.of(cursor));
        sheet.counter("octo_deliveries_total", &[cursor.word()], figures.deliveries.of(cursor));
    }
    sheet.counter("octo_subscriptions_behind_total", &["replay"], &figures.replays);
    sheet.counter("octo_subscriptions_behind_total", &["resync"], &figures.resyncs);
    sheet.counter("octo_frames_sent_total", &[], &figures.sent);
    sheet.counter("octo_frames_sent_bytes_total", &[], &figures.sent_bytes);
    sheet.counter("octo_frames_received_total", &[], &figures.received);
    sheet.counter("octo_outbox_bytes", &[], &figures.outbox);
    sheet.counter("octo_events_received_total", &[], &figures.events);
    sheet.counter("octo_events_received_bytes_total", &[], &figures.event_bytes);
}

fn population(sheet: &mut Sheet, users: &[User]) {
    sheet.count("octo_users_awake", &[], users.len() as u64);
    sheet.count("octo_connections", &[], users.iter().map(|user| user.load().0 as u64).sum());
    let mut sessions: BTreeMap<&str, u64> = STATUSES.iter().map(|(_, word)| (*word, 0)).collect();
    for user in users {
        let link = user.linked();
        let listed = user.listed().unwrap_or_else(|| Arc::new(Vec::new()));
        for session in listed.iter() {
            let status = if link.is_some() { session.state } else { SessionStatus::Unreachable };
            let word = STATUSES.iter().find(|(known, _)| *known == status).map(|(_, word)| *word);
            if let Some(count) = word.and_then(|word| sessions.get_mut(word)) {
                *count += 1;
            }
        }
        if let Some(link) = link {
            let (user, (pending, subscriptions)) = (user.id().as_str(), link.load());
            sheet.count("octo_link_pending_requests", &[user], pending as u64);
            sheet.count("octo_link_subscriptions", &[user], subscriptions as u64);
            sheet.number("octo_link_credit_bytes", &[user], link.credit() as f64);
        }
    }
    for (word, count) in sessions {
        sheet.count("octo_sessions", &[word], count);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sessions_are_counted_by_the_words_of_the_wire() {
        for (status, word) in STATUSES {
            assert_eq!(serde_json::to_value(status).unwrap(), word);
        }
    }
}
