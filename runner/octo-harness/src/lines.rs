//! Framing of an agent's stdout: one JSON value per line, ended by LF.
//!
//! Only LF ends a line (U+2028 and U+2029 may stand inside), a CR before it is dropped, a byte order mark at the start of a line too. A line
//! longer than [`MAX_LINE_BYTES`] is skipped up to its LF, with its length counted and none of it kept.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// Longest line in bytes that is kept, LF excluded.
pub const MAX_LINE_BYTES: usize = 8 * 1024 * 1024;
/// An empty buffer that grew beyond this gives its memory back.
const KEEP_CAPACITY: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// One line as it came.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// Without LF, CR before it, and byte order mark; never empty.
    Whole(&'a [u8]),
    /// Longer than the limit: only its length is known.
    TooLong { bytes: u64 },
}

/// Cuts a stream of bytes into lines, however it arrives.
#[derive(Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Lines {
    limit: usize,
    /// A line may be cut in the middle of a character.
    #[serde(serialize_with = "as_text", deserialize_with = "of_text")]
    buffer: Vec<u8>,
    /// Bytes of the line that is being skipped.
    skipped: Option<u64>,
}

fn as_text<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&STANDARD.encode(bytes))
}

fn of_text<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(from)?).map_err(serde::de::Error::custom)
}

impl Default for Lines {
    fn default() -> Self {
        Self::with_limit(MAX_LINE_BYTES)
    }
}

impl Lines {
    /// Lines of at most `limit` bytes.
    #[must_use]
    pub fn with_limit(limit: usize) -> Self {
        Self { limit, buffer: Vec::new(), skipped: None }
    }

    /// Takes bytes and gives each line that they complete to `each`, in order.
    pub fn push(&mut self, mut bytes: &[u8], mut each: impl FnMut(Line<'_>)) {
        while let Some(end) = memchr::memchr(b'\n', bytes) {
            let (head, rest) = (&bytes[..end], &bytes[end + 1..]);
            bytes = rest;
            if let Some(skipped) = self.skipped.take() {
                each(Line::TooLong { bytes: skipped + head.len() as u64 });
            } else if self.buffer.len() + head.len() > self.limit {
                let length = self.buffer.len() + head.len();
                self.clear();
                each(Line::TooLong { bytes: length as u64 });
            } else if self.buffer.is_empty() {
                whole(head, &mut each);
            } else {
                self.buffer.extend_from_slice(head);
                whole(&self.buffer, &mut each);
                self.clear();
            }
        }
        if let Some(skipped) = &mut self.skipped {
            *skipped += bytes.len() as u64;
        } else if self.buffer.len() + bytes.len() > self.limit {
            self.skipped = Some((self.buffer.len() + bytes.len()) as u64);
            self.clear();
        } else {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The stream ended: gives what stands after the last LF, if anything.
    pub fn finish(&mut self, mut each: impl FnMut(Line<'_>)) {
        if let Some(bytes) = self.skipped.take() {
            each(Line::TooLong { bytes });
        }
        let rest = std::mem::take(&mut self.buffer);
        whole(&rest, &mut each);
    }

    fn clear(&mut self) {
        self.buffer.clear();
        self.buffer.shrink_to(KEEP_CAPACITY);
    }
}

fn whole(line: &[u8], each: &mut impl FnMut(Line<'_>)) {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
    if !line.iter().all(u8::is_ascii_whitespace) {
        each(Line::Whole(line));
    }
}

/// The line as text that a strict JSON parser accepts. `true` when bytes that are not UTF-8 were replaced. Escaped halves of a surrogate pair that
/// stand alone, which JavaScript writes when a text was cut inside a character, become U+FFFD as well.
#[must_use]
pub fn text(line: &[u8]) -> (Cow<'_, str>, bool) {
    let text = String::from_utf8_lossy(line);
    let replaced = matches!(text, Cow::Owned(_));
    match mend_surrogates(&text) {
        Some(mended) => (Cow::Owned(mended), replaced),
        None => (text, replaced),
    }
}

fn surrogate(bytes: &[u8]) -> Option<u16> {
    let [b'\\', b'u', digits @ ..] = bytes else { return None };
    let digits = std::str::from_utf8(digits.get(..4)?).ok()?;
    u16::from_str_radix(digits, 16).ok().filter(|unit| (0xD800..0xE000).contains(unit))
}

fn mend_surrogates(text: &str) -> Option<String> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return None;
    }
    let bytes = text.as_bytes();
    let mut mended: Option<String> = None;
    let (mut at, mut copied) = (0, 0);
    while let Some(offset) = bytes[at..].iter().position(|byte| *byte == b'\\') {
        at += offset;
        match surrogate(&bytes[at..]) {
            Some(high) if high < 0xDC00 && surrogate(&bytes[at + 6..]).is_some_and(|low| low >= 0xDC00) => at += 12,
            Some(_) => {
                let mended = mended.get_or_insert_with(String::new);
                mended.push_str(&text[copied..at]);
                mended.push_str("\\ufffd");
                at += 6;
                copied = at;
            }
            // An escape: its second byte is no start of another.
            None => at = (at + 2).min(bytes.len()),
        }
    }
    if let Some(mended) = &mut mended {
        mended.push_str(&text[copied..]);
    }
    mended
}

/// At most `limit` characters of a text, to show in a notice.
#[must_use]
pub fn excerpt(text: &str, limit: usize) -> String {
    let text = text.trim();
    match text.char_indices().nth(limit) {
        Some((cut, _)) => format!("{}…", &text[..cut]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::*;

    fn all(limit: usize, input: &[u8], step: usize) -> Vec<String> {
        let mut lines = Lines::with_limit(limit);
        let mut seen = Vec::new();
        for chunk in input.chunks(step) {
            lines.push(chunk, |line| seen.push(format!("{line:?}")));
        }
        lines.finish(|line| seen.push(format!("{line:?}")));
        seen
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let input = b"one\r\n\n\xef\xbb\xbftwo\n0123456789\n0123456\nlast";
        let whole = all(7, input, input.len());
        assert_eq!(whole.len(), 5);
        assert!(whole[2].contains("TooLong { bytes: 10 }"));
        for step in 1..input.len() {
            assert_eq!(all(7, input, step), whole, "cut every {step} bytes");
        }
    }

    #[test]
    fn a_line_that_is_too_long_holds_no_memory() {
        let mut lines = Lines::default();
        let chunk = vec![b'x'; 1024 * 1024];
        let mut seen = Vec::new();
        for _ in 0..64 {
            lines.push(&chunk, |_| ());
            assert!(lines.buffer.capacity() <= 2 * MAX_LINE_BYTES);
        }
        assert!(lines.buffer.capacity() <= KEEP_CAPACITY);
        lines.push(b"\n{}\n", |line| seen.push(format!("{line:?}")));
        assert_eq!(seen[0], format!("TooLong {{ bytes: {} }}", 64 * 1024 * 1024));
        assert_eq!(seen.len(), 2);
    }

    #[test]
    fn lone_halves_of_a_surrogate_pair_are_replaced_and_pairs_stay() {
        let cases = [
            (r#""a\ud83db""#, "a\u{fffd}b"),
            (r#""\ude00""#, "\u{fffd}"),
            (r#""\ud83d\ude00""#, "😀"),
            (r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀"),
            (r#""\\ud83d""#, "\\ud83d"),
            (r#""\ud83d\n""#, "\u{fffd}\n"),
        ];
        for (line, expected) in cases {
            let (text, _) = text(line.as_bytes());
            assert_eq!(serde_json::from_str::<String>(&text).unwrap(), expected, "{line}");
        }
        assert_eq!(text(b"\"\\ud8").0, "\"\\ud8");
        assert_eq!(text(b"\\").0, "\\");
    }
}
