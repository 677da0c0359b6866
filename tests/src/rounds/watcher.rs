//! A client of a round, in a task of its own: it follows every session, comes back by itself, and sends again what was not answered.

use super::board::Board;
use super::plan::Reader;
use crate::{Client, PATIENCE};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// The wait before something refused for now is tried again.
const RETRY: Duration = Duration::from_millis(100);
/// Codes of refusals that pass.
const PASSING: [&str; 7] = ["runner_unavailable", "not_ready", "timeout", "busy", "internal", "cancelled", "agent_failed"];
/// What a full disk refuses, which passes too.
const FULL: &str = "limit_exceeded";

/// A place in a session; in any epoch when none is named.
#[derive(Debug)]
struct Goal {
    session: String,
    epoch: Option<String>,
    seq: u64,
}

/// What the player wants of a client.
#[derive(Debug)]
enum Order {
    Send {
        session: String,
        command: Value,
    },
    Cut,
    Sleep,
    Wake,
    /// Answer when everything that was sent is answered.
    Flush(oneshot::Sender<()>),
    /// Answer when a session was seen up to this place.
    Reach(Goal, oneshot::Sender<()>),
}

/// The player's hand on a client.
pub struct Watcher {
    orders: mpsc::UnboundedSender<Order>,
    task: tokio::task::JoinHandle<Client>,
}

impl Watcher {
    /// Starts a client that follows `sessions`.
    pub fn start(client: Client, reader: Reader, sessions: Vec<String>, board: Board) -> Self {
        let (orders, inbox) = mpsc::unbounded_channel();
        let (outbox, flushes, goals) = Default::default();
        let run = Run { client, reader, sessions, board, inbox, outbox, sent: 0, flushes, goals, finishing: false };
        Self { orders, task: tokio::spawn(run.run()) }
    }

    /// Sends a command; again after a reconnect, until it is answered.
    pub fn send(&self, session: &str, command: Value) {
        let _ = self.orders.send(Order::Send { session: session.to_owned(), command });
    }

    /// Breaks its connection.
    pub fn cut(&self) {
        let _ = self.orders.send(Order::Cut);
    }

    /// It reads nothing from now on.
    pub fn sleep(&self) {
        let _ = self.orders.send(Order::Sleep);
    }

    /// It reads like everybody else from now on.
    pub fn wake(&self) {
        let _ = self.orders.send(Order::Wake);
    }

    /// It has broken off: a promise was broken, and it says which.
    pub fn is_broken(&self) -> bool {
        self.task.is_finished()
    }

    /// Waits until all that was sent is answered.
    pub async fn flush(&mut self) {
        let (say, hear) = oneshot::channel();
        let _ = self.orders.send(Order::Flush(say));
        self.hear(hear, "every command is answered").await;
    }

    /// Waits until it has seen `session` up to `seq` of `epoch`, or of any epoch.
    pub async fn reach(&mut self, session: &str, epoch: Option<&str>, seq: u64) {
        let (say, hear) = oneshot::channel();
        let goal = Goal { session: session.to_owned(), epoch: epoch.map(str::to_owned), seq };
        let _ = self.orders.send(Order::Reach(goal, say));
        self.hear(hear, "a client catches up").await;
    }

    async fn hear(&mut self, hear: oneshot::Receiver<()>, what: &str) {
        match tokio::time::timeout(PATIENCE, hear).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => self.rethrow().await,
            Err(_) => panic!("waited {PATIENCE:?} in vain: {what}"),
        }
    }

    /// Panics with what the client panicked with.
    pub async fn rethrow(&mut self) {
        if let Err(error) = (&mut self.task).await
            && error.is_panic()
        {
            std::panic::resume_unwind(error.into_panic());
        }
        panic!("a client ended early");
    }

    /// Ends it; everything that it saw.
    pub async fn finish(self) -> Client {
        drop(self.orders);
        match self.task.await {
            Ok(client) => client,
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            Err(error) => panic!("a client ended early: {error}"),
        }
    }
}

/// A command that is not answered yet.
struct Pending {
    session: String,
    command: Value,
    /// Under which id it is on its way on this connection.
    id: Option<String>,
    /// When it may be on its way again: it was refused for now.
    not_before: Option<Instant>,
    since: Instant,
}

struct Run {
    client: Client,
    reader: Reader,
    sessions: Vec<String>,
    board: Board,
    inbox: mpsc::UnboundedReceiver<Order>,
    outbox: Vec<Pending>,
    sent: u64,
    flushes: Vec<oneshot::Sender<()>>,
    goals: Vec<(Goal, oneshot::Sender<()>)>,
    /// There are no further orders.
    finishing: bool,
}

impl Run {
    async fn run(mut self) -> Client {
        loop {
            if !self.client.is_connected() {
                self.come_back().await;
            }
            self.post().await;
            self.report();
            // Who reads slowly may have answered a question a moment ago: that answer has a response too.
            if self.finishing && self.outbox.is_empty() {
                return self.client;
            }
            let again = self
                .outbox
                .iter()
                .filter(|pending| pending.id.is_none())
                .map(|p| p.not_before.unwrap_or_else(|| Instant::now() + RETRY))
                .min();
            tokio::select! {
                biased;
                order = self.inbox.recv(), if !self.finishing => match order {
                    Some(order) => self.obey(order),
                    None => self.finishing = true,
                },
                frame = self.client.next(), if self.reader != Reader::Asleep => {
                    if let Some(frame) = frame {
                        self.take(&frame).await;
                    }
                }
                () = tokio::time::sleep_until(again.unwrap_or_else(Instant::now)), if again.is_some() => {}
            }
        }
    }

    /// A new connection, attached where the client stands.
    async fn come_back(&mut self) {
        self.outbox.iter_mut().for_each(|pending| pending.id = None);
        self.client.reconnect().await;
        let end = Instant::now() + PATIENCE;
        for session in self.sessions.clone() {
            loop {
                match self.client.attach(&session).await {
                    Some(response) if response["success"] == true => {
                        // The event that asked may have come with the connection that broke, and been read no further.
                        let open = response["data"]["state"]["pendingInput"].as_array().cloned().unwrap_or_default();
                        open.iter().for_each(|request| self.reply(&session, &request["request_id"]));
                        break;
                    }
                    Some(response) => {
                        let code = response["code"].as_str().unwrap_or_default();
                        assert!(PASSING.contains(&code) || code == FULL, "an attach is refused: {response}");
                        assert!(Instant::now() < end, "an attach is refused for {PATIENCE:?}: {response}");
                        tokio::time::sleep(RETRY).await;
                    }
                    // Begins anew with the next turn of the loop.
                    None => return,
                }
            }
        }
    }

    /// Puts what waits on its way.
    async fn post(&mut self) {
        let now = Instant::now();
        for pending in self.outbox.iter_mut().filter(|pending| pending.id.is_none() && pending.not_before.is_none_or(|at| at <= now)) {
            self.sent += 1;
            let id = format!("w{}", self.sent);
            let mut frame = pending.command.clone();
            frame["channel"] = json!("agent");
            frame["session_id"] = json!(pending.session);
            frame["id"] = json!(id);
            if self.client.send_text(frame.to_string()).await {
                pending.id = Some(id);
            } else {
                // Who does not read does not see that the connection is gone.
                pending.not_before = Some(now + RETRY);
            }
            assert!(pending.since.elapsed() < PATIENCE * 2, "never taken: {}", pending.command);
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Send { session, command } => {
                self.outbox.push(Pending { session, command, id: None, not_before: None, since: Instant::now() });
            }
            Order::Cut => self.client.cut(),
            Order::Sleep => self.reader = Reader::Asleep,
            Order::Wake => self.reader = Reader::Eager,
            Order::Flush(say) => self.flushes.push(say),
            Order::Reach(goal, say) => self.goals.push((goal, say)),
        }
    }

    async fn take(&mut self, frame: &Value) {
        if frame["event"] == "response" {
            self.answered(frame);
        } else if let (Some(session), Some(seq)) = (frame["session_id"].as_str(), frame["seq"].as_u64()) {
            let rests = frame["event"] == "agent.idle" || frame["event"] == "agent.error";
            self.board.saw(session, seq, rests);
            if frame["event"] == "agent.input_needed" {
                self.reply(session, &frame["request"]["request_id"]);
            }
        }
        if let Reader::Slow(pause) = self.reader {
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
    }

    /// Answers a question of the agent.
    fn reply(&mut self, session: &str, request: &Value) {
        let command = json!({"cmd": "input_response", "request_id": request, "confirmed": true});
        self.obey(Order::Send { session: session.to_owned(), command });
    }

    fn answered(&mut self, response: &Value) {
        let Some(at) = self.outbox.iter().position(|pending| pending.id.as_deref() == response["id"].as_str()) else { return };
        let code = response["code"].as_str().unwrap_or_default();
        let passes = PASSING.contains(&code) || code == FULL;
        let over = match self.outbox[at].command["cmd"].as_str() {
            Some("abort") => true,
            // Somebody else was faster, or nobody asks any more.
            Some("input_response") => !passes,
            _ => false,
        };
        if response["success"] == true || over {
            self.outbox.remove(at);
        } else {
            assert!(passes, "{} is refused for ever: {response}", self.outbox[at].command);
            self.outbox[at].id = None;
            self.outbox[at].not_before = Some(Instant::now() + RETRY);
        }
    }

    /// Says what has come true.
    fn report(&mut self) {
        if self.outbox.is_empty() {
            for say in self.flushes.drain(..) {
                let _ = say.send(());
            }
        }
        let checker = &self.client.checker;
        let stands = |goal: &Goal| {
            let there = |cursor: &Value| {
                cursor["seq"].as_u64() >= Some(goal.seq) && goal.epoch.as_deref().is_none_or(|epoch| cursor["epoch"] == epoch)
            };
            checker.cursor(&goal.session).as_ref().is_some_and(there)
        };
        let (reached, open): (Vec<_>, Vec<_>) = std::mem::take(&mut self.goals).into_iter().partition(|(goal, _)| stands(goal));
        self.goals = open;
        for (_, say) in reached {
            let _ = say.send(());
        }
    }
}
