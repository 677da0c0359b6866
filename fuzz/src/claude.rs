//! What Claude Code writes, in whole lives: from the start of its process to its end, with what the runner asks of it meanwhile.
//!
//! What must hold, however wild its lines are: the invariants of every harness (each message, tool and question that was opened is closed, each command
//! gets one reply and each input one fate, a run settles once), nothing is working when it is gone, the cuts of the stream and a change of translators do not matter, and what comes out is bounded by what went in.
//!
//! An input is a [`script`]: lines of Claude Code, and between them lines that begin with `!` for what the runner does. What octo's uuids and ids are is
//! known: they count up.

use crate::pi::{closed, invariants, script, weight};
use octo_harness::claude::Claude;
use octo_harness::{ExitReport, Harness, Input, Outbox, Output, StartOptions};
use octo_protocol::Command;
use octo_protocol::event::InputKind;
use script::Step;
use serde::Deserialize;
use std::borrow::Cow;
use std::collections::VecDeque;

/// Bytes that one call may put out beside what was put in.
const CALL: usize = 4096;
/// Bytes that one line may put out beside what it holds: sentences about it, the closing of what it ends.
const LINE: usize = 2048;
/// How often a byte may come out again.
const REPEATED: usize = 16;

/// One life.
pub fn run(input: &[u8]) {
    let script = script::read(input);
    let life = play(&script.steps, None);
    invariants::check("a life", &life.outputs, &life.inputs, &life.commands);
    closed(&life.outputs);
    if let Some(cut) = script.cut {
        let cut_up = play(&script.steps, Some(cut));
        assert_eq!(cut_up.outputs, life.outputs, "cut every {cut} bytes");
    }
}

struct Life {
    outputs: Vec<Output>,
    inputs: Vec<u64>,
    commands: Vec<u64>,
}

#[derive(Deserialize)]
struct Asked<'a> {
    #[serde(borrow)]
    request_id: Cow<'a, str>,
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
}

struct Player {
    claude: Claude,
    out: Outbox,
    life: Life,
    unanswered: VecDeque<String>,
    now: i64,
    token: u64,
    /// Bytes that it wrote, and lines; bytes that came out.
    written: usize,
    lines: usize,
    put_out: usize,
    cut: Option<usize>,
}

fn play(steps: &[Step<'_>], cut: Option<usize>) -> Life {
    let mut player = Player {
        claude: Claude::new(StartOptions::default()),
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
    player.claude.start(player.now, &mut player.out);
    player.collect();
    for step in steps {
        player.step(step);
    }
    player.end();
    player.life
}

impl Player {
    fn step(&mut self, step: &Step<'_>) {
        match step {
            Step::Bytes(bytes) => self.wrote(bytes),
            Step::Answer { success, which, data } => {
                let Some(id) = self.unanswered.remove(which % self.unanswered.len().max(1)) else { return };
                let (subtype, key) = if *success { ("success", "response") } else { ("error", "error") };
                let mut line =
                    format!(r#"{{"type":"control_response","response":{{"subtype":"{subtype}","request_id":"{id}""#).into_bytes();
                if !data.is_empty() {
                    line.extend_from_slice(format!(r#","{key}":"#).as_bytes());
                    line.extend_from_slice(data);
                }
                line.extend_from_slice(b"}}\n");
                self.wrote(&line);
            }
            Step::Input(kind, text) => self.input(*kind, text),
            Step::Command(command) => self.command(command),
            Step::Probe => {
                let token = self.command_token();
                self.claude.probe(token, self.now, &mut self.out);
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
        self.claude.input(input, self.now, &mut self.out);
        self.collect();
    }

    fn command_token(&mut self) -> u64 {
        self.token += 1;
        self.life.commands.push(self.token);
        self.token
    }

    fn command(&mut self, command: &Command) {
        let token = self.command_token();
        self.written += 256;
        self.claude.command(token, command, self.now, &mut self.out);
        self.collect();
    }

    fn wrote(&mut self, bytes: &[u8]) {
        self.written += bytes.len();
        self.lines += 1 + bytes.iter().filter(|byte| **byte == b'\n').count();
        match self.cut {
            Some(cut) => bytes.chunks(cut).for_each(|piece| self.claude.stdout(piece, self.now, &mut self.out)),
            None => self.claude.stdout(bytes, self.now, &mut self.out),
        }
        if self.cut.is_some() {
            self.hand_over();
        }
        self.put_out += self.collect();
        let most = CALL + self.lines * LINE + self.written * REPEATED;
        assert!(self.put_out <= most, "its {} bytes in {} lines made {}, more than {most}", self.written, self.lines, self.put_out);
    }

    /// Another translator goes on with what this one knows.
    fn hand_over(&mut self) {
        let outputs: Vec<Output> = self.out.drain().collect();
        let saved = self.claude.save().expect("a translator can be saved").to_string();
        self.claude = Claude::new(StartOptions::default());
        self.claude.restore(serde_json::from_str(&saved).expect("what was saved is JSON")).expect("what was saved is taken up");
        outputs.into_iter().for_each(|output| self.out.push(output));
    }

    /// Takes what was put out; gives its size.
    fn collect(&mut self) -> usize {
        let mut size = 0;
        for output in self.out.drain() {
            size += weight(&output);
            if let Output::Write(bytes) = &output
                && let Ok(asked) = serde_json::from_slice::<Asked<'_>>(bytes)
                && asked.kind == "control_request"
            {
                self.unanswered.push_back(asked.request_id.into_owned());
            }
            self.life.outputs.push(output);
        }
        let most = CALL + self.lines * LINE + (self.written + self.life.inputs.len() * 512) * REPEATED;
        assert!(size <= most, "one call put out {size} bytes, more than {most}");
        size
    }

    /// It ends; what comes after is refused.
    fn end(&mut self) {
        self.claude.exited(&ExitReport { code: Some(1), ..ExitReport::default() }, self.now, &mut self.out);
        self.collect();
        assert!(!self.claude.is_working(), "one that is gone works");
        assert!(self.claude.state().pending_input.is_empty(), "one that is gone asks");
        let before = self.life.outputs.len();
        self.claude.stdout(b"{\"type\":\"system\",\"subtype\":\"init\"}\n", self.now, &mut self.out);
        self.claude.exited(&ExitReport::default(), self.now, &mut self.out);
        self.collect();
        assert_eq!(self.life.outputs.len(), before, "one that is gone speaks");
        self.input(InputKind::Prompt, "too late");
        self.command(&Command::Abort);
        assert_eq!(self.life.outputs.len(), before + 2, "what comes too late is answered at once");
    }
}
