//! Inputs that were given to pi and have not entered the conversation yet.
//!
//! pi has no ids for them: it echoes a user message when it takes one up. An echo is matched by its text, or (a template or a skill was expanded,
//! an extension rewrote it) by the queue that just became shorter.

use crate::harness::Input;
use octo_protocol::event::InputKind;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Most inputs on their way at once; more are refused.
pub const MAX_WAITING: usize = 1024;

/// pi's two queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lane {
    Steering,
    FollowUp,
}

/// The queue in which pi keeps an input of this kind while it is busy.
#[must_use]
pub fn lane(kind: InputKind) -> Lane {
    match kind {
        InputKind::Steer => Lane::Steering,
        InputKind::Prompt | InputKind::FollowUp => Lane::FollowUp,
    }
}

/// An input that pi has got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    pub token: u64,
    pub kind: InputKind,
    pub message: String,
    /// pi said that it has it.
    pub taken: bool,
}

/// All of them, in the order given.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Inputs {
    waiting: Vec<Waiting>,
    held: VecDeque<Input>,
    steering: usize,
    follow_up: usize,
    shrunk: Option<Lane>,
    /// pi has said how long its queues are since it was last asked to clear them.
    told: bool,
}

impl Inputs {
    /// No room for another.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.waiting.len() + self.held.len() >= MAX_WAITING
    }

    /// Keeps an input back until [`Self::release`].
    pub fn hold(&mut self, input: Input) {
        self.held.push_back(input);
    }

    /// Something is kept back.
    #[must_use]
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// The first that was kept back.
    pub fn next_held(&mut self) -> Option<Input> {
        self.held.pop_front()
    }

    /// Takes what was kept back.
    pub fn release(&mut self) -> VecDeque<Input> {
        std::mem::take(&mut self.held)
    }

    /// The input is written to pi.
    pub fn sent(&mut self, input: &Input) {
        self.waiting.push(Waiting { token: input.token, kind: input.kind, message: input.message.clone(), taken: false });
    }

    /// pi accepted it. `true` the first time.
    pub fn take(&mut self, token: u64) -> bool {
        match self.waiting.iter_mut().find(|waiting| waiting.token == token) {
            Some(waiting) => !std::mem::replace(&mut waiting.taken, true),
            None => false,
        }
    }

    /// It begins like a slash command, which an extension may deal with.
    #[must_use]
    pub fn is_command(&self, token: u64) -> bool {
        self.waiting.iter().any(|waiting| waiting.token == token && waiting.message.trim_start().starts_with('/'))
    }

    /// Forgets it. `true` when it was waiting.
    pub fn remove(&mut self, token: u64) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting.token != token);
        self.waiting.len() < before
    }

    /// pi has not said of every input whether it takes it.
    #[must_use]
    pub fn unanswered(&self) -> bool {
        self.waiting.iter().any(|waiting| !waiting.taken)
    }

    /// The run is over and pi's queues are empty: what pi took and never echoed was dealt with by an extension.
    pub fn settle(&mut self) -> Vec<Waiting> {
        if self.kept() > 0 {
            return Vec::new();
        }
        let (handled, waiting) = std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.taken);
        self.waiting = waiting;
        handled
    }

    /// pi's queues as they are now.
    pub fn queues(&mut self, steering: usize, follow_up: usize) {
        if steering < self.steering {
            self.shrunk = Some(Lane::Steering);
        } else if follow_up < self.follow_up {
            self.shrunk = Some(Lane::FollowUp);
        }
        (self.steering, self.follow_up) = (steering, follow_up);
        self.told = true;
    }

    /// Messages in pi's queues.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.steering + self.follow_up
    }

    /// pi is asked to clear its queues.
    pub fn clearing(&mut self) {
        self.told = false;
    }

    /// A user message entered the conversation: the input that it is, if it is one of ours.
    pub fn echoed(&mut self, text: &str) -> Option<Waiting> {
        let shrunk = self.shrunk.take();
        let in_lane = |waiting: &Waiting| shrunk.is_none_or(|shrunk| lane(waiting.kind) == shrunk);
        let same = |waiting: &Waiting| waiting.message.trim() == text.trim();
        let find = |wanted: &dyn Fn(&Waiting) -> bool| self.waiting.iter().position(wanted);
        let at = find(&|waiting| in_lane(waiting) && same(waiting))
            .or_else(|| find(&same))
            .or_else(|| find(&|waiting| shrunk.is_some() && in_lane(waiting)))
            .or_else(|| find(&|waiting| shrunk.is_none() && waiting.kind == InputKind::Prompt && rewritten(waiting)))?;
        Some(self.waiting.remove(at))
    }

    /// pi gave up this many of each queue: the inputs that they were, the newest of each kind.
    pub fn cleared(&mut self, steering: usize, follow_up: usize) -> Vec<Waiting> {
        let mut cleared = Vec::new();
        for (wanted, mut count) in [(Lane::Steering, steering), (Lane::FollowUp, follow_up)] {
            while count > 0 {
                count -= 1;
                let Some(at) = self.waiting.iter().rposition(|waiting| waiting.taken && lane(waiting.kind) == wanted) else { break };
                cleared.push(self.waiting.remove(at));
            }
        }
        self.shrunk = None;
        // pi says by itself how its queues are then, and may have said since that there is another message in them.
        if !self.told {
            (self.steering, self.follow_up) = (0, 0);
        }
        cleared.sort_by_key(|waiting| waiting.token);
        cleared
    }

    /// Everything that was sent and did not enter the conversation.
    pub fn drain(&mut self) -> Vec<Waiting> {
        std::mem::take(&mut self.waiting)
    }
}

// A template or skill is expanded only where a line begins with its name; anything else comes back as it was, unless an extension rewrote it.
fn rewritten(waiting: &Waiting) -> bool {
    waiting.taken || waiting.message.trim_start().starts_with('/')
}
