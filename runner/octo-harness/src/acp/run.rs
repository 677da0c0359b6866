//! When a run begins and when it is over: from the first prompt to the answer to the last. What an agent says outside of one is a run of its own, which is
//! over when it has been silent for a while.

use octo_protocol::message::StopReason;
use serde::{Deserialize, Serialize};

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlement {
    pub reason: StopReason,
    pub error: Option<String>,
}

/// An input that was written and has no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub token: u64,
    /// The agent has shown that it has it.
    pub delivered: bool,
}

/// The run of one agent process.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Run {
    given: Vec<Given>,
    /// The agent began by itself; whether it said something since it was last looked at.
    own: Option<bool>,
    /// An abort is under way.
    pub aborting: bool,
    last: Option<Settlement>,
}

impl Run {
    /// A run is under way.
    #[must_use]
    pub fn is_working(&self) -> bool {
        !self.given.is_empty() || self.own.is_some()
    }

    /// A prompt is without an answer.
    #[must_use]
    pub fn is_prompted(&self) -> bool {
        !self.given.is_empty()
    }

    /// Prompts without an answer.
    #[must_use]
    pub fn count(&self) -> usize {
        self.given.len()
    }

    /// A prompt was written.
    pub fn prompted(&mut self, token: u64) {
        self.own = None;
        self.given.push(Given { token, delivered: false });
    }

    /// The agent says something: the tokens of the inputs that it has, then. `true` when it began by itself.
    pub fn heard(&mut self) -> (Vec<u64>, bool) {
        if self.given.is_empty() {
            return (Vec::new(), self.own.replace(true).is_none());
        }
        // It answers one after the other.
        let first = self.given.iter_mut().take(1).filter(|given| !given.delivered);
        let now = first.map(|given| {
            given.delivered = true;
            given.token
        });
        (now.collect(), false)
    }

    /// A prompt was answered: whether the agent had shown that it had it.
    pub fn answered(&mut self, token: u64, settlement: Settlement) -> Option<Given> {
        let at = self.given.iter().position(|given| given.token == token)?;
        self.last = Some(match self.aborting {
            true => Settlement { reason: StopReason::Aborted, error: None },
            false => settlement,
        });
        Some(self.given.remove(at))
    }

    /// Looks whether the run is over.
    pub fn over(&mut self) -> Option<Settlement> {
        if !self.given.is_empty() {
            return None;
        }
        self.aborting = false;
        self.last.take()
    }

    /// Time has passed: the end of a run that the agent began by itself and said nothing in since.
    pub fn looked(&mut self) -> Option<Settlement> {
        match &mut self.own {
            Some(spoke) if *spoke => {
                *spoke = false;
                None
            }
            Some(_) => self.stop_own(),
            None => None,
        }
    }

    /// The end of a run that the agent began by itself.
    pub fn stop_own(&mut self) -> Option<Settlement> {
        self.own.take().map(|_| Settlement { reason: if self.aborting { StopReason::Aborted } else { StopReason::Stop }, error: None })
    }

    /// The process is gone: what was given, and how the run ended, if the agent had something of it.
    pub fn died(&mut self, shown: bool, expected: bool, error: String) -> (Vec<Given>, Option<Settlement>) {
        let Self { given, own, .. } = std::mem::take(self);
        let had = own.is_some() || shown || !given.is_empty();
        let reason = if expected { StopReason::Aborted } else { StopReason::Error };
        (given, had.then_some(Settlement { reason, error: Some(error) }))
    }
}
