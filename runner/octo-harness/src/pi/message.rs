//! pi's messages as canonical messages.

use super::wire;
use octo_protocol::message::{Message, Role, StopReason, Usage};
use octo_protocol::part::{ExtensionPart, KnownPart, MediaSource, Part, ToolStatus};
use serde_json::{Value, json};

/// pi's word for why a model stopped; `None` for words that do not end a message (`pending`) or are unknown.
#[must_use]
pub fn stop_reason(reason: &str) -> Option<StopReason> {
    Some(match reason {
        "stop" => StopReason::Stop,
        "length" => StopReason::Length,
        "toolUse" => StopReason::ToolUse,
        "error" => StopReason::Error,
        "aborted" => StopReason::Aborted,
        _ => return None,
    })
}

/// Tokens and cost; `None` when the provider reported nothing.
#[must_use]
pub fn usage(usage: &wire::Usage) -> Option<Usage> {
    let canonical = Usage {
        input_tokens: wire::unsigned(usage.input),
        output_tokens: wire::unsigned(usage.output),
        cache_read_tokens: Some(wire::unsigned(usage.cache_read)),
        cache_write_tokens: Some(wire::unsigned(usage.cache_write)),
        cost_usd: usage.cost.as_ref().map(|cost| cost.total),
    };
    let spent = [usage.input, usage.output, usage.cache_read, usage.cache_write].iter().any(|count| *count > 0.0);
    spent.then_some(canonical)
}

/// What a tool gave: `{content, details?}`.
#[must_use]
pub fn tool_output(content: Value, details: Option<Value>) -> Value {
    let content = match content {
        Value::String(text) => json!([{"type": "text", "text": text}]),
        Value::Null => json!([]),
        content => content,
    };
    match details {
        Some(details) if !details.is_null() => json!({"content": content, "details": details}),
        _ => json!({"content": content}),
    }
}

/// The text blocks of a content, joined: what a person typed or reads.
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

fn part(id: String, block: &Value, finished: bool) -> Part {
    let kind = block.get("type").and_then(Value::as_str).unwrap_or_default();
    let parsed = serde_json::from_value::<wire::Block>(block.clone()).ok();
    match (kind, parsed) {
        ("text", Some(block)) => Part::text(id, block.text),
        ("thinking", Some(block)) => KnownPart::Thinking { id, text: block.thinking }.into(),
        ("toolCall", Some(block)) => {
            let status = if finished { ToolStatus::Pending } else { ToolStatus::Error };
            KnownPart::ToolCall { id, tool_call_id: block.id, name: block.name, input: block.arguments, status: Some(status) }.into()
        }
        ("image", Some(block)) => {
            KnownPart::Image { id, source: MediaSource::Base64 { data: block.data, mime_type: block.mime_type }, alt: None }.into()
        }
        _ => Part::Extension(ExtensionPart { kind: "x-pi-block".to_owned(), id, payload: Some(block.clone()), meta: None }),
    }
}

fn parts(message_id: &str, content: &Value, finished: bool) -> Vec<Part> {
    match content {
        Value::String(text) => vec![Part::text(format!("{message_id}.0"), text.as_str())],
        Value::Array(blocks) => {
            blocks.iter().enumerate().map(|(index, block)| part(format!("{message_id}.{index}"), block, finished)).collect()
        }
        _ => Vec::new(),
    }
}

fn blank(id: &str, role: Role, message: &wire::Message, now: i64) -> Message {
    Message {
        id: id.to_owned(),
        idx: 0,
        role,
        client_id: None,
        sender: None,
        parts: Vec::new(),
        created_at: message.timestamp.map_or(now, |at| at as i64),
        model: None,
        provider: None,
        stop_reason: None,
        usage: None,
        tool_call_id: None,
        tool_name: None,
        is_error: None,
        metadata: None,
    }
}

/// What the model said. Tool calls are `pending`, or `error` when the message broke off and they will never run.
#[must_use]
pub fn assistant(id: &str, message: wire::Message, now: i64) -> Message {
    let reason = message.stop_reason.as_deref().and_then(stop_reason);
    let finished = !matches!(reason, Some(StopReason::Error | StopReason::Aborted));
    Message {
        parts: parts(id, &message.content, finished),
        usage: message.usage.as_ref().and_then(usage),
        stop_reason: reason,
        is_error: (reason == Some(StopReason::Error)).then_some(true),
        metadata: message.error_message.as_ref().map(|error| json!({"error": error})),
        ..blank(id, Role::Assistant, &message, now)
    }
    .with_model(message.model, message.provider)
}

trait WithModel {
    fn with_model(self, model: Option<String>, provider: Option<String>) -> Self;
}

impl WithModel for Message {
    fn with_model(self, model: Option<String>, provider: Option<String>) -> Self {
        Self { model, provider, ..self }
    }
}

/// A message of another role than the model's as octo shows it; `None` for what is not for people: prompt sections, hidden notes.
#[must_use]
pub fn other(id: &str, message: wire::Message, now: i64) -> Option<Message> {
    let text = |text: String| vec![Part::text(format!("{id}.0"), text)];
    let canonical = match message.role.as_str() {
        "user" => Message { parts: parts(id, &message.content, true), ..blank(id, Role::User, &message, now) },
        "toolResult" => {
            let mut canonical = blank(id, Role::Tool, &message, now);
            canonical.parts.push(
                KnownPart::ToolResult {
                    id: format!("{id}.0"),
                    tool_call_id: message.tool_call_id.clone().unwrap_or_default(),
                    name: message.tool_name.clone(),
                    output: Some(tool_output(message.content, message.details)),
                    is_error: message.is_error,
                    duration_ms: message.duration_ms.map(wire::unsigned),
                }
                .into(),
            );
            canonical.usage = message.usage.as_ref().and_then(usage);
            canonical.tool_call_id = message.tool_call_id;
            canonical.tool_name = message.tool_name;
            canonical.is_error = Some(message.is_error);
            canonical
        }
        "custom" if message.display != Some(false) => {
            let metadata = json!({"kind": "custom", "custom_type": message.custom_type});
            Message { parts: parts(id, &message.content, true), metadata: Some(metadata), ..blank(id, Role::System, &message, now) }
        }
        "bashExecution" => {
            let command = message.command.as_deref().unwrap_or_default();
            let output = message.output.as_deref().unwrap_or_default();
            let metadata = json!({
                "kind": "bash_execution", "command": command, "exit_code": message.exit_code, "cancelled": message.cancelled,
                "truncated": message.truncated, "excluded": message.excluded,
            });
            Message { parts: text(format!("$ {command}\n{output}")), metadata: Some(metadata), ..blank(id, Role::System, &message, now) }
        }
        "branchSummary" | "compactionSummary" => {
            let kind = if message.role == "branchSummary" { "branch_summary" } else { "compaction_summary" };
            let metadata = json!({"kind": kind, "tokens_before": message.tokens_before.map(wire::unsigned)});
            Message {
                parts: text(message.summary.clone().unwrap_or_default()),
                metadata: Some(metadata),
                ..blank(id, Role::System, &message, now)
            }
        }
        _ => return None,
    };
    Some(canonical)
}
