//! Forks: every line of Claude Code's conversation has a uuid, and it goes on from any of them as a conversation of its own (`--fork-session` with
//! `--resume-session-at`, which keeps everything up to and with that line).
//!
//! The uuid of a message is its [`ENTRY_ID`]. One that Claude Code prints and does not keep (the failure of a request, what a slash command printed) has the id of the newest
//! one before it. Only what came after the newest compaction can be found again.

use super::{CALLED, Claude};
use crate::harness::{COMPACTION_SUMMARY, ENTRY_ID, NEW_CONVERSATION, Outbox};
use octo_protocol::event::Event;
use octo_protocol::message::{Message, Role};
use octo_protocol::part::Part;
use serde_json::json;

/// Between the conversation and the line, in the handle of a fork.
const AT: char = '@';
/// Longest id of a line.
const MAX_ID: usize = 64;

/// The id of a line, when it is one that could stand in an argument.
#[must_use]
pub fn entry_id(uuid: Option<&str>) -> Option<&str> {
    let fine = |id: &&str| {
        id.starts_with(|first: char| first.is_ascii_alphanumeric())
            && id.len() <= MAX_ID
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    uuid.filter(fine)
}

/// The message with its place in Claude Code's conversation.
#[must_use]
pub fn at(entry: Option<&str>, mut message: Message) -> Message {
    if let Some(entry) = entry {
        let metadata = message.metadata.get_or_insert_with(|| json!({}));
        metadata[ENTRY_ID] = entry.into();
    }
    message
}

/// The handle of a fork of `conversation`, which may be one itself.
#[must_use]
pub fn handle(conversation: &str, entry: &str) -> String {
    let (conversation, _) = parts(conversation);
    format!("{conversation}{AT}{entry}")
}

/// A handle's conversation, and the line that a fork of it ends with.
#[must_use]
pub fn parts(handle: &str) -> (&str, Option<&str>) {
    match handle.split_once(AT) {
        Some((conversation, entry)) => (conversation, Some(entry)),
        None => (handle, None),
    }
}

impl Claude {
    /// A message of the system, which says what has become of the conversation.
    fn mark(&mut self, kind: &str, text: &str, now: i64, out: &mut Outbox) {
        let id = self.stream.next_id();
        let message = Message {
            parts: vec![Part::text(format!("{id}.0"), text)],
            metadata: Some(json!({"kind": kind})),
            ..super::message::blank(&id, Role::System, now)
        };
        out.event(Event::MessageEnd { message: at(self.stream.newest(), message) });
    }

    /// The conversation was compacted, if it was: nothing before can be found any more.
    pub(super) fn mark_compaction(&mut self, now: i64, out: &mut Outbox) {
        let Some(done) = self.compaction.take_done() else { return };
        self.stream.passed(done.entry);
        self.mark(COMPACTION_SUMMARY, done.summary.as_deref().unwrap_or_default(), now, out);
    }

    /// Another conversation begins.
    pub(super) fn mark_new(&mut self, why: &str, now: i64, out: &mut Outbox) {
        self.stream.passed(None);
        self.mark(NEW_CONVERSATION, &format!("{CALLED} begins a new conversation: {why}"), now, out);
    }

    pub(super) fn entry_of_next(&self, message: &str) -> Option<String> {
        // A slash command is kept in another form, or not at all.
        (!message.trim_start().starts_with('/') && self.refusal().is_none()).then(|| self.inputs.coming_uuid())
    }
}

/// What Claude Code says when it does not find the line that it was to go on from.
#[must_use]
pub fn is_lost(error: &str) -> bool {
    error.contains("No message found with message.uuid")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_of_a_fork_names_the_conversation_and_the_line_also_when_it_is_a_fork_of_a_fork() {
        assert_eq!(parts("c-1"), ("c-1", None));
        let fork = handle("c-1", "l-2");
        assert_eq!(parts(&fork), ("c-1", Some("l-2")));
        assert_eq!(parts(&handle(&fork, "l-1")), ("c-1", Some("l-1")));
    }

    #[test]
    fn what_could_not_stand_in_an_argument_is_no_id() {
        assert_eq!(entry_id(Some("0b1c-2")), Some("0b1c-2"));
        for bad in ["", "a b", "a@b", "--x", &"a".repeat(MAX_ID + 1)] {
            assert_eq!(entry_id(Some(bad)), None, "{bad}");
        }
    }
}
