//! Sessions from within a Rust program, by the same path as those of a browser: authorized, journalled, resumable.

use std::path::Path;
use std::time::{Duration, SystemTime};

use futures_util::Stream;
use octo_protocol::event::EventFrame;
use octo_protocol::link::RequestBody;
use octo_protocol::session::SessionOpened;
use octo_protocol::{ClientId, Command, CommandFrame, Cursor, ErrorCode, ProtocolError, SessionConfig, SessionId};
use serde_json::Value;

use crate::Octo;
use crate::auth::{Principal, Role, TokenId, UserId};
use crate::mux::follower::Follower;
use crate::mux::policy;
use crate::sessions;
use crate::state::AppState;
use octo_actors::unix_ns;

/// How long the rights of an embedding program last: as long as it does.
const LIFETIME: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A session that does not exist yet.
#[derive(Debug, Clone, Default)]
pub struct NewSession {
    /// Its id; one is made when absent. An existing one is opened.
    pub id: Option<SessionId>,
    /// How it is to be made.
    pub config: SessionConfig,
}

impl NewSession {
    /// pi in the folder `dir`.
    #[must_use]
    pub fn pi(dir: impl AsRef<Path>) -> Self {
        let cwd = dir.as_ref().to_string_lossy().into_owned();
        Self { id: None, config: SessionConfig { harness: Some("pi".to_owned()), cwd: Some(cwd), ..SessionConfig::default() } }
    }

    /// Under this id.
    #[must_use]
    pub fn id(mut self, id: SessionId) -> Self {
        self.id = Some(id);
        self
    }
}

/// Where a stream of events begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// With the session's first event.
    Start,
    /// With its newest messages, then what follows.
    Messages,
    /// After this place.
    Cursor(Cursor),
}

/// A user, to a program that embeds octo.
#[derive(Clone)]
pub struct EmbeddedUser {
    state: AppState,
    principal: Principal,
}

/// A session, to a program that embeds octo.
#[derive(Clone)]
pub struct Session {
    user: EmbeddedUser,
    id: SessionId,
    opened: SessionOpened,
}

impl Octo {
    /// A user of this instance. The program acts with the rights of that user.
    ///
    /// # Errors
    /// `invalid_request` when `name` is not a user id.
    pub fn user(&self, name: &str) -> Result<EmbeddedUser, ProtocolError> {
        let user_id = UserId::new(name).map_err(|error| ProtocolError::new(ErrorCode::InvalidRequest, error.to_string()))?;
        let principal = Principal {
            username: user_id.to_string(),
            user_id,
            role: Role::User,
            token_id: TokenId("embedded".to_owned()),
            expires_at: SystemTime::now() + LIFETIME,
            epoch: 0,
        };
        Ok(EmbeddedUser { state: self.state().clone(), principal })
    }
}

impl EmbeddedUser {
    /// Opens a session: makes it, or continues the one of that id.
    ///
    /// # Errors
    /// As `session.create`.
    pub async fn open(&self, new: NewSession) -> Result<Session, ProtocolError> {
        let id = match new.id {
            Some(id) => id,
            None => SessionId::new(uuid::Uuid::now_v7().to_string())
                .map_err(|error| ProtocolError::new(ErrorCode::Internal, error.to_string()))?,
        };
        let frame = frame(&id, Command::SessionCreate { config: new.config, cursor: None });
        let data = sessions::open(&self.state, &self.principal, &self.principal.user_id, &frame).await?;
        self.session(id, data)
    }

    /// A session that exists. Starts no agent.
    ///
    /// # Errors
    /// `session_not_found` and the runner's other refusals.
    pub async fn attach(&self, id: SessionId) -> Result<Session, ProtocolError> {
        let data = self.command(&id, Command::SessionAttach { cursor: None }).await?;
        self.session(id, data)
    }

    fn session(&self, id: SessionId, data: Value) -> Result<Session, ProtocolError> {
        let opened = serde_json::from_value(data)
            .map_err(|error| ProtocolError::new(ErrorCode::Internal, format!("the runner's answer cannot be read: {error}")))?;
        Ok(Session { user: self.clone(), id, opened })
    }

    async fn command(&self, session: &SessionId, command: Command) -> Result<Value, ProtocolError> {
        policy::Scope::resolve(&self.principal, session.as_str(), policy::policy(&command).action)?;
        let deadline = policy::policy(&command).patience;
        let mut frame = frame(session, command);
        let owner = &self.principal.user_id;
        sessions::check_agent(&self.state, &self.principal, owner, &frame).await?;
        let mut trace = self.state.telemetry.input(&mut frame, unix_ns(), owner);
        let json = serde_json::to_vec(&frame).map_err(|error| ProtocolError::new(ErrorCode::Internal, error.to_string()))?;
        if let Some(trace) = &mut trace {
            trace.sent();
        }
        let answer = self.state.users.request(&self.principal, owner, RequestBody::Command { json }, deadline).await;
        if let Some(trace) = trace {
            trace.answered(answer.as_ref().err().map(|error| error.code));
        }
        answer
    }
}

impl Session {
    /// Its id.
    #[must_use]
    pub fn id(&self) -> &SessionId {
        &self.id
    }

    /// As it was when it was opened.
    #[must_use]
    pub fn opened(&self) -> &SessionOpened {
        &self.opened
    }

    /// Sends a prompt; returns once it is in the journal.
    ///
    /// # Errors
    /// The runner's refusal.
    pub async fn prompt(&self, message: impl Into<String>) -> Result<(), ProtocolError> {
        let client_id = ClientId::new(uuid::Uuid::now_v7().to_string()).ok();
        self.command(Command::Prompt { message: message.into(), images: None, client_id }).await.map(drop)
    }

    /// Any command; the `data` of its response. `session.create`, `session.attach` and `session.detach` have no effect on streams.
    ///
    /// # Errors
    /// The runner's refusal.
    pub async fn command(&self, command: Command) -> Result<Value, ProtocolError> {
        self.user.command(&self.id, command).await
    }

    /// The session's events: each once, in order; with `replay.start` and `replay.end` around what comes from the journal. Ends with the
    /// session.
    ///
    /// # Errors
    /// When the session cannot be followed now.
    pub async fn events(&self, from: From) -> Result<impl Stream<Item = EventFrame> + Send + use<>, ProtocolError> {
        let cursor = match from {
            From::Start => Some(Cursor { epoch: self.opened.epoch.clone(), seq: 0 }),
            From::Messages => None,
            From::Cursor(cursor) => Some(cursor),
        };
        let user = self.user.state.users.user(&self.user.principal.user_id).await?;
        let feed = user.follow(&self.id).await?;
        let follower = Follower::new(user, self.user.principal.clone(), feed, None, cursor, None);
        let batches = futures_util::stream::unfold(Box::new(follower), |mut follower| async move {
            let frames = follower.next().await;
            (!frames.is_empty()).then_some((frames, follower))
        });
        let events = futures_util::StreamExt::flat_map(batches, |frames| {
            // An event of a newer runner that this build does not know is passed over, as every client does.
            futures_util::stream::iter(frames.into_iter().filter_map(|frame| serde_json::from_slice(&frame.bytes).ok()))
        });
        Ok(Box::pin(events))
    }
}

fn frame(session: &SessionId, command: Command) -> CommandFrame {
    CommandFrame { id: None, session_id: session.to_string(), runner_id: None, traceparent: None, command }
}
