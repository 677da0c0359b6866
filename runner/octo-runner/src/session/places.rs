//! The places at which a conversation can be forked, for agents that can go on from any message that has an id of theirs (`metadata.entry_id`).
//!
//! They are read in the journal, so that they are the same whether the agent runs or not. A place lies before one of the user's messages, and is named by it;
//! what the agent keeps is everything up to the newest message before it that has an id. What the agent itself does not know any more, because it
//! was compacted or dropped since, has no places.

use crate::journal::{Journal, JournalError};
use octo_harness::{COMPACTION_SUMMARY, ENTRY_ID, NEW_CONVERSATION};
use octo_protocol::part::KnownPart;
use octo_protocol::session::ForkPoint;
use octo_protocol::{Message, Part, Role};
use serde_json::Value;
use serde_json::value::RawValue;

/// Messages that are read at a time.
pub(super) const PAGE: u32 = 50;
/// Most places of one conversation: the newest.
const MAX_PLACES: usize = 500;
/// Most characters of a message in a list of places.
const PREVIEW: usize = 200;

/// A place before one of the user's messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The message.
    pub idx: u64,
    pub entry_id: String,
    pub text: String,
    /// What the agent keeps ends with this; absent when that is nothing.
    pub after: Option<String>,
}

impl Place {
    /// As it is listed.
    pub fn point(&self) -> ForkPoint {
        let preview = self.text.trim();
        let preview = match preview.char_indices().nth(PREVIEW) {
            Some((cut, _)) => format!("{}…", &preview[..cut]),
            None => preview.to_owned(),
        };
        ForkPoint { entry_id: self.entry_id.clone(), role: Role::User, preview }
    }
}

/// Goes through a conversation from its end.
#[derive(Debug, Default)]
struct Walk {
    found: Vec<Place>,
    /// The newest message whose place is not known yet.
    pending: Option<Place>,
    over: bool,
}

impl Walk {
    fn resolve(&mut self, after: Option<&str>) {
        if let Some(place) = self.pending.take() {
            self.found.push(Place { after: after.map(str::to_owned), ..place });
        }
    }

    /// The message before those that were seen.
    fn see(&mut self, message: &Message) {
        let told = |name: &str| message.metadata.as_ref().and_then(|metadata| metadata.get(name)).and_then(Value::as_str);
        let (entry, kind) = (told(ENTRY_ID), told("kind"));
        match (entry, message.role) {
            _ if kind == Some(NEW_CONVERSATION) => self.resolve(None),
            (Some(entry), _) => self.resolve(Some(entry)),
            // It has a place that nobody knows, and so has what follows it.
            (None, Role::Assistant | Role::Tool) => self.pending = None,
            (None, _) if kind == Some(COMPACTION_SUMMARY) => self.pending = None,
            (None, _) => {}
        }
        self.over |= matches!(kind, Some(NEW_CONVERSATION | COMPACTION_SUMMARY)) || self.found.len() >= MAX_PLACES;
        if let (Some(entry), Role::User, false) = (entry, message.role, self.over) {
            self.pending = Some(Place { idx: message.idx, entry_id: entry.to_owned(), text: text_of(message), after: None });
        }
        if message.idx == 0 {
            self.resolve(None);
            self.over = true;
        }
    }
}

/// The places of a conversation, oldest first; with `wanted`, none that are older than that one.
pub(super) async fn places(journal: &Journal, session: i64, wanted: Option<&str>) -> Result<Vec<Place>, JournalError> {
    let (mut walk, mut before) = (Walk::default(), None);
    while !walk.over {
        let page = journal.messages(session, before, PAGE, usize::MAX).await?;
        for message in page.messages.iter().rev().filter_map(|raw| parsed(raw)) {
            before = Some(message.idx);
            if !walk.over {
                walk.see(&message);
            }
        }
        let seen = |wanted: &str| walk.found.iter().any(|place| place.entry_id == wanted);
        if !page.has_more || page.messages.is_empty() || wanted.is_some_and(seen) {
            break;
        }
    }
    walk.found.reverse();
    Ok(walk.found)
}

pub(super) fn parsed(raw: &RawValue) -> Option<Message> {
    serde_json::from_str(raw.get()).ok()
}

/// What a person reads of a message.
pub(super) fn text_of(message: &Message) -> String {
    let texts = message.parts.iter().filter_map(|part| match part {
        Part::Known(KnownPart::Text { text, .. }) => Some(text.as_str()),
        _ => None,
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn places_of(messages: &[(&str, Option<&str>, Option<&str>)]) -> Vec<(u64, Option<String>)> {
        from(0, messages)
    }

    fn from(first: u64, messages: &[(&str, Option<&str>, Option<&str>)]) -> Vec<(u64, Option<String>)> {
        let mut walk = Walk::default();
        for (n, (role, entry, kind)) in messages.iter().enumerate().rev() {
            let message = json!({"id": format!("m{n}"), "idx": first + n as u64, "role": role, "parts": [], "created_at": 0,
                "metadata": {"entry_id": entry, "kind": kind}});
            if !walk.over {
                walk.see(&serde_json::from_value(message).unwrap());
            }
        }
        walk.found.reverse();
        walk.found.into_iter().map(|place| (place.idx, place.after)).collect()
    }

    const fn user(entry: &str) -> (&str, Option<&str>, Option<&str>) {
        ("user", Some(entry), None)
    }

    const fn said(entry: &str) -> (&str, Option<&str>, Option<&str>) {
        ("assistant", Some(entry), None)
    }

    fn after(idx: u64, entry: &str) -> (u64, Option<String>) {
        (idx, Some(entry.to_owned()))
    }

    #[test]
    fn a_place_keeps_what_is_before_its_message_also_what_nobody_answered() {
        let found = places_of(&[user("u1"), said("a1"), ("tool", Some("t1"), None), user("u2"), user("u3"), said("a3"), user("u4")]);
        assert_eq!(found, [(0, None), after(3, "t1"), after(4, "u2"), after(6, "a3")]);
    }

    #[test]
    fn what_is_no_place_of_its_own_is_passed_over_and_what_is_unknown_is_no_place() {
        let steered = ("user", None, None);
        let printed = ("system", None, None);
        assert_eq!(places_of(&[user("u1"), said("a1"), steered, printed, user("u2")]), [(0, None), after(4, "a1")]);
        // From before there were ids, or from an agent that gives none.
        assert_eq!(places_of(&[steered, ("assistant", None, None), user("u2"), said("a2"), user("u3")]), [after(4, "a2")]);
    }

    #[test]
    fn nothing_is_a_place_that_the_agent_does_not_know_any_more() {
        let summary = ("system", Some("s"), Some(COMPACTION_SUMMARY));
        assert_eq!(places_of(&[user("u1"), said("a1"), summary, user("u2"), said("a2"), user("u3")]), [after(3, "s"), after(5, "a2")]);
        let no_id = ("system", None, Some(COMPACTION_SUMMARY));
        assert_eq!(places_of(&[user("u1"), said("a1"), no_id, user("u2"), said("a2"), user("u3")]), [after(5, "a2")]);
        let new = ("system", None, Some(NEW_CONVERSATION));
        assert_eq!(places_of(&[user("u1"), said("a1"), new, user("u2"), said("a2"), user("u3")]), [(3, None), after(5, "a2")]);
        assert_eq!(from(10, &[user("u1"), said("a1"), user("u2")]), [after(12, "a1")], "the oldest were removed from the history");
    }
}
