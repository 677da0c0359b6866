//! Any agent that speaks the Agent Client Protocol, version 1, on stdio: opencode, codex, gemini, goose, and some forty others.
//!
//! Owns: the lines ([`wire`], [`requests`]), what version 1 says ([`v1`]), the handshake and the end ([`lifetime`]), what the agent says ([`events`]) and the
//! messages and tools that become of it ([`stream`], [`tools`]), its run ([`run`]), what it asks ([`dialogs`]), what can be set of it ([`settings`]), the
//! commands ([`commands`]), and what single agents do otherwise ([`quirks`]).
//!
//! Promises, beyond those of [`crate::harness`]:
//! - Nothing is asked of an agent that it did not say it can do. What it sends and octo does not know is passed over; what it asks for and octo does not offer
//!   (files, terminals) is refused: it acts in its sandbox, by itself.
//! - A run is settled once, when the last prompt has its answer. What the agent says of itself is a run of its own, over when it has been silent for a while.
//! - The mode in which it asks before it acts is set at every start, where it is known.
//! - [`crate::harness::Output::Resume`] is the agent's own id of the conversation. An empty handle takes it back.
//! - A permission that a cancelled turn leaves open is answered as cancelled.
//!
//! Never: `queue.changed`, `input.accepted`, `agent.idle`, `agent.error`, `stream.done`: those are the runner's.

pub mod commands;
pub mod dialogs;
pub mod diff;
pub mod events;
pub mod lifetime;
pub mod quirks;
pub mod requests;
pub mod run;
pub mod settings;
pub mod stream;
pub mod tools;
pub mod v1;
pub mod wire;

use crate::decode::{Decode, Notices};
use crate::harness::{ExitReport, Harness, HarnessState, Input, Outbox, StartOptions, Unusable};
use crate::lines::Lines;
use octo_protocol::Command;
use octo_protocol::event::{Event, Phase};
use octo_protocol::message::Usage;
use octo_protocol::session::SlashCommand;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is spoken, as `harness.NAME.protocol` names it.
pub const PROTOCOL: &str = "acp";

/// The translator for one process of an agent.
#[derive(Debug, Serialize, Deserialize)]
pub struct Acp {
    options: StartOptions,
    state: HarnessState,
    lines: Lines,
    requests: requests::Requests,
    run: run::Run,
    stream: stream::Stream,
    tools: tools::Tools,
    dialogs: dialogs::Dialogs,
    settings: settings::Settings,
    commands: Vec<SlashCommand>,
    /// What sentences call the agent.
    called: String,
    /// As it calls itself, for its quirks.
    name: String,
    loads: bool,
    resumes: bool,
    images: bool,
    /// Ways to log in that it names.
    logins: Vec<(String, String)>,
    logged_in: bool,
    /// A conversation is being loaded: what is said of it was said before.
    loading: bool,
    /// Settings of the start that wait for their turn.
    wishes: Vec<settings::Request>,
    /// The agent's id of the conversation.
    conversation: String,
    resume_given: bool,
    session_total: Usage,
    /// What the conversation has cost in US dollars, as the agent says, and at the last `usage`, where that is known.
    cost: Option<f64>,
    told_cost: Option<f64>,
    phase: Option<(Phase, Option<String>)>,
    /// Aborts that are answered when the run has settled.
    aborts: Vec<u64>,
    mode_shown: Option<String>,
    ready: bool,
    /// It cannot be used; the runner has been told.
    unusable: bool,
    notices: Notices,
    ignored: u64,
    gone: bool,
}

impl Acp {
    /// A translator for a process that is about to be started.
    #[must_use]
    pub fn new(options: StartOptions) -> Self {
        let called = if options.agent.is_empty() { "the agent".to_owned() } else { options.agent.clone() };
        Self {
            state: HarnessState { thinking_level: options.thinking.unwrap_or_default(), ..HarnessState::default() },
            options,
            lines: Lines::default(),
            requests: requests::Requests::default(),
            run: run::Run::default(),
            stream: stream::Stream::default(),
            tools: tools::Tools::default(),
            dialogs: dialogs::Dialogs::default(),
            settings: settings::Settings::default(),
            commands: Vec::new(),
            called,
            name: String::new(),
            loads: false,
            resumes: false,
            images: false,
            logins: Vec::new(),
            logged_in: false,
            loading: false,
            wishes: Vec::new(),
            conversation: String::new(),
            resume_given: false,
            session_total: Usage::default(),
            cost: None,
            told_cost: Some(0.0),
            phase: None,
            aborts: Vec::new(),
            mode_shown: None,
            ready: false,
            unusable: false,
            notices: Notices::default(),
            ignored: 0,
            gone: false,
        }
    }

    /// How many messages were not for octo: unknown kinds, unknown ids.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    fn quirks(&self) -> quirks::Quirks {
        quirks::of(&self.name)
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

    /// Questions have opened or closed.
    fn questions_changed(&mut self) {
        self.state.pending_input = self.dialogs.requests();
    }
}

impl Decode for Acp {
    fn called(&self) -> &str {
        &self.called
    }

    fn lines(&mut self) -> &mut Lines {
        &mut self.lines
    }

    fn notices(&mut self) -> &mut Notices {
        &mut self.notices
    }

    fn is_gone(&self) -> bool {
        self.gone
    }

    fn typed(&mut self, _kind: &str, _text: &str, _now: i64, _out: &mut Outbox) -> serde_json::Result<()> {
        Ok(())
    }

    fn object(&mut self, text: &str, now: i64, out: &mut Outbox) -> bool {
        let Ok(message) = serde_json::from_str::<wire::Message<'_>>(text) else {
            // An object all the same: what its fields hold is wrong.
            let is_object = serde_json::from_str::<serde_json::Map<String, Value>>(text).is_ok();
            if is_object {
                self.not_understood(text, "it is no JSON-RPC message", out);
            }
            return is_object;
        };
        if let Err(error) = self.message(&message, now, out) {
            self.not_understood(text, &error.to_string(), out);
        }
        true
    }
}

impl Harness for Acp {
    fn name(&self) -> &'static str {
        PROTOCOL
    }

    fn capabilities(&self) -> Vec<String> {
        self.able().map(str::to_owned).collect()
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

    fn input(&mut self, input: Input, now: i64, out: &mut Outbox) {
        self.accept(&input, now, out);
    }

    fn command(&mut self, token: u64, command: &Command, now: i64, out: &mut Outbox) {
        self.perform(token, command, now, out);
    }

    fn probe(&mut self, token: u64, now: i64, out: &mut Outbox) {
        self.ask_alive(token, now, out);
    }

    fn state(&self) -> &HarnessState {
        &self.state
    }

    fn is_working(&self) -> bool {
        self.run.is_working()
    }

    fn save(&self) -> Result<Value, Unusable> {
        serde_json::to_value(self).map_err(|why| Unusable { harness: PROTOCOL, why })
    }

    fn restore(&mut self, saved: Value) -> Result<(), Unusable> {
        *self = serde_json::from_value(saved).map_err(|why| Unusable { harness: PROTOCOL, why })?;
        Ok(())
    }
}
