//! The short built-in model list for the providers that an environment variable alone makes.
//!
//! Prices are US dollars per million tokens. The lists are a convenience: whoever needs other models names them in the configuration.

use crate::config::{Cost, Model};

struct Row(&'static str, &'static str, bool, u64, u64, [f64; 4]);

const ANTHROPIC: &[Row] = &[
    Row("claude-opus-4-5", "Claude Opus 4.5", true, 200_000, 64_000, [5.0, 25.0, 0.5, 6.25]),
    Row("claude-sonnet-4-5", "Claude Sonnet 4.5", true, 200_000, 64_000, [3.0, 15.0, 0.3, 3.75]),
    Row("claude-haiku-4-5", "Claude Haiku 4.5", true, 200_000, 64_000, [1.0, 5.0, 0.1, 1.25]),
    Row("claude-sonnet-4-20250514", "Claude Sonnet 4", true, 200_000, 64_000, [3.0, 15.0, 0.3, 3.75]),
];

const OPENAI: &[Row] = &[
    Row("gpt-5.1", "GPT-5.1", true, 400_000, 128_000, [1.25, 10.0, 0.125, 1.25]),
    Row("gpt-5", "GPT-5", true, 400_000, 128_000, [1.25, 10.0, 0.125, 1.25]),
    Row("gpt-5-mini", "GPT-5 mini", true, 400_000, 128_000, [0.25, 2.0, 0.025, 0.25]),
    Row("gpt-4.1", "GPT-4.1", false, 1_047_576, 32_768, [2.0, 8.0, 0.5, 2.0]),
];

/// Models of the provider `anthropic`.
pub fn anthropic() -> Vec<Model> {
    rows(ANTHROPIC)
}

/// Models of the provider `openai`.
pub fn openai() -> Vec<Model> {
    rows(OPENAI)
}

fn rows(rows: &[Row]) -> Vec<Model> {
    rows.iter()
        .map(|Row(id, name, reasoning, context, max, [input, output, read, write])| Model {
            id: (*id).to_owned(),
            name: Some((*name).to_owned()),
            reasoning: *reasoning,
            input: vec!["text".to_owned(), "image".to_owned()],
            context_window: Some(*context),
            max_tokens: Some(*max),
            cost: Some(Cost { input: *input, output: *output, cache_read: *read, cache_write: *write }),
        })
        .collect()
}
