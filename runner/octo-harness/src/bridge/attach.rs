//! The beginning and the end of a connection.
//!
//! ```text
//!         connected              attach answered, replay ended            models told
//!   Away ───────────▶ Catching up ─────────────────────────────▶ Live ─ ─ ─ ─ ─ ─ ─ ─▶ (the first time) Ready
//!    ▲                    │                                        │
//!    └──────── lost ──────┴────────────────────────────────────────┘
//! ```

use super::requests::Purpose;
use super::wire::{Connected, Lost, OutOfReach, write};
use super::{Bridge, CALLED};
use crate::harness::{Harness, Outbox, Output};
use crate::lines::excerpt;
use octo_protocol::event::{Event, Level, Phase};
use octo_protocol::message::StopReason;
use octo_protocol::response::{CommandResult, ErrorCode, ProtocolError};
use octo_protocol::session::SessionOpened;
use octo_protocol::{Model, PermissionMode};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Most characters of a reason in a notice.
const EXCERPT: usize = 300;
/// What a bridge speaks with an agent that asks for every call.
const ASKS_FOR_EVERY_CALL: &str = "pi-rpc";

/// How the bridge is reached right now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Link {
    Away,
    /// What was missed is being told.
    CatchingUp {
        connection: u64,
        replayed: bool,
    },
    Live {
        connection: u64,
    },
}

impl Link {
    /// The connection, if there is one.
    #[must_use]
    pub fn connection(self) -> Option<u64> {
        match self {
            Self::Away => None,
            Self::CatchingUp { connection, .. } | Self::Live { connection } => Some(connection),
        }
    }

    /// The connection, when commands may go over it.
    #[must_use]
    pub fn live(self) -> Option<u64> {
        match self {
            Self::Live { connection } => Some(connection),
            Self::Away | Self::CatchingUp { .. } => None,
        }
    }
}

/// The agent behind the bridge.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Peer {
    pub harness: String,
    pub protocol: String,
    pub capabilities: Vec<String>,
}

impl Peer {
    /// As [`crate::Harness::asks_for_every_call`].
    #[must_use]
    pub fn asks_for_every_call(&self) -> bool {
        self.protocol == ASKS_FOR_EVERY_CALL
    }

    fn can(&self, what: &str) -> bool {
        self.capabilities.iter().any(|capability| capability == what)
    }
}

/// The refusal of what a lost connection left unanswered.
pub(super) fn unanswered() -> ProtocolError {
    let message = format!("the connection to {CALLED} was lost before it answered: whether it happened is not known; look, and try again");
    ProtocolError::new(ErrorCode::RunnerUnavailable, message)
}

impl Bridge {
    pub(super) fn connected(&mut self, connected: Connected, out: &mut Outbox) {
        // A connection that is gone without a word is gone all the same.
        self.disconnected(out);
        let Connected { connection, session, harness, protocol } = connected;
        self.link = Link::CatchingUp { connection, replayed: false };
        (self.session, self.peer.harness, self.peer.protocol) = (session, harness, protocol);
        if std::mem::take(&mut self.told) {
            let message = format!("{CALLED} is in reach again; what happened meanwhile follows");
            out.event(Event::Notify { level: Level::Info, message });
        }
        self.opened = None;
        self.requests.send(Purpose::Attach, json!({ "cmd": "session.attach" }), Some(connection), out);
    }

    pub(super) fn lost(&mut self, lost: &Lost, out: &mut Outbox) {
        if self.link.connection() == Some(lost.connection) {
            self.disconnected(out);
        }
    }

    pub(super) fn out_of_reach(&mut self, out_of_reach: &OutOfReach, out: &mut Outbox) {
        if !std::mem::replace(&mut self.told, true) {
            let why = excerpt(&out_of_reach.why, EXCERPT);
            let message = format!("{CALLED} is out of reach ({why}). Its agent goes on, octo keeps trying, and nothing is lost meanwhile");
            out.event(Event::Notify { level: Level::Warning, message });
        }
    }

    fn disconnected(&mut self, out: &mut Outbox) {
        self.link = Link::Away;
        self.opened = None;
        for purpose in self.requests.take_those(|purpose| !matches!(purpose, Purpose::Abort { .. } | Purpose::Answer { .. })) {
            match purpose {
                // It is the connector that lives.
                Purpose::Probe { token } => out.push(Output::Reply { token, result: Ok(Value::Null) }),
                Purpose::Plain { token } => out.push(Output::Reply { token, result: Err(unanswered()) }),
                _ => {}
            }
        }
    }

    /// The bridge has begun its journal anew, or does not have all of it any more.
    pub(super) fn resynced(&mut self, reason: &str, out: &mut Outbox) {
        let reason = excerpt(reason, EXCERPT);
        let message =
            format!("what happened at {CALLED} last may not all be shown here ({reason}); it goes on from where its journal is whole");
        out.event(Event::Notify { level: Level::Warning, message });
        self.fresh = true;
    }

    /// Everything that was missed has been told.
    pub(super) fn replayed(&mut self, out: &mut Outbox) {
        if let Link::CatchingUp { replayed, .. } = &mut self.link {
            *replayed = true;
            self.catch_up(out);
        }
    }

    pub(super) fn attached(&mut self, result: CommandResult, out: &mut Outbox) {
        match result.and_then(|data| serde_json::from_value::<SessionOpened>(data).map_err(unreadable)) {
            Ok(opened) => {
                self.opened = Some(Box::new(opened));
                self.catch_up(out);
            }
            Err(error) => {
                let message = format!("{CALLED} does not say how its session stands: {error}");
                out.event(Event::Notify { level: Level::Error, message });
            }
        }
    }

    fn catch_up(&mut self, out: &mut Outbox) {
        let Link::CatchingUp { connection, replayed: true } = self.link else { return };
        let Some(opened) = self.opened.take() else { return };
        self.link = Link::Live { connection };
        self.peer.capabilities.clone_from(&opened.capabilities);
        let state = &opened.state;
        if state.model.is_some() {
            self.state.model.clone_from(&state.model);
        }
        (self.state.steering_mode, self.state.follow_up_mode) = (state.steering_mode, state.follow_up_mode);
        (self.state.thinking_level, self.state.auto_compaction) = (state.thinking_level, state.auto_compaction_enabled);
        if std::mem::take(&mut self.fresh) {
            self.take_stock(&opened, out);
        }
        self.ended.clear();
        if self.peer.can("set_permissions") && state.permissions != Some(PermissionMode::Ask) {
            self.requests.send(Purpose::Setting, json!({ "cmd": "set_permissions", "mode": "ask" }), Some(connection), out);
        }
        if self.ready {
            self.send_what_waits(connection, out);
        } else {
            self.requests.send(Purpose::Models, json!({ "cmd": "get_models" }), Some(connection), out);
        }
    }

    /// What was open before anybody listened here.
    fn take_stock(&mut self, opened: &SessionOpened, out: &mut Outbox) {
        let state = &opened.state;
        match &state.turn_id {
            Some(turn) if !self.ended.contains(turn) => {
                self.turn = Some(turn.clone());
                let tool = state.running_tools.first().map(|tool| tool.name.clone());
                let phase = if tool.is_some() { Phase::ToolRunning } else { Phase::Generating };
                out.event(Event::AgentWorking { phase, detail: tool });
            }
            // Its end was lost with the journal that it was in.
            None if self.turn.is_some() => self.over(StopReason::Aborted, None, out),
            _ => {}
        }
        for tool in &state.running_tools {
            let (id, name) = (tool.tool_call_id.clone(), tool.name.clone());
            if !self.ended.contains(&id) && self.tools.insert(id.clone(), name.clone()).is_none() {
                out.event(Event::ToolStart { tool_call_id: id, name, input: None });
            }
        }
        for request in &state.pending_input {
            let id = request.request_id().to_owned();
            if !self.ended.contains(&id) && self.questions.insert(id, request.clone()).is_none() {
                out.event(Event::AgentInputNeeded { request: request.clone() });
            }
        }
        self.questions_changed();
    }

    pub(super) fn models(&mut self, result: CommandResult, out: &mut Outbox) {
        let models: Vec<Model> = result.ok().and_then(|data| serde_json::from_value(data).ok()).unwrap_or_default();
        let Some(connection) = self.link.live() else { return };
        let (provider, model) = (self.options.provider.clone(), self.options.model.clone());
        let is = |m: &Model| m.provider == provider && m.id == model;
        match &self.state.model {
            Some(current) if is(current) => {}
            // What the session is made with, or was set to meanwhile.
            _ if models.iter().any(is) => {
                let command = json!({ "cmd": "set_model", "provider": provider, "model_id": model });
                self.requests.send(Purpose::Setting, command, Some(connection), out);
            }
            Some(current) => out.event(Event::ModelChanged { provider: current.provider.clone(), model_id: current.id.clone() }),
            None => {}
        }
        if let Some(level) =
            self.options.thinking.filter(|level| self.peer.can("set_thinking_level") && *level != self.state.thinking_level)
        {
            let command = json!({ "cmd": "set_thinking_level", "level": level });
            self.requests.send(Purpose::Setting, command, Some(connection), out);
        }
        if !models.is_empty() {
            out.push(Output::Models(models));
        }
        self.ready = true;
        out.push(Output::Ready);
        self.send_what_waits(connection, out);
    }

    /// Sends what the connection before did not answer, as far as it has not become needless.
    fn send_what_waits(&mut self, connection: u64, out: &mut Outbox) {
        for command in self.inputs.to_send(connection) {
            write(connection, &command, out);
        }
        let (working, questions) = (self.is_working(), &self.questions);
        let needless = self.requests.take_those(|purpose| match purpose {
            Purpose::Abort { .. } => !working,
            Purpose::Answer { request_id, .. } => !questions.contains_key(request_id),
            _ => false,
        });
        for purpose in needless {
            if let Purpose::Abort { token } | Purpose::Answer { token, .. } = purpose {
                out.push(Output::Reply { token, result: Ok(Value::Null) });
            }
        }
        self.requests.send_again(connection, out);
    }
}

fn unreadable(error: serde_json::Error) -> ProtocolError {
    ProtocolError::new(ErrorCode::Internal, format!("its answer cannot be read: {error}"))
}
