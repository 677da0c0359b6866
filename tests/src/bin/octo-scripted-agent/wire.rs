//! Lines in, lines out.

use serde_json::{Value, json};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;

/// Bytes that are written at once.
pub const BATCH: usize = 64 * 1024;

/// One line of stdin. pi dies of a line that is no object, and so does this: octo never writes one.
pub fn command(line: &[u8]) -> Value {
    match serde_json::from_slice(line) {
        Ok(command @ Value::Object(_)) => command,
        other => {
            eprintln!("TypeError: a line that is no object: {other:?}");
            std::process::exit(1);
        }
    }
}

/// stdout, through one buffer.
pub struct Out {
    file: File,
    pub buffer: Vec<u8>,
}

impl Out {
    pub fn stdout() -> Self {
        let stdout = std::io::stdout().as_fd().try_clone_to_owned().expect("stdout is open");
        Self { file: File::from(stdout), buffer: Vec::with_capacity(2 * BATCH) }
    }

    /// Writes what is buffered; waits for whoever reads.
    pub fn flush(&mut self) {
        if self.file.write_all(&self.buffer).is_err() {
            std::process::exit(1);
        }
        self.buffer.clear();
    }

    pub fn is_full(&self) -> bool {
        self.buffer.len() >= BATCH
    }

    pub fn line(&mut self, line: &Value) {
        serde_json::to_writer(&mut self.buffer, line).expect("JSON is written to memory");
        self.buffer.push(b'\n');
        if self.is_full() {
            self.flush();
        }
    }

    pub fn event(&mut self, kind: &str, mut fields: Value) {
        fields["type"] = json!(kind);
        self.line(&fields);
    }

    /// Bytes without a meaning, with a newline after each `line` of them, and one at the end.
    pub fn flood(&mut self, bytes: u64, line: Option<u64>) {
        self.flush();
        let line = line.unwrap_or(u64::MAX).max(1);
        let mut left = bytes;
        while left > 0 {
            let now = left.min(line);
            // Of one line, however long, only a piece is in memory.
            std::io::copy(&mut std::io::repeat(b'x').take(now), &mut Batched(self)).expect("it goes to memory");
            self.buffer.push(b'\n');
            left -= now;
        }
        self.flush();
    }
}

struct Batched<'a>(&'a mut Out);

impl Write for Batched<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.buffer.extend_from_slice(bytes);
        if self.0.is_full() {
            self.0.flush();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
