//! Requests: each is given to whom it concerns in the order it came, and answered when the answer is there.

use super::admin::{Admin, row};
use super::{MAX_REQUESTS, Serving};
use crate::history::HistoryMsg;
use crate::permissions::{about_rules, is_about_rules};
use crate::session::{Answer, Answered, Entry, NewBeside, SessionMsg, json};
use octo_actors::SendError;
use octo_protocol::link::{Frame, Request, RequestBody, Response, ResponseBody};
use octo_protocol::metrics::Limit;
use octo_protocol::mux::system::ActorRow;
use octo_protocol::provision::Provision;
use octo_protocol::session::SessionList;
use octo_protocol::{Command, CommandFrame, ErrorCode, ProtocolError, SessionId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

/// The shortest patience that is granted.
const MIN_PATIENCE: Duration = Duration::from_millis(10);

/// The requests of one connection.
pub(super) struct Requests {
    router: Router,
    out: mpsc::Sender<Frame>,
    free: Arc<Semaphore>,
}

/// Gives what is asked to whom it concerns.
pub(super) struct Router {
    serving: Serving,
    admin: Admin,
}

impl Requests {
    pub fn new(serving: Serving, out: mpsc::Sender<Frame>) -> Self {
        Self { router: Router::new(serving), out, free: Arc::new(Semaphore::new(MAX_REQUESTS)) }
    }

    /// Hands a request over before the next one is looked at; its answer is waited for elsewhere.
    pub async fn take(&self, request: Request, tasks: &mut JoinSet<()>) {
        let Ok(permit) = Arc::clone(&self.free).try_acquire_owned() else {
            self.router.serving.registry.shared().figures.limits.hit(Limit::LinkRequests);
            let busy =
                ProtocolError::new(ErrorCode::Busy, format!("{MAX_REQUESTS} requests are in flight on this link already; try again"));
            // Waits for the writer, which waits for nobody here: every request has its answer.
            let _ = self.out.send(response(request.id, Err(busy))).await;
            return;
        };
        let patience = Duration::from_millis(u64::from(request.deadline_ms)).max(MIN_PATIENCE);
        let answered = self.router.ask(request.body, &request.principal.actor).await;
        let (out, id) = (self.out.clone(), request.id);
        tasks.spawn(async move {
            let _ = out.send(response(id, patiently(patience, answered).await)).await;
            drop(permit);
        });
    }
}

/// The answer, or what is said in its place when there is none within `patience`.
pub(super) async fn patiently(patience: Duration, answered: oneshot::Receiver<Answered>) -> Answered {
    match tokio::time::timeout(patience, answered).await {
        Ok(Ok(result)) => result,
        Ok(Err(_)) => {
            let message = "the session's actor ended before it answered; look at the session and try again";
            Err(ProtocolError::new(ErrorCode::Internal, message))
        }
        Err(_) => {
            let message = format!("there was no answer within {} ms; whether it happened is not known", patience.as_millis());
            Err(ProtocolError::new(ErrorCode::Timeout, message))
        }
    }
}

impl Router {
    pub fn new(serving: Serving) -> Self {
        let admin = Admin::new(serving.directory.clone(), serving.registry.clone());
        Self { serving, admin }
    }

    /// Hands over what is asked; the answer comes when it is there.
    pub async fn ask(&self, body: RequestBody, actor: &str) -> oneshot::Receiver<Answered> {
        let (answer, answered) = oneshot::channel();
        if let Err((answer, error)) = self.route(body, actor, answer).await {
            let _ = answer.send(Err(error));
        }
        answered
    }

    async fn route(&self, body: RequestBody, actor: &str, answer: Answer) -> Result<(), (Answer, ProtocolError)> {
        let actor = actor.to_owned();
        match body {
            RequestBody::Command { json: text } => {
                let frame = match parse_frame(&text) {
                    Ok(frame) => frame,
                    Err(error) => return Err((answer, error)),
                };
                if matches!(frame.command, Command::ListSessions) {
                    let _ = answer.send(json(&SessionList { sessions: self.serving.registry.list() }));
                    return Ok(());
                }
                if is_about_rules(&frame.command) {
                    let registry = self.serving.registry.clone();
                    tokio::spawn(async move { drop(answer.send(about_rules(&registry, frame.command, &actor).await)) });
                    return Ok(());
                }
                let session = frame.session_id.clone();
                self.tell(&session, answer, |answer| SessionMsg::Command { frame: Box::new(frame), actor, answer }).await
            }
            RequestBody::Open { json: text, provision } => {
                let opening = parse_frame(&text).and_then(|frame| {
                    let provision = parse_provision(&provision)?;
                    let id = SessionId::new(frame.session_id.clone())
                        .map_err(|e| ProtocolError::new(ErrorCode::InvalidRequest, e.to_string()))?;
                    Ok((frame, provision, id))
                });
                let (frame, provision, id) = match opening {
                    Ok(opening) => opening,
                    Err(error) => return Err((answer, error)),
                };
                let address = match self.serving.registry.actor_or_new(&id).await {
                    Ok(address) => address,
                    Err(error) => return Err((answer, error)),
                };
                let message = SessionMsg::Open { frame: Box::new(frame), provision: Box::new(provision), origin: None, answer };
                // A message that is not delivered takes its answer with it: whoever waits hears that.
                let _ = address.tell(message);
                Ok(())
            }
            RequestBody::OpenBeside { json: text, session: id, provision } => {
                let (frame, provision) = match parse_frame(&text).and_then(|frame| Ok((frame, parse_provision(&provision)?))) {
                    Ok(parsed) => parsed,
                    Err(error) => return Err((answer, error)),
                };
                let session = frame.session_id.clone();
                let new = Box::new(NewBeside { id, provision });
                self.tell(&session, answer, |answer| SessionMsg::Beside { command: Box::new(frame.command), new, answer }).await
            }
            RequestBody::Snapshot { session } => self.tell(session.as_str(), answer, |answer| SessionMsg::Snapshot { answer }).await,
            RequestBody::History { json } => {
                let _ = self.serving.history.tell(HistoryMsg::Query { json, answer });
                Ok(())
            }
            RequestBody::Actors => {
                let _ = answer.send(self.actors());
                Ok(())
            }
            RequestBody::Admin { json } => {
                self.admin.take(&json, actor, answer);
                Ok(())
            }
        }
    }

    async fn tell(&self, session: &str, answer: Answer, message: impl FnOnce(Answer) -> SessionMsg) -> Result<(), (Answer, ProtocolError)> {
        let address = match self.serving.registry.actor(session).await {
            Ok(address) => address,
            Err(error) => return Err((answer, error)),
        };
        let (registry, asked) = (self.serving.registry.clone(), self.serving.registry.get(session));
        let id = session.to_owned();
        // The answer goes with the message; what is not delivered is answered through a second channel.
        let (inner, result) = oneshot::channel();
        match address.tell(message(inner)) {
            Ok(()) => {
                tokio::spawn(async move {
                    match result.await {
                        Ok(result) => drop(answer.send(result)),
                        // It was deleted in between, and perhaps made anew.
                        Err(_) if !is_same(registry.get(&id).as_ref(), asked.as_ref()) => {
                            let _ = answer.send(Err(ProtocolError::session_not_found(&id)));
                        }
                        Err(_) => {}
                    }
                });
                Ok(())
            }
            Err(SendError::Busy { .. }) => {
                Err((answer, ProtocolError::new(ErrorCode::Busy, format!("session {session} has much to do already; try again"))))
            }
            Err(SendError::Gone { .. }) => {
                Err((answer, ProtocolError::new(ErrorCode::NotReady, format!("session {session} is being restarted; try again"))))
            }
        }
    }

    fn actors(&self) -> Answered {
        let rows: Vec<ActorRow> = self.serving.directory.list().into_iter().map(row).collect();
        json(&rows)
    }
}

fn is_same(now: Option<&Arc<Entry>>, before: Option<&Arc<Entry>>) -> bool {
    now.zip(before).is_some_and(|(now, before)| Arc::ptr_eq(now, before))
}

fn parse_frame(text: &[u8]) -> Result<CommandFrame, ProtocolError> {
    serde_json::from_slice(text).map_err(|e| ProtocolError::new(ErrorCode::InvalidRequest, format!("the command cannot be read: {e}")))
}

fn parse_provision(text: &[u8]) -> Result<Provision, ProtocolError> {
    serde_json::from_slice(text).map_err(|e| ProtocolError::new(ErrorCode::InvalidRequest, format!("the provision cannot be read: {e}")))
}

fn response(id: u64, result: Answered) -> Frame {
    let body = match result {
        Ok(json) => ResponseBody::Ok { json },
        Err(error) => ResponseBody::Err { code: error.code, message: error.message },
    };
    Frame::Response(Response { id, body })
}
