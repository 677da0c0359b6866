//! Words for people, JSON for programs. Colour only on a terminal, and not with NO_COLOR.

use std::io::{IsTerminal, Write};

use serde_json::{Value, json};

use super::exit::Failure;

/// How a command speaks.
#[derive(Clone, Copy)]
pub struct Output {
    json: bool,
    colour: bool,
}

/// How something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    Good,
    Careful,
    Bad,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { json, colour: !no_colour && std::io::stdout().is_terminal() }
    }

    /// Says `text`, or `value` to a program. A reader that went away is not an error.
    pub fn say(&self, text: &str, value: &Value) {
        let mut out = std::io::stdout().lock();
        let _ = if self.json { writeln!(out, "{value}") } else { writeln!(out, "{text}") };
        let _ = out.flush();
    }

    /// A note beside the result, on standard error.
    pub fn note(&self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr(), "octo: note: {text}");
        }
    }

    /// How far a long thing is, on standard error: on a terminal in one line that is written over, else a line each. Nothing for a program.
    pub fn progress(&self, text: &str) {
        if self.json {
            return;
        }
        let mut out = std::io::stderr().lock();
        let _ = if std::io::stderr().is_terminal() { write!(out, "\r\x1b[K{text}") } else { writeln!(out, "{text}") };
        let _ = out.flush();
    }

    /// The end of what [`Self::progress`] has shown.
    pub fn progress_over(&self) {
        if !self.json && std::io::stderr().is_terminal() {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }

    /// Whether somebody watches who sees a line written over.
    pub fn is_watched(&self) -> bool {
        !self.json && std::io::stderr().is_terminal()
    }

    /// Why it failed, on standard error.
    pub fn failure(&self, failure: &Failure) {
        let mut out = std::io::stderr().lock();
        let _ =
            if self.json { writeln!(out, "{}", json!({ "error": failure.message })) } else { writeln!(out, "octo: {}", failure.message) };
    }

    /// A mark, coloured where there is colour.
    pub fn mark(&self, mark: Mark) -> &'static str {
        match (mark, self.colour) {
            (Mark::Good, true) => "\x1b[32m✓\x1b[0m",
            (Mark::Careful, true) => "\x1b[33m!\x1b[0m",
            (Mark::Bad, true) => "\x1b[31m✗\x1b[0m",
            (Mark::Good, false) => "✓",
            (Mark::Careful, false) => "!",
            (Mark::Bad, false) => "✗",
        }
    }
}
