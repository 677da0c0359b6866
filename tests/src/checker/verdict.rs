//! What is wrong, with which frame, and what stood beside it.

use serde_json::Value;
use std::fmt;

/// Frames that a verdict shows on each side.
pub const NEIGHBOURS: usize = 3;
/// Characters of a frame that a verdict shows.
const SHOWN: usize = 600;

/// The promise that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Something that should have come did not.
    Lost,
    /// Something came again.
    Doubled,
    /// Something came after what follows it.
    Reordered,
    /// The same `(epoch, seq)` or message has another content than before.
    Changed,
    /// A client saw what the journal does not have.
    Unjournalled,
    /// The server let go of a cursor without a reason that the test knows of.
    Resync,
    /// The epoch changed without a resync.
    Epoch,
    /// The brackets of a replay do not fit.
    Bracket,
    /// Not exactly one response for a command.
    Response,
    /// A turn without exactly one end.
    Turn,
    /// A message, tool or question without exactly one beginning and end.
    Open,
    /// The deltas of a message are not the message.
    Deltas,
    /// History has something else than the client saw.
    History,
    /// The frame has not the shape that the protocol gives it.
    Shape,
}

/// A broken promise, before it is known where it was seen.
#[derive(Debug, Clone)]
pub struct Fault {
    pub rule: Rule,
    pub sentence: String,
}

impl Fault {
    /// For `Err` and `ok_or_else`.
    pub fn new(rule: Rule, sentence: impl Into<String>) -> Self {
        Self { rule, sentence: sentence.into() }
    }
}

/// Fails with `rule` unless `holds`.
///
/// # Errors
/// The [`Fault`].
pub fn ensure(holds: bool, rule: Rule, sentence: impl FnOnce() -> String) -> Result<(), Fault> {
    if holds { Ok(()) } else { Err(Fault::new(rule, sentence())) }
}

/// The first wrong frame and its neighbours.
#[derive(Debug, Clone)]
pub struct Verdict {
    pub rule: Rule,
    pub sentence: String,
    /// Which session, empty for a connection's own.
    pub session: String,
    /// On which of the client's connections, from 1.
    pub connection: u32,
    /// Which frame of the agent channel over all connections, from 1; 0 when no single frame is wrong.
    pub number: u64,
    pub before: Vec<Value>,
    pub frame: Option<Value>,
    pub after: Vec<Value>,
}

impl Verdict {
    /// A fault found by comparing lists: `at` is the wrong one of `list`.
    #[must_use]
    pub fn within(fault: Fault, session: &str, list: &[Value], at: Option<usize>) -> Box<Self> {
        let (mut before, mut after, mut frame) = (Vec::new(), Vec::new(), None);
        if let Some(at) = at {
            frame = list.get(at).cloned();
            before = list.get(at.saturating_sub(NEIGHBOURS)..at.min(list.len())).unwrap_or_default().to_vec();
            after = list.get(at + 1..list.len().min(at + 1 + NEIGHBOURS)).unwrap_or_default().to_vec();
        }
        let (rule, sentence, session) = (fault.rule, fault.sentence, session.to_owned());
        Box::new(Self { rule, sentence, session, connection: 0, number: 0, before, frame, after })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = |value: &Value| {
            let text = value.to_string();
            match text.char_indices().nth(SHOWN) {
                Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
                None => text,
            }
        };
        write!(f, "{:?}: {} (session {:?}", self.rule, self.sentence, self.session)?;
        if self.number > 0 {
            write!(f, ", frame {} on connection {}", self.number, self.connection)?;
        }
        writeln!(f, ")")?;
        for frame in &self.before {
            writeln!(f, "  before  {}", short(frame))?;
        }
        if let Some(frame) = &self.frame {
            writeln!(f, "  WRONG   {}", short(frame))?;
        }
        for frame in &self.after {
            writeln!(f, "  after   {}", short(frame))?;
        }
        Ok(())
    }
}

impl std::error::Error for Verdict {}
