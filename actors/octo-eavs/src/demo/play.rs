//! Plays one turn: pieces in order, with their pauses, cuts and faults, written by the dialect's encoder.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use super::filler::filler;
use super::script::Turn;
use crate::usage::Tokens;

/// Filler is made in pieces of this size unless the script asks for smaller ones.
const FILLER_PIECE: u64 = 16 * 1024;
/// No piece of filler is larger.
const FILLER_PIECE_MAX: u64 = 64 * 1024;

/// An encoder writes this into its JSON where the whole text belongs, which is then put in piece by piece.
pub const WHOLE_TEXT: &str = "octo\u{1}whole\u{1}text";
/// The same as it stands in written JSON.
const WHOLE_TEXT_WRITTEN: &str = "octo\\u0001whole\\u0001text";

/// A piece of an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Thought.
    Thinking(String),
    /// Said.
    Text(String),
    /// A tool that is called.
    Tool(Call),
}

/// A tool call as the request's tools want it.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// Unique; the dialect puts its prefix before it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// Its input.
    pub input: Value,
}

/// Writes a turn in one dialect.
pub trait Encoder: Send + 'static {
    /// Before the first piece.
    fn start(&mut self) -> String;
    /// One piece.
    fn piece(&mut self, piece: &Piece) -> String;
    /// After the last piece; may hold [`WHOLE_TEXT`].
    fn finish(&mut self) -> String;
    /// A piece that no parser takes.
    fn malformed(&self) -> String;
    /// The answer in one JSON document, with [`WHOLE_TEXT`] for its text.
    fn document(&self) -> String;
}

/// What every encoder knows.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Unique; the dialect puts its prefix before it.
    pub id: String,
    /// Unix seconds.
    pub created: i64,
    /// The model's name as the request had it.
    pub model: String,
    /// What to report.
    pub usage: Tokens,
    /// Whether a chat stream ends with its usage.
    pub include_usage: bool,
    /// Thought, for the document.
    pub thinking: Option<String>,
    /// Whether there is text.
    pub has_text: bool,
    /// Size of the text in bytes.
    pub text_len: u64,
    /// Tools, for the document.
    pub tools: Vec<Call>,
}

/// The text of a turn in pieces, made when needed.
#[derive(Debug, Clone)]
struct Text {
    said: VecDeque<String>,
    filled: u64,
    fill: u64,
    step: u64,
}

impl Text {
    fn of(turn: &Turn) -> Self {
        let said_in = if turn.bytes > 0 { 1 } else { turn.chunks.unwrap_or(1) };
        let step = turn.chunks.map_or(FILLER_PIECE, |n| turn.bytes.div_ceil(n));
        Self { said: split(&turn.text, said_in), filled: 0, fill: turn.bytes, step: step.clamp(1, FILLER_PIECE_MAX) }
    }
}

impl Iterator for Text {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        if let Some(piece) = self.said.pop_front() {
            return Some(piece);
        }
        let len = self.step.min(self.fill - self.filled);
        let piece = (len > 0).then(|| filler(self.filled, len as usize));
        self.filled += len;
        piece
    }
}

/// Splits at characters into `n` pieces of about the same size, or fewer if there are fewer characters.
fn split(text: &str, n: u64) -> VecDeque<String> {
    let count = text.chars().count() as u64;
    if count == 0 {
        return VecDeque::new();
    }
    let n = n.clamp(1, count);
    let mut chars = text.chars();
    (0..n)
        .map(|i| {
            let len = (count * (i + 1) / n) - (count * i / n);
            chars.by_ref().take(len as usize).collect()
        })
        .collect()
}

/// One turn, ready to be played.
pub struct Play<E> {
    encoder: E,
    text: Text,
    thinking: Option<String>,
    tools: Vec<Call>,
    delay: Duration,
    cut_after: Option<u64>,
    malformed: bool,
}

impl<E: Encoder> Play<E> {
    /// Prepares a turn.
    pub fn new(encoder: E, turn: &Turn, tools: Vec<Call>) -> Self {
        Self {
            encoder,
            text: Text::of(turn),
            thinking: turn.thinking.clone().filter(|t| !t.is_empty()),
            tools,
            delay: turn.delay,
            cut_after: turn.cut_after,
            malformed: turn.malformed,
        }
    }

    /// The turn as a stream of events.
    pub fn events(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let pieces = self.thinking.into_iter().map(Piece::Thinking);
        let pieces = pieces.chain(self.text.clone().map(Piece::Text));
        let pieces = pieces.chain(self.tools.into_iter().map(Piece::Tool));
        let mut encoder = self.encoder;
        let start = encoder.start();
        let steps = Steps {
            writer: Events { encoder, text: self.text },
            pieces,
            delay: self.delay,
            cut_after: self.cut_after,
            malformed: self.malformed,
            played: 0,
        };
        first(start).chain(steps.run())
    }

    /// The turn as one JSON document, sent as it is made.
    pub fn document(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        let document = self.encoder.document();
        let (before, after) = document.split_once(WHOLE_TEXT_WRITTEN).unwrap_or((&document, ""));
        let steps = Steps {
            pieces: self.text.map(Piece::Text),
            writer: Document { after: after.to_owned() },
            delay: self.delay,
            cut_after: self.cut_after,
            malformed: self.malformed,
            played: 0,
        };
        first(before.to_owned()).chain(steps.run())
    }
}

fn first(text: String) -> impl Stream<Item = io::Result<Bytes>> + Send {
    futures_util::stream::iter([Ok(Bytes::from(text))])
}

type Parts = Box<dyn Iterator<Item = String> + Send>;

/// How pieces become bytes; in parts, because some repeat the whole text.
trait Writer: Send + 'static {
    fn piece(&mut self, piece: &Piece) -> Parts;
    fn malformed(&mut self) -> String;
    fn finish(&mut self) -> Parts;
}

struct Events<E> {
    encoder: E,
    text: Text,
}

impl<E> Events<E> {
    /// What the encoder wrote, with the whole text where it belongs.
    fn whole(&self, written: &str) -> Parts {
        let parts: Vec<String> = written.split(WHOLE_TEXT_WRITTEN).map(str::to_owned).collect();
        let text = self.text.clone();
        Box::new(parts.into_iter().enumerate().flat_map(move |(n, part)| {
            let whole = (n > 0).then(|| text.clone().map(|t| escaped(&t)));
            whole.into_iter().flatten().chain([part])
        }))
    }
}

impl<E: Encoder> Writer for Events<E> {
    fn piece(&mut self, piece: &Piece) -> Parts {
        let written = self.encoder.piece(piece);
        self.whole(&written)
    }

    fn malformed(&mut self) -> String {
        self.encoder.malformed()
    }

    fn finish(&mut self) -> Parts {
        let written = self.encoder.finish();
        self.whole(&written)
    }
}

struct Document {
    after: String,
}

impl Writer for Document {
    fn piece(&mut self, piece: &Piece) -> Parts {
        match piece {
            Piece::Text(text) => Box::new([escaped(text)].into_iter()),
            Piece::Thinking(_) | Piece::Tool(_) => Box::new(std::iter::empty()),
        }
    }

    fn malformed(&mut self) -> String {
        "\"{".to_owned()
    }

    fn finish(&mut self) -> Parts {
        Box::new([std::mem::take(&mut self.after)].into_iter())
    }
}

/// As it stands inside a JSON string.
fn escaped(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

struct Steps<W, I> {
    writer: W,
    pieces: I,
    delay: Duration,
    cut_after: Option<u64>,
    malformed: bool,
    played: u64,
}

enum State<S> {
    Playing(S),
    /// In the middle of a piece; then on with the steps, if there are more.
    Writing(Parts, Option<S>),
    Over,
}

impl<W: Writer, I: Iterator<Item = Piece> + Send + 'static> Steps<W, I> {
    fn run(self) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
        futures_util::stream::unfold(State::Playing(self), |mut state| async move {
            loop {
                state = match state {
                    State::Over => return None,
                    State::Playing(steps) => match steps.step().await {
                        Ok(next) => next,
                        Err(error) => return Some((Err(error), State::Over)),
                    },
                    State::Writing(mut parts, steps) => match parts.next() {
                        Some(part) => return Some((Ok(Bytes::from(part)), State::Writing(parts, steps))),
                        None => steps.map_or(State::Over, State::Playing),
                    },
                };
            }
        })
    }

    async fn step(mut self) -> io::Result<State<Self>> {
        if self.cut_after.is_some_and(|n| self.played >= n) {
            return Err(io::Error::other("cut by the demonstration script"));
        }
        let next = self.pieces.next();
        if self.malformed && (self.played > 0 || next.is_none()) {
            let broken = self.writer.malformed();
            return Ok(State::Writing(Box::new([broken].into_iter()), None));
        }
        let Some(piece) = next else {
            return Ok(State::Writing(self.writer.finish(), None));
        };
        if self.played > 0 && !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        self.played += 1;
        let parts = self.writer.piece(&piece);
        Ok(State::Writing(parts, Some(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_split_into_as_many_pieces_as_asked() {
        let text = "größe und 漢字!";
        for n in 1..20 {
            let pieces = split(text, n);
            assert_eq!(pieces.len() as u64, n.min(text.chars().count() as u64));
            assert_eq!(pieces.iter().map(String::as_str).collect::<String>(), text);
        }
    }

    #[test]
    fn filler_comes_in_bounded_pieces() {
        let turn = Turn { bytes: 200_000, chunks: Some(2), text: "hi".into(), ..Turn::default() };
        let pieces: Vec<String> = Text::of(&turn).collect();
        assert_eq!(pieces[0], "hi");
        assert!(pieces.iter().all(|p| p.len() as u64 <= FILLER_PIECE_MAX));
        assert!(pieces[1..].concat() == filler(0, 200_000), "the filler is whole");
    }
}
