//! The actor `retention`: keeps the journal within the ages and the size that are set for this user.
//!
//! Owns: when to look, and which session gives what. Old events go first by their age, then messages by theirs. What is too much is taken from the
//! sessions that hold most, so that one that floods the journal loses its own history and nobody else's.
//!
//! Promises: goes in steps with rests in between, so that no commit waits for long; what history loses is written down before it goes.
//!
//! Never: takes from a turn under way, or from an input that no agent has got, even if the journal stays larger than it may be.

use crate::clock::now_ms;
use crate::journal::{Cut, Holding, JournalError, Space, Take};
use crate::session::Registry;
use octo_actors::{Actor, Ctx, Failure, Kind};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Started again whatever happens.
pub const RETENTION: Kind = Kind::permanent("retention").unlimited().mailbox(8);
/// The shortest rest after a step; a step that took longer is followed by as long a rest.
const REST: Duration = Duration::from_millis(2);
/// How much is left of the allowed size after a pass, in percent, so that the next event does not begin another one.
const LEAVE_PERCENT: u64 = 90;
/// How often one pass looks at the size again.
const SIZE_ROUNDS: usize = 4;

/// For how long things are kept, and how much of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Events that are no messages; `None` = for ever.
    pub events: Option<Duration>,
    /// Messages; `None` = for ever.
    pub messages: Option<Duration>,
    /// Bytes of the journal in use; `None` = any number.
    pub bytes: Option<u64>,
    /// How often to look.
    pub every: Duration,
}

/// What a pass has come to.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Outcome {
    /// Unix milliseconds.
    pub ended_at: i64,
    pub messages_removed: u64,
    /// Steps that removed rows.
    pub steps: u64,
    pub space: Option<Space>,
    /// The journal is larger than it may be, and what is left may not be taken.
    pub over_limit: bool,
    pub error: Option<String>,
}

/// What it is told.
pub enum RetentionMsg {
    Look,
    #[doc(hidden)]
    Passed(Box<Outcome>),
}

/// Keeps the journal within its limits.
pub struct Retention {
    registry: Registry,
    limits: Limits,
    running: bool,
    passes: u64,
    last: Outcome,
}

impl Actor for Retention {
    type Msg = RetentionMsg;
    type Args = (Registry, Limits);

    async fn start((registry, limits): Self::Args, ctx: &Ctx<RetentionMsg>) -> Result<Self, Failure> {
        ctx.tell_every(limits.every, || RetentionMsg::Look)?;
        let _ = ctx.address().tell(RetentionMsg::Look);
        Ok(Self { registry, limits, running: false, passes: 0, last: Outcome::default() })
    }

    async fn handle(&mut self, message: RetentionMsg, ctx: &Ctx<RetentionMsg>) -> Result<(), Failure> {
        match message {
            RetentionMsg::Look if self.running => {}
            RetentionMsg::Look => {
                self.running = true;
                let pass = Pass { registry: self.registry.clone(), limits: self.limits, outcome: Outcome::default() };
                ctx.spawn_task(async move { RetentionMsg::Passed(Box::new(pass.run().await)) })?;
            }
            RetentionMsg::Passed(outcome) => {
                self.running = false;
                self.passes += 1;
                if outcome.over_limit && !self.last.over_limit {
                    tracing::warn!(?outcome, "the journal is larger than it may be, and what is left belongs to turns under way");
                }
                self.last = *outcome;
            }
        }
        Ok(())
    }

    fn inspect(&self) -> Value {
        let seconds = |d: Option<Duration>| d.map(|d| d.as_secs());
        let (events, messages) = (seconds(self.limits.events), seconds(self.limits.messages));
        json!({
            "keep_events_s": events, "keep_messages_s": messages, "max_bytes": self.limits.bytes,
            "passes": self.passes, "running": self.running, "last": self.last,
        })
    }

    fn name_of(message: &RetentionMsg) -> &'static str {
        match message {
            RetentionMsg::Look => "look",
            RetentionMsg::Passed(_) => "passed",
        }
    }
}

/// One look at everything.
pub struct Pass {
    registry: Registry,
    limits: Limits,
    outcome: Outcome,
}

impl Pass {
    async fn run(mut self) -> Outcome {
        if let Err(error) = self.all().await {
            // A full disk, or the runner is ending: the next pass goes on where this one stopped.
            tracing::warn!(%error, "the journal could not be brought within its limits for now");
            self.outcome.error = Some(error.to_string());
        }
        self.outcome.ended_at = now_ms();
        self.outcome
    }

    async fn all(&mut self) -> Result<(), JournalError> {
        let journal = self.registry.shared().journal.clone();
        let before = |keep: Duration| now_ms().saturating_sub(i64::try_from(keep.as_millis()).unwrap_or(i64::MAX));
        for holding in journal.holdings().await? {
            let mut unswept = holding.unswept;
            for take in
                [self.limits.messages.map(|k| Take::MessagesBefore(before(k))), self.limits.events.map(|k| Take::EventsBefore(before(k)))]
            {
                let Some(take) = take else { continue };
                unswept |= self.take(&holding, take).await?;
            }
            if unswept {
                self.sweep(&holding).await?;
            }
        }
        self.shrink().await?;
        while journal.give_back().await? {
            self.outcome.steps += 1;
            tokio::time::sleep(REST).await;
        }
        self.outcome.space = Some(journal.space().await?);
        Ok(())
    }

    /// Gives up all there is of that kind. True when there was something.
    async fn take(&mut self, holding: &Holding, take: Take) -> Result<bool, JournalError> {
        let journal = self.registry.shared().journal.clone();
        let mut any = false;
        while let Some(cut) = journal.plan(holding.key.session, take).await? {
            self.cut(holding, cut).await?;
            any = true;
            // Bytes are counted once; times hold for all.
            if matches!(take, Take::MessagesOf(_)) {
                break;
            }
        }
        Ok(any)
    }

    async fn cut(&mut self, holding: &Holding, cut: Cut) -> Result<(), JournalError> {
        let journal = &self.registry.shared().journal;
        let log = self.registry.get(&holding.id).and_then(|entry| entry.log());
        if let Some(messages) = &cut.messages {
            self.outcome.messages_removed += messages.messages;
            tracing::info!(
                session = holding.id,
                messages = messages.messages,
                turns = messages.turns,
                reason = ?messages.reason,
                "the beginning of a conversation is not kept any more"
            );
        }
        journal.cut(cut, log).await
    }

    async fn sweep(&mut self, holding: &Holding) -> Result<(), JournalError> {
        let journal = self.registry.shared().journal.clone();
        loop {
            let began = Instant::now();
            if !journal.sweep(holding.key.session).await? {
                return Ok(());
            }
            self.outcome.steps += 1;
            tokio::time::sleep(began.elapsed().max(REST)).await;
        }
    }

    /// Takes from those that hold most until the journal is as small as it has to be, or nothing may be taken.
    async fn shrink(&mut self) -> Result<(), JournalError> {
        let Some(limit) = self.limits.bytes else { return Ok(()) };
        let journal = self.registry.shared().journal.clone();
        for _ in 0..SIZE_ROUNDS {
            let used = journal.space().await?.used;
            self.outcome.over_limit = used > limit;
            if !self.outcome.over_limit {
                return Ok(());
            }
            let mut holdings = journal.holdings().await?;
            holdings.sort_by_key(|h| std::cmp::Reverse(h.bytes));
            let bytes: Vec<u64> = holdings.iter().map(|h| h.bytes).collect();
            let share = fair_share(&bytes, used, limit / 100 * LEAVE_PERCENT);
            let steps = self.outcome.steps;
            for holding in holdings.iter().take_while(|h| h.bytes > share) {
                self.shrink_one(holding, share).await?;
            }
            if self.outcome.steps == steps {
                return Ok(());
            }
        }
        self.outcome.over_limit = journal.space().await?.used > limit;
        Ok(())
    }

    /// Events first, then the oldest turns, until the session holds no more than `share`.
    async fn shrink_one(&mut self, holding: &Holding, share: u64) -> Result<(), JournalError> {
        if self.take(holding, Take::Events).await? {
            self.sweep(holding).await?;
        }
        loop {
            let now = self.registry.shared().journal.holding(holding.key.session).await?;
            let Some(surplus) = now.map(|h| h.bytes.saturating_sub(share)).filter(|s| *s > 0) else { return Ok(()) };
            if !self.take(holding, Take::MessagesOf(surplus)).await? {
                return Ok(());
            }
            self.sweep(holding).await?;
        }
    }
}

/// What each session may hold so that all together fit: those with less keep all of it, those with more come down to this. `bytes` are sorted, the
/// largest first; a page of the file holds more than the bytes that are counted, in the same proportion everywhere.
fn fair_share(bytes: &[u64], used: u64, target: u64) -> u64 {
    let total: u64 = bytes.iter().sum();
    let allowed = u64::try_from(u128::from(total) * u128::from(target) / u128::from(used.max(1))).unwrap_or(u64::MAX);
    let mut rest: u64 = total;
    for (n, largest) in bytes.iter().enumerate() {
        rest -= largest;
        let share = allowed.saturating_sub(rest) / (n as u64 + 1);
        // The next one is smaller than its share: it keeps all of it.
        if bytes.get(n + 1).is_none_or(|next| *next <= share) {
            return share;
        }
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn shares_fit_and_whoever_holds_less_than_the_share_keeps_all(mut bytes in proptest::collection::vec(0u64..1_000_000, 1..50), percent in 1u64..100) {
            bytes.sort_by_key(|b| std::cmp::Reverse(*b));
            let total: u64 = bytes.iter().sum();
            let target = total * percent / 100;
            let share = fair_share(&bytes, total, target);
            let held: u64 = bytes.iter().map(|b| (*b).min(share)).sum();
            prop_assert!(held <= target, "{held} > {target}");
            // Nothing more than rounding is taken without need.
            prop_assert!(held + bytes.len() as u64 > target, "{held} of {target} with {share}");
        }
    }
}
