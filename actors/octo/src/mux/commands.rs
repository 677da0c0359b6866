//! The `agent` channel of one connection: every command is authorized, carried out and answered once.
//!
//! Commands of one session start in the order sent; each runs in a task of its own, so that a slow one delays no other.

use super::follower::Follower;
use super::outbox::{Out, Outbox, text};
use super::policy::{Scope, policy};
use super::pump::Stats;
use crate::auth::{Action, Principal};
use crate::figures::Figures;
use crate::sessions;
use crate::state::AppState;
use crate::telemetry::InputTrace;
use crate::users::{User, depth, now_ms};
use octo_actors::unix_ns;
use octo_protocol::link::RequestBody;
use octo_protocol::metrics::Limit;
use octo_protocol::mux::MAX_FRAME_BYTES;
use octo_protocol::session::{SessionList, SessionOpened};
use octo_protocol::{Command, CommandFrame, Cursor, ErrorCode, ProtocolError, SessionId};
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::Utf8Bytes;

/// Commands of one connection under way; one more is `busy`.
pub const MAX_IN_FLIGHT: usize = 64;
/// Bytes of those commands; more are `busy`. Two of the largest fit.
pub const MAX_IN_FLIGHT_BYTES: usize = 2 * MAX_FRAME_BYTES;
/// Sessions one connection may be attached to.
pub const MAX_ATTACHED: usize = 256;
/// Largest answer of a runner that is passed on.
pub const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// Deepest nesting of an answer.
const MAX_ANSWER_DEPTH: usize = 128;
/// Longest name of a session that is looked at: a user, a slash and an id.
const MAX_NAME_BYTES: usize = 512;
/// Sessions whose order is remembered before those with nothing under way are forgotten.
const LANES: usize = 64;

/// What carrying out a command needs.
pub struct Context {
    pub state: AppState,
    pub principal: Principal,
    pub outbox: Outbox,
    pub stats: Arc<Stats>,
}

/// The commands of one connection.
pub struct Commands {
    context: Arc<Context>,
    room: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    /// Per session, when the newest command has started.
    lanes: HashMap<String, oneshot::Receiver<()>>,
    /// Commands so far.
    taken: u64,
}

/// What a command came to.
enum Done {
    Answer(Vec<u8>),
    Attach(Vec<u8>, String, Box<Follower>),
    Detach(String),
}

/// Where the one response of a command goes.
struct Address {
    session_id: String,
    runner_id: String,
    id: Option<String>,
    cmd: String,
}

#[derive(Serialize)]
struct Response<'a> {
    channel: &'static str,
    session_id: &'a str,
    runner_id: &'a str,
    ts: i64,
    event: &'static str,
    id: &'a str,
    cmd: &'a str,
    success: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<ErrorCode>,
}

impl Address {
    fn response(&self, result: Result<&RawValue, &ProtocolError>) -> Option<Utf8Bytes> {
        text(&Response {
            channel: "agent",
            session_id: &self.session_id,
            runner_id: &self.runner_id,
            ts: now_ms(),
            event: "response",
            id: self.id.as_deref().unwrap_or_default(),
            cmd: &self.cmd,
            success: result.is_ok(),
            data: result.ok(),
            error: result.err().map(|e| e.message.as_str()),
            code: result.err().map(|e| e.code),
        })
    }
}

/// Owes a response. Dropped without one (the task panicked), it still answers.
struct Owed {
    address: Address,
    outbox: Outbox,
    permit: Option<OwnedSemaphorePermit>,
    /// Its place among the commands of the connection.
    order: u64,
    figures: Arc<Figures>,
    /// Nothing was changed by it: when the client has no room for the answer, it may as well ask again.
    repeatable: bool,
}

impl Owed {
    async fn pay(mut self, result: Result<Done, ProtocolError>) {
        let Some(permit) = self.permit.take() else { return };
        let checked = result.and_then(|done| {
            let json = match &done {
                Done::Answer(json) | Done::Attach(json, ..) => json.as_slice(),
                Done::Detach(_) => b"null",
            };
            if json.len() > MAX_ANSWER_BYTES {
                self.figures.limits.hit(Limit::AnswerBytes);
                return Err(ProtocolError::new(ErrorCode::LimitExceeded, "the answer is too large; ask for less at once"));
            }
            if depth(json) > MAX_ANSWER_DEPTH {
                return Err(ProtocolError::new(ErrorCode::Internal, "the runner's answer is nested too deeply"));
            }
            let unreadable = |e| ProtocolError::new(ErrorCode::Internal, format!("the runner's answer cannot be read: {e}"));
            let data: &RawValue = serde_json::from_slice(json).map_err(unreadable)?;
            Ok((self.address.response(Ok(data)), done))
        });
        let out = match checked {
            Ok((Some(response), Done::Answer(json))) => {
                drop(json);
                let answer = Out::Frame(response, Some(permit));
                if !self.repeatable {
                    return self.outbox.put(answer).await;
                }
                match self.outbox.put_or_give_back(answer).await {
                    Err(Out::Frame(_, permit)) => {
                        let unread = "your connection has not read its earlier answers yet; read them and ask again";
                        let Some(response) = self.address.response(Err(&ProtocolError::new(ErrorCode::Busy, unread))) else { return };
                        Out::Frame(response, permit)
                    }
                    _ => return,
                }
            }
            Ok((Some(response), Done::Attach(_, key, follower))) => Out::Attach { response, permit, key, order: self.order, follower },
            Ok((Some(response), Done::Detach(key))) => Out::Detach { response, permit, key, order: self.order },
            Ok((None, _)) => return,
            Err(refused) => match self.address.response(Err(&refused)) {
                Some(response) => Out::Frame(response, Some(permit)),
                None => return,
            },
        };
        self.outbox.put(out).await;
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let error = ProtocolError::new(ErrorCode::Internal, "the command was broken off; look at the session before sending it again");
            if let Some(response) = self.address.response(Err(&error)) {
                self.outbox.offer(Out::Frame(response, Some(permit)));
            }
        }
    }
}

impl Commands {
    pub fn new(context: Arc<Context>) -> Self {
        Self {
            context,
            room: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            bytes: Arc::new(Semaphore::new(MAX_IN_FLIGHT_BYTES)),
            lanes: HashMap::new(),
            taken: 0,
        }
    }

    fn address(&self, frame: &CommandFrame) -> Address {
        Address {
            session_id: frame.session_id.clone(),
            runner_id: self.context.state.settings.runner.runner_id.clone(),
            id: frame.id.clone(),
            cmd: frame.command.name().to_owned(),
        }
    }

    /// Answers a command that could not be read, or not be taken.
    pub async fn refuse(&self, session_id: String, id: Option<String>, cmd: String, error: ProtocolError) {
        let address = Address { session_id, runner_id: self.context.state.settings.runner.runner_id.clone(), id, cmd };
        if let Some(response) = address.response(Err(&error)) {
            self.context.outbox.put(Out::Frame(response, None)).await;
        }
    }

    /// Starts a command of `bytes` bytes in `tasks`. Waits only for room in the outbox.
    pub async fn dispatch(&mut self, frame: CommandFrame, bytes: usize, tasks: &mut JoinSet<()>) {
        let (permit, room) = match self.admit(&frame, bytes) {
            Ok(admitted) => admitted,
            Err(refused) => {
                let Address { session_id, id, cmd, .. } = self.address(&frame);
                return self.refuse(session_id, id, cmd, refused).await;
            }
        };
        self.taken += 1;
        let repeatable = policy(&frame.command).action == Action::Read;
        let owed = Owed {
            address: self.address(&frame),
            outbox: self.context.outbox.clone(),
            permit: Some(permit),
            order: self.taken,
            figures: Arc::clone(&self.context.state.figures),
            repeatable,
        };
        let (started, start) = oneshot::channel();
        let before = self.lanes.insert(frame.session_id.clone(), start);
        if self.lanes.len() > LANES {
            self.lanes.retain(|_, start| matches!(start.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
        }
        let (context, received) = (Arc::clone(&self.context), unix_ns());
        tasks.spawn(async move {
            if let Some(before) = before {
                // Its sender is dropped when it has started.
                let _ = before.await;
            }
            let result = Box::pin(carry_out(&context, frame, received, started)).await;
            drop(room);
            owed.pay(result).await;
        });
    }

    /// Room for a command, or why there is none.
    fn admit(&self, frame: &CommandFrame, bytes: usize) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), ProtocolError> {
        if frame.session_id.len() > MAX_NAME_BYTES {
            return Err(ProtocolError::new(ErrorCode::InvalidRequest, format!("a session_id has at most {MAX_NAME_BYTES} bytes")));
        }
        let Ok(permit) = Arc::clone(&self.room).try_acquire_owned() else {
            self.context.state.figures.limits.hit(Limit::Commands);
            let busy = format!("{MAX_IN_FLIGHT} commands of this connection are under way; wait for one of their responses");
            return Err(ProtocolError::new(ErrorCode::Busy, busy));
        };
        let bytes = u32::try_from(bytes.min(MAX_IN_FLIGHT_BYTES)).unwrap_or(u32::MAX);
        let Ok(room) = Arc::clone(&self.bytes).try_acquire_many_owned(bytes) else {
            self.context.state.figures.limits.hit(Limit::CommandBytes);
            let busy = format!("{MAX_IN_FLIGHT_BYTES} bytes of commands of this connection are under way; wait for one of their responses");
            return Err(ProtocolError::new(ErrorCode::Busy, busy));
        };
        Ok((permit, room))
    }
}

/// Carries out one command that was received at `received`. `started` is dropped as soon as the next one of its session may start.
async fn carry_out(context: &Context, mut frame: CommandFrame, received: u64, started: oneshot::Sender<()>) -> Result<Done, ProtocolError> {
    let Context { state, principal, .. } = context;
    let scope = Scope::resolve(principal, &frame.session_id, policy(&frame.command).action)?;
    let runner = &state.settings.runner.runner_id;
    if let Some(other) = frame.runner_id.take().filter(|id| id != runner) {
        let other: String = other.chars().take(64).collect();
        let text = format!("there is no runner {other:?} for this user; leave runner_id out, or use {runner:?}");
        return Err(ProtocolError::new(ErrorCode::RunnerUnavailable, text));
    }
    let alias = (scope.owner != principal.user_id).then(|| frame.session_id.clone());
    frame.session_id = scope.session.as_ref().map_or_else(String::new, |s| s.as_str().to_owned());
    let trace = state.telemetry.input(&mut frame, received, &scope.owner);
    let named = || {
        let needs = format!("{} needs a session_id", frame.command.name());
        scope.session.clone().ok_or_else(|| ProtocolError::new(ErrorCode::InvalidRequest, needs))
    };
    let deadline = policy(&frame.command).patience;
    match &frame.command {
        Command::ListSessions => {
            drop(started);
            let sessions = state.users.sessions(principal, &scope.owner).await?;
            Ok(Done::Answer(encode(&SessionList { sessions })?))
        }
        Command::SessionDetach => Ok(Done::Detach(key(&scope, &named()?))),
        Command::SessionCreate { cursor, .. } => {
            let (session, cursor) = (named()?, cursor.clone());
            let body = sessions::opening(state, principal, &scope.owner, &frame).await?;
            let user = state.users.user(&scope.owner).await?;
            let answer = user.start(principal, body, deadline).await?;
            drop(started);
            attach(context, user, &scope, session, alias, cursor, answer.answer().await?).await
        }
        Command::SessionAttach { cursor } => {
            let (session, cursor) = (named()?, cursor.clone());
            let user = state.users.user(&scope.owner).await?;
            // Without what is this client's own, so that it can be asked for many at once.
            let command = Command::SessionAttach { cursor: None };
            let question =
                encode(&CommandFrame { id: None, session_id: frame.session_id.clone(), runner_id: None, traceparent: None, command })?;
            let answer = {
                let mut asking = std::pin::pin!(user.attaching(principal, &session, &question, deadline));
                // Under way once it was looked at.
                let early = futures_util::poll!(asking.as_mut());
                drop(started);
                match early {
                    Poll::Ready(answer) => answer?,
                    Poll::Pending => asking.await?,
                }
            };
            attach(context, user, &scope, session, alias, cursor, answer).await
        }
        Command::SessionNew { .. } | Command::SessionSwitch { .. } | Command::Fork { .. } => {
            named()?;
            sessions::check_agent(state, principal, &scope.owner, &frame).await?;
            let (made, body) = sessions::opening_beside(state, principal, &scope.owner, &frame).await?;
            let sent = match state.users.user(&scope.owner).await {
                Ok(user) => user.start(principal, body, deadline).await,
                Err(error) => Err(error),
            };
            drop(started);
            let answer = match sent {
                Ok(sent) => sent.answer().await,
                Err(error) => Err(error),
            };
            sessions::made_beside(state, &scope.owner, &made, &answer).await;
            answer.map(Done::Answer)
        }
        Command::SessionDelete => {
            named()?;
            encode(&sessions::delete(state, principal, &scope.owner, &frame).await?).map(Done::Answer)
        }
        // Before there is a session: what a new one could use.
        Command::GetModels { .. } if scope.session.is_none() => {
            drop(started);
            let catalog = state.eavs.catalog().await.map_err(|e| ProtocolError::new(ErrorCode::NotReady, e.to_string()))?;
            Ok(Done::Answer(encode(&catalog.models())?))
        }
        // Of no session.
        Command::PermissionList | Command::PermissionAdd { .. } | Command::PermissionRemove { .. } => {
            forward(context, &scope, &frame, trace, started).await
        }
        _ => {
            named()?;
            sessions::check_agent(state, principal, &scope.owner, &frame).await?;
            forward(context, &scope, &frame, trace, started).await
        }
    }
}

async fn forward(
    context: &Context,
    scope: &Scope,
    frame: &CommandFrame,
    mut trace: Option<InputTrace>,
    started: oneshot::Sender<()>,
) -> Result<Done, ProtocolError> {
    let ask = async {
        let user = context.state.users.user(&scope.owner).await?;
        let body = RequestBody::Command { json: encode(frame)? };
        let answer = user.start(&context.principal, body, policy(&frame.command).patience).await?;
        drop(started);
        if let Some(trace) = &mut trace {
            trace.sent();
        }
        answer.answer().await
    };
    let result = ask.await;
    if let Some(trace) = trace {
        trace.answered(result.as_ref().err().map(|error| error.code));
    }
    result.map(Done::Answer)
}

/// The session is open: from the response on, its events follow.
async fn attach(
    context: &Context,
    user: User,
    scope: &Scope,
    session: SessionId,
    alias: Option<String>,
    cursor: Option<Cursor>,
    answer: Vec<u8>,
) -> Result<Done, ProtocolError> {
    let key = key(scope, &session);
    let cursors = context.stats.cursors();
    if cursors.len() >= MAX_ATTACHED && !cursors.contains_key(&key) {
        context.state.figures.limits.hit(Limit::Attached);
        let text = format!("this connection is attached to {MAX_ATTACHED} sessions already; detach from some");
        return Err(ProtocolError::new(ErrorCode::LimitExceeded, text));
    }
    let opened: SessionOpened = serde_json::from_slice(&answer)
        .map_err(|e| ProtocolError::new(ErrorCode::Internal, format!("the runner's answer cannot be read: {e}")))?;
    let attached = user.follow(&session).await?;
    let opened = Some((opened.epoch, opened.seq));
    let follower = Follower::new(user, context.principal.clone(), attached, alias, cursor, opened);
    Ok(Done::Attach(answer, key, Box::new(follower)))
}

fn key(scope: &Scope, session: &SessionId) -> String {
    format!("{}/{session}", scope.owner)
}

fn encode(value: &impl Serialize) -> Result<Vec<u8>, ProtocolError> {
    serde_json::to_vec(value).map_err(|e| ProtocolError::new(ErrorCode::Internal, e.to_string()))
}
