//! Canonical messages, as every translator makes them.

use octo_protocol::message::{Message, Role};
use octo_protocol::part::KnownPart;
use serde_json::{Value, json};

/// A message without content.
#[must_use]
pub fn blank(id: &str, role: Role, now: i64) -> Message {
    Message {
        id: id.to_owned(),
        idx: 0,
        role,
        client_id: None,
        sender: None,
        parts: Vec::new(),
        created_at: now,
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

/// What a tool gave, as a message.
#[must_use]
pub fn tool_result(id: &str, call_id: &str, ran: Option<(String, u64)>, output: Value, is_error: bool, now: i64) -> Message {
    let (name, duration_ms) = ran.unzip();
    let result = KnownPart::ToolResult {
        id: format!("{id}.0"),
        tool_call_id: call_id.to_owned(),
        name: name.clone(),
        output: Some(output),
        is_error,
        duration_ms,
    };
    Message {
        parts: vec![result.into()],
        tool_call_id: Some(call_id.to_owned()),
        tool_name: name,
        is_error: Some(is_error),
        ..blank(id, Role::Tool, now)
    }
}

/// What a tool gave: `{content, details?}`.
#[must_use]
pub fn tool_output(content: Value, details: Option<Value>) -> Value {
    let content = match content {
        Value::String(text) => json!([{"type": "text", "text": text}]),
        Value::Array(blocks) => blocks.into_iter().map(block).collect(),
        Value::Null => json!([]),
        content => json!([content]),
    };
    match details {
        Some(details) => json!({"content": content, "details": details}),
        None => json!({"content": content}),
    }
}

// An image as octo's clients know it.
fn block(block: Value) -> Value {
    let source = &block["source"];
    match (block["type"].as_str(), source["data"].as_str(), source["media_type"].as_str()) {
        (Some("image"), Some(data), Some(mime)) => json!({"type": "image", "data": data, "mimeType": mime}),
        _ => block,
    }
}
