//! Reads token counts beside a passing answer, in all three dialects, without holding or changing it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Cost;
use crate::limits::{USAGE_BODY_BYTES, USAGE_LINE_BYTES};

/// Token counts of one request. `input` is what was neither read from nor written to a cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tokens {
    /// Uncached input.
    pub input: u64,
    /// Output, thinking included.
    pub output: u64,
    /// Input read from a cache.
    pub cache_read: u64,
    /// Input written to a cache.
    pub cache_write: u64,
}

impl Tokens {
    /// The price in billionths of a US dollar.
    pub fn nano_usd(&self, cost: &Cost) -> u64 {
        // Dollars per million tokens are thousand nano-dollars per token.
        let part = |tokens: u64, price: f64| tokens as f64 * price.max(0.0) * 1000.0;
        let sum = part(self.input, cost.input)
            + part(self.output, cost.output)
            + part(self.cache_read, cost.cache_read)
            + part(self.cache_write, cost.cache_write);
        sum.round() as u64
    }
}

enum Shape {
    Sse { line: Vec<u8>, skipping: bool },
    Json { body: Vec<u8>, overflow: bool },
    Opaque,
}

/// The reader. Feed it the answer's pieces; ask it at the end.
pub struct UsageReader {
    shape: Shape,
    tokens: Tokens,
    seen_input: bool,
    complete: bool,
    bytes: u64,
}

impl std::fmt::Debug for UsageReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UsageReader").field("tokens", &self.tokens).field("complete", &self.complete).finish()
    }
}

impl UsageReader {
    /// A reader for an answer of this content type; a compressed one cannot be read and is estimated later.
    pub fn new(content_type: &str, encoded: bool) -> Self {
        let shape = match content_type.split(';').next().map(str::trim) {
            _ if encoded => Shape::Opaque,
            Some(t) if t.eq_ignore_ascii_case("text/event-stream") => Shape::Sse { line: Vec::new(), skipping: false },
            Some(t) if t.eq_ignore_ascii_case("application/json") => Shape::Json { body: Vec::new(), overflow: false },
            _ => Shape::Opaque,
        };
        Self { shape, tokens: Tokens::default(), seen_input: false, complete: false, bytes: 0 }
    }

    /// Bytes of the answer so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        match &mut self.shape {
            Shape::Opaque => {}
            Shape::Json { body, overflow } => {
                if body.len() + bytes.len() > USAGE_BODY_BYTES {
                    *overflow = true;
                    *body = Vec::new();
                } else if !*overflow {
                    body.extend_from_slice(bytes);
                }
            }
            Shape::Sse { .. } => self.feed_lines(bytes),
        }
    }

    /// The answer ended where it should: a JSON answer can be read now.
    pub fn end(&mut self) {
        let value = match &mut self.shape {
            Shape::Json { body, .. } => serde_json::from_slice::<Value>(&std::mem::take(body)).ok(),
            _ => None,
        };
        if let Some(value) = value {
            self.take(&value);
        }
    }

    /// The counts, if the answer told all of them.
    pub fn complete(&self) -> Option<Tokens> {
        self.complete.then_some(self.tokens)
    }

    /// Counts for an answer that was cut or told nothing: what was seen, and otherwise the estimates, never more than
    /// `max_output`. Four bytes of a stream are more than a token has, so this errs upwards.
    pub fn estimate(&self, input: u64, max_output: u64) -> Tokens {
        let mut tokens = self.tokens;
        if !self.seen_input {
            tokens.input = input;
        }
        tokens.output = tokens.output.max((self.bytes / 4).min(max_output));
        tokens
    }

    fn feed_lines(&mut self, mut bytes: &[u8]) {
        while let Some(at) = bytes.iter().position(|b| *b == b'\n') {
            let (head, tail) = bytes.split_at(at);
            bytes = &tail[1..];
            self.push(head);
            let Shape::Sse { line, skipping } = &mut self.shape else {
                return;
            };
            let skipped = std::mem::take(skipping);
            let full = std::mem::take(line);
            if !skipped {
                self.line(&full);
            }
            if let Shape::Sse { line, .. } = &mut self.shape
                && full.capacity() <= 64 * 1024
            {
                *line = full;
                line.clear();
            }
        }
        self.push(bytes);
    }

    fn push(&mut self, piece: &[u8]) {
        if let Shape::Sse { line, skipping } = &mut self.shape {
            if *skipping || line.len() + piece.len() > USAGE_LINE_BYTES {
                *skipping = true;
                line.clear();
            } else {
                line.extend_from_slice(piece);
            }
        }
    }

    fn line(&mut self, line: &[u8]) {
        let Some(data) = line.strip_prefix(b"data:") else {
            return;
        };
        // Most lines are small pieces of text: only those that name usage are parsed.
        if !data.windows(8).any(|w| w == b"\"usage\":" || w == b"\"usage\" ") {
            return;
        }
        if let Ok(value) = serde_json::from_slice::<Value>(data) {
            self.take(&value);
        }
    }

    fn take(&mut self, value: &Value) {
        let places = [value.get("usage"), value.pointer("/message/usage"), value.pointer("/response/usage")];
        let Some(usage) = places.into_iter().flatten().find(|u| u.is_object()) else {
            return;
        };
        let number = |pointer: &str| usage.pointer(pointer).and_then(Value::as_u64);
        let first = |pointers: &[&str]| pointers.iter().find_map(|p| number(p));
        // OpenAI's input counts include the cached part, Anthropic's do not.
        let within = first(&["/prompt_tokens_details/cached_tokens", "/input_tokens_details/cached_tokens", "/prompt_cache_hit_tokens"]);
        if let Some(input) = first(&["/input_tokens", "/prompt_tokens"]) {
            self.tokens.input = input.saturating_sub(within.unwrap_or(0));
            self.seen_input = true;
        }
        if let Some(output) = first(&["/output_tokens", "/completion_tokens"]) {
            self.tokens.output = output;
        }
        if let Some(read) = number("/cache_read_input_tokens").or(within) {
            self.tokens.cache_read = read;
        }
        if let Some(write) = number("/cache_creation_input_tokens") {
            self.tokens.cache_write = write;
        }
        let kind = value.get("type").and_then(Value::as_str).unwrap_or_default();
        self.complete |= !matches!(kind, "message_start" | "response.created" | "response.in_progress");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content_type: &str, text: &str, step: usize) -> Option<Tokens> {
        let mut reader = UsageReader::new(content_type, false);
        for piece in text.as_bytes().chunks(step) {
            reader.feed(piece);
        }
        reader.end();
        reader.complete()
    }

    #[test]
    fn usage_is_read_in_every_dialect_wherever_the_pieces_are_cut() {
        let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\"cache_read_input_tokens\":7,\"cache_creation_input_tokens\":3,\"output_tokens\":1}}}\n\nevent: message_delta\r\ndata: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":42}}\r\n\r\n";
        let chat = "data: {\"choices\":[],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":20,\"completion_tokens\":5,\"prompt_tokens_details\":{\"cached_tokens\":8}}}\n\ndata: [DONE]\n\n";
        let responses = "data: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"usage\":{\"input_tokens\":20,\"output_tokens\":5,\"input_tokens_details\":{\"cached_tokens\":8}}}}\n\n";
        for step in 1..80 {
            let sse = "text/event-stream; charset=utf-8";
            let t = |input, output, cache_read, cache_write| Tokens { input, output, cache_read, cache_write };
            assert_eq!(read(sse, anthropic, step), Some(t(10, 42, 7, 3)));
            assert_eq!(read(sse, chat, step), Some(t(12, 5, 8, 0)));
            assert_eq!(read(sse, responses, step), Some(t(12, 5, 8, 0)));
            assert_eq!(read("application/json", "{\"usage\":{\"input_tokens\":1,\"output_tokens\":2}}", step), Some(t(1, 2, 0, 0)));
        }
    }

    #[test]
    fn an_endless_line_costs_no_memory_and_hides_nothing_after_it() {
        let mut reader = UsageReader::new("text/event-stream", false);
        reader.feed(b"data: ");
        for _ in 0..100 {
            reader.feed(&[b'x'; 64 * 1024]);
        }
        reader.feed(b"\ndata: {\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n");
        assert_eq!(reader.complete().map(|t| t.output), Some(2));
    }

    #[test]
    fn a_cut_answer_is_estimated_and_never_free() {
        let mut reader = UsageReader::new("text/event-stream", false);
        reader.feed(&[b'x'; 400]);
        assert_eq!(reader.complete(), None);
        let t = reader.estimate(50, 1000);
        assert_eq!((t.input, t.output), (50, 100));
        let cost = Cost { input: 3.0, output: 15.0, ..Cost::default() };
        assert_eq!(t.nano_usd(&cost), 50 * 3000 + 100 * 15_000);
    }
}
