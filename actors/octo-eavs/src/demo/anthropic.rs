//! The demonstration model in the Anthropic Messages dialect.

use serde_json::{Value, json};

use super::play::{Call, Encoder, Frame, Piece, WHOLE_TEXT};

/// Writes `message_start` … `message_stop`.
pub struct Anthropic {
    frame: Frame,
    index: usize,
    open: Option<&'static str>,
}

impl Anthropic {
    /// An encoder for one answer.
    pub fn new(frame: Frame) -> Self {
        Self { frame, index: 0, open: None }
    }

    fn close(&mut self, out: &mut String) {
        let Some(kind) = self.open.take() else {
            return;
        };
        if kind == "thinking" {
            let delta = json!({"type": "signature_delta", "signature": "octo-demo"});
            out.push_str(&event("content_block_delta", json!({"index": self.index, "delta": delta})));
        }
        out.push_str(&event("content_block_stop", json!({"index": self.index})));
        self.index += 1;
    }

    fn open(&mut self, kind: &'static str, block: Value, out: &mut String) {
        if self.open != Some(kind) || kind == "tool_use" {
            self.close(out);
            out.push_str(&event("content_block_start", json!({"index": self.index, "content_block": block})));
            self.open = Some(kind);
        }
    }

    fn delta(&self, delta: Value, out: &mut String) {
        out.push_str(&event("content_block_delta", json!({"index": self.index, "delta": delta})));
    }

    fn usage(&self, output: u64) -> Value {
        let u = &self.frame.usage;
        json!({
            "input_tokens": u.input,
            "cache_creation_input_tokens": u.cache_write,
            "cache_read_input_tokens": u.cache_read,
            "output_tokens": output,
        })
    }

    fn message(&self, content: Value, stop: Value, output: u64) -> Value {
        json!({
            "id": format!("msg_{}", self.frame.id),
            "type": "message",
            "role": "assistant",
            "model": self.frame.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": null,
            "usage": self.usage(output),
        })
    }

    fn stop_reason(&self) -> &'static str {
        if self.frame.tools.is_empty() { "end_turn" } else { "tool_use" }
    }
}

fn event(kind: &str, mut data: Value) -> String {
    data["type"] = kind.into();
    format!("event: {kind}\ndata: {data}\n\n")
}

fn tool(call: &Call, input: &Value) -> Value {
    json!({"type": "tool_use", "id": format!("toolu_{}", call.id), "name": call.name, "input": input})
}

impl Encoder for Anthropic {
    fn start(&mut self) -> String {
        event("message_start", json!({"message": self.message(json!([]), Value::Null, 1)}))
    }

    fn piece(&mut self, piece: &Piece) -> String {
        let mut out = String::new();
        match piece {
            Piece::Thinking(text) => {
                self.open("thinking", json!({"type": "thinking", "thinking": "", "signature": ""}), &mut out);
                self.delta(json!({"type": "thinking_delta", "thinking": text}), &mut out);
            }
            Piece::Text(text) => {
                self.open("text", json!({"type": "text", "text": ""}), &mut out);
                self.delta(json!({"type": "text_delta", "text": text}), &mut out);
            }
            Piece::Tool(call) => {
                self.open("tool_use", tool(call, &json!({})), &mut out);
                self.delta(json!({"type": "input_json_delta", "partial_json": call.input.to_string()}), &mut out);
            }
        }
        out
    }

    fn finish(&mut self) -> String {
        let mut out = String::new();
        self.close(&mut out);
        let delta = json!({"stop_reason": self.stop_reason(), "stop_sequence": null});
        let usage = self.usage(self.frame.usage.output);
        out.push_str(&event("message_delta", json!({"delta": delta, "usage": usage})));
        out.push_str(&event("message_stop", json!({})));
        out
    }

    fn malformed(&self) -> String {
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_del\n\n".to_owned()
    }

    fn document(&self) -> String {
        let mut content = Vec::new();
        if let Some(thinking) = &self.frame.thinking {
            content.push(json!({"type": "thinking", "thinking": thinking, "signature": "octo-demo"}));
        }
        if self.frame.has_text {
            content.push(json!({"type": "text", "text": WHOLE_TEXT}));
        }
        content.extend(self.frame.tools.iter().map(|call| tool(call, &call.input)));
        self.message(content.into(), self.stop_reason().into(), self.frame.usage.output).to_string()
    }
}
