//! pi (`pi --mode rpc`), every version from 0.73 on: both dialects of its stream, both of its ways to end a run.
//!
//! Owns: pi's lines ([`decode`], [`wire`]), its messages ([`message`], [`stream`]), its run ([`run`]), its queues ([`queue`]), its dialogs
//! ([`dialogs`]), the commands it understands ([`commands`], [`requests`], [`answers`]), and how it is started ([`launch`]).
//!
//! Promises, beyond those of [`crate::harness`]:
//! - A run is settled exactly once, and only when no retry, compaction or queued message follows. A run that pi begins by itself (an extension asked
//!   for it) is a run like any other: it has its `agent.working` and its [`Output::Settled`], without an input of the runner.
//! - An input that an extension of pi deals with itself (a slash command) is [`Output::Delivered`] and settled although no run began. A pi that does
//!   not say so (before 1.x) is asked; for a text that is no slash command the runner's probes must do, two of them some seconds later.
//! - [`Output::Resume`] comes when pi's session file can exist: pi writes it with the first message of the model. A handle of a conversation that was
//!   loaded comes right after [`Output::Ready`]. Before that there is nothing to resume.
//! - A failed message of the model that pi is going to ask for again is discarded; one that stays ends with `stop_reason` `error` and
//!   `metadata.error`. Usage is reported for both: it was paid for.
//! - User messages that nobody gave to the harness (an extension spoke for the user) are `stream.message_end` events of role `user`.
//! - Inputs given while pi compacts, or prepares another one, are kept back until it is done: pi refuses or loses them.
//!
//! Never: `queue.changed`, `input.accepted`, `agent.idle`, `agent.error`, `stream.done`: those are the runner's.

pub mod answers;
pub mod commands;
pub mod decode;
pub mod dialogs;
pub mod events;
mod fork;
pub mod launch;
pub mod message;
pub mod queue;
pub mod requests;
pub mod run;
mod shell;
pub mod stream;
pub mod tools;
pub mod wire;

mod lifetime;

use crate::decode::{Decode, Notices};
use crate::harness::{ExitReport, Harness, HarnessState, Input, Outbox, Output, StartOptions, Unusable};
use crate::lines::Lines;
use octo_protocol::event::{Event, Phase};
use octo_protocol::message::Usage;
use octo_protocol::{Command, Model};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The name in `SessionConfig.harness`.
pub const NAME: &str = "pi";
pub use crate::decode::MAX_NOTICES;

/// The translator for one process of pi.
#[derive(Debug, Serialize, Deserialize)]
pub struct Pi {
    options: StartOptions,
    state: HarnessState,
    lines: Lines,
    requests: requests::Requests,
    run: run::Run,
    stream: stream::Stream,
    tools: tools::Tools,
    /// A command of a person.
    #[serde(default)]
    shell: Option<shell::Shell>,
    inputs: queue::Inputs,
    dialogs: dialogs::Dialogs,
    models: Option<Vec<Model>>,
    session_total: Usage,
    /// What was last shown by `agent.working` in this run.
    phase: Option<(Phase, Option<String>)>,
    /// The attempt whose `retry.start` has no `retry.end`.
    retry: Option<u32>,
    compacting: bool,
    /// pi's session file can exist now.
    resume_due: bool,
    resume_given: Option<String>,
    /// `clear_queue` is not known to be missing (it came with 0.84.4).
    clears_queue: bool,
    /// An abort came before the run that it is for began.
    abort_on_start: bool,
    /// Aborts that are answered when the run has settled.
    aborts: Vec<u64>,
    /// Withdrawals that wait until pi has said of every input whether it takes it.
    #[serde(default)]
    withdrawals: Vec<u64>,
    notices: Notices,
    ignored: u64,
    started: i64,
    gone: bool,
}

impl Pi {
    /// A translator for a process that is about to be started with [`launch::arguments`] of the same options.
    #[must_use]
    pub fn new(options: StartOptions) -> Self {
        Self {
            options,
            state: HarnessState { auto_compaction: true, ..HarnessState::default() },
            lines: Lines::default(),
            requests: requests::Requests::default(),
            run: run::Run::default(),
            stream: stream::Stream::default(),
            tools: tools::Tools::default(),
            shell: None,
            inputs: queue::Inputs::default(),
            dialogs: dialogs::Dialogs::default(),
            models: None,
            session_total: Usage::default(),
            phase: None,
            retry: None,
            compacting: false,
            resume_due: false,
            resume_given: None,
            clears_queue: true,
            abort_on_start: false,
            aborts: Vec::new(),
            withdrawals: Vec::new(),
            notices: Notices::default(),
            ignored: 0,
            started: 0,
            gone: false,
        }
    }

    /// How many events and answers were not for octo: unknown types, unknown ids.
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

    /// Gives the resume handle when it is due.
    fn offer_resume(&mut self, out: &mut Outbox) {
        if !self.resume_due {
            return;
        }
        let Some(file) = self.state.session_file.clone() else { return };
        self.resume_due = false;
        if self.resume_given.as_ref() != Some(&file) {
            self.resume_given = Some(file.clone());
            out.push(Output::Resume(file));
        }
    }

    /// Questions have opened or closed.
    fn questions_changed(&mut self) {
        self.state.pending_input = self.dialogs.requests();
    }

    fn expire(&mut self, now: i64, out: &mut Outbox) {
        if self.dialogs.expire(now, out) {
            self.questions_changed();
        }
    }
}

impl Harness for Pi {
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
        self.expire(now, out);
        self.decode(bytes, now, out);
    }

    fn exited(&mut self, report: &ExitReport, now: i64, out: &mut Outbox) {
        self.end(report, now, out);
    }

    fn input(&mut self, input: Input, now: i64, out: &mut Outbox) {
        self.expire(now, out);
        self.accept(input, out);
    }

    fn command(&mut self, token: u64, command: &Command, now: i64, out: &mut Outbox) {
        self.expire(now, out);
        self.perform(token, command, now, out);
    }

    fn asks_for_every_call(&self) -> bool {
        true
    }

    fn withdraw(&mut self, token: u64, now: i64, out: &mut Outbox) {
        self.expire(now, out);
        self.take_back(token, out);
    }

    fn probe(&mut self, token: u64, now: i64, out: &mut Outbox) {
        self.expire(now, out);
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
