//! Commands of clients.

use super::accept::Content;
use super::actor::Session;
use super::lifecycle::After;
use super::queue::Edit;
use super::{Answer, SessionMsg, Tick, json, nothing, refuse};
use crate::clock::now_ms;
use crate::journal::Change;
use octo_actors::{Ctx, Failure};
use octo_protocol::event::{Event, InputKind};
use octo_protocol::message::StopReason;
use octo_protocol::metrics::Limit;
use octo_protocol::session::Aborted;
use octo_protocol::{Command, CommandFrame, ErrorCode, ProtocolError};
use serde_json::json as value;
use std::time::Duration;

/// Commands that may wait for an agent's handshake.
const MAX_HELD: usize = 64;
/// How long an agent may take to end its run when it is told to; then it is ended itself, and resumes with the next prompt.
pub(super) const ABORT_PATIENCE: Duration = Duration::from_secs(15);
/// Commands that may wait for an agent's answers.
const MAX_AT_AGENT: usize = 256;

impl Session {
    /// Carries a command out, or says why not. The answer may come later.
    pub async fn command(&mut self, frame: CommandFrame, actor: &str, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let actor = actor.to_owned();
        // One that is none counts as none: what is done does not depend on it.
        let traced = frame.traceparent.as_deref().and_then(|text| text.parse().ok());
        if let Some(error) = self.unwritable(&frame.command).await? {
            refuse(answer, error);
            return Ok(());
        }
        match frame.command {
            Command::Prompt { message, images, client_id } => {
                let content = Content { message, images: images.unwrap_or_default(), client_id, actor, trace: None };
                self.accept(InputKind::Prompt, content, traced, answer).await
            }
            Command::Steer { message, client_id } => {
                let content = Content { message, images: Vec::new(), client_id, actor, trace: None };
                self.accept(InputKind::Steer, content, traced, answer).await
            }
            Command::FollowUp { message, client_id } => {
                let content = Content { message, images: Vec::new(), client_id, actor, trace: None };
                self.accept(InputKind::FollowUp, content, traced, answer).await
            }
            Command::Abort => self.abort(answer, ctx).await,
            Command::SessionAttach { .. } => {
                if self.agent.is_starting() {
                    self.opening.push((answer, true));
                } else {
                    let _ = answer.send(self.opened(true).and_then(|opened| json(&opened)));
                }
                Ok(())
            }
            Command::SessionDetach => {
                let _ = answer.send(nothing());
                Ok(())
            }
            Command::SessionClose => {
                // An input that comes before the agent is gone opens it again.
                self.closed = true;
                self.stop_agent(After::Close(answer), ctx).await
            }
            Command::SessionRestart => self.stop_agent(After::Restart(answer), ctx).await,
            Command::SessionDelete => {
                // What waits starts no agent any more, and is still there when the journal does not delete.
                self.closed = true;
                self.stop_agent(After::Delete(answer), ctx).await
            }
            Command::SetSessionName { name } => {
                if name.trim().is_empty() {
                    refuse(answer, ProtocolError::new(ErrorCode::InvalidRequest, "a session's name cannot be empty"));
                    return Ok(());
                }
                if let Err(error) = self.rename(&name).await? {
                    refuse(answer, error);
                    return Ok(());
                }
                if self.agent.is_ready() {
                    // The agent may keep a name of its own; whether it can does not matter to whoever names the session.
                    let token = self.token();
                    self.harness.command(token, &Command::SetSessionName { name }, now_ms(), &mut self.outbox);
                }
                let _ = answer.send(nothing());
                self.outputs(ctx).await
            }
            Command::InputResponse { request_id, answer: given } => {
                match self.permission_answered(&request_id, &given, &actor, answer, ctx).await? {
                    Some(answer) => self.of_agent(Command::InputResponse { request_id, answer: given }, answer, ctx).await,
                    None => Ok(()),
                }
            }
            Command::QueueDrop { client_id } => self.edit_queue(client_id, Edit::Drop, answer, ctx).await,
            Command::QueueReplace { client_id, message, new_client_id } => {
                let edit = Edit::Replace { message, client_id: new_client_id, actor };
                self.edit_queue(client_id, edit, answer, ctx).await
            }
            Command::SetPermissions { mode } => {
                if !self.harness.capabilities().iter().any(|c| c == "permissions") {
                    refuse(answer, ProtocolError::unsupported("set_permissions", &self.row.harness));
                    return Ok(());
                }
                self.set_permissions(mode, answer, ctx).await
            }
            command @ (Command::PermissionList | Command::PermissionAdd { .. } | Command::PermissionRemove { .. }) => {
                let message = format!("{} is about all sessions; send it without a session_id", command.name());
                refuse(answer, ProtocolError::new(ErrorCode::InvalidRequest, message));
                Ok(())
            }
            command @ (Command::GetState | Command::GetMessages { .. } | Command::GetStats | Command::GetModels { .. }) => {
                self.query(&command, answer, ctx)
            }
            command @ (Command::SessionCreate { .. }
            | Command::SessionNew { .. }
            | Command::SessionSwitch { .. }
            | Command::Fork { .. }) => {
                let message = format!("{} needs what the server provisions", command.name());
                refuse(answer, ProtocolError::new(ErrorCode::InvalidRequest, message));
                Ok(())
            }
            command @ (Command::Delegate { .. } | Command::DelegateCancel { .. }) => {
                refuse(answer, ProtocolError::unsupported(command.name(), &self.row.harness));
                Ok(())
            }
            Command::GetForkPoints => match self.fork_points(answer, ctx)? {
                Some(answer) => self.of_agent(Command::GetForkPoints, answer, ctx).await,
                None => Ok(()),
            },
            Command::ListSessions => {
                let _ = answer.send(json(&self.registry.list()));
                Ok(())
            }
            command => self.of_agent(command, answer, ctx).await,
        }
    }

    /// What only the agent can do. While it starts the command waits; while there is none, what can be kept for the next start is kept.
    pub async fn of_agent(&mut self, command: Command, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        if !self.harness.capabilities().iter().any(|c| c == command.name()) {
            refuse(answer, ProtocolError::unsupported(command.name(), &self.row.harness));
            return Ok(());
        }
        if let Command::SetModel { provider, model_id } = &command
            && let Some(error) = self.no_such_model(provider, model_id)
        {
            refuse(answer, error);
            return Ok(());
        }
        if self.agent.is_ready() {
            self.ask_agent(&command, answer);
            return self.outputs(ctx).await;
        }
        if self.agent.is_starting() {
            self.hold(command, answer);
            return Ok(());
        }
        if self.wakes(&command) {
            return self.wake_for(command, answer, ctx);
        }
        match command {
            Command::SetModel { provider, model_id } => self.set_model_asleep(provider, model_id, answer).await,
            Command::SetThinkingLevel { level } => {
                let (event, change) = (Event::ThinkingLevelChanged { level }, Change::Thinking(level.as_str().to_owned()));
                if let Err(error) = self.ledger.write_now(vec![event], vec![change]).await? {
                    refuse(answer, error);
                    return Ok(());
                }
                self.agent.plan().thinking = Some(level);
                self.row.thinking = Some(level.as_str().to_owned());
                let _ = answer.send(json(&value!({ "level": level })));
                Ok(())
            }
            // There is no retry without an agent.
            Command::AbortRetry => {
                let _ = answer.send(nothing());
                Ok(())
            }
            Command::GetCommands => {
                let _ = answer.send(Ok(b"[]".to_vec()));
                Ok(())
            }
            Command::InputResponse { request_id, .. } => {
                let message = format!("there is no open question {request_id}; it was answered, or its agent ended");
                refuse(answer, ProtocolError::new(ErrorCode::InvalidState, message));
                Ok(())
            }
            other => {
                let message = format!("{} needs a running agent; send a prompt to start it", other.name());
                refuse(answer, ProtocolError::new(ErrorCode::NotReady, message));
                Ok(())
            }
        }
    }

    /// Keeps a command until the agent is ready.
    pub fn hold(&mut self, command: Command, answer: Answer) {
        if self.held.len() >= MAX_HELD {
            self.shared.figures.limits.hit(Limit::AgentCommands);
            refuse(answer, ProtocolError::new(ErrorCode::Busy, "the agent is starting and many commands wait for it; try again"));
        } else {
            self.held.push_back((command, answer));
        }
    }

    /// Gives the agent a command; what it writes is in the outbox then.
    pub fn ask_agent(&mut self, command: &Command, answer: Answer) {
        if self.replies.len() >= MAX_AT_AGENT {
            self.shared.figures.limits.hit(Limit::AgentCommands);
            return refuse(answer, ProtocolError::new(ErrorCode::Busy, "the agent has many commands to answer; try again"));
        }
        let token = self.token();
        self.replies.insert(token, answer);
        self.harness.command(token, command, now_ms(), &mut self.outbox);
    }

    /// An agent may take any name for that of a model, and fail with it at the next prompt.
    fn no_such_model(&self, provider: &str, model: &str) -> Option<ProtocolError> {
        let known = self.known_models().iter().any(|m| m.provider == provider && m.id == model);
        let message = || format!("there is no model {provider}/{model}; get_models lists those that are configured");
        (!known).then(|| ProtocolError::new(ErrorCode::InvalidRequest, message()))
    }

    async fn set_model_asleep(&mut self, provider: String, model: String, answer: Answer) -> Result<(), Failure> {
        let event = Event::ModelChanged { provider: provider.clone(), model_id: model.clone() };
        let change = Change::Model { provider: provider.clone(), model: model.clone() };
        if let Err(error) = self.ledger.write_now(vec![event], vec![change]).await? {
            refuse(answer, error);
            return Ok(());
        }
        {
            let mut plan = self.agent.plan();
            (plan.provider, plan.model) = (provider.clone(), model.clone());
        }
        (self.row.provider, self.row.model) = (provider.clone(), model.clone());
        let _ = answer.send(json(&value!({ "provider": provider, "model_id": model })));
        Ok(())
    }

    async fn abort(&mut self, answer: Answer, ctx: &Ctx<SessionMsg>) -> Result<(), Failure> {
        let status = self.status;
        if let Err(error) = self.ledger.write_now(Vec::new(), vec![Change::Status(status)]).await? {
            return self.abort_unwritten(&error.into(), answer, ctx).await;
        }
        let parked = self.park_queue();
        if self.agent.is_ready() && (self.harness.is_working() || !self.handed.is_empty()) {
            let token = self.token();
            self.aborts.insert(token, (answer, parked));
            ctx.tell_after(ABORT_PATIENCE, SessionMsg::Tick(Tick::AbortDue { token }))?;
            self.harness.command(token, &Command::Abort, now_ms(), &mut self.outbox);
            return self.outputs(ctx).await;
        }
        if self.agent.is_stopping() && !self.agent.is_falling_asleep() {
            // It has been told already, and still says what it said before that. The turn ends with it, and so is this answered.
            let token = self.token();
            self.aborts.insert(token, (answer, parked));
            return Ok(());
        }
        // The turn waits for its agent, or there is none.
        self.end_turn(StopReason::Aborted, None)?;
        self.ledger.flush().await?;
        let _ = answer.send(json(&Aborted { parked }));
        Ok(())
    }
}
