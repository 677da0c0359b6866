//! The schedule of a seed: who does what, when, and how the wires behave.

use crate::Script;
use crate::rounds::{Reader, Terms};
use crate::wire::{Cut, NAP, Wire};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use std::time::Duration;

/// How an agent ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With this exit code.
    Code(i32),
    /// By SIGKILL.
    Killed,
    /// Not at all: it says and hears nothing for so many milliseconds.
    Silent(u64),
}

/// What happens. Sessions and clients are counted from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    Input {
        session: usize,
        client: usize,
        cmd: &'static str,
        script: Script,
    },
    /// Another client sends the newest input once more, under the same client id.
    Again {
        client: usize,
    },
    Abort {
        session: usize,
        client: usize,
    },
    /// The client's connection breaks.
    Cut {
        client: usize,
    },
    /// The client reads nothing for so many milliseconds.
    Doze {
        client: usize,
        ms: u64,
    },
    /// The link breaks.
    Break,
    /// Nothing passes over the link for so many milliseconds, and nobody notices.
    Hold {
        ms: u64,
    },
    Agent {
        session: usize,
        ending: Ending,
    },
    /// The runner is killed, and back after so many milliseconds.
    Runner {
        down_ms: u64,
    },
    /// octo is killed, and back after so many milliseconds.
    Hub {
        down_ms: u64,
    },
    /// The disk takes no writes for so many milliseconds.
    Full {
        ms: u64,
    },
    /// The power goes: of what was not synced, so many percent are kept.
    Power {
        down_ms: u64,
        keep: u64,
    },
}

/// One step: a pause, and then so many turns of the scheduler, so that what happens may happen at any await.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub after_ms: u64,
    pub turns: u32,
    pub act: Act,
}

/// The schedule of a seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub seed: u64,
    pub sessions: usize,
    pub readers: Vec<Reader>,
    pub steps: Vec<Step>,
    /// Whether wires have faults of their own.
    pub rough: bool,
}

/// Whose wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    Link,
    Client,
}

impl Plan {
    /// The schedule of `seed`, for ever the same.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let sessions = if random.random_bool(0.7) { 1 } else { 2 };
        let mut readers = vec![Reader::Eager];
        for _ in 0..random.random_range(0..=2) {
            readers.push(if random.random_bool(0.7) { Reader::Eager } else { Reader::Slow(random.random_range(1..=60)) });
        }
        let rough = random.random_bool(0.7);
        let mut plan = Self { seed, sessions, readers, steps: Vec::new(), rough };
        for session in 0..sessions {
            let act = plan.input(&mut random, session, "prompt");
            plan.step(&mut random, act);
        }
        for _ in 0..random.random_range(3..=9) {
            let act = plan.act(&mut random);
            plan.step(&mut random, act);
        }
        plan
    }

    fn step(&mut self, random: &mut StdRng, act: Act) {
        let after_ms = match random.random_range(0..10) {
            0..=3 => 0,
            4..=6 => random.random_range(0..30),
            7 | 8 => random.random_range(0..1000),
            _ => random.random_range(0..20_000),
        };
        let turns = if random.random_bool(0.5) { 0 } else { random.random_range(0..200) };
        self.steps.push(Step { after_ms, turns, act });
    }

    fn act(&self, random: &mut StdRng) -> Act {
        let session = random.random_range(0..self.sessions);
        let client = random.random_range(0..self.readers.len());
        let pause = |random: &mut StdRng| *[0, 1, 50, 700, 4000].choose(random).unwrap_or(&0);
        match random.random_range(0..100) {
            0..=23 => self.input(random, session, "prompt"),
            24..=31 => self.input(random, session, "steer"),
            32..=37 => self.input(random, session, "follow_up"),
            38..=42 => Act::Again { client },
            43..=49 => Act::Abort { session, client },
            50..=56 => Act::Cut { client },
            57..=60 => Act::Doze { client, ms: *[10, 500, 20_000].choose(random).unwrap_or(&10) },
            61..=65 => Act::Break,
            66..=68 => Act::Hold { ms: *[100, 3000, 14_000, 25_000].choose(random).unwrap_or(&100) },
            69..=75 => {
                let ending = match random.random_range(0..4) {
                    0 => Ending::Code(random.random_range(0..3)),
                    1 | 2 => Ending::Killed,
                    _ => Ending::Silent(*[200, 5000, 90_000].choose(random).unwrap_or(&200)),
                };
                Act::Agent { session, ending }
            }
            76..=84 => Act::Runner { down_ms: pause(random) },
            85..=91 => Act::Hub { down_ms: pause(random) },
            92..=96 => Act::Full { ms: *[1, 400, 5000].choose(random).unwrap_or(&1) },
            _ => Act::Power { down_ms: pause(random), keep: random.random_range(0..=100) },
        }
    }

    fn input(&self, random: &mut StdRng, session: usize, cmd: &'static str) -> Act {
        let client = random.random_range(0..self.readers.len());
        let rate = *[0.0, 0.0, 20.0, 200.0].choose(random).unwrap_or(&0.0);
        let plain = Script { thinking: random.random_range(0..=2), ..Script::deltas(random.random_range(1..=14)).paced(rate) };
        let script = match random.random_range(0..100) {
            0..=54 => plain,
            55..=69 => Script { tools: random.random_range(1..=2), tool_updates: random.random_range(0..=3), ..plain },
            70..=81 => Script { questions: random.random_range(1..=2), ..plain },
            82..=85 => Script { exit: Some(random.random_range(0..=1)), ..plain },
            86..=89 => Script { error: Some("the model is overloaded".to_owned()), ..plain },
            90..=93 => Script { hang: true, ..plain },
            94..=97 => Script { garbage: 3, ..plain },
            98 => Script { ignore_abort: true, ..Script::deltas(20).paced(2.0) },
            // More bytes than a ring holds.
            _ if random.random_bool(0.3) => Script::deltas(22).size(110_000),
            _ => plain,
        };
        Act::Input { session, client, cmd, script }
    }

    /// How the wire number `number` behaves.
    #[must_use]
    pub fn wire(&self, over: Over, number: u64) -> Wire {
        // After so many of them there has to be an end.
        if !self.rough || number > 40 {
            return Wire::whole();
        }
        let kind = u64::from(over == Over::Link);
        let mut random = StdRng::seed_from_u64(self.seed ^ (number << 32) ^ (kind << 63));
        let piece = |random: &mut StdRng| match random.random_range(0..8) {
            0 => random.random_range(1..40),
            1 | 2 => random.random_range(40..700),
            _ => random.random_range(700..40_000),
        };
        let pieces = (0..random.random_range(1..4)).map(|_| piece(&mut random)).collect();
        let pauses = (0..random.random_range(1..5)).map(|_| [0, 0, 0, 1, 3, NAP][random.random_range(0..6)]).collect();
        let reach = *[600, 6000, 60_000].choose(&mut random).unwrap_or(&600);
        let cut = random.random_bool(0.35).then(|| Cut { towards_octo: random.random_bool(0.5), at: random.random_range(0..reach) });
        let nap = Duration::from_millis(*[1, 1, 10, 60].choose(&mut random).unwrap_or(&1));
        Wire { room: random.random_range(64..20_000), pieces, pauses, nap, cut }
    }

    fn any(&self, of: impl Fn(&Act) -> bool) -> bool {
        self.steps.iter().any(|step| of(&step.act))
    }

    /// Whether something in `session` goes on until it is aborted.
    #[must_use]
    pub fn hangs(&self, session: usize) -> bool {
        self.any(|act| matches!(act, Act::Input { session: of, script, .. } if *of == session && script.hang))
    }

    /// How often the power goes.
    #[must_use]
    pub fn powers(&self) -> usize {
        self.steps.iter().filter(|step| matches!(step.act, Act::Power { .. })).count()
    }

    fn is_aborted(&self, session: usize) -> bool {
        self.hangs(session) || self.any(|act| matches!(act, Act::Abort { session: of, .. } if *of == session))
    }
}

impl Terms for Plan {
    fn is_disturbed(&self, session: usize) -> bool {
        let steers = |act: &Act| matches!(act, Act::Input { session: of, cmd, .. } if *of == session && *cmd == "steer");
        self.is_aborted(session) || self.ends_agents(session) || self.any(steers)
    }

    fn ends_agents(&self, session: usize) -> bool {
        self.any(|act| match act {
            Act::Runner { .. } | Act::Power { .. } => true,
            Act::Agent { session: of, ending } => *of == session && !matches!(ending, Ending::Silent(_)),
            Act::Input { session: of, script, .. } => *of == session && script.exit.is_some(),
            _ => false,
        })
    }

    fn may_lose(&self, session: usize, kind: &str) -> bool {
        self.is_aborted(session) || (kind == "steer" && self.is_disturbed(session))
    }

    fn begins_anew(&self) -> bool {
        self.powers() > 0
    }
}
