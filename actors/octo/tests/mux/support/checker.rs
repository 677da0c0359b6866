//! The history checker: what one client has seen of one session, over all its connections, and whether the promises held.

use octo_protocol::{Cursor, Message};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

#[derive(Default)]
pub struct Checker {
    /// Where the client stands.
    pub cursor: Option<Cursor>,
    /// Finished messages as the client has them, by id.
    pub messages: BTreeMap<String, Message>,
    /// Text of messages under way.
    pub open: HashMap<String, String>,
    /// Sequence numbers seen in this epoch.
    pub seen: Vec<u64>,
    pub resyncs: Vec<String>,
    pub events: Vec<String>,
    pub brackets: usize,
    /// Inside brackets: how many events so far.
    bracket: Option<u64>,
    /// A resync was announced and its `messages` have not come yet.
    resync: bool,
    /// Nothing may come before an attach has given `messages` or `replay.start`.
    attached: bool,
}

impl Checker {
    /// A new connection attaches with [`Checker::cursor`].
    pub fn attach(&mut self) {
        (self.bracket, self.resync, self.attached) = (None, false, false);
    }

    /// Live: attached, and outside of brackets.
    pub fn live(&self) -> bool {
        self.attached && self.bracket.is_none() && !self.resync
    }

    pub fn take(&mut self, frame: &Value) {
        let name = frame["event"].as_str().unwrap().to_owned();
        let seq = frame["seq"].as_u64();
        let epoch = frame["epoch"].as_str().unwrap().to_owned();
        self.events.push(name.clone());
        match name.as_str() {
            "stream.resync_required" => {
                self.resyncs.push(frame["reason"].as_str().unwrap().to_owned());
                (self.resync, self.attached, self.bracket) = (true, false, None);
                return;
            }
            "messages" => {
                assert!(self.resync || self.cursor.is_none(), "messages without need");
                let as_of = frame["as_of"].as_u64().unwrap();
                self.cursor = Some(Cursor { epoch: epoch.parse().unwrap(), seq: as_of });
                (self.resync, self.attached) = (false, false);
                self.open.clear();
                self.seen.clear();
                self.messages.clear();
                for message in frame["messages"].as_array().unwrap() {
                    self.message(message);
                }
                return;
            }
            _ => {}
        }
        assert!(!self.resync, "{name} between resync_required and messages");
        let cursor = self.cursor.as_mut().expect("an event before messages");
        assert_eq!(cursor.epoch.as_str(), epoch, "{name} of another epoch without resync_required");
        match name.as_str() {
            "replay.start" => {
                assert!(self.bracket.is_none(), "brackets in brackets");
                assert_eq!(frame["after"].as_u64(), Some(cursor.seq), "the replay begins elsewhere");
                (self.bracket, self.attached) = (Some(0), true);
                self.brackets += 1;
                return;
            }
            "replay.end" => {
                assert_eq!(frame["count"].as_u64(), self.bracket, "the replay's count");
                let end = seq.unwrap();
                assert!(end >= cursor.seq, "the replay ends before where it is");
                cursor.seq = end;
                self.bracket = None;
                return;
            }
            _ => {}
        }
        assert!(self.attached, "{name} before the replay of the attach");
        let Some(seq) = seq else { return };
        match &mut self.bracket {
            Some(count) => {
                assert!(seq > cursor.seq, "{name}: {seq} after {}", cursor.seq);
                *count += 1;
            }
            None => assert_eq!(seq, cursor.seq + 1, "{name}: a gap outside of brackets"),
        }
        cursor.seq = seq;
        self.seen.push(seq);
        match name.as_str() {
            "stream.message_start" => {
                self.open.insert(frame["message_id"].as_str().unwrap().to_owned(), String::new());
            }
            "stream.text_delta" => {
                let text = self.open.entry(frame["message_id"].as_str().unwrap().to_owned()).or_default();
                text.push_str(frame["delta"].as_str().unwrap());
            }
            "stream.message_end" => self.message(&frame["message"]),
            _ => {}
        }
    }

    fn message(&mut self, message: &Value) {
        let message: Message = serde_json::from_value(message.clone()).unwrap();
        self.open.remove(&message.id);
        let doubled = self.messages.insert(message.id.clone(), message);
        assert!(doubled.is_none(), "a message came twice: {doubled:?}");
    }

    /// What the client shows is what history holds.
    pub fn agrees(&self, history: &[Message]) {
        let mut shown: Vec<&Message> = self.messages.values().collect();
        shown.sort_by_key(|message| message.idx);
        assert_eq!(shown, history.iter().collect::<Vec<_>>());
        let mut seen = self.seen.clone();
        seen.dedup();
        assert_eq!(seen, self.seen, "doubled");
        assert!(self.seen.is_sorted(), "reordered");
    }
}
