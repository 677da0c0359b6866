//! Lines in, lines out.

use serde_json::{Value, json};

/// Bytes that are written at once.
pub const BATCH: usize = 64 * 1024;

/// One line of stdin. pi dies of a line that is no object, and so does this: octo never writes one.
///
/// # Errors
/// What it dies with.
pub fn command(line: &[u8]) -> Result<Value, String> {
    match serde_json::from_slice(line) {
        Ok(command @ Value::Object(_)) => Ok(command),
        other => Err(format!("TypeError: a line that is no object: {other:?}")),
    }
}

/// What is said and not yet written.
#[derive(Debug, Default)]
pub struct Out {
    pub buffer: Vec<u8>,
}

impl Out {
    pub fn is_full(&self) -> bool {
        self.buffer.len() >= BATCH
    }

    pub fn line(&mut self, line: &Value) {
        serde_json::to_writer(&mut self.buffer, line).expect("JSON is written to memory");
        self.buffer.push(b'\n');
    }

    pub fn event(&mut self, kind: &str, mut fields: Value) {
        fields["type"] = json!(kind);
        self.line(&fields);
    }
}
