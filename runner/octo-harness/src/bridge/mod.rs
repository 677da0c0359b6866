//! An agent behind pi-bridge, reached by `pi-bridge connect`, whose lines are translated here.
//!
//! The bridge has a journal of its own, so what comes are canonical events with `(epoch, seq)`, and what goes are canonical commands. Owns: the connector's
//! lines ([`decode`], [`wire`]), what an event of the bridge means to this runner ([`events`]), the inputs on their way ([`inputs`]), the commands without a
//! response ([`requests`], [`commands`]), what a new connection begins with ([`attach`]), how the connector is started ([`launch`]).
//!
//! Promises, beyond those of [`crate::harness`]:
//! - An event of the bridge is taken once: what is at or below the cursor is dropped. The cursor is the resume handle, and is given after the events that it
//!   covers, so that the runner's journal takes both in one transaction.
//! - An input goes under one `client_id`, whatever becomes of connections: it is sent again until the bridge has said that it has it, and runs once.
//! - What a lost connection leaves unanswered is sent again only where that does no more than once; whoever asked for anything else is told.
//! - Message ids, tool call ids and request ids are those of the bridge.
//!
//! Never: decides a permission. The bridge is told to ask, and octo answers.

pub mod attach;
pub mod commands;
pub mod decode;
pub mod events;
pub mod inputs;
pub mod launch;
pub mod requests;
pub mod wire;

mod lifetime;

use crate::decode::{Decode, Notices};
use crate::harness::{ExitReport, Harness, HarnessState, Input, Outbox, Output, StartOptions, Unusable};
use crate::lines::{Lines, MAX_LINE_BYTES};
use attach::{Link, Peer};
use octo_protocol::message::StopReason;
use octo_protocol::session::SessionOpened;
use octo_protocol::{Command, Cursor, InputRequest};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// The name of this translator.
pub const NAME: &str = "bridge";
/// What sentences call it.
const CALLED: &str = "the bridge";
/// What the connector's line has around an event, at most.
const ENVELOPE_BYTES: usize = 64 * 1024;

/// The translator for one process of the connector.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bridge {
    options: StartOptions,
    state: HarnessState,
    lines: Lines,
    notices: Notices,
    /// The session at the bridge.
    session: String,
    /// Everything up to here was taken.
    cursor: Option<Cursor>,
    /// The handle that was given last.
    given: Option<String>,
    peer: Peer,
    link: Link,
    /// What the newest attach was answered, until it counts.
    opened: Option<Box<SessionOpened>>,
    /// What was open before this process, or before the bridge began anew, is not known yet.
    fresh: bool,
    inputs: inputs::Inputs,
    requests: requests::Requests,
    messages: BTreeSet<String>,
    /// Name of each tool that runs.
    tools: BTreeMap<String, String>,
    questions: BTreeMap<String, InputRequest>,
    /// Ended while it was not known whether they run: tools, questions, turns.
    ended: VecDeque<String>,
    /// The turn under way at the bridge.
    turn: Option<String>,
    /// What its `stream.done` said.
    reason: Option<StopReason>,
    /// Aborts that the bridge has answered, and that are answered when the turn is over.
    aborts: Vec<u64>,
    /// People were told that the bridge is out of reach.
    told: bool,
    ready: bool,
    gone: bool,
    ignored: u64,
}

impl Bridge {
    /// A translator for a connector that is about to be started with [`launch::arguments`] of the same options.
    #[must_use]
    pub fn new(options: StartOptions) -> Self {
        let handle = options.resume.as_deref().and_then(launch::Handle::parse);
        let (session, cursor) = handle.map(|handle| (handle.session, Some(handle.cursor))).unwrap_or_default();
        Self {
            state: HarnessState { auto_compaction: true, thinking_level: options.thinking.unwrap_or_default(), ..HarnessState::default() },
            options,
            lines: Lines::with_limit(MAX_LINE_BYTES + ENVELOPE_BYTES),
            notices: Notices::default(),
            session,
            cursor,
            given: None,
            peer: Peer::default(),
            link: Link::Away,
            opened: None,
            fresh: true,
            inputs: inputs::Inputs::default(),
            requests: requests::Requests::default(),
            messages: BTreeSet::new(),
            tools: BTreeMap::new(),
            questions: BTreeMap::new(),
            ended: VecDeque::new(),
            turn: None,
            reason: None,
            aborts: Vec::new(),
            told: false,
            ready: false,
            gone: false,
            ignored: 0,
        }
    }

    /// How many lines were not for octo: of a connection that is gone, answers that nobody waits for.
    #[must_use]
    pub fn ignored(&self) -> u64 {
        self.ignored
    }

    /// Gives the cursor when it has moved. To be called after the events that it covers.
    fn offer_resume(&mut self, out: &mut Outbox) {
        let Some(cursor) = self.cursor.as_ref().filter(|_| !self.session.is_empty()) else { return };
        let handle = launch::Handle { session: self.session.clone(), cursor: cursor.clone() }.to_string();
        if self.given.as_ref() != Some(&handle) {
            self.given = Some(handle.clone());
            out.push(Output::Resume(handle));
        }
    }

    /// Questions have opened or closed.
    fn questions_changed(&mut self) {
        self.state.pending_input = self.questions.values().cloned().collect();
    }
}

impl Harness for Bridge {
    fn name(&self) -> &'static str {
        NAME
    }

    fn capabilities(&self) -> Vec<String> {
        commands::capabilities(&self.peer.capabilities)
    }

    fn start(&mut self, now: i64, _out: &mut Outbox) {
        self.inputs.set_start(now);
    }

    fn stdout(&mut self, bytes: &[u8], now: i64, out: &mut Outbox) {
        self.decode(bytes, now, out);
        self.offer_resume(out);
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

    fn asks_for_every_call(&self) -> bool {
        self.peer.asks_for_every_call()
    }

    fn goes_on_without_octo(&self) -> bool {
        true
    }

    fn probe(&mut self, token: u64, _now: i64, out: &mut Outbox) {
        self.ask_alive(token, out);
    }

    fn state(&self) -> &HarnessState {
        &self.state
    }

    fn is_working(&self) -> bool {
        self.turn.is_some() || !self.inputs.is_empty()
    }

    fn save(&self) -> Result<Value, Unusable> {
        serde_json::to_value(self).map_err(|why| Unusable { harness: NAME, why })
    }

    fn restore(&mut self, saved: Value) -> Result<(), Unusable> {
        *self = serde_json::from_value(saved).map_err(|why| Unusable { harness: NAME, why })?;
        Ok(())
    }
}
