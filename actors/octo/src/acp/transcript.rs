//! Messages as updates: what was streamed is said once, and what a finished message has beyond that is said at its end.
//!
//! While a client, or octo, was away the journal forgets the deltas of messages that were finished meanwhile. So for each message under way it is known how
//! much of it was said, and its end says the rest.

use super::content;
use octo_protocol::part::KnownPart;
use octo_protocol::{Message, Part};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Messages that may be under way in one session; a main agent and its helpers are fewer.
const MAX_OPEN: usize = 32;

/// How much of a message under way was said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spoken {
    /// Bytes of its text.
    pub text: usize,
    /// Bytes of its thinking.
    pub thinking: usize,
    /// Pieces of it are missing: nothing more is said before its end, which says the rest.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub later: bool,
}

/// A message under way, as a cursor carries it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenMessage {
    /// Its id.
    pub id: String,
    /// How much of it was said.
    #[serde(flatten)]
    pub spoken: Spoken,
}

/// The messages under way of one session.
#[derive(Debug, Default)]
pub struct Transcript {
    open: BTreeMap<String, Spoken>,
}

/// Which of the two voices of an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Voice {
    /// What it says.
    Text,
    /// What it thinks.
    Thinking,
}

impl Voice {
    fn update(self) -> &'static str {
        match self {
            Self::Text => "agent_message_chunk",
            Self::Thinking => "agent_thought_chunk",
        }
    }
}

/// A chunk of a message.
#[must_use]
pub fn chunk(kind: &str, message_id: &str, block: &Value) -> Value {
    json!({ "sessionUpdate": kind, "content": block, "messageId": message_id })
}

impl Transcript {
    /// Begins a message. One that was begun already comes again from its first piece on, after a loss: what is missing of it is said at its end.
    pub fn start(&mut self, message_id: &str) {
        if let Some(spoken) = self.open.get_mut(message_id) {
            spoken.later = true;
            return;
        }
        if self.open.len() >= MAX_OPEN {
            self.open.pop_first();
        }
        self.open.insert(message_id.to_owned(), Spoken::default());
    }

    /// Goes on with a message of which so much was said.
    pub fn resume(&mut self, message: OpenMessage) {
        self.start(&message.id);
        self.open.insert(message.id, message.spoken);
    }

    /// The message under way that a cursor carries.
    #[must_use]
    pub fn under_way(&self) -> Option<OpenMessage> {
        self.open.iter().next_back().map(|(id, spoken)| OpenMessage { id: id.clone(), spoken: spoken.clone() })
    }

    /// A piece of a message.
    pub fn delta(&mut self, message_id: &str, voice: Voice, delta: &str) -> Option<Value> {
        if !self.open.contains_key(message_id) {
            self.start(message_id);
            self.open.get_mut(message_id)?.later = true;
        }
        let spoken = self.open.get_mut(message_id)?;
        if spoken.later || delta.is_empty() {
            return None;
        }
        *match voice {
            Voice::Text => &mut spoken.text,
            Voice::Thinking => &mut spoken.thinking,
        } += delta.len();
        Some(chunk(voice.update(), message_id, &content::text(delta)))
    }

    /// Events were passed over: they may have been pieces of what is under way.
    pub fn jumped(&mut self) {
        self.open.values_mut().for_each(|spoken| spoken.later = true);
    }

    /// A message will have no end.
    pub fn discard(&mut self, message_id: &str) {
        self.open.remove(message_id);
    }

    /// A turn is over: nothing is under way any more.
    pub fn clear(&mut self) {
        self.open.clear();
    }

    /// What a finished message of the agent has beyond what was said of it.
    pub fn end(&mut self, message: &Message) -> Vec<Value> {
        let spoken = self.open.remove(&message.id).unwrap_or_default();
        let all = |voice: Voice| -> String { message.parts.iter().filter_map(|part| said(part, voice)).collect() };
        let mut updates = Vec::new();
        if spoken.text == 0 && spoken.thinking == 0 {
            for part in &message.parts {
                let voice = if said(part, Voice::Thinking).is_some() { Voice::Thinking } else { Voice::Text };
                match said(part, voice) {
                    Some("") => {}
                    Some(text) => updates.push(chunk(voice.update(), &message.id, &content::text(text))),
                    None => updates.extend(content::block(part).map(|block| chunk(voice.update(), &message.id, &block))),
                }
            }
            return updates;
        }
        for (voice, from) in [(Voice::Thinking, spoken.thinking), (Voice::Text, spoken.text)] {
            // Where the end says less than the stream did, or something else, there is nothing that could be added to it.
            if let Some(rest) = all(voice).get(from..).filter(|rest| !rest.is_empty()) {
                updates.push(chunk(voice.update(), &message.id, &content::text(rest)));
            }
        }
        let others = message.parts.iter().filter(|part| said(part, Voice::Text).is_none());
        updates.extend(others.filter_map(content::block).map(|block| chunk(Voice::Text.update(), &message.id, &block)));
        updates
    }
}

/// The text of a part, when it is of this voice.
fn said(part: &Part, voice: Voice) -> Option<&str> {
    match (part, voice) {
        (Part::Known(KnownPart::Text { text, .. }), Voice::Text) | (Part::Known(KnownPart::Thinking { text, .. }), Voice::Thinking) => {
            Some(text)
        }
        _ => None,
    }
}

/// A message of a person, as it is shown to a client that did not send it.
#[must_use]
pub fn of_user(message: &Message) -> Vec<Value> {
    message.parts.iter().filter_map(content::block).map(|block| chunk("user_message_chunk", &message.id, &block)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn message(thinking: &str, text: &str) -> Message {
        serde_json::from_value(json!({
            "id": "m", "idx": 0, "role": "assistant", "created_at": 0,
            "parts": [{"type": "thinking", "id": "p0", "text": thinking}, {"type": "text", "id": "p1", "text": text}],
        }))
        .unwrap()
    }

    fn shown(updates: &[Value], kind: &str) -> String {
        updates.iter().filter(|update| update["sessionUpdate"] == kind).filter_map(|update| update["content"]["text"].as_str()).collect()
    }

    proptest! {
        /// Wherever the deltas break off, and whoever goes on, the whole is said once.
        #[test]
        fn nothing_is_lost_or_said_twice(thinking in "\\PC{0,20}", text in "\\PC{0,40}", cut in 0usize..60, restart in any::<bool>()) {
            let mut transcript = Transcript::default();
            transcript.start("m");
            let pieces = thinking.chars().map(|c| (Voice::Thinking, c)).chain(text.chars().map(|c| (Voice::Text, c)));
            let mut updates: Vec<Value> =
                pieces.take(cut).filter_map(|(voice, c)| transcript.delta("m", voice, &c.to_string())).collect();
            if restart {
                let open = transcript.under_way().unwrap();
                let carried: OpenMessage = serde_json::from_value(serde_json::to_value(open).unwrap()).unwrap();
                transcript = Transcript::default();
                transcript.resume(carried);
            }
            updates.extend(transcript.end(&message(&thinking, &text)));
            prop_assert_eq!(shown(&updates, "agent_thought_chunk"), thinking);
            prop_assert_eq!(shown(&updates, "agent_message_chunk"), text);
        }
    }

    #[test]
    fn what_was_passed_over_is_said_at_the_end() {
        let mut transcript = Transcript::default();
        transcript.start("m");
        assert!(transcript.delta("m", Voice::Text, "one ").is_some());
        transcript.jumped();
        assert!(transcript.delta("m", Voice::Text, "three").is_none());
        assert_eq!(shown(&transcript.end(&message("", "one two three")), "agent_message_chunk"), "two three");
    }

    #[test]
    fn a_message_that_is_joined_in_the_middle_is_said_at_its_end() {
        let mut transcript = Transcript::default();
        assert!(transcript.delta("m", Voice::Text, "llo").is_none());
        assert_eq!(shown(&transcript.end(&message("", "hello")), "agent_message_chunk"), "hello");
    }
}
