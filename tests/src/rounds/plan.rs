//! A round as a pure function of its seed: who does what, and after how many events.

use super::judge::Terms;
use crate::{Script, Turn, demo_prompt};
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

/// One round in so many is played with real pi, the others with the scripted agent.
pub const PI_EVERY: u64 = 5;

/// Who answers the prompts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Agent {
    Pi,
    Scripted,
}

/// How a client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    Eager,
    /// A pause of so many milliseconds after every frame, over a small receive buffer.
    Slow(u64),
    /// Reads nothing while the round is played.
    Asleep,
}

/// Whom a round kills or stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Victim {
    Octo,
    Runner,
    Eavs,
    /// The agent of this session, and only its own process.
    Agent(usize),
    /// Pid 1 of this session's sandbox.
    Sandbox(usize),
}

/// How.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blow {
    Kill,
    Term,
    /// SIGSTOP, and SIGCONT after so many milliseconds.
    Freeze(u64),
}

/// What an input asks the agent for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    /// So many pieces at so many a second.
    Stream { pieces: u32, rate: u32 },
    /// More than the server's ring holds, as fast as it goes.
    Flood,
    /// Pieces, a tool, pieces.
    Tool,
    /// The same with processes left behind that escape a process group: double-forked, in a session of their own, without an environment.
    Runaway,
}

/// What a client does. Sessions and clients are counted from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    Input {
        session: usize,
        client: usize,
        cmd: &'static str,
        shape: Shape,
    },
    Abort {
        session: usize,
        client: usize,
    },
    /// The client's connection breaks; it comes back by itself.
    Cut {
        client: usize,
    },
    Strike {
        victims: Vec<Victim>,
        blow: Blow,
    },
    /// The runner goes on as another program, with its agents.
    Upgrade,
}

/// One step: what happens when so many events have come since the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub after: u64,
    pub act: Act,
}

/// A round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    pub seed: u64,
    pub agent: Agent,
    pub sessions: usize,
    pub readers: Vec<Reader>,
    pub steps: Vec<Step>,
}

impl Plan {
    /// The round of this seed, for ever the same.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let agent = if seed.is_multiple_of(PI_EVERY) { Agent::Pi } else { Agent::Scripted };
        let sessions = random.random_range(1..=if agent == Agent::Pi { 2 } else { 3 });
        let mut readers = vec![Reader::Eager];
        for _ in 0..random.random_range(0..=3) {
            readers.push(match random.random_range(0..10) {
                0..=5 => Reader::Eager,
                6..=8 => Reader::Slow(random.random_range(1..=8)),
                _ => Reader::Asleep,
            });
        }
        let mut round = Self { seed, agent, sessions, readers, steps: Vec::new() };
        // Each session works from the beginning on, so that every blow hits something.
        for session in 0..sessions {
            let act = round.input(&mut random, session, "prompt");
            round.steps.push(Step { after: 0, act });
        }
        let strikes = random.random_range(1..=3);
        let mut acts: Vec<Act> = (0..strikes).map(|_| round.strike(&mut random)).collect();
        for _ in 0..random.random_range(2..=6) {
            acts.push(round.pastime(&mut random));
        }
        for _ in 0..random.random_range(0..=2) {
            acts.push(Act::Upgrade);
        }
        acts.shuffle(&mut random);
        for act in acts {
            round.steps.push(Step { after: random.random_range(0..=25), act });
        }
        round
    }

    fn input(&self, random: &mut StdRng, session: usize, cmd: &'static str) -> Act {
        let shape = match random.random_range(0..20) {
            0..=9 => Shape::Stream { pieces: random.random_range(10..=100), rate: *[50, 200, 1000].choose(random).unwrap_or(&200) },
            10..=13 => Shape::Tool,
            14..=17 => Shape::Runaway,
            18 if self.agent == Agent::Scripted && cmd == "prompt" => Shape::Flood,
            _ => Shape::Stream { pieces: 300, rate: 1000 },
        };
        Act::Input { session, client: self.client(random), cmd, shape }
    }

    /// Somebody who may speak: a client that sleeps does not.
    fn client(&self, random: &mut StdRng) -> usize {
        let awake: Vec<usize> = (0..self.readers.len()).filter(|client| self.readers[*client] != Reader::Asleep).collect();
        awake.choose(random).copied().unwrap_or_default()
    }

    fn pastime(&self, random: &mut StdRng) -> Act {
        let session = random.random_range(0..self.sessions);
        match random.random_range(0..10) {
            0..=3 => self.input(random, session, "prompt"),
            4 | 5 => self.input(random, session, "steer"),
            6 => self.input(random, session, "follow_up"),
            7 => Act::Abort { session, client: self.client(random) },
            _ => Act::Cut { client: random.random_range(0..self.readers.len()) },
        }
    }

    fn strike(&self, random: &mut StdRng) -> Act {
        let session = random.random_range(0..self.sessions);
        let all = [Victim::Octo, Victim::Runner, Victim::Agent(session), Victim::Sandbox(session), Victim::Eavs];
        // Octo and the runner are what the promise is about.
        let mut victims = match random.random_range(0..20) {
            0..=5 => vec![Victim::Octo],
            6..=10 => vec![Victim::Runner],
            11..=12 => vec![Victim::Agent(session)],
            13 => vec![Victim::Sandbox(session)],
            14 => vec![Victim::Eavs],
            15 | 16 => vec![Victim::Octo, Victim::Runner],
            _ => all.choose_multiple(random, 3).copied().collect(),
        };
        victims.shuffle(random);
        let blow = match random.random_range(0..10) {
            0..=5 => Blow::Kill,
            6 | 7 => Blow::Term,
            // Longer than a heartbeat's patience would be a minute for nothing in most rounds: one in a hundred.
            _ if random.random_bool(0.05) => Blow::Freeze(16_500),
            _ => Blow::Freeze(random.random_range(20..=300)),
        };
        Act::Strike { victims, blow }
    }

    /// Whether nothing ends the agent of `session`: then it is the same process from the first event to the last.
    #[must_use]
    pub fn keeps_agent(&self, session: usize) -> bool {
        let ends = |victim: &Victim, blow: Blow| {
            matches!(victim, Victim::Runner)
                || *victim == Victim::Agent(session)
                || (*victim == Victim::Sandbox(session) && victim.dies_of(blow))
        };
        !self.steps.iter().any(|step| match &step.act {
            Act::Strike { victims, blow } => !matches!(blow, Blow::Freeze(_)) && victims.iter().any(|victim| ends(victim, *blow)),
            _ => false,
        })
    }
}

impl Terms for Plan {
    fn is_disturbed(&self, session: usize) -> bool {
        self.steps.iter().any(|step| match &step.act {
            Act::Abort { session: aborted, .. } => *aborted == session,
            Act::Input { session: steered, cmd, .. } => *steered == session && *cmd == "steer",
            Act::Strike { .. } | Act::Cut { .. } | Act::Upgrade => false,
        }) || self.ends_agents(session)
    }

    fn ends_agents(&self, session: usize) -> bool {
        self.steps.iter().any(|step| match &step.act {
            Act::Strike { victims, blow } => {
                let stops = !matches!(blow, Blow::Freeze(_));
                let hits = |victim: &Victim| match victim {
                    Victim::Octo => false,
                    Victim::Runner => true,
                    Victim::Eavs => self.agent == Agent::Pi,
                    Victim::Agent(hit) | Victim::Sandbox(hit) => *hit == session,
                };
                stops && victims.iter().any(hits)
            }
            _ => false,
        })
    }

    fn may_lose(&self, session: usize, kind: &str) -> bool {
        let aborted = self.steps.iter().any(|step| matches!(step.act, Act::Abort { session: aborted, .. } if aborted == session));
        aborted || (kind == "steer" && self.is_disturbed(session))
    }

    fn begins_anew(&self) -> bool {
        false
    }
}

impl Victim {
    /// Whether `blow` ends it. The kernel keeps signals without a handler from pid 1 of a namespace, all but SIGKILL.
    #[must_use]
    pub fn dies_of(self, blow: Blow) -> bool {
        blow == Blow::Kill || (blow == Blow::Term && !matches!(self, Self::Sandbox(_)))
    }
}

impl Shape {
    /// The text of the prompt.
    #[must_use]
    pub fn prompt(self, agent: Agent, lead: &str) -> String {
        match agent {
            Agent::Scripted => self.script().prompt(lead),
            Agent::Pi => demo_prompt(lead, &self.turns(lead)),
        }
    }

    fn script(self) -> Script {
        match self {
            Self::Stream { pieces, rate } => Script::deltas(u64::from(pieces)).paced(f64::from(rate)),
            Self::Flood => Script::deltas(6000),
            Self::Tool => Script { tools: 2, thinking: 2, ..Script::deltas(10).paced(200.0) },
            Self::Runaway => Script { tools: 1, runaways: 2, ..Script::deltas(20).paced(100.0) },
        }
    }

    fn turns(self, lead: &str) -> Vec<Turn> {
        let words = |n: u32| (0..n).map(|word| format!("{lead}w{word}")).collect::<Vec<_>>().join(" ");
        match self {
            Self::Stream { pieces, rate } => vec![Turn::text(words(pieces)).slowly(pieces, 1000 / rate)],
            Self::Flood => vec![Turn::text(words(1000)).slowly(1000, 0)],
            Self::Tool => vec![
                Turn::text(words(5)).slowly(5, 5).thinking("which tool?").bash("sleep 0.2; echo done"),
                Turn::text(words(10)).slowly(10, 5),
            ],
            Self::Runaway => {
                let tool = "(setsid env -i sleep 300 >/dev/null 2>&1 &); (setsid setsid sleep 300 >/dev/null 2>&1 </dev/null &); sleep 0.3; echo done";
                vec![Turn::text(words(5)).slowly(5, 5).bash(tool), Turn::text(words(10)).slowly(10, 5)]
            }
        }
    }

    /// What the last message of an undisturbed answer says.
    #[must_use]
    pub fn last_words(self, agent: Agent, lead: &str) -> String {
        match (agent, self) {
            (Agent::Scripted, Self::Tool | Self::Runaway) => Script::default().text(),
            (Agent::Scripted, _) => self.script().text(),
            (Agent::Pi, _) => {
                let turns = self.turns(lead);
                turns.last().map(Turn::said).unwrap_or_default()
            }
        }
    }
}

/// The command of an input.
#[must_use]
pub fn command(cmd: &str, message: &str, client_id: &str) -> Value {
    json!({"cmd": cmd, "message": message, "client_id": client_id})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_round_for_ever_and_seeds_are_different_rounds() {
        for seed in 0..200 {
            assert_eq!(Plan::of(seed), Plan::of(seed));
        }
        let plans: Vec<Plan> = (0..1000).map(Plan::of).collect();
        assert!(plans.windows(2).all(|two| two[0].steps != two[1].steps));
        assert_eq!(plans.iter().filter(|plan| plan.agent == Agent::Pi).count(), 200);
    }

    #[test]
    fn a_thousand_rounds_do_everything_to_everybody() {
        let plans: Vec<Plan> = (0..1000).map(Plan::of).collect();
        let steps = || plans.iter().flat_map(|plan| &plan.steps);
        let strikes = |wanted: &dyn Fn(&[Victim], Blow) -> bool| {
            steps().filter(|step| matches!(&step.act, Act::Strike { victims, blow } if wanted(victims, *blow))).count()
        };
        for victim in [Victim::Octo, Victim::Runner, Victim::Eavs, Victim::Agent(0), Victim::Sandbox(0)] {
            assert!(strikes(&|victims, blow| victims.contains(&victim) && blow == Blow::Kill) > 50, "{victim:?}");
            assert!(strikes(&|victims, blow| victims.contains(&victim) && blow == Blow::Term) > 10, "{victim:?}");
            assert!(strikes(&|victims, blow| victims.contains(&victim) && matches!(blow, Blow::Freeze(_))) > 10, "{victim:?}");
        }
        assert!(strikes(&|_, blow| blow == Blow::Freeze(16_500)) > 1);
        for cmd in ["prompt", "steer", "follow_up"] {
            assert!(steps().filter(|step| matches!(&step.act, Act::Input { cmd: sent, .. } if *sent == cmd)).count() > 100, "{cmd}");
        }
        for shape in [Shape::Flood, Shape::Tool, Shape::Runaway] {
            assert!(
                steps().filter(|step| matches!(&step.act, Act::Input { shape: asked, .. } if *asked == shape)).count() > 20,
                "{shape:?}"
            );
        }
        assert!(steps().filter(|step| matches!(step.act, Act::Abort { .. })).count() > 100);
        assert!(steps().filter(|step| matches!(step.act, Act::Cut { .. })).count() > 100);
        assert!(steps().filter(|step| matches!(step.act, Act::Upgrade)).count() > 500);
        for reader in [Reader::Asleep, Reader::Slow(1)] {
            assert!(plans.iter().any(|plan| plan.readers.contains(&reader)), "{reader:?}");
        }
        assert!(plans.iter().any(|plan| (0..plan.sessions).all(|session| !plan.is_disturbed(session))), "some answers have to be whole");
    }
}
