//! Plays a plan over a real instance, and has everything judged when it has come to rest.

use super::board::Board;
use super::figures::Figures;
use super::judge::{Judge, Sent, session_id};
use super::plan::{Act, Agent, Blow, Plan, Reader, Victim, command};
use super::watcher::Watcher;
use crate::census::{Census, Member};
use crate::process::Process;
use crate::{Client, Instance, Options, Script, Turn, demo_prompt};
use nix::sys::signal::Signal;
use serde_json::json;
use std::time::Duration;

/// Receive buffer of a slow client, in bytes: what it does not read stays at the server.
const SMALL_BUFFER: u32 = 4096;

/// What the last answer of every session says, with pi.
const WELL: &str = "All is well.";

/// A round under way.
pub struct Player {
    plan: Plan,
    instance: Instance,
    census: Census,
    watchers: Vec<Watcher>,
    board: Board,
    sent: Vec<Sent>,
    /// The agent of each session at the beginning.
    agents: Vec<Vec<Process>>,
    figures: Figures,
}

impl Player {
    /// Plays the round of `seed` on an instance of its own.
    ///
    /// # Panics
    /// When a promise is broken.
    pub async fn play(seed: u64) -> Figures {
        let mut player = Self::set_up(Plan::of(seed)).await;
        for step in player.plan.steps.clone() {
            if !player.board.wait(step.after).await {
                player.figures.early += 1;
            }
            player.act(step.act).await;
            for watcher in &mut player.watchers {
                if watcher.is_broken() {
                    watcher.rethrow().await;
                }
            }
        }
        player.settle().await
    }

    async fn set_up(plan: Plan) -> Self {
        let options = if plan.agent == Agent::Pi { Options::default() } else { Options::scripted() };
        let mut instance = Instance::new(options);
        instance.start().await;
        let board = Board::default();
        let mut first = Client::connect(&instance).await;
        let sessions: Vec<String> = (0..plan.sessions).map(session_id).collect();
        for session in &sessions {
            let folder = instance.workspace().join(session);
            std::fs::create_dir_all(&folder).unwrap();
            first.create(session, &folder).await;
        }
        let mut watchers = Vec::new();
        let mut first = Some(first);
        for reader in &plan.readers {
            let mut client = match first.take() {
                Some(first) => first,
                None => Client::connect(&instance).await,
            };
            if *reader != Reader::Eager {
                client = client.by(crate::Path { receive_buffer: Some(SMALL_BUFFER), ..crate::Path::default() });
            }
            // A new connection, also for the first: everybody attaches in the same way.
            client.cut();
            let awake = if *reader == Reader::Asleep { Reader::Eager } else { *reader };
            let mut watcher = Watcher::start(client, awake, sessions.clone(), board.clone());
            // Attached before the first step, so that everything is seen.
            for session in &sessions {
                watcher.reach(session, None, 0).await;
            }
            if *reader == Reader::Asleep {
                watcher.sleep();
            }
            watchers.push(watcher);
        }
        let mut player = Self {
            plan,
            instance,
            census: Census::default(),
            watchers,
            board,
            sent: Vec::new(),
            agents: Vec::new(),
            figures: Figures::default(),
        };
        player.agents = player.agents_now();
        for (session, agents) in player.agents.iter().enumerate() {
            assert_eq!(agents.len(), 1, "one agent runs in session {session}: {agents:?}");
        }
        player
    }

    fn agents_now(&mut self) -> Vec<Vec<Process>> {
        let tree = self.census.take(&self.instance);
        let of = |session| self.find(Victim::Agent(session), &tree).into_iter().map(|member| member.process).collect();
        (0..self.plan.sessions).map(of).collect()
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Input { session, client, cmd, shape } => {
                let number = self.sent.len();
                let (lead, client_id) = (format!("i{number}"), format!("round-{}-{number}", self.plan.seed));
                let message = shape.prompt(self.plan.agent, &lead);
                self.board.asked(&session_id(session));
                self.watchers[client].send(&session_id(session), command(cmd, &message, &client_id));
                let expects = Some(shape.last_words(self.plan.agent, &lead));
                self.sent.push(Sent { session, client_id, cmd, expects });
                self.figures.inputs += 1;
            }
            Act::Abort { session, client } => {
                self.watchers[client].send(&session_id(session), json!({"cmd": "abort"}));
                self.figures.aborts += 1;
            }
            Act::Cut { client } => {
                self.watchers[client].cut();
                self.figures.cuts += 1;
            }
            Act::Strike { victims, blow } => self.strike(&victims, blow).await,
            Act::Upgrade => {
                // One that was killed a moment ago may not be there yet.
                let tree = self.census.take(&self.instance);
                for member in self.find(Victim::Runner, &tree) {
                    member.process.signal(Signal::SIGUSR2);
                    self.figures.upgrades += 1;
                }
            }
        }
    }

    async fn strike(&mut self, victims: &[Victim], blow: Blow) {
        let tree = self.census.take(&self.instance);
        for victim in victims {
            self.figures.struck(*victim, blow);
        }
        let found: Vec<Vec<Member>> = victims.iter().map(|victim| self.find(*victim, &tree)).collect();
        if let Blow::Freeze(pause) = blow {
            let everybody = || found.iter().flatten();
            everybody().for_each(|member| member.process.signal(Signal::SIGSTOP));
            tokio::time::sleep(Duration::from_millis(pause)).await;
            everybody().for_each(|member| member.process.signal(Signal::SIGCONT));
            return;
        }
        for (victim, members) in victims.iter().zip(&found) {
            match (victim, blow) {
                (Victim::Octo, Blow::Kill) => self.instance.kill_octo(),
                (Victim::Octo, _) => drop(self.instance.stop_octo().await),
                (_, Blow::Kill) => members.iter().for_each(|member| member.process.kill()),
                _ => members.iter().for_each(|member| member.process.signal(Signal::SIGTERM)),
            }
        }
        if victims.contains(&Victim::Octo) {
            self.instance.start().await;
        }
        // What ran below a runner ends with it; what ran beside an agent ends with that.
        let fallen = || victims.iter().zip(&found).filter(|(victim, _)| victim.dies_of(blow));
        let runner: Vec<i32> =
            fallen().filter(|(victim, _)| **victim == Victim::Runner).flat_map(|(_, m)| m).map(|m| m.process.pid).collect();
        let hit: Vec<_> = fallen().flat_map(|(_, members)| members).filter_map(|member| member.namespace.clone()).collect();
        let below = |member: &&Member| match &member.namespace {
            Some(space) => !runner.is_empty() || hit.contains(space),
            None => runner.contains(&member.process.pid),
        };
        let old: Vec<Member> = tree.iter().filter(below).cloned().collect();
        self.census.are_gone(&old, &format!("after {victims:?} {blow:?}")).await;
    }

    /// The processes of a victim, of those that live now.
    fn find(&self, victim: Victim, tree: &[Member]) -> Vec<Member> {
        let program = |name: &str| {
            let is = |member: &&Member| {
                member.namespace.is_none() && member.program.as_ref().is_some_and(|p| p.file_name().is_some_and(|n| n == name))
            };
            tree.iter().filter(is).cloned().collect()
        };
        let (session, inner) = match victim {
            Victim::Octo => return tree.iter().filter(|member| Some(member.process.pid) == self.instance.octo_pid()).cloned().collect(),
            Victim::Runner => return program("octo-runner"),
            Victim::Eavs => return program("octo-eavs"),
            Victim::Agent(session) => (session, false),
            Victim::Sandbox(session) => (session, true),
        };
        let folder = self.instance.workspace().join(session_id(session));
        let here = tree.iter().filter(|member| member.folder.as_ref().is_some_and(|f| f.starts_with(&folder)));
        let spaces: Vec<_> = here.filter_map(|member| member.namespace.clone()).collect();
        let mut found = Vec::new();
        for member in
            tree.iter().filter(|member| member.namespace.as_ref().is_some_and(|space| spaces.contains(space)) && member.inner_pid == 1)
        {
            let of_it = tree.iter().filter(|m| m.namespace == member.namespace && m.process.parent == member.process.pid);
            if inner {
                found.push(member.clone());
            } else {
                // The first child of its pid 1; those that were left behind are later ones.
                found.extend(of_it.min_by_key(|m| m.inner_pid).cloned());
            }
        }
        found
    }

    /// Waits until everything is at rest, then has it judged.
    async fn settle(mut self) -> Figures {
        for watcher in &self.watchers {
            watcher.wake();
        }
        for watcher in &mut self.watchers {
            watcher.flush().await;
        }
        let mut judge = Judge::new(Client::connect(&self.instance).await, Some(self.instance.url()));
        let (message, well) = match self.plan.agent {
            Agent::Scripted => (Script::default().prompt("Are you well?"), Script::default().text()),
            Agent::Pi => (demo_prompt("Are you well?", &[Turn::text(WELL)]), WELL.to_owned()),
        };
        let mut journals = Vec::new();
        for session in 0..self.plan.sessions {
            journals.push(judge.at_rest(session, &message, &format!("round-{}-end-{session}", self.plan.seed)).await);
        }
        let agents = self.agents_now();
        for (session, (now, before)) in agents.iter().zip(&self.agents).enumerate() {
            assert_eq!(now.len(), 1, "one agent runs in session {session}: {now:?}");
            assert!(!self.plan.keeps_agent(session) || now == before, "session {session} has another agent, and nobody ended the first");
        }
        for journal in &journals {
            for watcher in &mut self.watchers {
                watcher.reach(&journal.session, Some(&journal.epoch), journal.head).await;
            }
        }
        let mut clients = Vec::new();
        for watcher in self.watchers.drain(..) {
            clients.push(watcher.finish().await);
        }
        for journal in &journals {
            judge.judge(&self.plan, journal, &well, &self.sent, &clients);
        }
        clients.push(judge.close(&journals).await);
        self.figures.rounds += 1;
        self.figures.pi_rounds += u64::from(self.plan.agent == Agent::Pi);
        self.figures.sessions += self.plan.sessions as u64;
        self.figures.clients += self.plan.readers.len() as u64;
        for client in &clients {
            client.checker.owes_nothing();
            self.figures.seen += client.checker.totals;
        }
        drop(clients);
        // The agents were closed: with them goes what their tools left behind.
        self.census.only_daemons(&self.instance).await;
        // octo first: it starts a daemon again that was killed a moment ago.
        self.instance.kill_octo();
        let daemons = self.census.take(&self.instance);
        daemons.iter().for_each(|member| member.process.kill());
        self.census.nobody(&self.instance).await;
        self.figures
    }
}
