//! One cursor of one connection: where it stands in a session, and what comes next.
//!
//! A follower is asked for its next batch, and only then does anything: what a slow connection has not taken stays in the ring or the
//! runner's journal. Attached, it gives what the cursor misses between `replay.start` and `replay.end`, or `messages` first when there is
//! no cursor that holds; then the ring, live. Behind the ring it reads the journal again, in brackets again, and rejoins.

use crate::auth::Principal;
use crate::figures::CursorState;
use crate::link::{Item, Subscription};
use crate::telemetry::Hop;
use crate::users::{Attached, Journal, Reach, Taken, User, own_event, wrap};
use bytes::Bytes;
use octo_actors::{Frame, Read, monotonic_ns};
use octo_protocol::link::{EndReason, RequestBody};
use octo_protocol::metrics::Limit;
use octo_protocol::session::Snapshot;
use octo_protocol::trace::may_be_traced;
use octo_protocol::{Cursor, Epoch, ErrorCode, Event};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, ready};
use std::time::Duration;
use tokio::task::AbortHandle;

/// Frames and bytes one follower gives at a time, so that no session holds up another of its connection.
pub const QUANTUM_FRAMES: usize = 64;
/// See [`QUANTUM_FRAMES`]; one frame may be larger.
pub const QUANTUM_BYTES: usize = 128 * 1024;
/// Journal bytes under way to one follower that replays.
const REPLAY_CREDIT: u32 = 256 * 1024;
/// How long a replay whose client does not take the next batch keeps what is under way; later it asks the runner again.
const PARKED_FOR: Duration = Duration::from_secs(1);
/// How often a replay is begun again because something was removed under it; then the messages come instead.
const REPLAY_RETRIES: u32 = 3;
const SNAPSHOT_DEADLINE: Duration = Duration::from_secs(20);
/// The wait before a replay that could not begin is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long the ring may stay behind what the runner said at the attach.
const RING_PATIENCE: Duration = Duration::from_secs(10);

/// One cursor.
pub struct Follower {
    user: User,
    principal: Principal,
    feed: Attached,
    /// How the client calls the session; differs from its own id when an admin watches somebody else's.
    alias: Option<String>,
    /// What the runner said at the attach.
    opened: Option<(Epoch, u64)>,
    /// The journal followed last, for what is still to be said when it is no more.
    last: Option<Arc<Journal>>,
    place: Place,
    /// Where it stood when it gave what it gave last.
    gave: CursorState,
    /// Numbers that the client has not seen and that are not kept any more, when that is why it begins anew.
    dropped: Option<u64>,
    told_unreachable: bool,
}

enum Place {
    /// Nothing was given yet.
    Attach(Option<Cursor>),
    /// The messages come next; why, when the client has to be told that its cursor does not hold.
    Resync(Option<String>),
    /// Everything up to `seq` of the journal was given.
    At(Arc<Journal>, u64),
    /// Inside the brackets.
    Replay(Replay),
    /// In the ring at `position`, having given everything up to `seq`.
    Live(Arc<Journal>, u64, u64),
    /// There is nothing more.
    End,
}

impl Place {
    fn state(&self) -> CursorState {
        match self {
            Self::Attach(_) => CursorState::Attaching,
            Self::Resync(_) => CursorState::Resync,
            Self::At(..) => CursorState::Joining,
            Self::Replay(_) => CursorState::Replaying,
            Self::Live(..) => CursorState::Live,
            Self::End => CursorState::Ended,
        }
    }
}

struct Replay {
    journal: Arc<Journal>,
    seq: u64,
    count: u64,
    parked: Option<Parked>,
    /// How often this replay was begun again.
    retries: u32,
    /// Where in the ring the bracket ends: a stream that goes on would keep it open for ever.
    join: Option<u64>,
}

struct Source {
    events: Subscription,
    until: u64,
    retries: u32,
}

/// A source between two batches. A client that does not take the next one loses it, and with it what is under way.
struct Parked {
    source: Arc<Mutex<Option<Source>>>,
    reaper: AbortHandle,
}

impl Parked {
    fn new(source: Source) -> Self {
        let source = Arc::new(Mutex::new(Some(source)));
        let parked = Arc::clone(&source);
        let reaper = tokio::spawn(async move {
            let slot = || parked.lock().unwrap_or_else(PoisonError::into_inner);
            let mut waited = false;
            // Only who is not taken loses anything: a runner that is slow is waited for.
            loop {
                tokio::time::sleep(PARKED_FOR).await;
                let waits = slot().as_ref().is_none_or(|source| source.events.waits());
                if waits && waited {
                    return drop(slot().take());
                }
                waited = waits;
            }
        });
        Self { source, reaper: reaper.abort_handle() }
    }

    /// The source and what it gives next; `None` when it was lost meanwhile. It stays parked until then, as who asks may not be polled again
    /// before its client has taken the last batch.
    async fn next(&self) -> Option<(Source, Option<Item>)> {
        poll_fn(|context| {
            let mut slot = self.source.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(source) = slot.as_mut() else { return Poll::Ready(None) };
            let item = ready!(source.events.poll_next(context));
            Poll::Ready(slot.take().map(|source| (source, item)))
        })
        .await
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        self.reaper.abort();
    }
}

/// What a connection is told of a follower's place.
#[derive(Debug, Clone, serde::Serialize)]
pub struct Standing {
    /// Last `seq` given.
    pub seq: u64,
    /// How far behind the newest known one.
    pub behind: u64,
    pub state: CursorState,
}

impl Follower {
    /// A follower of `feed` from `cursor` on. `opened`: epoch and newest `seq` as the runner answered the attach.
    pub fn new(
        user: User,
        principal: Principal,
        feed: Attached,
        alias: Option<String>,
        cursor: Option<Cursor>,
        opened: Option<(Epoch, u64)>,
    ) -> Self {
        let (place, gave) = (Place::Attach(cursor), CursorState::Attaching);
        Self { user, principal, feed, alias, opened, last: None, place, gave, dropped: None, told_unreachable: false }
    }

    /// Where it stands.
    pub fn standing(&self) -> Standing {
        let of = |journal: &Journal, seq: u64| Standing {
            seq,
            behind: journal.log.last_seq().unwrap_or(seq).saturating_sub(seq),
            state: self.place.state(),
        };
        match &self.place {
            Place::Attach(_) | Place::Resync(_) | Place::End => Standing { seq: 0, behind: 0, state: self.place.state() },
            Place::At(journal, seq) | Place::Live(journal, _, seq) => of(journal, *seq),
            Place::Replay(replay) => of(&replay.journal, replay.seq),
        }
    }

    /// Where it stood when it gave what it gave last.
    pub fn gave(&self) -> CursorState {
        self.gave
    }

    /// Counts the steps by which a cursor falls behind.
    fn note(&self, before: CursorState, now: &Place) {
        let figures = self.user.figures();
        match now {
            Place::At(..) if before == CursorState::Live => figures.replays.one(),
            Place::Resync(Some(_)) if before != CursorState::Resync => figures.resyncs.one(),
            _ => {}
        }
    }

    /// The next frames, waited for; none when there will never be one.
    pub async fn next(&mut self) -> Vec<Frame> {
        loop {
            let place = std::mem::replace(&mut self.place, Place::End);
            let before = place.state();
            let (place, frames) = match place {
                // On the heap while they last: a follower that waits for the next event, as most do, keeps no room for them.
                Place::Attach(cursor) => Box::pin(self.attach(cursor)).await,
                Place::Resync(reason) => Box::pin(self.resync(reason)).await,
                Place::At(journal, seq) => self.bracket(journal, seq),
                Place::Replay(replay) => Box::pin(self.replay(replay)).await,
                Place::Live(journal, position, seq) => self.live(journal, position, seq).await,
                Place::End => return Vec::new(),
            };
            self.note(before, &place);
            self.place = place;
            if !frames.is_empty() {
                self.gave = before;
                return match &self.alias {
                    Some(alias) => frames.into_iter().map(|frame| self.rename(alias, frame)).collect(),
                    None => frames,
                };
            }
        }
    }

    /// What traces the frame `seq` that this one gave, when it is traced and nobody else has it.
    pub fn traced(&self, frame: &Frame) -> Option<Hop> {
        let hops = self.feed.hops();
        if !hops.is_on() || !may_be_traced(&frame.bytes) { None } else { hops.take(frame.seq) }
    }

    /// These frames of this one are taken now, when somebody looks at them.
    pub fn taken(&self, frames: &[Frame]) -> Option<Taken> {
        let watchers = self.feed.watchers();
        watchers.are_here().then(|| {
            let seqs = frames.iter().map(|frame| frame.seq).filter(|seq| *seq > 0).collect();
            Taken::new(Arc::clone(watchers), seqs, monotonic_ns())
        })
    }

    fn own(&self, journal: &Journal, event: Event, seq: Option<u64>) -> Vec<Frame> {
        self.frame(&journal.runner_id, &journal.epoch, event, seq)
    }

    fn frame(&self, runner_id: &str, epoch: &Epoch, event: Event, seq: Option<u64>) -> Vec<Frame> {
        let place = seq.map(|seq| (seq, crate::users::now_ms()));
        let bytes = own_event(self.feed.session().as_str(), runner_id, epoch, place, event);
        bytes.map(|bytes| Frame { seq: 0, urgent: false, bytes: Bytes::from(bytes) }).into_iter().collect()
    }

    /// Waits for a journal to follow: the one of the runner's answer unless that is replaced meanwhile.
    async fn journal(&mut self) -> Result<Arc<Journal>, Vec<Frame>> {
        let mut views = self.feed.watch();
        let patience = tokio::time::sleep(RING_PATIENCE);
        tokio::pin!(patience);
        let mut patient = true;
        loop {
            let view = views.borrow_and_update().clone();
            if let Some(reason) = view.gone {
                return Err(self.ended(&reason));
            }
            if let Some(journal) = view.journal
                && (!patient || self.opened.as_ref().is_none_or(|(epoch, _)| *epoch == journal.epoch))
            {
                self.last = Some(Arc::clone(&journal));
                return Ok(journal);
            }
            tokio::select! {
                changed = views.changed() => if changed.is_err() {
                    return Err(Vec::new());
                },
                () = &mut patience, if patient => patient = false,
            }
        }
    }

    /// Told once, when the session is no more.
    fn ended(&self, reason: &str) -> Vec<Frame> {
        let event = Event::SessionClosed { reason: Some(reason.to_owned()) };
        match (&self.last, &self.opened) {
            (Some(journal), _) => self.own(journal, event, None),
            (None, Some((epoch, _))) => {
                let runner = self.user.linked().map_or_else(String::new, |link| link.welcome().runner_id.clone());
                self.frame(&runner, epoch, event, None)
            }
            (None, None) => Vec::new(),
        }
    }

    async fn attach(&mut self, cursor: Option<Cursor>) -> (Place, Vec<Frame>) {
        let journal = match self.journal().await {
            Ok(journal) => journal,
            Err(last) => return (Place::End, last),
        };
        let Some(Cursor { epoch, seq }) = cursor else { return (Place::Resync(None), Vec::new()) };
        if epoch != journal.epoch {
            let reason = format!("the session's journal was started anew (epoch {}, your cursor is of {epoch})", journal.epoch);
            return (Place::Resync(Some(reason)), Vec::new());
        }
        let newest = self.opened.as_ref().filter(|(of, _)| *of == epoch).map_or(0, |(_, seq)| *seq);
        let newest = newest.max(journal.log.last_seq().unwrap_or(0));
        if seq > newest {
            return (Place::Resync(Some(format!("your cursor {seq} is ahead of the journal, which ends at {newest}"))), Vec::new());
        }
        (Place::At(journal, seq), Vec::new())
    }

    async fn resync(&mut self, reason: Option<String>) -> (Place, Vec<Frame>) {
        let journal = match self.journal().await {
            Ok(journal) => journal,
            Err(last) => return (Place::End, last),
        };
        if let Some(reason) = reason {
            let dropped_count = self.dropped.take();
            let told = self.own(&journal, Event::ResyncRequired { reason, dropped_count }, None);
            return (Place::Resync(None), told);
        }
        let body = RequestBody::Snapshot { session: self.feed.session().clone() };
        let answer = self.user.request(&self.principal, body, SNAPSHOT_DEADLINE).await;
        let snapshot = match answer.map(|json| serde_json::from_slice::<Snapshot>(&json)) {
            Ok(Ok(snapshot)) => snapshot,
            Ok(Err(error)) => {
                tracing::warn!(user = %self.user.id(), session = %self.feed.session(), %error, "the runner's snapshot cannot be read");
                tokio::time::sleep(RETRY).await;
                return (Place::Resync(None), Vec::new());
            }
            Err(refused) if refused.code == ErrorCode::SessionNotFound => return (Place::End, self.ended(&refused.message)),
            Err(_) => {
                tokio::time::sleep(RETRY).await;
                return (Place::Resync(None), Vec::new());
            }
        };
        if snapshot.epoch != journal.epoch {
            // One of the two is about to change.
            self.opened = Some((snapshot.epoch, snapshot.as_of));
            tokio::time::sleep(RETRY).await;
            return (Place::Resync(None), Vec::new());
        }
        let Snapshot { messages, as_of, has_more, state, removed, .. } = snapshot;
        let frames = self.own(&journal, Event::Messages { messages, as_of, has_more, state: Box::new(state), removed }, None);
        (Place::At(journal, as_of), frames)
    }

    fn bracket(&self, journal: Arc<Journal>, seq: u64) -> (Place, Vec<Frame>) {
        let start = self.own(&journal, Event::ReplayStart { after: seq }, None);
        (Place::Replay(Replay { journal, seq, count: 0, parked: None, retries: 0, join: None }), start)
    }

    /// Whether the journal that is followed has been replaced by another.
    fn superseded(&self, journal: &Arc<Journal>) -> bool {
        let view = self.feed.view();
        view.gone.is_some() || view.journal.as_ref().is_none_or(|now| !Arc::ptr_eq(now, journal))
    }

    /// What follows when the journal is not the one any more: the cursor may still hold in the next one.
    fn moved(&mut self, journal: &Journal, seq: u64) -> (Place, Vec<Frame>) {
        self.opened = None;
        (Place::Attach(Some(Cursor { epoch: journal.epoch.clone(), seq })), Vec::new())
    }

    async fn replay(&mut self, mut replay: Replay) -> (Place, Vec<Frame>) {
        if self.superseded(&replay.journal) {
            return self.moved(&replay.journal, replay.seq);
        }
        let Some(parked) = replay.parked.take() else { return self.rejoin(replay).await };
        let Some((mut source, mut item)) = parked.next().await else { return self.rejoin(replay).await };
        let mut frames = Vec::new();
        let mut bytes = 0;
        loop {
            match item {
                Some(Item::Event(event)) if event.seq > replay.seq => {
                    replay.seq = event.seq;
                    let wrapped = wrap(self.feed.session().as_str(), &replay.journal.runner_id, &replay.journal.epoch, &event);
                    if let Some(frame) = wrapped {
                        replay.count += 1;
                        bytes += frame.bytes.len();
                        frames.push(frame);
                    }
                }
                Some(Item::Started(started)) if started.after > replay.seq => return self.not_kept(replay.seq, started.after, frames),
                Some(Item::Event(_) | Item::Started(_)) => {}
                Some(Item::Ended(EndReason::Complete)) => {
                    replay.seq = replay.seq.max(source.until);
                    return (Place::Replay(replay), frames);
                }
                // Something was removed under this replay: subscribing again tells what, and where what is kept begins.
                Some(Item::Ended(EndReason::EpochChanged)) if !self.superseded(&replay.journal) && source.retries < REPLAY_RETRIES => {
                    replay.retries = source.retries + 1;
                    return (Place::Replay(replay), frames);
                }
                Some(Item::Ended(EndReason::EpochChanged | EndReason::AheadOfJournal)) => {
                    let reason = Some("the session's journal was started anew".to_owned());
                    return (Place::Resync(reason), frames);
                }
                // The feed says why, and whether there is more.
                Some(Item::Ended(_)) | None => {
                    if frames.is_empty() {
                        tokio::time::sleep(RETRY).await;
                    }
                    return (Place::Replay(replay), frames);
                }
            }
            if frames.len() >= QUANTUM_FRAMES || bytes >= QUANTUM_BYTES {
                break;
            }
            match source.events.ready() {
                Some(next) => item = Some(next),
                None => break,
            }
        }
        replay.parked = Some(Parked::new(source));
        (Place::Replay(replay), frames)
    }

    /// The cursor is older than what is kept: never a silent gap.
    fn not_kept(&mut self, seq: u64, floor: u64, frames: Vec<Frame>) -> (Place, Vec<Frame>) {
        self.dropped = Some(floor - seq);
        let reason = format!(
            "your cursor {seq} is older than what is kept: events up to {floor} were removed by the limits set for this server's journals; the messages that are kept follow"
        );
        (Place::Resync(Some(reason)), frames)
    }

    /// How far the journal goes for certain by what the runner said at the attach, which the ring may not have seen yet.
    fn due(&self, journal: &Journal) -> u64 {
        self.opened.as_ref().filter(|(epoch, _)| *epoch == journal.epoch).map_or(0, |(_, seq)| *seq)
    }

    /// Joins the ring if it holds what comes next, up to what the attach was told of; otherwise the next stretch of the journal.
    async fn rejoin(&mut self, mut replay: Replay) -> (Place, Vec<Frame>) {
        let due = self.due(&replay.journal);
        let log = &replay.journal.log;
        if log.last_seq().unwrap_or(0) >= due
            && let Some(mut position) = log.position_after_seq(replay.seq)
        {
            // What happened before this attach and was never journalled is over; the client is told how things stand instead.
            let until = *replay.join.get_or_insert_with(|| log.head());
            let mut frames = Vec::new();
            let mut bytes = 0;
            while position < until {
                let Read::Frames { frames: read, next } = log.read(position, 1, usize::MAX) else {
                    // It went on without this one, which still has to come to where the attach was.
                    replay.join = None;
                    return (Place::Replay(replay), frames);
                };
                if next == position {
                    break;
                }
                position = next;
                for frame in read {
                    if frame.seq <= replay.seq {
                        continue;
                    }
                    replay.seq = frame.seq;
                    replay.count += 1;
                    bytes += frame.bytes.len();
                    frames.push(frame);
                }
                if frames.len() >= QUANTUM_FRAMES || bytes >= QUANTUM_BYTES {
                    return (Place::Replay(replay), frames);
                }
            }
            frames.extend(self.own(&replay.journal, Event::ReplayEnd { count: replay.count }, Some(replay.seq)));
            frames.extend(self.reach(&replay.journal));
            return (Place::Live(replay.journal, position, replay.seq), frames);
        }
        replay.join = None;
        let newest = log.last_seq().unwrap_or(0).max(due);
        if newest <= replay.seq {
            // The ring has not seen yet what was read from the journal: it is on its way.
            return self.wait_for_ring(replay).await;
        }
        let source = match self.user.link(RING_PATIENCE).await {
            Ok(link) => {
                let epoch = Some(replay.journal.epoch.clone());
                let subscribed = link.subscribe(self.feed.session(), epoch, Some(replay.seq), Some(newest), REPLAY_CREDIT);
                self.user.figures().note_busy(Limit::LinkSubscriptions, &subscribed);
                subscribed
            }
            Err(refused) => Err(refused),
        };
        match source {
            Ok(events) => replay.parked = Some(Parked::new(Source { events, until: newest, retries: replay.retries })),
            Err(_) => {
                let told = self.reach(&replay.journal);
                if told.is_empty() {
                    tokio::time::sleep(RETRY).await;
                }
                return (Place::Replay(replay), told);
            }
        }
        (Place::Replay(replay), Vec::new())
    }

    /// Whether the runner is in reach, where the client has been told otherwise. In the ring it reads that by itself.
    fn reach(&mut self, journal: &Journal) -> Vec<Frame> {
        let event = match self.feed.view().reach {
            Reach::Down(reason) if !self.told_unreachable => Event::SessionUnreachable { reason: reason.to_string() },
            Reach::Up if self.told_unreachable => Event::SessionReachable,
            _ => return Vec::new(),
        };
        self.told_unreachable = !self.told_unreachable;
        self.own(journal, event, None)
    }

    async fn wait_for_ring(&mut self, replay: Replay) -> (Place, Vec<Frame>) {
        let mut head = replay.journal.log.watch();
        let before = *head.borrow_and_update();
        let mut views = self.feed.watch();
        if self.superseded(&replay.journal) || replay.journal.log.last_seq().is_some_and(|newest| newest >= replay.seq) {
            // It came between the look and the watch; nothing else may follow it for a long time.
            return (Place::Replay(replay), Vec::new());
        }
        let told = self.reach(&replay.journal);
        if !told.is_empty() {
            return (Place::Replay(replay), told);
        }
        let out_of_reach = matches!(self.feed.view().reach, Reach::Down(_));
        tokio::select! {
            _ = head.wait_for(|now| *now != before) => {}
            _ = views.changed() => {}
            // While the runner is out of reach the ring cannot move.
            () = tokio::time::sleep(RING_PATIENCE), if !out_of_reach => {
                return (Place::Resync(Some("the session's journal ends before your cursor".to_owned())), Vec::new());
            }
        }
        (Place::Replay(replay), Vec::new())
    }

    async fn live(&mut self, journal: Arc<Journal>, position: u64, seq: u64) -> (Place, Vec<Frame>) {
        let mut head = journal.log.watch();
        loop {
            head.borrow_and_update();
            match journal.log.read(position, QUANTUM_FRAMES, QUANTUM_BYTES) {
                Read::Frames { frames, next } if next > position => {
                    let seq = frames.iter().map(|frame| frame.seq).max().unwrap_or(0).max(seq);
                    return (Place::Live(journal, next, seq), frames);
                }
                Read::Frames { .. } => {
                    let _ = head.changed().await;
                }
                Read::Behind { .. } if self.superseded(&journal) => return self.moved(&journal, seq),
                Read::Behind { .. } => return (Place::At(journal, seq), Vec::new()),
            }
        }
    }

    /// The same frame under the name by which this client knows the session.
    fn rename(&self, alias: &str, frame: Frame) -> Frame {
        let prefix = format!("{{\"channel\":\"agent\",\"session_id\":\"{}\"", self.feed.session());
        match frame.bytes.strip_prefix(prefix.as_bytes()) {
            Some(rest) => {
                let mut bytes = format!("{{\"channel\":\"agent\",\"session_id\":\"{alias}\"").into_bytes();
                bytes.extend_from_slice(rest);
                Frame { bytes: Bytes::from(bytes), ..frame }
            }
            None => frame,
        }
    }
}
