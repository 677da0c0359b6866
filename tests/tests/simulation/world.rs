//! One seed: everything that there is, its schedule, and the verdict.

use crate::agents::Agents;
use crate::hub::Hub;
use crate::libc_calls::monotonic;
use crate::prepared::Prepared;
use crate::runner::Place;
use octo_e2e::rounds::{Board, Judge, Reader, Sent, Watcher, command, session_id};
use octo_e2e::sim::flock::Report;
use octo_e2e::sim::{Act, Ending, Plan, ground};
use octo_e2e::{Client, MESSAGE_BYTES, Script, Totals};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often what hangs is aborted in the end: what waits behind it may hang too.
const ABORTS: usize = 4;

/// Plays the seed; panics when a promise is broken.
pub fn play(prepared: &Prepared, seed: u64) -> Report {
    ground::seed(seed);
    // The process is this seed's own. From within its folder all paths are the same, wherever it lies.
    let home = prepared.home_of(seed);
    std::env::set_current_dir(home.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let report = runtime.block_on(async {
        ground::start_clock(monotonic());
        let report = Box::pin(async { World::new(prepared, Plan::of(seed)).await.play().await }).await;
        ground::stop_clock();
        report
    });
    // Whatever is left of it ends with its process.
    std::mem::forget(runtime);
    report
}

struct World<'a> {
    prepared: &'a Prepared,
    plan: Plan,
    agents: Agents,
    runner: Place,
    hub: Hub,
    watchers: Vec<Watcher>,
    sent: Vec<Sent>,
    /// The newest input: session, command.
    newest: Option<(usize, Value)>,
    counts: BTreeMap<&'static str, u64>,
    began: Instant,
    /// When the disk has room again, and the link passes again.
    full_until: Option<Instant>,
}

impl<'a> World<'a> {
    async fn new(prepared: &'a Prepared, plan: Plan) -> Self {
        let agents = Agents::new("pi".into());
        let runner = Place::new(plan.clone(), agents.clone());
        let hub = Hub::new(prepared, plan.clone(), runner.clone());
        runner.start().await;
        hub.start(prepared).await;
        let sessions: Vec<String> = (0..plan.sessions).map(session_id).collect();
        let board = Board::default();
        let watcher = |(number, reader): (usize, &Reader)| {
            let mut client = Client::over(hub.dial(number), hub.token());
            // Each time the power goes numbers begin anew.
            for session in std::iter::repeat_n(&sessions, plan.powers()).flatten() {
                client.checker.may_resync(session);
            }
            Watcher::start(client, *reader, sessions.clone(), board.clone())
        };
        let watchers = plan.readers.iter().enumerate().map(watcher).collect();
        Self {
            prepared,
            plan,
            agents,
            runner,
            hub,
            watchers,
            sent: Vec::new(),
            newest: None,
            counts: BTreeMap::new(),
            began: Instant::now(),
            full_until: None,
        }
    }

    async fn play(mut self) -> Report {
        for step in self.plan.steps.clone() {
            sleep(Duration::from_millis(step.after_ms)).await;
            for _ in 0..step.turns {
                tokio::task::yield_now().await;
            }
            if self.full_until.is_some_and(|until| until <= Instant::now()) {
                self.room();
            }
            self.act(step.act).await;
            for watcher in &mut self.watchers {
                if watcher.is_broken() {
                    watcher.rethrow().await;
                }
            }
        }
        self.settle().await
    }

    fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }

    fn room(&mut self) {
        self.full_until = None;
        self.runner.set_full(false);
    }

    async fn act(&mut self, act: Act) {
        match act {
            Act::Input { session, client, cmd, script } => {
                let number = self.sent.len();
                let client_id = format!("seed-{}-{number}", self.plan.seed);
                let input = command(cmd, &script.prompt(&format!("i{number}")), &client_id);
                self.watchers[client].send(&session_id(session), input.clone());
                self.newest = Some((session, input));
                self.sent.push(Sent { session, client_id, cmd, expects: last_words(&script) });
                self.count("inputs");
            }
            Act::Again { client } => {
                if let Some((session, input)) = &self.newest {
                    self.watchers[client].send(&session_id(*session), input.clone());
                    self.count("inputs sent again");
                }
            }
            Act::Abort { session, client } => {
                self.watchers[client].send(&session_id(session), json!({"cmd": "abort"}));
                self.count("aborts");
            }
            Act::Cut { client } => {
                self.hub.cut(client);
                self.count("cuts");
            }
            Act::Doze { client, ms } => {
                self.watchers[client].sleep();
                sleep(Duration::from_millis(ms)).await;
                self.watchers[client].wake();
                self.count("dozes");
            }
            Act::Break => {
                self.runner.cut();
                self.count("breaks");
            }
            Act::Hold { ms } => {
                self.runner.hold(true);
                sleep(Duration::from_millis(ms)).await;
                self.runner.hold(false);
                self.count("holds");
            }
            Act::Agent { session, ending } => {
                if self.agents.strike(&session_id(session), ending) {
                    self.count(if matches!(ending, Ending::Silent(_)) { "agents silent" } else { "agents ended" });
                }
            }
            Act::Runner { down_ms } => {
                if self.runner.kill() {
                    self.count("runner kills");
                }
                self.start_runner(down_ms).await;
            }
            Act::Hub { down_ms } => {
                if self.hub.kill().await {
                    self.count("hub kills");
                }
                sleep(Duration::from_millis(down_ms)).await;
                self.hub.start(self.prepared).await;
            }
            Act::Full { ms } => {
                self.runner.set_full(true);
                self.full_until = Some(Instant::now() + Duration::from_millis(ms));
                self.count("full disks");
            }
            Act::Power { down_ms, keep } => {
                self.runner.lose_power(keep);
                self.count("powers");
                self.start_runner(down_ms).await;
            }
        }
    }

    async fn start_runner(&mut self, down_ms: u64) {
        sleep(Duration::from_millis(down_ms)).await;
        // A new one finds the disk as it is.
        self.full_until = None;
        self.runner.start().await;
    }

    /// All faults are over: waits until everything is at rest, then has it judged.
    async fn settle(mut self) -> Report {
        self.room();
        self.agents.calm();
        self.runner.calm();
        self.hub.calm();
        for watcher in &self.watchers {
            watcher.wake();
        }
        for watcher in &mut self.watchers {
            watcher.flush().await;
        }
        for _ in 0..ABORTS {
            for session in (0..self.plan.sessions).filter(|session| self.plan.hangs(*session)) {
                self.watchers[0].send(&session_id(session), json!({"cmd": "abort"}));
            }
            self.watchers[0].flush().await;
            sleep(Duration::from_secs(1)).await;
        }
        let client = Client::over(self.hub.dial(self.plan.readers.len()), self.hub.token());
        let mut judge = Judge::connected(client, None).await;
        let mut journals = Vec::new();
        for session in 0..self.plan.sessions {
            let client_id = format!("seed-{}-end-{session}", self.plan.seed);
            journals.push(judge.at_rest(session, &Script::default().prompt("Are you well?"), &client_id).await);
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
            judge.judge(&self.plan, journal, &Script::default().text(), &self.sent, &clients);
        }
        clients.push(judge.close(&journals).await);
        let mut digest = DefaultHasher::new();
        let mut totals = Totals::default();
        for client in &clients {
            client.checker.owes_nothing();
            client.digest().hash(&mut digest);
            totals += client.checker.totals;
        }
        for journal in &journals {
            format!("{:?} {:?}", journal.rows, journal.history).hash(&mut digest);
        }
        self.began.elapsed().as_nanos().hash(&mut digest);
        Report { digest: digest.finish(), counts: self.counts(totals) }
    }

    fn counts(&self, totals: Totals) -> BTreeMap<String, u64> {
        let Totals { events, responses, messages, whole_messages, turns, tools, snapshots, replays, jumps, resyncs } = totals;
        let judged = [
            ("events", events),
            ("responses", responses),
            ("messages", messages),
            ("whole messages", whole_messages),
            ("turns", turns),
            ("tools", tools),
            ("snapshots", snapshots),
            ("replays", replays),
            ("jumps", jumps),
            ("resyncs", resyncs),
            ("agents", self.agents.started()),
            ("seconds", self.began.elapsed().as_secs()),
        ];
        self.counts.iter().map(|(name, n)| (*name, *n)).chain(judged).map(|(name, n)| (name.to_owned(), n)).collect()
    }
}

/// What the last message of an undisturbed answer says; `None` when it does not come to that.
fn last_words(script: &Script) -> Option<String> {
    // A longer text is said in several messages.
    let one = usize::try_from(script.deltas).is_ok_and(|deltas| deltas * script.size < MESSAGE_BYTES);
    let ends = one && script.exit.is_none() && script.error.is_none() && !script.hang && !script.ignore_abort;
    ends.then(|| if script.tools > 0 { Script::default().text() } else { script.text() })
}
