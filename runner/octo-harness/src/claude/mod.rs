//! Claude Code (`claude -p` with stream-json on both pipes and control requests), 2.1 and later.
//!
//! Owns: Claude Code's lines ([`decode`], [`wire`], [`events`]), its messages ([`message`], [`stream`]), its run ([`run`], [`turn`]), its queue ([`queue`]),
//! what it asks ([`dialogs`], [`permission`], [`questions`], [`control`]), octo's tools for it ([`mcp`]), its sub-agents in the background ([`tasks`]), its mode
//! ([`mode`]), the commands it understands ([`commands`], [`requests`]), how it is started ([`launch`]) and forked ([`fork`]).
//!
//! Promises, beyond those of [`crate::harness`]:
//! - A run is settled exactly once, when a `result` came and no input waits. A turn that Claude Code begins by itself (work in the background is done) is a
//!   run like any other. `is_error` of the `result` decides whether it failed.
//! - What a sub-agent says is the progress of the tool that started it, and never mixed into the conversation's own messages.
//! - A message whose request was made again is discarded. One that stays ends with the blocks that were finished.
//! - [`Output::Resume`] is Claude Code's own id of the conversation. It comes when the conversation has a message of the model. An empty handle takes it back:
//!   Claude Code does not know the conversation any more.
//! - An open question that the turn leaves behind is refused, so that Claude Code waits for nobody. That of a sub-agent in the background is open while it lives.
//! - Every message has the id of its line, from which a fork can go on, and no message of the conversation is passed over by a compaction in silence.
//!
//! Never: `queue.changed`, `input.accepted`, `agent.idle`, `agent.error`, `stream.done`: those are the runner's. A line that is no JSON object, or a
//! message that Claude Code would not take: either ends it.

pub mod commands;
pub mod control;
pub mod decode;
pub mod dialogs;
pub mod events;
pub mod fork;
pub mod launch;
pub mod mcp;
pub mod message;
pub mod mode;
pub mod permission;
pub mod questions;
pub mod queue;
pub mod requests;
pub mod run;
pub mod stream;
pub mod tasks;
pub mod tools;
pub mod turn;
pub mod wire;

mod compaction;
mod lifetime;

use crate::decode::{Decode, Notices};
use crate::harness::{ExitReport, Harness, HarnessState, Input, Outbox, Output, StartOptions, Unusable};
use crate::lines::Lines;
use octo_protocol::Command;
use octo_protocol::event::{Event, Phase};
use octo_protocol::message::Usage;
use octo_protocol::session::SlashCommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name in `SessionConfig.harness`.
pub const NAME: &str = "claude";
/// What sentences call it.
const CALLED: &str = "Claude Code";
pub use crate::decode::MAX_NOTICES;

/// The translator for one process of Claude Code.
#[derive(Debug, Serialize, Deserialize)]
pub struct Claude {
    options: StartOptions,
    state: HarnessState,
    lines: Lines,
    requests: requests::Requests,
    run: run::Run,
    stream: stream::Stream,
    tools: tools::Tools,
    inputs: queue::Inputs,
    dialogs: dialogs::Dialogs,
    /// Results of tools that came before the message that calls them was whole.
    late: Vec<events::Late>,
    commands: Vec<SlashCommand>,
    session_total: Usage,
    /// A `result` told what the whole conversation has used.
    totals_known: bool,
    /// What was last shown by `agent.working` in this run.
    phase: Option<(Phase, Option<String>)>,
    /// The attempt whose `retry.start` has no `retry.end`.
    retry: Option<u32>,
    compaction: compaction::Compaction,
    /// The model that Claude Code named last, unless octo has chosen another since.
    named: Option<String>,
    resume_given: Option<String>,
    /// Aborts that Claude Code has answered, and that are answered when the run has settled.
    aborts: Vec<u64>,
    #[serde(default)]
    tasks: tasks::Tasks,
    #[serde(default)]
    mode: mode::Mode,
    ready: bool,
    notices: Notices,
    ignored: u64,
    started: i64,
    gone: bool,
}

impl Claude {
    /// A translator for a process that is about to be started with [`launch::arguments`] of the same options.
    #[must_use]
    pub fn new(options: StartOptions) -> Self {
        let thinking_level = options.thinking.unwrap_or(commands::DEFAULT_LEVEL);
        Self {
            options,
            state: HarnessState { auto_compaction: true, thinking_level, ..HarnessState::default() },
            lines: Lines::default(),
            requests: requests::Requests::default(),
            run: run::Run::default(),
            stream: stream::Stream::default(),
            tools: tools::Tools::default(),
            inputs: queue::Inputs::default(),
            dialogs: dialogs::Dialogs::default(),
            late: Vec::new(),
            commands: Vec::new(),
            session_total: Usage::default(),
            totals_known: false,
            phase: None,
            retry: None,
            compaction: compaction::Compaction::default(),
            named: None,
            resume_given: None,
            aborts: Vec::new(),
            tasks: tasks::Tasks::default(),
            mode: mode::Mode::default(),
            ready: false,
            notices: Notices::default(),
            ignored: 0,
            started: 0,
            gone: false,
        }
    }

    /// How many lines were not for octo: unknown types, unknown ids.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Shows what the run does now, if it changed.
    fn show(&mut self, phase: Phase, detail: Option<&str>, out: &mut Outbox) {
        if !self.run.is_working() || self.phase.as_ref().is_some_and(|(shown, of)| *shown == phase && of.as_deref() == detail) {
            return;
        }
        let detail = detail.map(str::to_owned);
        self.phase = Some((phase, detail.clone()));
        out.event(Event::AgentWorking { phase, detail });
    }

    /// Gives the resume handle when it is a new one.
    fn offer_resume(&mut self, out: &mut Outbox) {
        let Some(id) = self.state.agent_session_id.clone().filter(|id| !id.is_empty()) else { return };
        if self.resume_given.as_ref() != Some(&id) {
            self.resume_given = Some(id.clone());
            out.push(Output::Resume(id));
        }
    }

    /// Questions have opened or closed.
    fn questions_changed(&mut self) {
        self.state.pending_input = self.dialogs.requests();
    }
}

impl Harness for Claude {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Vec<String> {
        commands::CAPABILITIES.iter().map(|name| (*name).to_owned()).collect()
    }

    fn start(&mut self, now: i64, out: &mut Outbox) {
        self.begin(now, out);
    }

    fn stdout(&mut self, bytes: &[u8], now: i64, out: &mut Outbox) {
        self.decode(bytes, now, out);
    }

    fn exited(&mut self, report: &ExitReport, now: i64, out: &mut Outbox) {
        self.end(report, now, out);
    }

    fn input(&mut self, input: Input, _now: i64, out: &mut Outbox) {
        self.accept(&input, out);
    }

    fn command(&mut self, token: u64, command: &Command, _now: i64, out: &mut Outbox) {
        self.perform(token, command, out);
    }

    fn forks_by_entry(&self) -> bool {
        true
    }

    fn fork_handle(&self, conversation: &str, entry: &str) -> String {
        fork::handle(conversation, entry)
    }

    fn next_entry(&self, message: &str) -> Option<String> {
        self.entry_of_next(message)
    }

    fn probe(&mut self, token: u64, _now: i64, out: &mut Outbox) {
        self.ask_alive(token, out);
    }

    fn state(&self) -> &HarnessState {
        &self.state
    }

    fn is_working(&self) -> bool {
        self.run.is_working()
    }

    fn save(&self) -> Result<Value, Unusable> {
        serde_json::to_value(self).map_err(|why| Unusable { harness: NAME, why })
    }

    fn restore(&mut self, saved: Value) -> Result<(), Unusable> {
        *self = serde_json::from_value(saved).map_err(|why| Unusable { harness: NAME, why })?;
        Ok(())
    }
}
