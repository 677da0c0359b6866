//! The history checker: from everything that a client saw, over all its connections, it proves that nothing was lost, doubled or reordered.
//!
//! Judged for each `(session, epoch)`, on the spot:
//! - `seq` grows by exactly one, except within replay brackets, where it may jump (over pruned deltas), never back; the brackets count what they hold.
//! - One `(epoch, seq)` is one event for ever, also after another attach. The epoch changes only by a resync, and a resync is a loss
//!   unless the test said that it may come ([`Checker::may_resync`]).
//! - Finished messages come in the order of their `idx` without a gap, brackets included, each once, and stay what they are over resyncs and epochs;
//!   the deltas of a message, when all of them were seen, are its text.
//! - Every turn, message, tool and question that begins ends once; nothing of a turn comes after its end.
//! - Every command gets exactly one response, under its own id, name and session.
//!
//! And at the end, against what the server has: history as `get_messages` gives it ([`Checker::agrees_with`]), as REST gives it
//! ([`Checker::agrees_with_rest`]), and the journal itself, number by number ([`Checker::agrees_with_journal`]).
//!
//! A [`Verdict`] names the first wrong frame and its neighbours. Never judges how fast anything was.

mod commands;
mod conversation;
mod record;
mod session;
#[cfg(test)]
mod tests;
mod verdict;

pub use record::is_delta;
pub use verdict::{Fault, NEIGHBOURS, Rule, Verdict};

use commands::Commands;
use serde_json::{Value, json};
use session::Seen;
use std::collections::{HashMap, VecDeque};

/// Counts of what was judged, so that a test can see that it judged something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub events: u64,
    pub responses: u64,
    pub messages: u64,
    pub whole_messages: u64,
    pub turns: u64,
    pub tools: u64,
    pub snapshots: u64,
    pub replays: u64,
    pub jumps: u64,
    pub resyncs: u64,
}

impl std::ops::AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.events += other.events;
        self.responses += other.responses;
        self.messages += other.messages;
        self.whole_messages += other.whole_messages;
        self.turns += other.turns;
        self.tools += other.tools;
        self.snapshots += other.snapshots;
        self.replays += other.replays;
        self.jumps += other.jumps;
        self.resyncs += other.resyncs;
    }
}

/// Judges everything a client sees.
#[derive(Debug, Default)]
pub struct Checker {
    sessions: HashMap<String, Seen>,
    commands: Commands,
    /// Client ids of inputs that aborts gave back, by session; `None` where the answer to one was lost.
    given_back: HashMap<String, Option<Vec<String>>>,
    trail: VecDeque<Value>,
    frames: u64,
    connections: u32,
    pub totals: Totals,
}

impl Checker {
    /// The client's cursor in `session`.
    #[must_use]
    pub fn cursor(&self, session: &str) -> Option<Value> {
        let seen = self.sessions.get(session).filter(|seen| !seen.epoch.is_empty())?;
        Some(json!({"epoch": seen.epoch, "seq": seen.cursor}))
    }

    /// Whether a replay of this session has begun and not ended.
    #[must_use]
    pub fn is_replaying(&self, session: &str) -> bool {
        self.sessions.get(session).is_some_and(session::Seen::is_replaying)
    }

    /// Finished messages that the client knows, in their order.
    #[must_use]
    pub fn messages(&self, session: &str) -> Vec<&Value> {
        self.sessions.get(session).map(|seen| seen.conversation.messages().collect()).unwrap_or_default()
    }

    /// One more resync of `session` is no loss: its epoch is about to change.
    pub fn may_resync(&mut self, session: &str) {
        self.sessions.entry(session.to_owned()).or_default().may_resync += 1;
    }

    /// The connection is gone: a replay under way is over, commands stay unanswered, their ids may come again.
    pub fn disconnected(&mut self) {
        self.sessions.values_mut().for_each(Seen::disconnected);
        for session in self.commands.aborting() {
            self.given_back.insert(session.to_owned(), None);
        }
        self.commands = Commands::default();
        self.connections += 1;
        self.trail.clear();
    }

    /// The client sends `text`.
    pub fn sent(&mut self, text: &str) {
        self.commands.sent(text);
    }

    /// Judges one frame of the `agent` channel. After a wrong one nothing that follows is judged rightly.
    ///
    /// # Errors
    /// The [`Verdict`], with the frames before it.
    pub fn judge(&mut self, frame: &Value) -> Result<(), Box<Verdict>> {
        self.frames += 1;
        let judged = self.look(frame);
        let session = frame["session_id"].as_str().unwrap_or_default().to_owned();
        if let Err(Fault { rule, sentence }) = judged {
            let own = |before: &&Value| before["session_id"] == frame["session_id"] || rule == Rule::Response;
            let mut before: Vec<Value> = self.trail.iter().rev().filter(own).take(NEIGHBOURS).cloned().collect();
            before.reverse();
            return Err(Box::new(Verdict {
                rule,
                sentence,
                session,
                connection: self.connections + 1,
                number: self.frames,
                before,
                frame: Some(frame.clone()),
                after: Vec::new(),
            }));
        }
        self.trail.push_back(frame.clone());
        // Those of a few sessions side by side.
        if self.trail.len() > NEIGHBOURS * 8 {
            self.trail.pop_front();
        }
        Ok(())
    }

    /// [`Checker::judge`] for a test that ends with the first broken promise.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn see(&mut self, frame: &Value) {
        self.judge(frame).unwrap_or_else(|verdict| panic!("{verdict}"));
    }

    /// Judges a whole recording of one connection, so that a verdict shows both neighbours.
    ///
    /// # Errors
    /// The [`Verdict`] on the first wrong frame.
    pub fn judge_all(&mut self, frames: &[Value]) -> Result<(), Box<Verdict>> {
        for (at, frame) in frames.iter().enumerate() {
            self.judge(frame).map_err(|mut verdict| {
                verdict.after = frames.iter().skip(at + 1).take(NEIGHBOURS).cloned().collect();
                verdict
            })?;
        }
        Ok(())
    }

    fn look(&mut self, frame: &Value) -> Result<(), Fault> {
        let event = frame["event"].as_str().ok_or_else(|| Fault::new(Rule::Shape, "an event has a name"))?;
        let session = frame["session_id"].as_str().unwrap_or_default();
        if event == "response" {
            self.totals.responses += 1;
            let opened = self.commands.answered(frame)?;
            if frame["cmd"] == "abort" {
                self.aborted(session, frame);
            }
            if frame["cmd"] == "session.delete" && frame["success"] == true {
                self.sessions.remove(session);
            } else if let Some(asked) = opened {
                self.sessions.entry(session.to_owned()).or_default().attached(&asked);
            }
            return Ok(());
        }
        self.totals.events += 1;
        let seen = self.sessions.entry(session.to_owned()).or_default();
        seen.follow(event, frame, &mut self.totals)
    }

    fn aborted(&mut self, session: &str, response: &Value) {
        let given = self.given_back.entry(session.to_owned()).or_insert_with(|| Some(Vec::new()));
        match (response["data"]["parked"].as_array(), &given) {
            (Some(parked), Some(_)) => {
                let ids = parked.iter().filter_map(|input| input["client_id"].as_str().map(str::to_owned));
                given.iter_mut().for_each(|all| all.extend(ids.clone()));
            }
            // Whether it did anything is not known.
            _ => *given = None,
        }
    }

    /// Client ids of the inputs of `session` that this client's aborts gave back; `None` when the answer to one was lost.
    #[must_use]
    pub fn given_back(&self, session: &str) -> Option<&[String]> {
        self.given_back.get(session).map_or(Some(&[]), |given| given.as_deref())
    }

    /// Every command on this connection has its response.
    ///
    /// # Panics
    /// When one has none.
    pub fn owes_nothing(&self) {
        let unanswered = self.commands.unanswered();
        assert!(unanswered.is_empty(), "Response: no response to {unanswered:?}");
    }

    fn seen(&self, session: &str) -> &Seen {
        self.sessions.get(session).unwrap_or_else(|| panic!("the client never saw session {session}"))
    }

    /// Compares what was seen with history (`get_messages`, all pages). The client has caught up, and nothing runs.
    ///
    /// # Panics
    /// When they differ, or something did not end.
    pub fn agrees_with(&self, session: &str, history: &[Value]) {
        self.history_verdict(session, history).unwrap_or_else(|verdict| panic!("{verdict}"));
    }

    fn history_verdict(&self, session: &str, history: &[Value]) -> Result<(), Box<Verdict>> {
        let seen = self.seen(session);
        seen.conversation.agrees_with(session, history)?;
        seen.at_rest().map_err(|fault| Verdict::within(fault, session, history, None))
    }

    /// The same with `GET /api/chat-history/{session}/messages`.
    ///
    /// # Panics
    /// When they differ.
    pub fn agrees_with_rest(&self, session: &str, rest: &[Value]) {
        self.seen(session).conversation.agrees_with_rest(session, rest).unwrap_or_else(|verdict| panic!("{verdict}"));
    }

    /// Compares with the journal, as a replay of its present epoch from the beginning gives it: the client got everything of
    /// the stretches that it followed, up to the end, and nothing that is not there.
    ///
    /// # Panics
    /// When they differ.
    pub fn agrees_with_journal(&self, session: &str, journal: &[Value]) {
        self.journal_verdict(session, journal).unwrap_or_else(|verdict| panic!("{verdict}"));
    }

    fn journal_verdict(&self, session: &str, journal: &[Value]) -> Result<(), Box<Verdict>> {
        let epoch = journal.first().map_or(self.seen(session).epoch.as_str(), |row| row["epoch"].as_str().unwrap_or_default());
        let seen = self.seen(session);
        if let Some(record) = seen.records.get(epoch) {
            record.agrees_with(session, journal)?;
        }
        let beyond = |row: &Value| epoch == seen.epoch && row["seq"].as_u64() > Some(seen.cursor);
        journal.iter().position(beyond).map_or(Ok(()), |at| {
            let fault = Fault::new(Rule::Lost, format!("the client stands at {}, and the journal goes on", seen.cursor));
            Err(Verdict::within(fault, session, journal, Some(at)))
        })
    }
}
