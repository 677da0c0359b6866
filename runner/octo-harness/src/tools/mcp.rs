//! A server of the Model Context Protocol with octo's tools, as a function: a message in, what is to be done out. Who carries the messages does not matter.
//!
//! Source: the specification of 2025-11-25, of which a server with nothing but tools needs `initialize`, `ping`, `tools/list`, `tools/call` and the
//! notifications. JSON-RPC 2.0: every request gets one answer, a notification none.

use super::{Call, Definition, Refusal};
use serde_json::{Value, json};

/// What the server is called.
pub const SERVER: &str = "octo";
/// The versions of the protocol that it speaks, newest first. It is the same for tools in all of them.
const VERSIONS: [&str; 4] = ["2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"];

/// What a message asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// This is the answer.
    Answer(Value),
    /// Nothing: a notification, or an answer to what nobody asked.
    Nothing,
    /// A tool is to be run, and its [`result`] to be given under this id.
    Call { id: Value, call: Call },
    /// Nobody waits for the result under this id any more.
    Cancelled { id: Value },
}

/// Takes a message.
#[must_use]
pub fn hear(message: &Value) -> Heard {
    let id = message.get("id").filter(|id| id.is_string() || id.is_number());
    let (Some(method), params) = (message["method"].as_str(), &message["params"]) else {
        // An answer needs none; anything else is told.
        let is_answer = message.is_object() && (message.get("result").is_some() || message.get("error").is_some());
        return if is_answer { Heard::Nothing } else { Heard::Answer(error(id, -32600, "this is no request")) };
    };
    let Some(id) = id else {
        return match method {
            "notifications/cancelled" if !params["requestId"].is_null() => Heard::Cancelled { id: params["requestId"].clone() },
            _ => Heard::Nothing,
        };
    };
    match method {
        "initialize" => {
            let asked = params["protocolVersion"].as_str().unwrap_or_default();
            let version = VERSIONS.into_iter().find(|version| *version == asked).unwrap_or(VERSIONS[0]);
            Heard::Answer(success(
                id,
                json!({
                    "protocolVersion": version,
                    "capabilities": {"tools": {}},
                    "serverInfo": {"name": SERVER, "version": env!("CARGO_PKG_VERSION")},
                }),
            ))
        }
        "ping" => Heard::Answer(success(id, json!({}))),
        "tools/list" => Heard::Answer(success(id, json!({"tools": super::all().iter().map(offered).collect::<Vec<_>>()}))),
        "tools/call" => match Call::parse(params["name"].as_str().unwrap_or_default(), arguments(params)) {
            Ok(call) => Heard::Call { id: id.clone(), call },
            Err(refusal @ Refusal::Unknown(_)) => Heard::Answer(error(Some(id), -32602, &refusal.to_string())),
            // The model can do better, so it is to see this.
            Err(refusal @ Refusal::Arguments { .. }) => Heard::Answer(result(id, &refusal.to_string(), true)),
        },
        other => {
            let shown: String = other.chars().take(100).collect();
            Heard::Answer(error(Some(id), -32601, &format!("octo does not do {shown}")))
        }
    }
}

fn arguments(params: &Value) -> Value {
    params.get("arguments").cloned().unwrap_or_else(|| json!({}))
}

fn offered(tool: &Definition) -> Value {
    json!({
        "name": tool.name,
        "description": tool.description,
        "inputSchema": tool.schema,
        // They are few: Claude Code is to show them to the model without being searched for them.
        "_meta": {"anthropic/alwaysLoad": true},
    })
}

fn success(id: &Value, result: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "result": result})
}

fn error(id: Option<&Value>, code: i32, message: &str) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}})
}

/// The answer to a call: what the model reads.
#[must_use]
pub fn result(id: &Value, text: &str, is_error: bool) -> Value {
    success(id, json!({"content": [{"type": "text", "text": text}], "isError": is_error}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(message: Value) -> Value {
        match hear(&message) {
            Heard::Answer(answer) => answer,
            other => panic!("{message}: {other:?}"),
        }
    }

    #[test]
    fn a_client_is_greeted_in_its_version_or_the_newest_and_gets_the_tools() {
        for (asked, given) in [("2024-11-05", "2024-11-05"), ("1999-01-01", "2025-11-25")] {
            let greeted = answer(json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {"protocolVersion": asked}}));
            assert_eq!((&greeted["id"], &greeted["result"]["protocolVersion"]), (&json!(0), &json!(given)));
        }
        assert_eq!(hear(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})), Heard::Nothing);
        let listed = answer(json!({"jsonrpc": "2.0", "id": "a", "method": "tools/list"}));
        let names: Vec<&str> =
            listed["result"]["tools"].as_array().into_iter().flatten().filter_map(|tool| tool["name"].as_str()).collect();
        assert_eq!((&listed["id"], names), (&json!("a"), vec!["title", "ask"]));
        assert_eq!(answer(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}))["result"], json!({}));
    }

    #[test]
    fn a_call_is_to_be_run_and_what_is_wrong_with_one_is_said_to_whom_it_concerns() {
        let call = |name: &str, arguments: Value| json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": arguments}});
        assert!(matches!(hear(&call("title", json!({"title": "x"}))), Heard::Call { id, call: Call::Title(_) } if id == 7));
        assert_eq!(answer(call("rm", json!({})))["error"]["code"], -32602);
        assert_eq!(answer(call("ask", json!({"question": 1})))["result"]["isError"], true);
        assert_eq!(answer(json!({"jsonrpc": "2.0", "id": 8, "method": "resources/list"}))["error"]["code"], -32601);
        let cancelled = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 7, "reason": "abort"}});
        assert_eq!(hear(&cancelled), Heard::Cancelled { id: json!(7) });
    }

    #[test]
    fn what_is_no_request_is_refused_and_an_answer_is_not_answered() {
        for no_request in [json!([]), json!(null), json!("x"), json!({}), json!({"id": 3}), json!({"method": 4, "id": 3})] {
            assert_eq!(answer(no_request)["error"]["code"], -32600);
        }
        assert_eq!(hear(&json!({"jsonrpc": "2.0", "id": 9, "result": {}})), Heard::Nothing);
        assert_eq!(hear(&json!({"method": "x", "id": {"not": "an id"}})), Heard::Nothing);
    }
}
