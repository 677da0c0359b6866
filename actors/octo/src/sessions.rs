//! Opening and deleting a session, the same way from REST and from the mux: with its key at octo-eavs.

use std::time::Duration;

use octo_protocol::link::RequestBody;
use octo_protocol::{Command, CommandFrame, ErrorCode, ProtocolError, SessionId};
use serde_json::Value;

use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::eavs::{EavsError, ModelDefaults};
use crate::state::AppState;

/// Patience for opening a session: an agent may take its time to start.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// Patience for deleting one.
pub const DELETE_DEADLINE: Duration = Duration::from_secs(30);

/// Opens (creates, or attaches to) the session of a `session.create` frame for `owner` and returns the response's data
/// ([`octo_protocol::session::SessionOpened`]).
///
/// # Errors
/// [`ProtocolError`], with the runner's own refusals as they are.
pub async fn open(state: &AppState, principal: &Principal, owner: &UserId, frame: &CommandFrame) -> Result<Value, ProtocolError> {
    let body = opening(state, principal, owner, frame).await?;
    state.users.request(principal, owner, body, OPEN_DEADLINE).await
}

/// What the runner of `owner` is asked for a `session.create` frame: the command, and what its agent needs to reach its models.
///
/// # Errors
/// [`ProtocolError`].
pub async fn opening(state: &AppState, principal: &Principal, owner: &UserId, frame: &CommandFrame) -> Result<RequestBody, ProtocolError> {
    let session = session_id(&frame.session_id)?;
    let Command::SessionCreate { config, .. } = &frame.command else {
        return Err(ProtocolError::new(ErrorCode::Internal, "only session.create opens a session"));
    };
    authorize(principal, Action::Create, &Object::Session(owner, session.as_str()))
        .map_err(|_| ProtocolError::session_not_found(&session))?;
    let defaults = ModelDefaults { provider: config.provider.clone(), model: config.model.clone() };
    let provision = state.eavs.provision(owner, &session, &defaults).await.map_err(unprovisioned)?;
    Ok(RequestBody::Open { json: encode(frame)?, provision: encode(&provision)? })
}

/// Deletes a session, its history and its key.
///
/// # Errors
/// [`ProtocolError`].
pub async fn delete(state: &AppState, principal: &Principal, owner: &UserId, frame: &CommandFrame) -> Result<Value, ProtocolError> {
    let session = session_id(&frame.session_id)?;
    authorize(principal, Action::Delete, &Object::Session(owner, session.as_str()))
        .map_err(|_| ProtocolError::session_not_found(&session))?;
    let done = state.users.request(principal, owner, RequestBody::Command { json: encode(frame)? }, DELETE_DEADLINE).await?;
    if let Err(error) = state.eavs.revoke(owner, &session).await {
        tracing::warn!(%owner, %session, %error, "the session is deleted, its key could not be revoked yet");
    }
    Ok(done)
}

fn session_id(text: &str) -> Result<SessionId, ProtocolError> {
    SessionId::new(text).map_err(|e| ProtocolError::new(ErrorCode::InvalidRequest, e.to_string()))
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, ProtocolError> {
    serde_json::to_vec(value).map_err(|e| ProtocolError::new(ErrorCode::Internal, e.to_string()))
}

fn unprovisioned(error: EavsError) -> ProtocolError {
    ProtocolError::new(ErrorCode::NotReady, format!("the session has no way to its models: {error}"))
}
