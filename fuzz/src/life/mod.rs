//! What an agent writes, in whole lives: from the start of its process to its end, with what the runner asks of it meanwhile.
//!
//! What must hold, however wild its lines are: the invariants of every harness (each message, tool and question that was opened is closed, each
//! command gets one reply and each input one fate, a run settles once), nothing is working when the agent is gone, the cuts of the stream do not matter,
//! and what comes out is bounded by what went in.
//!
//! An input is a [`script`]: lines of the agent, and between them lines that begin with `!` for what the runner does.

#[path = "../../../runner/octo-harness/tests/common/invariants.rs"]
mod invariants;
mod script;

use octo_harness::{ExitReport, Harness, Input, Outbox, Output};
use octo_protocol::Command;
use octo_protocol::event::{Event, InputKind};
use script::Step;
use serde::Serialize;
use std::collections::VecDeque;
use std::io::Write;

/// Bytes that one call may put out beside what was put in.
const CALL: usize = 4096;
/// Bytes that one line may put out beside what it holds: sentences about it, the closing of what it ends.
const LINE: usize = 2048;
/// How often a byte may come out again.
const REPEATED: usize = 16;

/// A command that waits for its answer: the id, and what it is.
pub(crate) type Asked = (String, String);

/// An agent's translator, and how its agent answers.
pub(crate) trait Agent: Harness + Sized {
    /// A line of the agent that counts for nothing when it is gone.
    const LATE: &'static [u8];
    /// A change of translators in mid-line is tried too.
    const HANDED_OVER: bool;

    /// One for a process that is about to start.
    fn fresh() -> Self;

    /// The command that a line for the agent is, if it waits for an answer.
    fn asked(line: &[u8]) -> Option<Asked>;

    /// The agent's answer: this data, or this error.
    fn answer(asked: &Asked, success: bool, data: &[u8]) -> Vec<u8>;
}

/// One life.
pub(crate) fn run<A: Agent>(input: &[u8]) {
    let script = script::read(input);
    let life = play::<A>(&script.steps, None);
    invariants::check("a life", &life.outputs, &life.inputs, &life.commands);
    closed(&life.outputs);
    if let Some(cut) = script.cut {
        let cut_up = play::<A>(&script.steps, Some(cut));
        assert_eq!(cut_up.outputs, life.outputs, "cut every {cut} bytes");
    }
}

struct Life {
    outputs: Vec<Output>,
    inputs: Vec<u64>,
    commands: Vec<u64>,
}

struct Player<A> {
    agent: A,
    out: Outbox,
    life: Life,
    unanswered: VecDeque<Asked>,
    now: i64,
    token: u64,
    /// Bytes that it wrote, and lines; bytes that came out.
    written: usize,
    lines: usize,
    put_out: usize,
    cut: Option<usize>,
}

fn play<A: Agent>(steps: &[Step<'_>], cut: Option<usize>) -> Life {
    let mut player = Player {
        agent: A::fresh(),
        out: Outbox::new(),
        life: Life { outputs: Vec::new(), inputs: Vec::new(), commands: Vec::new() },
        unanswered: VecDeque::new(),
        now: 1,
        token: 0,
        written: 0,
        lines: 0,
        put_out: 0,
        cut,
    };
    player.agent.start(player.now, &mut player.out);
    player.collect();
    for step in steps {
        player.step(step);
    }
    player.end();
    player.life
}

impl<A: Agent> Player<A> {
    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Bytes(bytes) => self.wrote(bytes),
            Step::Answer { success, which, data } => {
                let Some(asked) = self.unanswered.remove(which % self.unanswered.len().max(1)) else { return };
                self.wrote(&A::answer(&asked, *success, data));
            }
            Step::Input(kind, text) => self.input(*kind, text),
            Step::Command(command) => self.command(command),
            Step::Probe => {
                let token = self.command_token();
                self.agent.probe(token, self.now, &mut self.out);
                self.collect();
            }
            Step::Wait(ms) => self.now = self.now.saturating_add(*ms),
        }
    }

    fn input(&mut self, kind: InputKind, text: &str) {
        self.token += 1;
        self.life.inputs.push(self.token);
        let input = Input { token: self.token, kind, message: text.to_owned(), images: Vec::new() };
        self.written += text.len();
        self.agent.input(input, self.now, &mut self.out);
        self.collect();
    }

    fn command_token(&mut self) -> u64 {
        self.token += 1;
        self.life.commands.push(self.token);
        self.token
    }

    fn command(&mut self, command: &Command) {
        let token = self.command_token();
        self.written += 256 + json_size(command);
        self.agent.command(token, command, self.now, &mut self.out);
        self.collect();
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.written += bytes.len();
        self.lines += 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
        match self.cut {
            Some(cut) => bytes.chunks(cut).for_each(|piece| self.agent.stdout(piece, self.now, &mut self.out)),
            None => self.agent.stdout(bytes, self.now, &mut self.out),
        }
        if self.cut.is_some() && A::HANDED_OVER {
            self.hand_over();
        }
        self.put_out += self.collect();
        let most = CALL + self.lines * LINE + self.written * REPEATED;
        assert!(self.put_out <= most, "its {} bytes in {} lines made {}, more than {most}", self.written, self.lines, self.put_out);
    }

    /// Another translator goes on with what this one knows.
    fn hand_over(&mut self) {
        let outputs: Vec<Output> = self.out.drain().collect();
        let saved = self.agent.save().expect("a translator can be saved").to_string();
        self.agent = A::fresh();
        self.agent.restore(serde_json::from_str(&saved).expect("what was saved is JSON")).expect("what was saved is taken up");
        outputs.into_iter().for_each(|output| self.out.push(output));
    }

    /// Takes what was put out; gives its size.
    fn collect(&mut self) -> usize {
        let mut size = 0;
        for output in self.out.drain() {
            size += weight(&output);
            if let Output::Write(bytes) = &output {
                self.unanswered.extend(A::asked(bytes));
            }
            self.life.outputs.push(output);
        }
        let most = CALL + self.lines * LINE + (self.written + self.life.inputs.len() * 512) * REPEATED;
        assert!(size <= most, "one call put out {size} bytes, more than {most}");
        size
    }

    /// It ends; what comes after is refused.
    fn end(&mut self) {
        self.agent.exited(&ExitReport { code: Some(1), ..ExitReport::default() }, self.now, &mut self.out);
        self.collect();
        assert!(!self.agent.is_working(), "one that is gone works");
        assert!(self.agent.state().pending_input.is_empty(), "one that is gone asks");
        let before = self.life.outputs.len();
        self.agent.stdout(A::LATE, self.now, &mut self.out);
        self.agent.exited(&ExitReport::default(), self.now, &mut self.out);
        self.collect();
        assert_eq!(self.life.outputs.len(), before, "one that is gone speaks");
        self.input(InputKind::Prompt, "too late");
        self.command(&Command::Abort);
        assert_eq!(self.life.outputs.len(), before + 2, "what comes too late is answered at once");
    }
}

/// Every run that was shown has settled, every compaction and retry that began has ended.
fn closed(outputs: &[Output]) {
    let (mut working, mut compacting, mut retrying) = (false, false, false);
    for output in outputs {
        match output {
            Output::Event(Event::AgentWorking { .. }) => working = true,
            Output::Settled { .. } => working = false,
            Output::Event(Event::CompactStart { .. }) => assert!(!std::mem::replace(&mut compacting, true), "a compaction within another"),
            Output::Event(Event::CompactEnd { .. }) => assert!(std::mem::take(&mut compacting), "a compaction ended that never began"),
            Output::Event(Event::RetryStart { .. }) => retrying = true,
            Output::Event(Event::RetryEnd { .. }) => assert!(std::mem::take(&mut retrying), "a retry ended that never began"),
            _ => {}
        }
    }
    assert!(!working, "a run that was shown never settled");
    assert!(!compacting, "a compaction never ended");
    assert!(!retrying, "a retry never ended");
}

/// Counts what is written to it.
struct Scale(usize);

impl Write for Scale {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn json_size(value: &impl Serialize) -> usize {
    let mut scale = Scale(0);
    serde_json::to_writer(&mut scale, value).expect("what is put out is JSON");
    scale.0
}

fn weight(output: &Output) -> usize {
    16 + match output {
        Output::Write(bytes) => bytes.len(),
        Output::Event(event) => json_size(event),
        Output::Models(models) => json_size(models),
        Output::Resume(text) | Output::Unusable(text) => text.len(),
        Output::Reply { result: Ok(value), .. } => json_size(value),
        Output::Reply { result: Err(error), .. } | Output::Rejected { error, .. } => error.message.len(),
        Output::Settled { error, .. } => error.as_ref().map_or(0, String::len),
        Output::Ready | Output::Taken { .. } | Output::Delivered { .. } | Output::Returned { .. } => 0,
    }
}
