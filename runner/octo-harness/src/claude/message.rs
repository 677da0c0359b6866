//! Claude Code's messages as canonical messages.

use super::wire;
pub use crate::message::{blank, tool_result};
use octo_protocol::message::{Message, Role};
use octo_protocol::part::{ExtensionPart, KnownPart, Part, ToolStatus};
use serde_json::{Value, json};

/// The model that Claude Code names where none spoke.
pub const SYNTHETIC: &str = "<synthetic>";

/// One block of a message as a part. `pending`: a tool that is called is going to run.
#[must_use]
pub fn part(id: String, block: &Value, pending: bool) -> Part {
    let other = |id| Part::Extension(ExtensionPart { kind: "x-claude-block".to_owned(), id, payload: Some(block.clone()), meta: None });
    let Ok(parsed) = serde_json::from_value::<wire::Block>(block.clone()) else { return other(id) };
    match parsed.kind.as_str() {
        "text" => Part::text(id, parsed.text),
        "thinking" => KnownPart::Thinking { id, text: parsed.thinking }.into(),
        "tool_use" => {
            let status = if pending { ToolStatus::Pending } else { ToolStatus::Error };
            // What is not there is not there when it is read again, either.
            let (tool_call_id, name, input) = (parsed.id, parsed.name, Some(parsed.input).filter(|input| !input.is_null()));
            KnownPart::ToolCall { id, tool_call_id, name, input, status: Some(status) }.into()
        }
        _ => other(id),
    }
}

/// The text blocks of a content, joined: what a person reads.
#[must_use]
pub fn plain_text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => {
            let texts: Vec<&str> = blocks.iter().filter_map(|block| block.get("text").and_then(Value::as_str)).collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

/// What a slash command printed; `None` when the text is none of that.
#[must_use]
pub fn command_output(id: &str, text: &str, now: i64) -> Option<Message> {
    let printed = ["stdout", "stderr"].iter().find_map(|stream| {
        let inner = text.trim().strip_prefix(&format!("<local-command-{stream}>"))?;
        inner.strip_suffix(&format!("</local-command-{stream}>"))
    });
    let printed = printed?.trim();
    (!printed.is_empty()).then(|| Message {
        parts: vec![Part::text(format!("{id}.0"), printed)],
        metadata: Some(json!({"kind": "command_output"})),
        ..blank(id, Role::System, now)
    })
}

/// A change of a file as a unified diff.
#[must_use]
pub fn patch(hunks: &[wire::Hunk]) -> Option<String> {
    let mut text = String::new();
    for hunk in hunks {
        text.push_str(&format!("@@ -{},{} +{},{} @@\n", hunk.old_start, hunk.old_lines, hunk.new_start, hunk.new_lines));
        for line in &hunk.lines {
            text.push_str(line);
            text.push('\n');
        }
    }
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_a_slash_command_printed_is_a_message_of_the_system() {
        let message = command_output("m", "<local-command-stdout>Total cost: 1\n</local-command-stdout>", 7).unwrap();
        assert_eq!((message.role, message.parts), (Role::System, vec![Part::text("m.0", "Total cost: 1")]));
        assert!(command_output("m", "<local-command-stdout> </local-command-stdout>", 7).is_none());
        assert!(command_output("m", "<local-command-stdout>half", 7).is_none());
        assert!(command_output("m", "[Request interrupted by user]", 7).is_none());
    }
}
