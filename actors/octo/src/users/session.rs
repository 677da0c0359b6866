//! The actor `sessions/<id>`: follows one session for all who watch it.
//!
//! Its work is one owned task: subscribe, check and wrap each event once, append to the ring; when the link is lost say so, and go on
//! after the last `seq` when it is back.

use super::feed::{Feed, Journal};
use super::passing::{Passed, name_of};
use super::payload::wrap;
use super::user::Shared;
use crate::figures::Figures;
use crate::link::{Item, Link, Subscription};
use octo_actors::unix_ns;
use octo_actors::{Actor, Backoff, Ctx, Failure, Kind, monotonic_ns};
use octo_protocol::link::{EndReason, Event, SUBSCRIPTION_CREDIT};
use octo_protocol::metrics::Limit;
use octo_protocol::trace::may_be_traced;
use octo_protocol::{EventKind, TraceContext};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Events appended with one notification of the readers.
const APPEND_BATCH: usize = 64;
/// The wait after a subscription that ended for a reason that passes.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(10));
/// A subscription that lived so long did begin; one that ends at once counts as a failure however it began.
const LASTED: Duration = Duration::from_secs(1);

pub(crate) const KIND: Kind = Kind::transient("session").degrade().mailbox(16).restart_stuck(Duration::from_secs(60));

pub(super) struct Session {
    feed: Arc<Feed>,
}

pub(super) enum Msg {
    /// The session is no more.
    Gone,
}

impl Actor for Session {
    type Msg = Msg;
    type Args = (Arc<Shared>, Arc<Feed>);

    async fn start((shared, feed): Self::Args, ctx: &Ctx<Msg>) -> Result<Self, Failure> {
        let task = follow(shared, Arc::clone(&feed));
        ctx.spawn_task(async move {
            task.await;
            Msg::Gone
        })?;
        Ok(Self { feed })
    }

    async fn handle(&mut self, Msg::Gone: Msg, ctx: &Ctx<Msg>) -> Result<(), Failure> {
        ctx.stop();
        Ok(())
    }

    fn inspect(&self) -> Value {
        let view = self.feed.view();
        let journal = view.journal.as_ref();
        json!({
            "attached": self.feed.attached(),
            "epoch": journal.map(|j| j.epoch.as_str()),
            "seq": journal.and_then(|j| j.log.last_seq()),
            "oldest": journal.and_then(|j| j.log.base_seq()),
            "held": journal.map(|j| j.log.held()),
            "reach": format!("{:?}", view.reach),
        })
    }
}

/// However the follower ends, its readers hear of it.
struct Watched<'a>(&'a Feed);

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.0.unreachable("the server stopped following the session; attach again");
    }
}

/// How one subscription ended.
enum Over {
    Gone(&'static str),
    /// What is held belongs to no journal any more.
    Restarted,
    /// Try again, at once the first time.
    Lost(Arc<str>),
}

async fn follow(shared: Arc<Shared>, feed: Arc<Feed>) {
    let _watched = Watched(&feed);
    let mut failures = 0u32;
    loop {
        let link = shared.linked(&feed).await;
        let (epoch, after) = feed.place();
        let subscribed = link.subscribe(feed.session(), epoch, after, None, SUBSCRIPTION_CREDIT);
        shared.figures().note_busy(Limit::LinkSubscriptions, &subscribed);
        let over = match subscribed {
            Err(refused) => Over::Lost(refused.message.into()),
            Ok(mut subscription) => match subscription.next().await {
                Some(Item::Started(started)) => {
                    let began = Instant::now();
                    let journal = feed.begin(&started, &link.welcome().runner_id);
                    let way = Inflow { link: &link, feed: &feed, journal: &journal, figures: shared.figures() };
                    let over = way.pump(&mut subscription, started.after).await;
                    if began.elapsed() >= LASTED {
                        failures = 0;
                    }
                    over
                }
                Some(Item::Ended(reason)) => over(reason),
                Some(Item::Event(_)) => Over::Lost("the runner sent events before the subscription began".into()),
                None => Over::Lost(link.ended().await),
            },
        };
        match over {
            Over::Gone(reason) => {
                feed.gone(reason);
                return;
            }
            Over::Restarted => feed.forget(),
            Over::Lost(reason) => feed.unreachable(&reason),
        }
        if failures > 0 {
            tokio::time::sleep(RETRY.delay(failures - 1)).await;
        }
        failures = failures.saturating_add(1);
    }
}

/// From a subscription into the ring.
struct Inflow<'a> {
    link: &'a Link,
    feed: &'a Feed,
    journal: &'a Journal,
    figures: &'a Figures,
}

impl Inflow<'_> {
    /// Appends what arrives until the subscription ends.
    async fn pump(&self, subscription: &mut Subscription, after: u64) -> Over {
        let mut last = after;
        loop {
            let mut item = subscription.next().await;
            // Made anew each time: an idle session keeps no room for a batch.
            let mut batch = Vec::new();
            let mut traced = None;
            // Of those that somebody looks at: number, name, and when it came.
            let mut passing = Vec::new();
            let over = loop {
                match item {
                    Some(Item::Event(event)) => {
                        if event.seq != 0 && event.seq <= last {
                            break Some(Over::Restarted);
                        }
                        last = last.max(event.seq);
                        if self.feed.hops().is_on() && event.kind == EventKind::Delta && may_be_traced(&event.payload) {
                            traced = TraceContext::stamped_on(&event.payload).map(|context| (event.seq, context, unix_ns()));
                        }
                        if event.seq != 0 && self.feed.watchers().are_here() {
                            passing.push((event.seq, name_of(&event.payload), monotonic_ns()));
                        }
                        batch.extend(self.frame(&event));
                    }
                    Some(Item::Ended(reason)) => break Some(over(reason)),
                    Some(Item::Started(_)) => break Some(Over::Lost("the runner began the subscription twice".into())),
                    None => break Some(Over::Lost(self.link.ended().await)),
                }
                if batch.len() >= APPEND_BATCH {
                    break None;
                }
                match subscription.ready() {
                    Some(next) => item = Some(next),
                    None => break None,
                }
            };
            self.figures.events.add(batch.len() as u64);
            self.figures.event_bytes.add(batch.iter().map(|frame| frame.bytes.len() as u64).sum());
            self.journal.log.append_all(batch);
            if !passing.is_empty() {
                let queued = monotonic_ns();
                for (seq, event, received) in passing {
                    self.feed.watchers().tell(&Passed::Queued { seq, event, received, queued });
                }
            }
            if let Some((seq, context, received)) = traced {
                self.feed.hops().received(self.feed.session().as_str(), seq, context, received);
            }
            if let Some(over) = over {
                return over;
            }
        }
    }

    fn frame(&self, event: &Event) -> Option<octo_actors::Frame> {
        wrap(self.feed.session().as_str(), &self.journal.runner_id, &self.journal.epoch, event)
    }
}

fn over(reason: EndReason) -> Over {
    match reason {
        EndReason::NoSession => Over::Gone("the session was deleted"),
        EndReason::EpochChanged | EndReason::AheadOfJournal => Over::Restarted,
        EndReason::JournalError => Over::Lost("the runner cannot read its journal".into()),
        EndReason::LimitExceeded => Over::Lost("the runner has too many subscriptions".into()),
        EndReason::Complete | EndReason::Unsubscribed => Over::Lost("the runner ended the subscription".into()),
    }
}
