//! When a run begins and when it is over.
//!
//! ```text
//!           input written          turn begins             result
//!   Idle ────────────────▶ Prompted ────────────▶ Active ─────────▶ Idle, settled
//!    ▲                       │  ▲                   ▲ │
//!    │      all cancelled    │  │ an input waits    │ │
//!    └───────────────────────┘  └───────────────────┼─┘
//!                                                   └── a turn that Claude Code begins by itself
//! ```
//!
//! Claude Code ends each of its turns with a `result`. When an input is waiting then, the next turn follows at once and the run goes on: it is settled
//! once, when nothing is left.

use octo_protocol::message::StopReason;
use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
enum State {
    #[default]
    Idle,
    Prompted,
    Active,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    pub reason: StopReason,
    pub error: Option<String>,
}

/// The run of one agent process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    state: State,
    /// An abort is under way: what fails now, fails because of it.
    aborting: bool,
    /// Claude Code took an input for this run.
    accepted: bool,
    /// How the newest turn ended.
    last: Option<Settlement>,
}

impl Run {
    /// A run is under way, or begins.
    #[must_use]
    pub fn is_working(&self) -> bool {
        self.state != State::Idle
    }

    /// A turn is under way.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.state == State::Active
    }

    /// An input was written.
    pub fn prompted(&mut self) {
        if self.state == State::Idle {
            *self = Self { state: State::Prompted, ..Self::default() };
        }
    }

    /// Claude Code has an input for this run.
    pub fn accepted(&mut self) {
        self.accepted = true;
    }

    /// A turn begins. `true` when none was under way.
    pub fn began(&mut self) -> bool {
        match self.state {
            State::Active => false,
            State::Prompted => {
                self.state = State::Active;
                true
            }
            State::Idle => {
                *self = Self { state: State::Active, accepted: true, ..Self::default() };
                true
            }
        }
    }

    /// An abort is on its way.
    pub fn abort_sent(&mut self) {
        self.aborting = self.is_working();
    }

    /// The run is being aborted.
    #[must_use]
    pub fn is_aborting(&self) -> bool {
        self.aborting
    }

    /// The turn is over. `false` when there was none.
    pub fn turn_ended(&mut self, mut settlement: Settlement) -> bool {
        if self.state != State::Active {
            return false;
        }
        if self.aborting {
            settlement = Settlement { reason: StopReason::Aborted, error: None };
        }
        self.state = State::Prompted;
        self.last = Some(settlement);
        true
    }

    /// Nothing waits any more: the run is over unless a turn is under way.
    pub fn nothing_waits(&mut self) -> Option<Settlement> {
        if self.state != State::Prompted {
            return None;
        }
        let Self { last, aborting, .. } = std::mem::take(self);
        let cancelled = StopReason::Aborted;
        let reason = if aborting { cancelled } else { StopReason::Stop };
        Some(last.unwrap_or(Settlement { reason, error: None }))
    }

    /// The process is gone. `None` when no run was under way or `shown`, nor had Claude Code taken an input for one.
    pub fn died(&mut self, shown: bool, expected: bool, error: String) -> Option<Settlement> {
        let Self { state, accepted, .. } = std::mem::take(self);
        if state == State::Idle || (state == State::Prompted && !accepted && !shown) {
            return None;
        }
        let reason = if expected { StopReason::Aborted } else { StopReason::Error };
        Some(Settlement { reason, error: Some(error) })
    }
}
