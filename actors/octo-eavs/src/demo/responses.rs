//! The demonstration model in the OpenAI responses dialect.

use serde_json::{Value, json};

use super::play::{Call, Encoder, Frame, Piece, WHOLE_TEXT};

/// Above this the last event names no output: it would repeat a text that three events before it had already.
const REPEATED_TEXT_BYTES: u64 = 64 * 1024;

/// Writes `response.created` … `response.completed`.
pub struct Responses {
    frame: Frame,
    sequence: u64,
    index: usize,
    open: Option<Open>,
    thought: String,
}

#[derive(Clone, Copy, PartialEq)]
enum Open {
    Reasoning,
    Message,
}

impl Responses {
    /// An encoder for one answer.
    pub fn new(frame: Frame) -> Self {
        Self { frame, sequence: 0, index: 0, open: None, thought: String::new() }
    }

    fn event(&mut self, kind: &str, mut data: Value) -> String {
        data["type"] = kind.into();
        data["sequence_number"] = self.sequence.into();
        self.sequence += 1;
        format!("event: {kind}\ndata: {data}\n\n")
    }

    fn id(&self, prefix: &str) -> String {
        format!("{prefix}_{}{}", self.frame.id, self.index)
    }

    fn reasoning(&self, text: &str) -> Value {
        let summary = if text.is_empty() { json!([]) } else { json!([{"type": "summary_text", "text": text}]) };
        json!({"id": self.id("rs"), "type": "reasoning", "summary": summary})
    }

    fn message(&self, status: &str, text: Option<&str>) -> Value {
        let content = text.map_or_else(|| json!([]), |t| json!([part(t)]));
        json!({"id": self.id("msg"), "type": "message", "role": "assistant", "status": status, "content": content})
    }

    fn call(&self, call: &Call, status: &str, arguments: &str) -> Value {
        json!({
            "id": self.id("fc"), "type": "function_call", "status": status,
            "call_id": format!("call_{}", call.id), "name": call.name, "arguments": arguments,
        })
    }

    fn close(&mut self, out: &mut String) {
        let index = self.index;
        match self.open.take() {
            None => return,
            Some(Open::Reasoning) => {
                let (id, text) = (self.id("rs"), std::mem::take(&mut self.thought));
                let at = json!({"item_id": id, "output_index": index, "summary_index": 0, "text": text});
                out.push_str(&self.event("response.reasoning_summary_text.done", at));
                let whole = json!({"type": "summary_text", "text": text});
                let at = json!({"item_id": id, "output_index": index, "summary_index": 0, "part": whole});
                out.push_str(&self.event("response.reasoning_summary_part.done", at));
                let item = self.reasoning(&text);
                out.push_str(&self.event("response.output_item.done", json!({"output_index": index, "item": item})));
            }
            Some(Open::Message) => {
                let id = self.id("msg");
                let at = json!({"item_id": id, "output_index": index, "content_index": 0, "text": WHOLE_TEXT});
                out.push_str(&self.event("response.output_text.done", at));
                let at = json!({"item_id": id, "output_index": index, "content_index": 0, "part": part(WHOLE_TEXT)});
                out.push_str(&self.event("response.content_part.done", at));
                let item = self.message("completed", Some(WHOLE_TEXT));
                out.push_str(&self.event("response.output_item.done", json!({"output_index": index, "item": item})));
            }
        }
        self.index += 1;
    }

    fn output(&self) -> Value {
        let mut items = Vec::new();
        let mut at = Self::new(self.frame.clone());
        if let Some(thinking) = &self.frame.thinking {
            items.push(at.reasoning(thinking));
            at.index += 1;
        }
        if self.frame.has_text {
            items.push(at.message("completed", Some(WHOLE_TEXT)));
            at.index += 1;
        }
        for call in &self.frame.tools {
            items.push(at.call(call, "completed", &call.input.to_string()));
            at.index += 1;
        }
        items.into()
    }

    fn response(&self, status: &str, output: Value, usage: Value) -> Value {
        json!({
            "id": format!("resp_{}", self.frame.id),
            "object": "response",
            "created_at": self.frame.created,
            "status": status,
            "model": self.frame.model,
            "error": null,
            "incomplete_details": null,
            "output": output,
            "parallel_tool_calls": true,
            "usage": usage,
        })
    }

    fn usage(&self) -> Value {
        let u = &self.frame.usage;
        let input = u.input + u.cache_read + u.cache_write;
        json!({
            "input_tokens": input,
            "input_tokens_details": {"cached_tokens": u.cache_read},
            "output_tokens": u.output,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": input + u.output,
        })
    }
}

fn part(text: &str) -> Value {
    json!({"type": "output_text", "text": text, "annotations": []})
}

impl Encoder for Responses {
    fn start(&mut self) -> String {
        let response = self.response("in_progress", json!([]), Value::Null);
        let created = self.event("response.created", json!({"response": response}));
        created + &self.event("response.in_progress", json!({"response": response}))
    }

    fn piece(&mut self, piece: &Piece) -> String {
        let mut out = String::new();
        match piece {
            Piece::Thinking(text) => {
                if self.open != Some(Open::Reasoning) {
                    self.close(&mut out);
                    let (index, item) = (self.index, self.reasoning(""));
                    out.push_str(&self.event("response.output_item.added", json!({"output_index": index, "item": item})));
                    let empty = json!({"type": "summary_text", "text": ""});
                    let at = json!({"item_id": self.id("rs"), "output_index": index, "summary_index": 0, "part": empty});
                    out.push_str(&self.event("response.reasoning_summary_part.added", at));
                    self.open = Some(Open::Reasoning);
                }
                self.thought.push_str(text);
                let at = json!({"item_id": self.id("rs"), "output_index": self.index, "summary_index": 0, "delta": text});
                out.push_str(&self.event("response.reasoning_summary_text.delta", at));
            }
            Piece::Text(text) => {
                if self.open != Some(Open::Message) {
                    self.close(&mut out);
                    let (index, item) = (self.index, self.message("in_progress", None));
                    out.push_str(&self.event("response.output_item.added", json!({"output_index": index, "item": item})));
                    let at = json!({"item_id": self.id("msg"), "output_index": index, "content_index": 0, "part": part("")});
                    out.push_str(&self.event("response.content_part.added", at));
                    self.open = Some(Open::Message);
                }
                let at = json!({"item_id": self.id("msg"), "output_index": self.index, "content_index": 0, "delta": text});
                out.push_str(&self.event("response.output_text.delta", at));
            }
            Piece::Tool(call) => {
                self.close(&mut out);
                let (index, id, arguments) = (self.index, self.id("fc"), call.input.to_string());
                let item = self.call(call, "in_progress", "");
                out.push_str(&self.event("response.output_item.added", json!({"output_index": index, "item": item})));
                let at = json!({"item_id": id, "output_index": index, "delta": arguments});
                out.push_str(&self.event("response.function_call_arguments.delta", at));
                let at = json!({"item_id": id, "output_index": index, "arguments": arguments});
                out.push_str(&self.event("response.function_call_arguments.done", at));
                let item = self.call(call, "completed", &arguments);
                out.push_str(&self.event("response.output_item.done", json!({"output_index": index, "item": item})));
                self.index += 1;
            }
        }
        out
    }

    fn finish(&mut self) -> String {
        let mut out = String::new();
        self.close(&mut out);
        let output = if self.frame.text_len > REPEATED_TEXT_BYTES { json!([]) } else { self.output() };
        let response = self.response("completed", output, self.usage());
        out.push_str(&self.event("response.completed", json!({"response": response})));
        out
    }

    fn malformed(&self) -> String {
        "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"del\n\n".to_owned()
    }

    fn document(&self) -> String {
        self.response("completed", self.output(), self.usage()).to_string()
    }
}
