//! Where the connector stands, and whether what comes next is next.

use octo_protocol::{Cursor, Epoch};
use serde::Deserialize;
use std::borrow::Cow;

/// A place in a session of the bridge.
#[derive(Debug)]
pub struct Where {
    session: String,
    cursor: Option<Cursor>,
    /// Within brackets `seq` may jump.
    replaying: bool,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow, default)]
    event: Cow<'a, str>,
    #[serde(default)]
    epoch: Option<Epoch>,
    #[serde(default)]
    seq: Option<u64>,
}

impl Where {
    /// In `session`, after `cursor`.
    #[must_use]
    pub fn new(session: String, cursor: Option<Cursor>) -> Self {
        Self { session, cursor, replaying: false }
    }

    /// The session.
    #[must_use]
    pub fn session(&self) -> &str {
        &self.session
    }

    /// Everything up to here was taken.
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    /// A new connection begins outside of brackets.
    pub fn connected(&mut self) {
        self.replaying = false;
    }

    /// Takes a frame: gives it as one line.
    ///
    /// # Errors
    /// Why the connection is no good: the frame is none, or something before it did not come.
    pub fn takes<'a>(&mut self, frame: &'a str) -> Result<Cow<'a, str>, String> {
        let head: Head<'_> = serde_json::from_str(frame).map_err(|error| format!("the bridge sent what is no frame ({error})"))?;
        match head.event.as_ref() {
            "replay.start" => self.replaying = true,
            "replay.end" => {
                self.replaying = false;
                self.moves(head.epoch, head.seq);
            }
            "stream.resync_required" => self.moves(head.epoch, head.seq),
            _ => {
                if let (Some(seq), Some(cursor)) = (head.seq, &self.cursor)
                    && !self.replaying
                    && seq > cursor.seq + 1
                {
                    return Err(format!("events {} to {} did not come", cursor.seq + 1, seq - 1));
                }
                self.moves(head.epoch, head.seq);
            }
        }
        if !frame.contains('\n') {
            return Ok(Cow::Borrowed(frame));
        }
        // A line of ours ends where theirs do not.
        let value: serde_json::Value = serde_json::from_str(frame).map_err(|error| error.to_string())?;
        Ok(Cow::Owned(value.to_string()))
    }

    fn moves(&mut self, epoch: Option<Epoch>, seq: Option<u64>) {
        if let (Some(epoch), Some(seq)) = (epoch, seq) {
            self.cursor = Some(Cursor { epoch, seq });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn event(seq: u64) -> String {
        format!(r#"{{"channel":"agent","epoch":"e","seq":{seq},"event":"status","key":"k"}}"#)
    }

    #[test]
    fn a_gap_outside_of_brackets_is_a_loss_and_inside_it_is_none() {
        let mut place = Where::new("s".into(), None);
        place.takes(&event(1)).unwrap();
        place.takes(r#"{"event":"tool.progress","tool_call_id":"t","name":"n","partial_output":1}"#).unwrap();
        assert_eq!(place.cursor().unwrap().seq, 1);
        assert!(place.takes(&event(3)).unwrap_err().contains("2 to 2"));
        assert_eq!(place.cursor().unwrap().seq, 1, "it goes on where it was");
        place.connected();
        place.takes(r#"{"event":"replay.start","epoch":"e","after":1}"#).unwrap();
        place.takes(&event(5)).unwrap();
        place.takes(r#"{"event":"replay.end","epoch":"e","seq":7,"count":1}"#).unwrap();
        assert_eq!(place.cursor().unwrap().seq, 7);
        place.takes(r#"{"event":"stream.resync_required","epoch":"f","seq":0,"reason":"r"}"#).unwrap();
        place.takes(&event(1).replace("\"e\"", "\"f\"")).unwrap();
        assert_eq!(place.cursor(), Some(&Cursor { epoch: "f".parse().unwrap(), seq: 1 }));
        assert!(place.takes("hello").is_err());
        assert_eq!(place.takes("{\n\"event\":\n\"x\"}").unwrap(), r#"{"event":"x"}"#);
    }
}
