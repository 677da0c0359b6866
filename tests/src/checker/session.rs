//! Where a client stands in one session, and whether the next frame may follow there.

use super::Totals;
use super::commands::Asked;
use super::conversation::Conversation;
use super::record::Record;
use super::verdict::{Fault, Rule, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

type Judged = Result<(), Fault>;

/// Where the client is on its way through the journal.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Not attached on this connection.
    #[default]
    Away,
    /// Attached without a cursor that holds: `messages` follows.
    Attached,
    /// Attached at a cursor: `replay.start` follows.
    Placed,
    /// Inside the brackets, after so many events.
    Replay(u64),
    Live,
}

/// What one session looked like to the client.
#[derive(Debug, Default)]
pub struct Seen {
    pub epoch: String,
    /// The newest `seq` that was seen, or passed over in a replay.
    pub cursor: u64,
    place: Place,
    pub conversation: Conversation,
    pub records: BTreeMap<String, Record>,
    /// Resyncs that the test expects.
    pub may_resync: u32,
    /// A resync was told; `messages` follows.
    resync: bool,
    /// The session was deleted; one of the same name is another one.
    gone: bool,
}

impl Seen {
    /// Between the brackets.
    pub fn is_replaying(&self) -> bool {
        matches!(self.place, Place::Replay(_))
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        self.place = Place::Away;
        // One that was told and not carried out is told once more.
        self.may_resync += u32::from(std::mem::take(&mut self.resync));
    }

    /// The response of an attach: from here on the follower of this attach speaks.
    pub fn attached(&mut self, asked: &Asked) {
        self.place = if *asked == Asked::Messages { Place::Attached } else { Place::Placed };
        self.resync = false;
        if let Asked::After(epoch, seq) = asked
            && (*epoch != self.epoch || *seq != self.cursor)
        {
            self.conversation.moved(*seq > 0);
            self.epoch.clone_from(epoch);
            self.cursor = *seq;
        }
        if matches!(asked, Asked::After(..)) {
            self.records.entry(self.epoch.clone()).or_default().from(self.cursor);
        }
    }

    /// Judges one event.
    pub fn follow(&mut self, event: &str, frame: &Value, totals: &mut Totals) -> Judged {
        let epoch = frame["epoch"].as_str().ok_or_else(|| Fault::new(Rule::Shape, "an event has an epoch"))?;
        match event {
            "messages" => return self.snapshot(epoch, frame, totals),
            "stream.resync_required" => return self.resync_required(frame, totals),
            _ => {}
        }
        match event {
            "replay.start" => {
                self.same_epoch(epoch)?;
                self.replay_starts(frame, totals)
            }
            "replay.end" => {
                self.same_epoch(epoch)?;
                self.replay_ends(frame)
            }
            _ => match frame["seq"].as_u64() {
                Some(seq) => {
                    self.same_epoch(epoch)?;
                    self.numbered(seq, event, frame, totals)
                }
                None => {
                    self.gone |= event == "session.closed";
                    Ok(())
                }
            },
        }
    }

    fn same_epoch(&self, epoch: &str) -> Judged {
        ensure(!self.resync, Rule::Resync, || "after stream.resync_required the messages come first".to_owned())?;
        ensure(self.place != Place::Away, Rule::Bracket, || "an event came on a connection that is not attached".to_owned())?;
        ensure(epoch == self.epoch, Rule::Epoch, || format!("the epoch changes only by a resync; the client's is {:?}", self.epoch))
    }

    fn snapshot(&mut self, epoch: &str, frame: &Value, totals: &mut Totals) -> Judged {
        let shape = || Fault::new(Rule::Shape, "messages has as_of, has_more and a list");
        let (as_of, list) = (frame["as_of"].as_u64().ok_or_else(shape)?, frame["messages"].as_array().ok_or_else(shape)?);
        ensure(matches!(self.place, Place::Attached), Rule::Bracket, || {
            "messages come once after an attach without a cursor, or after a resync".to_owned()
        })?;
        self.place = Place::Placed;
        if std::mem::take(&mut self.gone) && epoch != self.epoch {
            self.conversation = Conversation::default();
        }
        self.resync = false;
        epoch.clone_into(&mut self.epoch);
        self.cursor = as_of;
        self.records.entry(self.epoch.clone()).or_default().from(as_of);
        totals.snapshots += 1;
        let under_way = frame["state"]["turn_id"].is_string();
        let removed = frame["removed"]["messages"].as_u64().unwrap_or_default();
        self.conversation.snapshot(list, frame["has_more"].as_bool().ok_or_else(shape)?, removed, under_way)
    }

    fn resync_required(&mut self, frame: &Value, totals: &mut Totals) -> Judged {
        ensure(self.may_resync > 0, Rule::Resync, || {
            format!("the server does not go on after {} of epoch {:?}, which it gave: {}", self.cursor, self.epoch, frame["reason"])
        })?;
        self.may_resync -= 1;
        totals.resyncs += 1;
        self.resync = true;
        self.place = Place::Attached;
        Ok(())
    }

    fn replay_starts(&mut self, frame: &Value, totals: &mut Totals) -> Judged {
        ensure(!matches!(self.place, Place::Replay(_)), Rule::Bracket, || "a replay within a replay".to_owned())?;
        ensure(self.place != Place::Attached, Rule::Bracket, || "a replay begins after the messages".to_owned())?;
        let after = frame["after"].as_u64();
        ensure(after == Some(self.cursor), Rule::Bracket, || {
            format!("a replay begins where the client stands, which is {}, and not at {after:?}", self.cursor)
        })?;
        self.place = Place::Replay(0);
        totals.replays += 1;
        Ok(())
    }

    fn replay_ends(&mut self, frame: &Value) -> Judged {
        let Place::Replay(given) = self.place else { return Err(Fault::new(Rule::Bracket, "a replay ended that had not begun")) };
        let count = frame["count"].as_u64();
        ensure(count == Some(given), Rule::Lost, || format!("the replay says that it had {count:?} events, and {given} came"))?;
        let end = frame["seq"].as_u64().ok_or_else(|| Fault::new(Rule::Shape, "replay.end has a seq"))?;
        ensure(end >= self.cursor, Rule::Bracket, || format!("a replay ends at {end}, before its last event, {}", self.cursor))?;
        if end > self.cursor {
            self.conversation.jumped();
        }
        self.stand(end);
        self.place = Place::Live;
        Ok(())
    }

    fn numbered(&mut self, seq: u64, event: &str, frame: &Value, totals: &mut Totals) -> Judged {
        let record = self.records.entry(self.epoch.clone()).or_default();
        let at = self.cursor;
        if seq <= at {
            // Which of the two it is, the record knows.
            record.keep(seq, frame)?;
            let sentence = format!("the client stands at {at}, then came {seq}");
            return Err(Fault::new(if seq == at { Rule::Doubled } else { Rule::Reordered }, sentence));
        }
        match &mut self.place {
            Place::Replay(given) => {
                *given += 1;
                if seq > at + 1 {
                    self.conversation.jumped();
                    totals.jumps += 1;
                }
            }
            Place::Live => ensure(seq == at + 1, Rule::Lost, || format!("the client stands at {at}, then came {seq}"))?,
            Place::Away | Place::Attached | Place::Placed => {
                return Err(Fault::new(Rule::Bracket, "what follows an attach stands in brackets first"));
            }
        }
        record.keep(seq, frame)?;
        self.stand(seq);
        self.conversation.follow(event, frame, totals)
    }

    /// Nothing that began is still to come.
    pub fn at_rest(&self) -> Judged {
        let replaying = matches!(self.place, Place::Replay(_));
        ensure(!replaying, Rule::Bracket, || "a replay began and did not end".to_owned())
    }

    fn stand(&mut self, seq: u64) {
        self.cursor = seq;
        self.records.entry(self.epoch.clone()).or_default().upto(seq);
    }
}
