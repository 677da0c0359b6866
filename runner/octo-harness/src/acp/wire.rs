//! JSON-RPC 2.0, one message a line, in both directions. What the methods carry is [`super::v1`]'s.

use crate::harness::{Outbox, Output};
use crate::lines::excerpt;
use bytes::Bytes;
use octo_protocol::response::{ErrorCode, ProtocolError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::borrow::Cow;

/// The request is not one.
pub const INVALID_REQUEST: i64 = -32600;
/// There is no such method.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// The parameters are not what the method takes.
pub const INVALID_PARAMS: i64 = -32602;
/// The agent wants its user to log in first.
pub const AUTH_REQUIRED: i64 = -32000;
/// What was named is not there.
pub const NOT_FOUND: i64 = -32002;
/// The request was cancelled.
pub const CANCELLED: i64 = -32800;

/// Most characters of an agent's sentence.
const SENTENCE: usize = 2000;

/// Any message.
#[derive(Debug, Deserialize)]
pub struct Message<'a> {
    #[serde(borrow, default)]
    pub id: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub result: Option<&'a RawValue>,
    #[serde(default)]
    pub error: Option<Error>,
}

impl Message<'_> {
    /// Its id, of whatever type; `None` when it has none.
    #[must_use]
    pub fn id(&self) -> Option<Value> {
        self.id.and_then(|id| serde_json::from_str(id.get()).ok()).filter(|id: &Value| !id.is_null())
    }
}

/// Why a request failed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Error {
    pub code: i64,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
}

impl Error {
    /// What went wrong, as the agent says it. Agents keep the telling part in different places of `data`; the message is often only "Internal error".
    #[must_use]
    pub fn sentence(&self) -> String {
        let text = |value: &Value| value.as_str().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
        let told = self.data.as_ref().and_then(|data| {
            let inner = [&data["message"], &data["details"], &data["error"]["message"], &data["error"], &data["errorKind"]];
            text(data).or_else(|| inner.into_iter().find_map(text))
        });
        // Some wrap the provider's own answer, as text, into it.
        let told = told.map(|told| inner_message(&told).unwrap_or(told));
        let message = self.message.trim();
        let message = message.strip_prefix("Internal error:").map_or(message, str::trim);
        let whole = match told {
            Some(told) if message.is_empty() || message == "Internal error" || told.contains(message) => told,
            Some(told) if message.contains(&told) => message.to_owned(),
            Some(told) => format!("{message}: {told}"),
            None if message.is_empty() => format!("it failed with code {}", self.code),
            None => message.to_owned(),
        };
        excerpt(&whole, SENTENCE)
    }

    /// As octo says it to its clients.
    #[must_use]
    pub fn canonical(&self) -> ProtocolError {
        let code = match self.code {
            METHOD_NOT_FOUND => ErrorCode::Unsupported,
            INVALID_PARAMS | INVALID_REQUEST | NOT_FOUND => ErrorCode::InvalidRequest,
            CANCELLED => ErrorCode::Cancelled,
            _ => ErrorCode::AgentFailed,
        };
        ProtocolError::new(code, self.sentence())
    }
}

fn inner_message(text: &str) -> Option<String> {
    let at = text.find('{')?;
    let value: Value = serde_json::from_str(text.get(at..)?).ok()?;
    let message = [&value["error"]["message"], &value["message"]].into_iter().find_map(Value::as_str)?;
    Some(format!("{}{message}", &text[..at]))
}

fn write(message: &Value, out: &mut Outbox) {
    let mut line = message.to_string();
    line.push('\n');
    out.push(Output::Write(Bytes::from(line)));
}

/// Asks the agent.
pub fn request(id: u64, method: &str, params: &Value, out: &mut Outbox) {
    write(&json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}), out);
}

/// Tells the agent.
pub fn notify(method: &str, params: &Value, out: &mut Outbox) {
    write(&json!({"jsonrpc": "2.0", "method": method, "params": params}), out);
}

/// Answers the agent.
pub fn answer(id: &Value, result: &Value, out: &mut Outbox) {
    write(&json!({"jsonrpc": "2.0", "id": id, "result": result}), out);
}

/// Refuses what the agent asked for.
pub fn refuse(id: &Value, code: i64, message: &str, out: &mut Outbox) {
    write(&json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}}), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(code: i64, message: &str, data: Value) -> String {
        let data = Some(data).filter(|data| !data.is_null());
        Error { code, message: message.to_owned(), data }.sentence()
    }

    #[test]
    fn the_telling_part_of_an_error_is_found_wherever_agents_keep_it() {
        assert_eq!(sentence(-32603, "Internal error", json!({"message": "exceeded retry limit"})), "exceeded retry limit");
        assert_eq!(sentence(-32603, "Internal error", json!({"details": "no such file"})), "no such file");
        assert_eq!(sentence(-32603, "bad request", json!({"errorKind": "invalid_request"})), "bad request: invalid_request");
        assert_eq!(sentence(-32603, "Internal error: API Error: 400 bad", json!({"errorKind": "bad"})), "API Error: 400 bad");
        assert_eq!(sentence(-32000, "Authentication required", Value::Null), "Authentication required");
        assert_eq!(sentence(-1, "", Value::Null), "it failed with code -1");
        let wrapped = json!({"message": "400: {\"error\": {\"message\": \"bad request\", \"type\": \"x\"}}"});
        assert_eq!(sentence(-32603, "Internal error", wrapped), "400: bad request");
    }
}
