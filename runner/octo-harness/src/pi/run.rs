//! When a run begins and when it is over.
//!
//! ```text
//!            prompt given            agent_start              agent_end
//!   Idle ───────────────▶ Prompted ─────────────▶ Active ──────────────▶ Ended
//!    ▲                       │                      ▲  ▲                   │
//!    │                       │ handled, refused     │  └── agent_start ────┤ retry, overflow compaction, queue
//!    └───────────────────────┴──── settled ─────────┴─── settled ──────────┘
//! ```
//!
//! `agent_end` ends one pass, not the run: a retry, a compaction with a retry or a queued message may follow. Since 0.80.4 pi says `agent_settled`, and
//! nothing else counts once it was seen or the stream of deltas (0.84) shows that it will come. Before, pi is asked with `get_state`: two quiet
//! answers in a row, with no event between, and no announced repetition outstanding, end the run. A run is settled once; what pi begins by itself later is another run.

use super::wire;
use octo_protocol::message::StopReason;
use serde::{Deserialize, Serialize};

/// Quiet answers in a row that end a run.
const QUIET_ANSWERS: u8 = 2;
/// The same when the last message failed: then a retry or a compaction is likely.
const QUIET_ANSWERS_AFTER_ERROR: u8 = 4;
/// How long a prompt that looks like no command may take to become a run, in milliseconds, before quiet answers count.
const PROMPT_PATIENCE_MS: i64 = 3_000;
/// How long an announced repetition may take to begin, in milliseconds, before quiet answers count.
const REPETITION_PATIENCE_MS: i64 = 30_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    Idle,
    Prompted,
    Active,
    Ended,
}

/// How this pi says that a run is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Dialect {
    Unknown,
    Asked,
    Settled,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    pub reason: StopReason,
    pub error: Option<String>,
}

/// What follows from an answer to `get_state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: the run goes on, or there is none.
    Wait,
    /// Ask again.
    AskAgain,
    /// The run is over.
    Over(Settlement),
}

/// The run of one agent process.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    state: State,
    dialect: Dialect,
    quiet: u8,
    /// Until when (Unix milliseconds) an announced repetition, or the run of a prompt, is waited for.
    repetition: Option<i64>,
    /// pi took an input for the run that is about to begin.
    accepted: bool,
    /// An abort is under way: what fails now, fails because of it (0.87 reports it as an error).
    aborting: bool,
    retrying: bool,
    compacting: bool,
    reason: Option<StopReason>,
    error: Option<String>,
}

impl Default for Run {
    fn default() -> Self {
        Self {
            state: State::Idle,
            dialect: Dialect::Unknown,
            quiet: 0,
            repetition: None,
            accepted: false,
            aborting: false,
            retrying: false,
            compacting: false,
            reason: None,
            error: None,
        }
    }
}

impl Run {
    /// A run is under way, or begins.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.state != State::Idle
    }

    /// pi got a prompt and has not begun with it.
    #[must_use]
    pub fn is_prompted(&self) -> bool {
        self.state == State::Prompted
    }

    /// The agent is in its loop.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// A prompt was handed over.
    pub fn prompted(&mut self) {
        if self.state == State::Idle {
            self.state = State::Prompted;
            self.begin();
        }
    }

    fn begin(&mut self) {
        self.quiet = 0;
        self.accepted = false;
        self.aborting = false;
        self.repetition = None;
        self.reason = None;
        self.error = None;
    }

    /// `agent_start`.
    pub fn agent_start(&mut self) {
        if self.state == State::Idle {
            self.begin();
        }
        self.state = State::Active;
        self.quiet = 0;
        self.repetition = None;
        self.retrying = false;
    }

    /// Something happened: quiet answers from before it do not count.
    pub fn stirred(&mut self) {
        self.quiet = 0;
    }

    /// An abort is on its way to pi.
    pub fn abort_sent(&mut self) {
        self.aborting = self.is_working();
    }

    /// The run is being aborted.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.aborting
    }

    /// The stream shows a pi that says `agent_settled`.
    pub fn will_settle(&mut self) {
        self.dialect = Dialect::Settled;
    }

    /// How the newest message of the model ended.
    pub fn message(&mut self, reason: Option<StopReason>, error: Option<String>) {
        self.reason = reason;
        self.error = error;
    }

    /// `agent_end`. `true` when pi shall be asked whether that was all.
    pub fn agent_end(&mut self, will_retry: Option<bool>, now: i64) -> bool {
        if matches!(self.state, State::Idle | State::Prompted) {
            return false;
        }
        self.state = State::Ended;
        self.quiet = 0;
        if will_retry == Some(true) {
            self.expect_repetition(now);
        }
        self.shall_ask()
    }

    fn expect_repetition(&mut self, now: i64) {
        self.repetition = Some(now.saturating_add(REPETITION_PATIENCE_MS));
    }

    /// `auto_retry_start`: the request is made again after `delay_ms`.
    pub fn retry_start(&mut self, delay_ms: u64, now: i64) {
        self.retrying = true;
        self.expect_repetition(now.saturating_add(i64::try_from(delay_ms).unwrap_or(i64::MAX)));
    }

    /// `auto_retry_end`. `true` when pi shall be asked whether that was all.
    pub fn retry_end(&mut self, success: bool) -> bool {
        self.retrying = false;
        if !success {
            self.repetition = None;
        }
        self.shall_ask()
    }

    /// `compaction_start`.
    pub fn compaction_start(&mut self) {
        self.compacting = true;
    }

    /// `compaction_end`. `true` when pi shall be asked whether that was all.
    pub fn compaction_end(&mut self, will_retry: bool, now: i64) -> bool {
        self.compacting = false;
        self.repetition = None;
        if will_retry && self.state == State::Ended {
            self.expect_repetition(now);
        }
        self.shall_ask()
    }

    /// The prompt was accepted. `true` when pi shall be asked whether a run follows: an extension may have dealt with it. What is no slash `command`
    /// becomes a run but for rare extensions, and gets time for it.
    pub fn accepted(&mut self, command: bool, now: i64) -> bool {
        let waits = self.state == State::Prompted;
        self.accepted = true;
        if waits && !command {
            self.repetition = Some(now.saturating_add(PROMPT_PATIENCE_MS));
        }
        waits && command
    }

    /// An extension dealt with the prompt, or pi refused it: no run follows.
    pub fn no_run_follows(&mut self) -> Option<Settlement> {
        (self.state == State::Prompted).then(|| self.over(false))
    }

    fn shall_ask(&self) -> bool {
        self.state == State::Ended && self.dialect != Dialect::Settled && self.repetition.is_none() && !self.compacting && !self.retrying
    }

    /// An answer to `get_state`, also one that was asked for another reason. `ours` when it was asked by [`Verdict::AskAgain`] or one of the calls above,
    /// `unanswered` while pi has not said whether it takes an input.
    pub fn answered(&mut self, state: &wire::State, ours: bool, unanswered: bool, now: i64) -> Verdict {
        let patient = self.repetition.is_some_and(|until| now < until);
        let busy = state.is_streaming || state.is_compacting || state.pending_message_count > 0 || self.compacting;
        let may_end = match self.state {
            State::Idle | State::Active => false,
            State::Prompted => !unanswered,
            State::Ended => self.dialect != Dialect::Settled,
        };
        if !may_end || busy || patient {
            self.quiet = 0;
            return Verdict::Wait;
        }
        self.quiet += 1;
        let wanted = if self.reason == Some(StopReason::Error) { QUIET_ANSWERS_AFTER_ERROR } else { QUIET_ANSWERS };
        if self.quiet < wanted {
            return if ours { Verdict::AskAgain } else { Verdict::Wait };
        }
        if self.state == State::Ended {
            self.dialect = Dialect::Asked;
        }
        Verdict::Over(self.over(false))
    }

    /// `agent_settled`: `None` when the run was over already.
    pub fn agent_settled(&mut self, aborted: bool) -> Option<Settlement> {
        self.dialect = Dialect::Settled;
        // A prompt that pi has got and not begun with is another run.
        (!matches!(self.state, State::Idle | State::Prompted)).then(|| self.over(aborted))
    }

    /// pi answered `abort`, which it does when it is idle: a pi that does not say `agent_settled` is done.
    pub fn abort_answered(&mut self) -> Option<Settlement> {
        self.aborting &= self.state == State::Prompted;
        (self.state == State::Ended && self.dialect != Dialect::Settled).then(|| self.over(true))
    }

    /// The process is gone. `None` when no run was under way or `shown`, nor had pi taken an input for one.
    pub fn died(&mut self, shown: bool, expected: bool, error: String) -> Option<Settlement> {
        let state = std::mem::replace(&mut self.state, State::Idle);
        if state == State::Idle || (state == State::Prompted && !self.accepted && !shown) {
            return None;
        }
        let reason = if expected { StopReason::Aborted } else { StopReason::Error };
        Some(Settlement { reason, error: Some(error) })
    }

    fn over(&mut self, aborted: bool) -> Settlement {
        self.state = State::Idle;
        self.retrying = false;
        self.repetition = None;
        self.quiet = 0;
        // Also a retry that the abort ended, whose message failed before it.
        let aborting = std::mem::take(&mut self.aborting);
        let aborted = aborted || (aborting && self.reason == Some(StopReason::Error));
        let error = self.error.take();
        let reason = match self.reason.take() {
            _ if aborted => StopReason::Aborted,
            // The last message called tools and one of them ended the run.
            None | Some(StopReason::ToolUse) => StopReason::Stop,
            Some(reason) => reason,
        };
        let error = (reason == StopReason::Error).then(|| error.unwrap_or_else(|| "the model's provider failed without a word".to_owned()));
        Settlement { reason, error }
    }
}
