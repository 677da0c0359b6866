//! The history checker: from everything that a client saw, over all its connections, it proves that nothing was lost, doubled or reordered.
//!
//! Judged for each `(session, epoch)`, on the spot:
//! - `seq` grows by exactly one, except within replay brackets, where it may jump (over pruned deltas), never back.
//! - No `(epoch, seq)` is seen twice with different content; none at all twice on one way through the journal.
//! - Every `stream.message_end` comes once; the deltas of a message, when all of them were seen, are its text.
//!
//! And at the end, against history: the same messages in the same order, each once ([`Checker::agrees_with`]).

use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};

/// What one session looked like to the client.
#[derive(Debug, Default)]
struct Seen {
    epoch: String,
    /// The newest `seq` that was seen.
    cursor: u64,
    /// `after` of the replay under way.
    replaying: bool,
    replayed: u64,
    /// Set by an attach without a cursor until its `messages` came.
    attached: bool,
    messages: BTreeMap<u64, Value>,
    ids: HashSet<String>,
    /// Deltas of open messages: whole while no jump went over them.
    open: HashMap<String, Open>,
    turns: HashMap<String, Turn>,
}

#[derive(Debug, Default)]
struct Open {
    text: String,
    whole: bool,
}

#[derive(Debug, Default, PartialEq)]
struct Turn {
    ended: u32,
}

/// Counts of what was judged, so that a test can see that it judged something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    pub events: u64,
    pub messages: u64,
    pub whole_messages: u64,
    pub replays: u64,
    pub jumps: u64,
}

/// Judges everything a client sees.
#[derive(Debug, Default)]
pub struct Checker {
    sessions: HashMap<String, Seen>,
    responses: HashSet<String>,
    pub totals: Totals,
}

impl Checker {
    /// The client's cursor in `session`.
    #[must_use]
    pub fn cursor(&self, session: &str) -> Option<Value> {
        let seen = self.sessions.get(session).filter(|seen| !seen.epoch.is_empty())?;
        Some(json!({"epoch": seen.epoch, "seq": seen.cursor}))
    }

    /// The connection is gone: a replay under way is over, and ids of commands may come again.
    pub fn disconnected(&mut self) {
        for seen in self.sessions.values_mut() {
            seen.replaying = false;
            seen.attached = false;
        }
        self.responses.clear();
    }

    /// Looks at one frame of the `agent` channel.
    ///
    /// # Panics
    /// When a promise is broken.
    pub fn see(&mut self, frame: &Value) {
        let event = frame["event"].as_str().unwrap_or_else(|| panic!("an event has a name: {frame}"));
        if event == "response" {
            let id = frame["id"].as_str().unwrap_or_default();
            assert!(id.is_empty() || self.responses.insert(id.to_owned()), "a second response to {id}: {frame}");
            self.opened(frame);
            return;
        }
        let seen = self.sessions.entry(frame["session_id"].as_str().unwrap_or_default().to_owned()).or_default();
        let epoch = frame["epoch"].as_str().unwrap_or_else(|| panic!("an event has an epoch: {frame}"));
        self.totals.events += 1;
        match event {
            "messages" => {
                *seen = Seen { epoch: epoch.to_owned(), cursor: frame["as_of"].as_u64().unwrap(), attached: true, ..Seen::default() };
                for message in frame["messages"].as_array().unwrap() {
                    seen.keep(message);
                }
                return;
            }
            "stream.resync_required" => return,
            "replay.start" => {
                assert!(!seen.replaying, "a replay within a replay: {frame}");
                assert_eq!(frame["after"].as_u64(), Some(seen.cursor), "a replay begins where the client stands: {frame}");
                seen.replaying = true;
                seen.replayed = 0;
                self.totals.replays += 1;
                return;
            }
            "replay.end" => {
                assert!(seen.replaying, "a replay that did not begin: {frame}");
                assert_eq!(frame["count"].as_u64(), Some(seen.replayed), "a replay counts its events: {frame}");
                let end = frame["seq"].as_u64().unwrap();
                assert!(end >= seen.cursor, "a replay does not end before its last event: {frame}");
                if end > seen.cursor {
                    seen.jumped();
                }
                seen.cursor = end;
                seen.replaying = false;
                return;
            }
            _ => {}
        }
        let Some(seq) = frame["seq"].as_u64() else { return };
        if seen.epoch.is_empty() {
            // The first event of a session that this client created.
            epoch.clone_into(&mut seen.epoch);
            seen.cursor = seq - 1;
        }
        assert_eq!(epoch, seen.epoch, "the epoch changes only by a resync: {frame}");
        if seen.replaying {
            assert!(seq > seen.cursor, "replayed backwards or doubled after {}: {frame}", seen.cursor);
            if seq > seen.cursor + 1 {
                seen.jumped();
                self.totals.jumps += 1;
            }
            seen.replayed += 1;
        } else {
            assert!(seq > seen.cursor, "doubled or reordered: the client stands at {}, then came {frame}", seen.cursor);
            assert_eq!(seq, seen.cursor + 1, "lost: the client stands at {}, then came {frame}", seen.cursor);
        }
        seen.cursor = seq;
        seen.follow(event, frame, &mut self.totals);
    }

    fn opened(&mut self, frame: &Value) {
        let command = frame["cmd"].as_str().unwrap_or_default();
        if frame["success"] != true || !(command == "session.create" || command == "session.attach") {
            return;
        }
        let seen = self.sessions.entry(frame["session_id"].as_str().unwrap_or_default().to_owned()).or_default();
        seen.replaying = false;
    }

    /// Compares what was seen with history (`get_messages`, all pages).
    ///
    /// # Panics
    /// When they differ.
    pub fn agrees_with(&self, session: &str, history: &[Value]) {
        let seen = &self.sessions[session];
        for (position, message) in history.iter().enumerate() {
            assert_eq!(message["idx"].as_u64(), Some(position as u64), "history is numbered without gaps: {message}");
        }
        let ids: Vec<_> = history.iter().map(|m| m["id"].as_str().unwrap()).collect();
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len(), "a message stands twice in history: {ids:?}");
        let known: Vec<_> = seen.messages.values().map(|m| m["id"].as_str().unwrap()).collect();
        assert_eq!(known, ids, "the client saw other messages than history has");
        for (message, stored) in seen.messages.values().zip(history) {
            assert_eq!(message["parts"], stored["parts"], "a message differs from history");
            assert_eq!(message["role"], stored["role"]);
        }
        let open: Vec<_> = seen.turns.iter().filter(|(_, turn)| turn.ended != 1).collect();
        assert!(open.is_empty(), "turns that did not end exactly once: {open:?}");
        assert!(seen.open.is_empty(), "messages that began and did not end: {:?}", seen.open.keys());
    }
}

impl Seen {
    fn keep(&mut self, message: &Value) {
        let id = message["id"].as_str().unwrap().to_owned();
        assert!(self.ids.insert(id.clone()), "message {id} came twice");
        let idx = message["idx"].as_u64().unwrap();
        assert!(self.messages.insert(idx, message.clone()).is_none(), "two messages with idx {idx}");
    }

    fn jumped(&mut self) {
        self.open.values_mut().for_each(|open| open.whole = false);
    }

    fn follow(&mut self, event: &str, frame: &Value, totals: &mut Totals) {
        let id = || frame["message_id"].as_str().unwrap_or_default().to_owned();
        match event {
            "stream.message_start" => {
                let before = self.open.insert(id(), Open { text: String::new(), whole: true });
                assert!(before.is_none(), "message {} began twice", id());
            }
            "stream.text_delta" => {
                if let Some(open) = self.open.get_mut(&id()) {
                    open.text.push_str(frame["delta"].as_str().unwrap());
                }
            }
            "stream.message_discarded" => {
                self.open.remove(&id());
            }
            "stream.message_end" => {
                let message = &frame["message"];
                self.keep(message);
                totals.messages += 1;
                if let Some(open) = self.open.remove(message["id"].as_str().unwrap())
                    && open.whole
                {
                    let text: String = message["parts"]
                        .as_array()
                        .unwrap()
                        .iter()
                        .filter(|part| part["type"] == "text")
                        .map(|part| part["text"].as_str().unwrap())
                        .collect();
                    assert_eq!(open.text, text, "the deltas are not the message");
                    totals.whole_messages += 1;
                }
            }
            _ => {}
        }
        if let Some(turn) = frame["turn_id"].as_str() {
            let turn = self.turns.entry(turn.to_owned()).or_default();
            if event == "agent.idle" || event == "agent.error" {
                turn.ended += 1;
            }
        }
    }
}
