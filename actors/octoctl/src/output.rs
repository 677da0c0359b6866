//! Words for people, JSON for programs. Colour only on a terminal, and not with NO_COLOR.

use std::io::{IsTerminal, Write};

use octo_protocol::admin::Standing;
use serde::Serialize;
use serde_json::json;

use crate::exit::Failure;

/// How a command speaks.
#[derive(Clone, Copy)]
pub struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    pub fn new(json: bool) -> Self {
        let no_colour = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self { json, colour: !no_colour && std::io::stdout().is_terminal() }
    }

    /// Whether a program reads.
    pub fn is_json(self) -> bool {
        self.json
    }

    /// Says `text`, or `value` to a program. False when nobody reads any more.
    pub fn say(self, text: &str, value: &impl Serialize) -> bool {
        if self.json {
            return self.line(&serde_json::to_string(value).unwrap_or_default());
        }
        self.line(&harmless(text))
    }

    /// Says a line as it is.
    pub fn line(self, text: &str) -> bool {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
    }

    /// A note beside the result, on standard error.
    pub fn note(self, text: &str) {
        if !self.json {
            let _ = writeln!(std::io::stderr(), "octoctl: {}", harmless(text));
        }
    }

    /// Why it failed, on standard error.
    pub fn failure(self, failure: &Failure) {
        let mut err = std::io::stderr().lock();
        let _ = if self.json {
            writeln!(err, "{}", json!({ "error": failure.message, "code": failure.exit.word(), "exit": failure.exit as u8 }))
        } else {
            writeln!(err, "octoctl: {}", harmless(&failure.message))
        };
    }

    /// A mark, coloured where there is colour.
    pub fn mark(self, standing: Standing) -> String {
        match standing {
            Standing::Ok => self.paint("32", "✓"),
            Standing::Note => self.paint("33", "!"),
            Standing::Bad => self.paint("31", "✗"),
        }
    }

    /// The state of an actor or session; those that need somebody stand out.
    pub fn state(self, state: &str) -> String {
        match state {
            "stuck" | "degraded" | "error" | "unreachable" => self.paint("31", state),
            "restarting" | "starting" | "stopping" | "needs_input" => self.paint("33", state),
            state => state.to_owned(),
        }
    }

    fn paint(self, colour: &str, text: &str) -> String {
        if self.colour { format!("\x1b[{colour}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Colours that [`Output`] itself paints with, and the end of one.
const COLOURS: [&str; 4] = ["\x1b[31m", "\x1b[32m", "\x1b[33m", "\x1b[0m"];

/// Errors, titles and names come from agents too, which are nobody's friends: none of them tells a terminal anything. Lines, tabs and our own colours stay.
fn harmless(text: &str) -> String {
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let colour = COLOURS.iter().find(|colour| rest.starts_with(**colour));
        let taken = colour.map_or(c.len_utf8(), |colour| colour.len());
        let (now, later) = rest.split_at(taken);
        if colour.is_none() && c.is_control() && c != '\n' && c != '\t' {
            said.push(' ');
        } else {
            said.push_str(now);
        }
        rest = later;
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_agents_write_tells_the_terminal_nothing() {
        assert_eq!(harmless("\x1b[31mstuck\x1b[0m\tand\nmore"), "\x1b[31mstuck\x1b[0m\tand\nmore");
        assert_eq!(harmless("\x1b[2J\x1b]0;title\x07\u{9b}31m\rü\x08"), " [2J ]0;title  31m ü ");
    }
}
