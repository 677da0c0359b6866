//! JSON-RPC 2.0 as ACP uses it: one message at a time, no batches, and the errors that ACP names.
//!
//! The shapes of ACP are written here by hand and not taken from its schema crate: that crate turns on `serde_json/preserve_order` for all that is built
//! with it, which changes the order of members in every journal, snapshot and document of octo. What is written is held to the official SDKs' own
//! validation by `tests/tests/acp_server`.

use octo_protocol::mux::MAX_FRAME_BYTES;
use octo_protocol::{ErrorCode, ProtocolError};
use serde_json::{Map, Value, json};

/// Largest message that is read, in bytes: as large as the largest frame of the mux, so that a prompt with images passes.
pub const MAX_MESSAGE_BYTES: usize = MAX_FRAME_BYTES;
/// Longest id of a request that is taken, in bytes of its JSON; every answer repeats it.
const MAX_ID_BYTES: usize = 1024;
/// Of what was sent, so much is quoted in an error.
const QUOTED_CHARS: usize = 160;

/// Not JSON.
pub const PARSE_ERROR: i64 = -32700;
/// JSON, and no message.
pub const INVALID_REQUEST: i64 = -32600;
/// A method that there is not, or not on this server.
pub const METHOD_NOT_FOUND: i64 = -32601;
/// A method with other parameters than it takes.
pub const INVALID_PARAMS: i64 = -32602;
/// It went wrong.
pub const INTERNAL_ERROR: i64 = -32603;
/// Who asks has to prove who they are.
pub const AUTH_REQUIRED: i64 = -32000;
/// What is asked for does not exist, or belongs to somebody else.
pub const NOT_FOUND: i64 = -32002;
/// Taken back by who asked.
pub const CANCELLED: i64 = -32800;

/// Why a request fails.
#[derive(Debug, Clone, PartialEq)]
pub struct RpcError {
    /// One of the constants above.
    pub code: i64,
    /// A sentence.
    pub message: String,
    /// octo's own code, and what else is known.
    pub data: Option<Value>,
}

impl RpcError {
    /// Without data.
    pub fn new(code: i64, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), data: None }
    }

    fn json(&self) -> Value {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(data) = &self.data {
            error["data"] = data.clone();
        }
        error
    }
}

impl From<ProtocolError> for RpcError {
    fn from(refused: ProtocolError) -> Self {
        let code = match refused.code {
            ErrorCode::SessionNotFound => NOT_FOUND,
            ErrorCode::InvalidRequest | ErrorCode::Unsupported => INVALID_PARAMS,
            ErrorCode::Cancelled => CANCELLED,
            _ => INTERNAL_ERROR,
        };
        Self { code, message: refused.message, data: Some(json!({ "code": refused.code })) }
    }
}

/// A message of the client.
#[derive(Debug, Clone, PartialEq)]
pub enum Incoming {
    /// Wants an answer under `id`.
    Request { id: Value, method: String, params: Value },
    /// Wants none.
    Notification { method: String, params: Value },
    /// Answers a request of ours.
    Answer { id: Value, result: Result<Value, Value> },
}

/// Reads one message.
///
/// # Errors
/// The answer that the client gets instead.
pub fn parse(text: &str) -> Result<Incoming, Value> {
    let refuse = |id: Value, code: i64, message: String| Err(failure(&id, &RpcError::new(code, message)));
    if text.len() > MAX_MESSAGE_BYTES {
        let message = format!("the message has {} bytes; octo reads {MAX_MESSAGE_BYTES} at most", text.len());
        return refuse(Value::Null, INVALID_REQUEST, message);
    }
    let value: Value = match serde_json::from_str(text) {
        Ok(value) => value,
        Err(error) => return refuse(Value::Null, PARSE_ERROR, format!("the message is not JSON: {error}")),
    };
    let mut message: Map<String, Value> = match value {
        Value::Object(message) => message,
        Value::Array(_) => return refuse(Value::Null, INVALID_REQUEST, "ACP has no batches: send one message at a time".to_owned()),
        _ => return refuse(Value::Null, INVALID_REQUEST, "a message is a JSON object".to_owned()),
    };
    let id = message.remove("id");
    let good_id = |id: &Value| matches!(id, Value::Number(_) | Value::String(_)) && id.to_string().len() <= MAX_ID_BYTES;
    let shown = id.clone().filter(good_id).unwrap_or(Value::Null);
    if message.get("jsonrpc") != Some(&json!("2.0")) {
        return refuse(shown, INVALID_REQUEST, "a message says \"jsonrpc\": \"2.0\"".to_owned());
    }
    match (message.remove("method"), id) {
        (Some(Value::String(method)), id) => {
            let params = message.remove("params").filter(|params| !params.is_null()).unwrap_or_else(|| json!({}));
            match id {
                None => Ok(Incoming::Notification { method, params }),
                Some(id) if good_id(&id) => Ok(Incoming::Request { id, method, params }),
                Some(_) => refuse(
                    Value::Null,
                    INVALID_REQUEST,
                    format!("the id of a request is a number or a text of {MAX_ID_BYTES} bytes at most"),
                ),
            }
        }
        (None, Some(id)) => match (message.remove("result"), message.remove("error")) {
            (_, Some(error)) if !error.is_null() => Ok(Incoming::Answer { id, result: Err(error) }),
            (result, _) => Ok(Incoming::Answer { id, result: Ok(result.unwrap_or(Value::Null)) }),
        },
        (Some(_), _) => refuse(shown, INVALID_REQUEST, "a method is a text".to_owned()),
        (None, None) => refuse(Value::Null, INVALID_REQUEST, "a message has a method or an id".to_owned()),
    }
}

/// The answer to a request.
#[must_use]
pub fn success(id: &Value, result: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "result": result })
}

/// The answer to a request that failed.
#[must_use]
pub fn failure(id: &Value, error: &RpcError) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "error": error.json() })
}

/// A request of ours.
#[must_use]
pub fn request(id: &str, method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })
}

/// A notification of ours.
#[must_use]
pub fn notification(method: &str, params: &Value) -> Value {
    json!({ "jsonrpc": "2.0", "method": method, "params": params })
}

/// Parameters of a method, or the error that says what is wrong with them.
///
/// # Errors
/// [`INVALID_PARAMS`].
pub fn params<T: serde::de::DeserializeOwned>(method: &str, params: Value) -> Result<T, RpcError> {
    serde_json::from_value(params).map_err(|error| {
        let why: String = error.to_string().chars().take(QUOTED_CHARS).collect();
        RpcError::new(INVALID_PARAMS, format!("{method} does not take these parameters: {why}"))
    })
}

/// What came from outside is only quoted in part.
#[must_use]
pub fn quoted(text: &str) -> String {
    text.chars().take(QUOTED_CHARS).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_is_no_message_gets_the_error_that_says_why() {
        for (text, code) in [
            ("{", PARSE_ERROR),
            ("[]", INVALID_REQUEST),
            ("7", INVALID_REQUEST),
            ("{}", INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"1.0","id":1,"method":"x"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":{},"method":"x"}"#, INVALID_REQUEST),
            (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, INVALID_REQUEST),
        ] {
            let error = parse(text).unwrap_err();
            assert_eq!(error["error"]["code"], code, "{text}");
        }
        assert_eq!(parse(r#"{"jsonrpc":"1.0","id":4,"method":"x"}"#).unwrap_err()["id"], 4, "the request is answered, not only the line");
    }

    #[test]
    fn requests_notifications_and_answers_are_told_apart() {
        let request = parse(r#"{"jsonrpc":"2.0","id":"a","method":"m"}"#).unwrap();
        assert_eq!(request, Incoming::Request { id: json!("a"), method: "m".into(), params: json!({}) });
        let notification = parse(r#"{"jsonrpc":"2.0","method":"m","params":{"x":1}}"#).unwrap();
        assert_eq!(notification, Incoming::Notification { method: "m".into(), params: json!({"x": 1}) });
        let answer = parse(r#"{"jsonrpc":"2.0","id":1,"result":{}}"#).unwrap();
        assert_eq!(answer, Incoming::Answer { id: json!(1), result: Ok(json!({})) });
        let failed = parse(r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1}}"#).unwrap();
        assert_eq!(failed, Incoming::Answer { id: json!(1), result: Err(json!({"code": -1})) });
    }
}
