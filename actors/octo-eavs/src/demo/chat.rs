//! The demonstration model in the OpenAI chat completions dialect.

use serde_json::{Value, json};

use super::play::{Call, Encoder, Frame, Piece, WHOLE_TEXT};

/// Writes chunks up to `[DONE]`.
pub struct Chat {
    frame: Frame,
    tools: usize,
}

impl Chat {
    /// An encoder for one answer.
    pub fn new(frame: Frame) -> Self {
        Self { frame, tools: 0 }
    }

    fn chunk(&self, choices: Value, usage: Option<Value>) -> String {
        let mut chunk = json!({
            "id": format!("chatcmpl-{}", self.frame.id),
            "object": "chat.completion.chunk",
            "created": self.frame.created,
            "model": self.frame.model,
            "choices": choices,
        });
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        format!("data: {chunk}\n\n")
    }

    fn delta(&self, delta: Value, finish: Value) -> String {
        self.chunk(json!([{"index": 0, "delta": delta, "finish_reason": finish}]), None)
    }

    fn usage(&self) -> Value {
        let u = &self.frame.usage;
        let prompt = u.input + u.cache_read + u.cache_write;
        json!({
            "prompt_tokens": prompt,
            "completion_tokens": u.output,
            "total_tokens": prompt + u.output,
            "prompt_tokens_details": {"cached_tokens": u.cache_read},
        })
    }

    fn finish_reason(&self) -> &'static str {
        if self.frame.tools.is_empty() { "stop" } else { "tool_calls" }
    }
}

fn tool(call: &Call) -> Value {
    json!({
        "id": format!("call_{}", call.id),
        "type": "function",
        "function": {"name": call.name, "arguments": call.input.to_string()},
    })
}

impl Encoder for Chat {
    fn start(&mut self) -> String {
        self.delta(json!({"role": "assistant", "content": ""}), Value::Null)
    }

    fn piece(&mut self, piece: &Piece) -> String {
        let delta = match piece {
            Piece::Thinking(text) => json!({"reasoning_content": text}),
            Piece::Text(text) => json!({"content": text}),
            Piece::Tool(call) => {
                let mut call = tool(call);
                call["index"] = self.tools.into();
                self.tools += 1;
                json!({"tool_calls": [call]})
            }
        };
        self.delta(delta, Value::Null)
    }

    fn finish(&mut self) -> String {
        let mut out = self.delta(json!({}), self.finish_reason().into());
        if self.frame.include_usage {
            out.push_str(&self.chunk(json!([]), Some(self.usage())));
        }
        out.push_str("data: [DONE]\n\n");
        out
    }

    fn malformed(&self) -> String {
        "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"del\n\n".to_owned()
    }

    fn document(&self) -> String {
        let mut message = json!({"role": "assistant", "content": null});
        if self.frame.has_text {
            message["content"] = WHOLE_TEXT.into();
        }
        if let Some(thinking) = &self.frame.thinking {
            message["reasoning_content"] = thinking.as_str().into();
        }
        if !self.frame.tools.is_empty() {
            message["tool_calls"] = self.frame.tools.iter().map(tool).collect();
        }
        let document = json!({
            "id": format!("chatcmpl-{}", self.frame.id),
            "object": "chat.completion",
            "created": self.frame.created,
            "model": self.frame.model,
            "choices": [{"index": 0, "message": message, "finish_reason": self.finish_reason()}],
            "usage": self.usage(),
        });
        document.to_string()
    }
}
