//! Reads a few top-level scalars of a JSON object while its bytes pass by.
//!
//! Bodies are forwarded byte for byte and may be many megabytes; the proxy needs the model's name, so it looks for it beside
//! the stream with a scanner that keeps at most 512 bytes of one token.

const TOKEN_BYTES: usize = 512;

/// What was found. All models are kept, because parsers differ on which of two equal keys counts.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Found {
    /// Every value of a top-level `model`.
    pub models: Vec<String>,
    /// The largest of `max_tokens`, `max_completion_tokens`, `max_output_tokens`.
    pub max_tokens: Option<u64>,
}

impl Found {
    /// The model that counts (the last one, as most parsers have it).
    pub fn model(&self) -> Option<&str> {
        self.models.last().map(String::as_str)
    }
}

/// The scanner. Feed it pieces of any size.
#[derive(Debug, Default)]
pub struct Sniffer {
    depth: u32,
    started: bool,
    not_an_object: bool,
    in_string: bool,
    escaped: bool,
    value: bool,
    token: Vec<u8>,
    overflow: bool,
    key: Option<String>,
    found: Found,
}

impl Sniffer {
    /// Looks at the next bytes of the body.
    pub fn feed(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if self.not_an_object {
                return;
            }
            self.step(byte);
        }
    }

    /// What was found so far.
    pub fn found(&self) -> &Found {
        &self.found
    }

    fn step(&mut self, byte: u8) {
        if self.in_string {
            if self.escaped {
                self.escaped = false;
                self.keep(byte);
            } else if byte == b'\\' {
                self.escaped = true;
                self.keep(byte);
            } else if byte == b'"' {
                self.in_string = false;
                self.end_string();
            } else {
                self.keep(byte);
            }
            return;
        }
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if !self.started && byte != b'{' => self.not_an_object = true,
            b'"' => {
                self.in_string = true;
                self.clear();
            }
            b'{' | b'[' => {
                self.started = true;
                self.depth = self.depth.saturating_add(1);
            }
            b'}' | b']' => {
                if self.depth == 1 {
                    self.end_scalar();
                }
                self.depth = self.depth.saturating_sub(1);
                self.not_an_object = self.depth == 0;
            }
            b':' if self.depth == 1 => {
                self.value = true;
                self.clear();
            }
            b',' if self.depth == 1 => {
                self.end_scalar();
                self.value = false;
                self.key = None;
            }
            _ => self.keep(byte),
        }
    }

    fn keep(&mut self, byte: u8) {
        if self.depth != 1 {
            return;
        }
        if self.token.len() < TOKEN_BYTES {
            self.token.push(byte);
        } else {
            self.overflow = true;
        }
    }

    fn clear(&mut self) {
        self.token.clear();
        self.overflow = false;
    }

    fn end_string(&mut self) {
        if self.depth != 1 {
            return;
        }
        let text = match (self.overflow, std::str::from_utf8(&self.token)) {
            (false, Ok(raw)) if !raw.contains('\\') => Some(raw.to_owned()),
            (false, Ok(raw)) => serde_json::from_str::<String>(&format!("\"{raw}\"")).ok(),
            _ => None,
        };
        self.clear();
        if !self.value {
            self.key = text;
        } else if self.key.as_deref() == Some("model") && self.found.models.len() < 8 {
            // A name that cannot be read is kept as one that no list allows.
            self.found.models.push(text.unwrap_or_default());
        }
    }

    fn end_scalar(&mut self) {
        if let (Some("max_tokens" | "max_completion_tokens" | "max_output_tokens"), Ok(raw)) =
            (self.key.as_deref(), std::str::from_utf8(&self.token))
            && let Ok(n) = raw.parse::<u64>()
        {
            self.found.max_tokens = self.found.max_tokens.max(Some(n));
        }
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sniff(text: &str, step: usize) -> Found {
        let mut s = Sniffer::default();
        for piece in text.as_bytes().chunks(step.max(1)) {
            s.feed(piece);
        }
        s.found().clone()
    }

    #[test]
    fn the_model_is_found_wherever_it_stands_and_only_at_the_top() {
        let text = r#" {"messages":[{"model":"inner","content":"\"model\":\"x\""}],"max_tokens": 64 ,"model":"a\u002fb\"c","max_completion_tokens":32}"#;
        for step in 1..text.len() {
            let found = sniff(text, step);
            assert_eq!(found.models, ["a/b\"c"], "pieces of {step}");
            assert_eq!(found.max_tokens, Some(64));
        }
    }

    #[test]
    fn two_models_and_an_escaped_key_are_both_seen() {
        let found = sniff(r#"{"model":"allowed","mod\u0065l":"blocked"}"#, 3);
        assert_eq!(found.models, ["allowed", "blocked"]);
        assert_eq!(found.model(), Some("blocked"));
        assert_eq!(sniff(r#"[{"model":"x"}]"#, 1), Found::default());
        assert_eq!(sniff(&format!(r#"{{"model":"{}"}}"#, "m".repeat(600)), 7).models, [""]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut s = Sniffer::default();
            s.feed(&bytes);
        }

        #[test]
        fn any_model_is_read_back(model in "[^\\x00-\\x1f]{0,60}", step in 1usize..9) {
            let text = serde_json::json!({"a": [1, {"b": "}"}], "model": model, "z": null}).to_string();
            let found = sniff(&text, step);
            prop_assert_eq!(found.model(), Some(model.as_str()));
        }
    }
}
