//! What the demonstration model reads of a request, the same for all three dialects.

use serde_json::{Map, Value};

use super::script;
use super::tools::Offered;
use crate::dialect::Api;

/// A request, as far as it matters here.
#[derive(Debug, Clone, Default)]
pub struct Conversation {
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Whether a chat stream is to tell its usage.
    pub include_usage: bool,
    /// Tools on offer.
    pub offered: Vec<Offered>,
    /// The script that governs this turn.
    pub script: Option<Scripted>,
    /// Rough size of the input in tokens.
    pub input_tokens: u64,
    /// Pictures in what the user said.
    pub images: usize,
}

/// The latest script of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Scripted {
    /// From its first bracket on.
    pub text: String,
    /// Assistant messages since it.
    pub turn: usize,
    /// Which message holds it.
    pub position: usize,
    /// Whether the user wrote something after it.
    pub followed: bool,
}

#[derive(PartialEq)]
enum Role {
    /// Its text parts: an agent may put what was said in several turns that had no answer into one message.
    User(Vec<String>),
    Assistant,
    Other,
}

impl Conversation {
    /// Reads a request's body.
    pub fn parse(api: Api, body: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(body).map_err(|e| format!("the request's body is not JSON: {e}"))?;
        let Value::Object(request) = value else {
            return Err("the request's body is not a JSON object".to_owned());
        };
        let list = match api {
            Api::OpenaiResponses => request.get("input"),
            _ => request.get("messages"),
        };
        let roles = match (api, list) {
            (Api::OpenaiResponses, Some(Value::String(text))) => vec![Role::User(vec![text.clone()])],
            (_, Some(Value::Array(items))) => items.iter().map(role).collect(),
            (Api::OpenaiResponses, _) => return Err("the request has no input".to_owned()),
            _ => return Err("the request has no messages".to_owned()),
        };
        let tools = request.get("tools").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        Ok(Self {
            stream: request.get("stream") == Some(&Value::Bool(true)),
            include_usage: request.get("stream_options").and_then(|o| o.get("include_usage")) == Some(&Value::Bool(true)),
            offered: tools.iter().filter_map(Offered::parse).collect(),
            script: scripted(api, &roles),
            input_tokens: body.len() as u64 / 4,
            images: list.and_then(Value::as_array).map_or(0, |items| items.iter().map(images).sum()),
        })
    }
}

/// The responses dialect has an item for each part of an assistant message, so there a run of such items is one message.
fn scripted(api: Api, roles: &[Role]) -> Option<Scripted> {
    let (position, text) = roles.iter().enumerate().rev().find_map(|(n, role)| match role {
        Role::User(texts) => texts.iter().rev().find_map(|text| script::find(text)).map(|s| (n, s.to_owned())),
        _ => None,
    })?;
    let mut turn = 0;
    let mut within = false;
    let mut followed = false;
    for role in &roles[position + 1..] {
        let assistant = *role == Role::Assistant;
        turn += usize::from(assistant && !(within && api == Api::OpenaiResponses));
        within = assistant;
        followed |= matches!(role, Role::User(texts) if texts.iter().any(|text| !text.trim().is_empty()));
    }
    Some(Scripted { text, turn, position, followed })
}

fn role(item: &Value) -> Role {
    let kind = item.get("type").and_then(Value::as_str);
    match (item.get("role").and_then(Value::as_str), kind) {
        (Some("user"), _) => Role::User(texts(item.get("content"))),
        (Some("assistant"), _) | (None, Some("function_call" | "reasoning" | "custom_tool_call")) => Role::Assistant,
        _ => Role::Other,
    }
}

/// The pictures of a message of the user; those in tool results are not what the user said.
fn images(item: &Value) -> usize {
    let parts = item.get("content").and_then(Value::as_array).filter(|_| item.get("role").and_then(Value::as_str) == Some("user"));
    let is_image = |part: &&Value| matches!(part.get("type").and_then(Value::as_str), Some("image" | "image_url" | "input_image"));
    parts.map_or(0, |parts| parts.iter().filter(is_image).count())
}

/// The text parts of a content; tool results are not what the user said.
fn texts(content: Option<&Value>) -> Vec<String> {
    match content {
        Some(Value::String(text)) => vec![text.clone()],
        Some(Value::Array(parts)) => {
            let text = |part: &Map<String, Value>| match part.get("type").and_then(Value::as_str) {
                Some("text" | "input_text") => part.get("text").and_then(Value::as_str).map(str::to_owned),
                _ => None,
            };
            parts.iter().filter_map(Value::as_object).filter_map(text).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn turn(api: Api, request: &Value) -> Option<(usize, bool)> {
        let c = Conversation::parse(api, request.to_string().as_bytes()).unwrap();
        c.script.map(|s| (s.turn, s.followed))
    }

    #[test]
    fn the_turn_is_the_number_of_assistant_messages_since_the_latest_script() {
        let anthropic = json!({"messages": [
            {"role": "user", "content": "@demo [\"old\"]"},
            {"role": "assistant", "content": "old"},
            {"role": "user", "content": [{"type": "text", "text": "@demo [\"a\", \"b\"]"}]},
            {"role": "assistant", "content": [{"type": "tool_use", "id": "x", "name": "bash", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": "@demo [\"injected\"]"}]},
        ]});
        assert_eq!(turn(Api::AnthropicMessages, &anthropic), Some((1, false)));

        let chat = json!({"messages": [
            {"role": "system", "content": "@demo [1]"},
            {"role": "user", "content": "@demo [\"a\", \"b\"]"},
            {"role": "assistant", "content": null, "tool_calls": []},
            {"role": "tool", "content": "@demo [\"injected\"]"},
            {"role": "user", "content": "go on"},
        ]});
        assert_eq!(turn(Api::OpenaiCompletions, &chat), Some((1, true)));

        let responses = json!({"input": [
            {"role": "user", "content": [{"type": "input_text", "text": "@demo [\"a\", \"b\"]"}]},
            {"type": "reasoning", "summary": []},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]},
            {"type": "function_call", "name": "bash", "arguments": "{}"},
            {"type": "function_call", "name": "bash", "arguments": "{}"},
            {"type": "function_call_output", "output": "@demo [1]"},
            {"type": "function_call_output", "output": "y"},
            {"type": "reasoning", "summary": []},
        ]});
        assert_eq!(turn(Api::OpenaiResponses, &responses), Some((2, false)));
        // Two prompts, of which the first had no answer, in one message: the later one counts.
        let joined = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "@demo [1]"}, {"type": "text", "text": "@demo [\"b\"]"}]}]});
        let conversation = Conversation::parse(Api::AnthropicMessages, joined.to_string().as_bytes()).unwrap();
        assert_eq!(conversation.script.map(|script| script.text), Some("[\"b\"]".to_owned()));
        assert_eq!(turn(Api::OpenaiResponses, &json!({"input": "hello"})), None);
        assert_eq!(turn(Api::OpenaiResponses, &json!({"input": "@demo [1]"})), Some((0, false)));
    }
}
