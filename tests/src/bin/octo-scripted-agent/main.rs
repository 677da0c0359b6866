//! An agent without a model: it speaks pi's RPC (as 0.87.1 does) and says what the script in the prompt says, at any rate.
//!
//! Owns: the wire ([`wire`]), the conversation as far as pi's session file tells of it ([`conversation`]), the answers to commands ([`answers`]),
//! the run ([`run`]). The script itself is [`octo_e2e::Script`], so that tests and benches write the same type that is read here.
//!
//! Promises: deltas keep the schedule of their script, and unpaced ones are written as fast as they are read; commands are answered in the middle
//! of a run; like pi, it ends at the end of its input, and of a line that is no object.
//!
//! It leaves out what pi repeats and octo does not read: the messages in `agent_end` and `turn_end`.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "an agent that cannot go on ends, and its stderr says where")]

mod answers;
mod conversation;
mod run;
mod wire;

use conversation::Conversation;
use serde_json::Value;
use std::collections::VecDeque;
use std::io::BufRead;
use std::sync::mpsc::{Receiver, sync_channel};
use wire::Out;

/// Commands that may wait while the agent is in the middle of something.
const COMMANDS: usize = 1024;

/// The agent.
struct Agent {
    commands: Receiver<Value>,
    out: Out,
    conversation: Conversation,
    /// The prompt of the run that begins next.
    next: Option<String>,
    running: bool,
    steering: VecDeque<String>,
    follow_up: VecDeque<String>,
    /// Ids of aborts that are answered when the run is over.
    aborts: Vec<Value>,
    auto_compaction: bool,
    thinking_level: String,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let option = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let (say, commands) = sync_channel(COMMANDS);
    std::thread::spawn(move || {
        let mut line = Vec::new();
        let mut stdin = std::io::stdin().lock();
        while stdin.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            if !line.trim_ascii().is_empty() && say.send(wire::command(&line)).is_err() {
                return;
            }
            line.clear();
        }
        // Also while the run goes on, or waits for somebody to read it.
        std::process::exit(0);
    });
    let mut agent = Agent {
        commands,
        out: Out::stdout(),
        conversation: Conversation::open(option("--session"), option("--session-dir"), option("--model")),
        next: None,
        running: false,
        steering: VecDeque::new(),
        follow_up: VecDeque::new(),
        aborts: Vec::new(),
        auto_compaction: true,
        thinking_level: option("--thinking").unwrap_or_else(|| "off".to_owned()),
    };
    while let Ok(command) = agent.commands.recv() {
        agent.obey(&command);
        while let Some(prompt) = agent.next.take() {
            agent.run(prompt);
        }
        agent.out.flush();
    }
}
