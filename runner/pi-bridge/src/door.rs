//! Commands: from whoever has the token to the session that is meant, and back with one response each.
//!
//! There is one session, `main`, for whoever names none; another name is another conversation with the same agent in the same folder. A session is made by
//! the first thing that is asked of it which needs one.

use crate::options::USER;
use octo_protocol::link::{EndReason, RequestBody};
use octo_protocol::provision::Provision;
use octo_protocol::response::CommandResult;
use octo_protocol::{Command, CommandFrame, Epoch, ErrorCode, ProtocolError, Response, SessionConfig, SessionId};
use octo_runner::clock::now_ms;
use octo_runner::link::{Following, Local, Pending};
use octo_runner::session::Answered;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// The session of whoever names none.
pub const MAIN: &str = "main";
/// How long a command may take that the agent answers from what it knows.
const SOON: Duration = Duration::from_secs(60);
/// How long one may take for which an agent has to be started.
const START: Duration = Duration::from_secs(120);
/// How long one may take that is work.
const LONG: Duration = Duration::from_secs(600);
/// Nobody is named as the author of what comes through here: the token is all that is known of them.
const ACTOR: &str = "";

/// The way in.
pub struct Door {
    local: Local,
    provision: Provision,
    config: SessionConfig,
    protocol: &'static str,
    /// Sessions that know how this process starts their agent.
    told: Mutex<HashSet<String>>,
}

fn invalid(message: impl Into<String>) -> ProtocolError {
    ProtocolError::new(ErrorCode::InvalidRequest, message)
}

/// The session that `name` means.
///
/// # Errors
/// When that cannot be the name of one.
pub fn session_named(name: Option<&str>) -> Result<SessionId, ProtocolError> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or(MAIN);
    SessionId::new(name).map_err(|error| invalid(error.to_string()))
}

impl Door {
    /// A way to what `local` asks; sessions are made with `config` and `provision`, and `protocol` is spoken with their agents.
    #[must_use]
    pub fn new(local: Local, provision: Provision, config: SessionConfig, protocol: &'static str) -> Self {
        Self { local, provision, config, protocol, told: Mutex::default() }
    }

    /// The agent's name.
    #[must_use]
    pub fn harness(&self) -> &str {
        self.config.harness.as_deref().unwrap_or_default()
    }

    /// What is spoken with it.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        self.protocol
    }

    /// Sees to it that there is such a session; the first time its agent is started and its handshake waited for.
    ///
    /// # Errors
    /// Why there is none: a sentence.
    pub async fn open(&self, session: &SessionId) -> Result<(), ProtocolError> {
        if self.told.lock().unwrap_or_else(PoisonError::into_inner).contains(session.as_str()) {
            return Ok(());
        }
        self.create(session).await.map(|_| ())
    }

    async fn create(&self, session: &SessionId) -> Answered {
        let command = Command::SessionCreate { config: self.config.clone(), cursor: None };
        let frame = CommandFrame { id: None, session_id: session.to_string(), runner_id: None, traceparent: None, command };
        let body = RequestBody::Open { json: encode(&frame)?, provision: encode(&self.provision)? };
        let opened = self.local.ask(body, ACTOR).await.within(START).await?;
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(session.to_string());
        Ok(opened)
    }

    /// Carries a command out and answers it. `session` is the one that is meant where the command names none.
    pub async fn command(&self, frame: CommandFrame, session: Option<&str>) -> Response {
        self.hand_over(frame, session).await.response().await
    }

    /// Hands a command over: what is handed over first reaches its session first, and what follows need not wait for its answer.
    pub async fn hand_over(&self, mut frame: CommandFrame, session: Option<&str>) -> HandedOver {
        if frame.session_id.is_empty() {
            frame.session_id = session.filter(|name| !name.is_empty()).unwrap_or(MAIN).to_owned();
        }
        let (id, command, session) = (frame.id.take(), frame.command.name(), frame.session_id.clone());
        let answer = self.begin(frame).await;
        HandedOver { session, id, command, answer }
    }

    async fn begin(&self, frame: CommandFrame) -> Result<Coming, ProtocolError> {
        let patience = patience(&frame.command);
        let body = match &frame.command {
            Command::ListSessions | Command::PermissionList | Command::PermissionAdd { .. } | Command::PermissionRemove { .. } => {
                RequestBody::Command { json: encode(&CommandFrame { session_id: String::new(), ..frame })? }
            }
            Command::SessionCreate { config, .. } => {
                self.check(config)?;
                return self.create(&session_named(Some(&frame.session_id))?).await.map(Coming::There);
            }
            Command::SessionNew { .. } | Command::SessionSwitch { .. } | Command::Fork { .. } => {
                self.open(&session_named(Some(&frame.session_id))?).await?;
                let made = format!("ses_{}", uuid::Uuid::now_v7().simple());
                let session = SessionId::new(made).map_err(|error| invalid(error.to_string()))?;
                RequestBody::OpenBeside { json: encode(&frame)?, session, provision: encode(&self.provision)? }
            }
            command => {
                let session = session_named(Some(&frame.session_id))?;
                if makes_one(command) {
                    self.open(&session).await?;
                }
                if matches!(command, Command::SessionDelete) {
                    self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(session.as_str());
                }
                RequestBody::Command { json: encode(&frame)? }
            }
        };
        Ok(Coming::Awaited(self.local.ask(body, ACTOR).await, patience))
    }

    /// Sessions are made as the bridge was started: whoever asks for something else is told.
    fn check(&self, config: &SessionConfig) -> Result<(), ProtocolError> {
        let differs = |asked: &Option<String>, ours: &Option<String>| asked.as_ref().is_some_and(|asked| Some(asked) != ours.as_ref());
        let own = &self.config;
        let same = !differs(&config.harness, &own.harness)
            && !differs(&config.cwd, &own.cwd)
            && !differs(&config.provider, &own.provider)
            && !differs(&config.model, &own.model)
            && config.continue_session.is_none()
            && config.sandbox.is_none()
            && config.permissions.is_none();
        if same {
            return Ok(());
        }
        let named = |text: &Option<String>| text.clone().unwrap_or_default();
        Err(invalid(format!(
            "this bridge makes sessions of {} in {} with {}/{}: leave config out, or start another bridge",
            named(&own.harness),
            named(&own.cwd),
            named(&own.provider),
            named(&own.model)
        )))
    }

    /// The events of a session after `after`.
    ///
    /// # Errors
    /// Why they do not come.
    pub fn follow(&self, session: &SessionId, epoch: Option<Epoch>, after: u64) -> Result<Following, EndReason> {
        self.local.follow(session, epoch, Some(after))
    }
}

/// A command that was handed over.
pub struct HandedOver {
    session: String,
    id: Option<String>,
    command: &'static str,
    answer: Result<Coming, ProtocolError>,
}

/// An answer.
enum Coming {
    There(Vec<u8>),
    Awaited(Pending, Duration),
}

impl HandedOver {
    /// Its one response.
    pub async fn response(self) -> Response {
        let answered = match self.answer {
            Ok(Coming::Awaited(pending, patience)) => pending.within(patience).await,
            Ok(Coming::There(json)) => Ok(json),
            Err(error) => Err(error),
        };
        let unreadable = |error| ProtocolError::new(ErrorCode::Internal, format!("the answer cannot be read: {error}"));
        let result = answered.and_then(|json| serde_json::from_slice::<Value>(&json).map_err(unreadable));
        respond(self.session, self.id, self.command, result)
    }
}

/// A response as the bridge gives it.
#[must_use]
pub fn respond(session: String, id: Option<String>, command: &str, result: CommandResult) -> Response {
    Response::new(session, USER.to_owned(), now_ms(), id, command, result)
}

/// Whether a session is made for it. What only makes sense in one that there is, is refused in one that there is not.
fn makes_one(command: &Command) -> bool {
    !matches!(
        command,
        Command::SessionAttach { .. }
            | Command::SessionDetach
            | Command::SessionClose
            | Command::SessionDelete
            | Command::SessionRestart
            | Command::Abort
            | Command::InputResponse { .. }
            | Command::QueueDrop { .. }
            | Command::QueueReplace { .. }
    )
}

fn patience(command: &Command) -> Duration {
    match command {
        Command::Compact { .. } | Command::Bash { .. } | Command::ExportHtml { .. } | Command::Delegate { .. } => LONG,
        Command::SessionNew { .. } | Command::SessionSwitch { .. } | Command::Fork { .. } | Command::SessionRestart => START,
        _ => SOON,
    }
}

fn encode(value: &impl serde::Serialize) -> Answered {
    serde_json::to_vec(value).map_err(|error| ProtocolError::new(ErrorCode::Internal, format!("what is asked does not serialize: {error}")))
}
