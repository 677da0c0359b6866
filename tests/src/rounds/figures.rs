//! What rounds come to.

use super::plan::{Blow, Victim};
use crate::Totals;
use std::collections::BTreeMap;
use std::fmt;

/// Sums over rounds.
#[derive(Debug, Clone, Default)]
pub struct Figures {
    pub rounds: u64,
    pub pi_rounds: u64,
    pub sessions: u64,
    pub clients: u64,
    pub inputs: u64,
    pub aborts: u64,
    pub cuts: u64,
    pub upgrades: u64,
    /// Steps that came before their events, because there were no more.
    pub early: u64,
    blows: BTreeMap<(&'static str, &'static str), u64>,
    /// What all clients saw.
    pub seen: Totals,
}

impl Figures {
    /// One blow more.
    pub fn struck(&mut self, victim: Victim, blow: Blow) {
        let victim = match victim {
            Victim::Octo => "octo",
            Victim::Runner => "octo-runner",
            Victim::Eavs => "octo-eavs",
            Victim::Agent(_) => "agent",
            Victim::Sandbox(_) => "sandbox",
        };
        let blow = match blow {
            Blow::Kill => "SIGKILL",
            Blow::Term => "SIGTERM",
            Blow::Freeze(_) => "SIGSTOP",
        };
        *self.blows.entry((victim, blow)).or_default() += 1;
    }
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.pi_rounds += other.pi_rounds;
        self.sessions += other.sessions;
        self.clients += other.clients;
        self.inputs += other.inputs;
        self.aborts += other.aborts;
        self.cuts += other.cuts;
        self.upgrades += other.upgrades;
        self.early += other.early;
        for (key, count) in other.blows {
            *self.blows.entry(key).or_default() += count;
        }
        self.seen += other.seen;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Totals { events, responses, messages, whole_messages, turns, tools, snapshots, replays, jumps, resyncs } = self.seen;
        writeln!(f, "{} rounds ({} with real pi), {} sessions, {} clients", self.rounds, self.pi_rounds, self.sessions, self.clients)?;
        for ((victim, blow), count) in &self.blows {
            writeln!(f, "  {blow} to {victim:<12} {count:>7}")?;
        }
        writeln!(f, "  connections cut        {:>7}", self.cuts)?;
        writeln!(f, "  upgrades of the runner {:>7}", self.upgrades)?;
        writeln!(f, "  inputs, aborts         {:>7} {}", self.inputs, self.aborts)?;
        writeln!(f, "  steps taken early      {:>7}", self.early)?;
        writeln!(f, "  events judged          {events:>7}")?;
        writeln!(f, "  responses              {responses:>7}, each command one")?;
        writeln!(f, "  turns, tools           {turns:>7} {tools}, each ended once")?;
        writeln!(f, "  messages               {messages:>7}, {whole_messages} of them delta by delta")?;
        writeln!(f, "  replays, jumps in them {replays:>7} {jumps}")?;
        writeln!(f, "  snapshots, resyncs     {snapshots:>7} {resyncs}")?;
        write!(f, "  0 lost, 0 doubled, 0 reordered, no orphan")
    }
}
