//! An agent without a model: it speaks pi's RPC (as 0.87.1 does) and says what the script in the prompt says, at any rate.
//!
//! Owns: the lines ([`out`]), the conversation as far as pi's session file tells of it ([`conversation`]), the answers to commands ([`answers`]),
//! the run ([`run`]). The script itself is [`crate::Script`], so that tests and benches write the same type that is read here.
//!
//! It stands on a [`Stage`], which is a process of its own (`octo-scripted-agent`) or a task beside others with a time of its own.
//!
//! Promises: deltas keep the schedule of their script, and unpaced ones are written as fast as they are read; commands are answered in the middle
//! of a run; like pi, it ends at the end of its input, and of a line that is no object.
//!
//! It leaves out what pi repeats and octo does not read: the messages in `agent_end` and `turn_end`.

mod answers;
mod conversation;
mod out;
mod run;

pub use out::{BATCH, command};

use conversation::Conversation;
use out::Out;
use serde_json::Value;
use std::collections::{HashSet, VecDeque};
use std::time::Duration;

/// The agent ends with this exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit(pub i32);

/// What an agent hears.
#[derive(Debug)]
pub enum Heard {
    /// A line of stdin.
    Command(Value),
    /// Nothing until the time given.
    Nothing,
    /// Nothing any more.
    End,
}

/// What an agent stands on: its pipes, and the time.
pub trait Stage: Send {
    /// Writes to stdout; waits for whoever reads.
    fn write(&mut self, bytes: &[u8]) -> impl Future<Output = Result<(), Exit>> + Send;
    /// The next line of stdin, waited for until `until`; for ever when absent. What waits already is heard at any time.
    fn hear(&mut self, until: Option<Duration>) -> impl Future<Output = Heard> + Send;
    /// Since some beginning.
    fn now(&self) -> Duration;
    /// Writes to stderr.
    fn complain(&mut self, text: &mut (dyn std::io::Read + Send));
    /// Starts a process and forgets it.
    fn run_away(&mut self);
}

/// How an agent is started.
#[derive(Debug, Clone, Default)]
pub struct Start {
    /// The conversation that is continued: its file.
    pub session: Option<String>,
    /// Where a new one has its file.
    pub session_dir: Option<String>,
    /// `provider/model`.
    pub model: Option<String>,
    pub thinking: Option<String>,
}

/// The agent.
struct Agent<S> {
    stage: S,
    out: Out,
    conversation: Conversation,
    /// The prompt of the run that begins next.
    next: Option<String>,
    running: bool,
    steering: VecDeque<String>,
    follow_up: VecDeque<String>,
    /// Ids of aborts that are answered when the run is over.
    aborts: Vec<Value>,
    /// Questions without an answer.
    questions: HashSet<String>,
    auto_compaction: bool,
    thinking_level: String,
    /// What was thought in the message under way.
    thought: String,
    /// Memory that a script has taken, a MiB each.
    held: Vec<Vec<u8>>,
}

/// Lives until the end; how it ended.
pub async fn live(start: Start, stage: impl Stage) -> Exit {
    let mut agent = Agent {
        stage,
        out: Out::default(),
        conversation: Conversation::open(start.session, start.session_dir, start.model),
        next: None,
        running: false,
        steering: VecDeque::new(),
        follow_up: VecDeque::new(),
        aborts: Vec::new(),
        questions: HashSet::new(),
        auto_compaction: true,
        thinking_level: start.thinking.unwrap_or_else(|| "off".to_owned()),
        thought: String::new(),
        held: Vec::new(),
    };
    match agent.obey_all().await {
        Ok(exit) | Err(exit) => exit,
    }
}

impl<S: Stage> Agent<S> {
    async fn obey_all(&mut self) -> Result<Exit, Exit> {
        loop {
            match self.stage.hear(None).await {
                Heard::Command(command) => self.obey(&command),
                Heard::Nothing => {}
                Heard::End => return Ok(Exit(0)),
            }
            while let Some(prompt) = self.next.take() {
                self.run(prompt).await?;
            }
            self.flush().await?;
        }
    }

    /// Writes what is buffered; waits for whoever reads.
    async fn flush(&mut self) -> Result<(), Exit> {
        if !self.out.buffer.is_empty() {
            self.stage.write(&self.out.buffer).await?;
            self.out.buffer.clear();
        }
        Ok(())
    }

    async fn flush_when_full(&mut self) -> Result<(), Exit> {
        if self.out.is_full() { self.flush().await } else { Ok(()) }
    }
}
