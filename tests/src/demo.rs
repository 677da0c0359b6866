//! Prompts that carry a script for the demo model.

use serde_json::{Value, json};

/// One turn of the demo model.
#[derive(Debug, Clone, Default)]
pub struct Turn(serde_json::Map<String, Value>);

impl Turn {
    /// A turn that says `text`.
    #[must_use]
    pub fn text(text: impl Into<String>) -> Self {
        let mut turn = Self::default();
        turn.0.insert("text".to_owned(), Value::String(text.into()));
        turn
    }

    /// What it says.
    #[must_use]
    pub fn said(&self) -> String {
        self.0.get("text").and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    /// Said in so many pieces with so many milliseconds between them.
    #[must_use]
    pub fn slowly(mut self, chunks: u32, delay_ms: u32) -> Self {
        self.0.insert("chunks".to_owned(), chunks.into());
        self.0.insert("delay_ms".to_owned(), delay_ms.into());
        self
    }

    /// With a thought before.
    #[must_use]
    pub fn thinking(mut self, thought: &str) -> Self {
        self.0.insert("thinking".to_owned(), thought.into());
        self
    }

    /// The provider answers with this status the first so many times.
    #[must_use]
    pub fn failing(mut self, status: u16, times: u32) -> Self {
        self.0.insert("status".to_owned(), status.into());
        self.0.insert("times".to_owned(), times.into());
        self
    }

    /// The provider's answer is cut off after so many pieces.
    #[must_use]
    pub fn cut_after(mut self, pieces: u32) -> Self {
        self.0.insert("cut_after".to_owned(), pieces.into());
        self
    }

    /// The provider's answer is no answer.
    #[must_use]
    pub fn malformed(mut self) -> Self {
        self.0.insert("malformed".to_owned(), true.into());
        self
    }

    /// With a call of the bash tool.
    #[must_use]
    pub fn bash(mut self, command: &str) -> Self {
        self.0.insert("tools".to_owned(), json!([{"name": "bash", "input": {"command": command}}]));
        self
    }
}

/// A prompt that plays `turns`.
#[must_use]
pub fn demo_prompt(lead: &str, turns: &[Turn]) -> String {
    let script = Value::Array(turns.iter().map(|turn| Value::Object(turn.0.clone())).collect());
    format!("{lead} @demo {script}")
}
