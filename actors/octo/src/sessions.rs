//! Opening and deleting a session, and asking history, the same way from REST and from the mux.

use std::collections::BTreeMap;
use std::time::Duration;

use octo_protocol::history::{HistoryQuery, Removed};
use octo_protocol::link::RequestBody;
use octo_protocol::{Command, CommandFrame, ErrorCode, ProtocolError, SessionId};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::eavs::{EavsError, ModelDefaults};
use crate::state::AppState;
use crate::store::StoreError;

/// Patience for opening a session: an agent may take its time to start.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(60);
/// Patience for deleting one.
pub const DELETE_DEADLINE: Duration = Duration::from_secs(30);
/// Patience for a query over history.
pub const HISTORY_DEADLINE: Duration = Duration::from_secs(20);

/// Opens (creates, or attaches to) the session of a `session.create` frame for `owner` and returns the response's data
/// ([`octo_protocol::session::SessionOpened`]).
///
/// # Errors
/// [`ProtocolError`], with the runner's own refusals as they are.
pub async fn open(state: &AppState, principal: &Principal, owner: &UserId, frame: &CommandFrame) -> Result<Value, ProtocolError> {
    open_with(state, principal, owner, frame, BTreeMap::new()).await
}

/// As [`open`], with further environment for the agent.
///
/// # Errors
/// As [`open`].
pub async fn open_with(
    state: &AppState,
    principal: &Principal,
    owner: &UserId,
    frame: &CommandFrame,
    env: BTreeMap<String, String>,
) -> Result<Value, ProtocolError> {
    let body = opening_with(state, principal, owner, frame, env).await?;
    state.users.request(principal, owner, body, OPEN_DEADLINE).await
}

/// What the runner of `owner` is asked for a `session.create` frame: the command with its defaults filled in, and what its agent needs
/// to reach its models.
///
/// # Errors
/// [`ProtocolError`].
pub async fn opening(state: &AppState, principal: &Principal, owner: &UserId, frame: &CommandFrame) -> Result<RequestBody, ProtocolError> {
    opening_with(state, principal, owner, frame, BTreeMap::new()).await
}

async fn opening_with(
    state: &AppState,
    principal: &Principal,
    owner: &UserId,
    frame: &CommandFrame,
    env: BTreeMap<String, String>,
) -> Result<RequestBody, ProtocolError> {
    let session = session_id(&frame.session_id)?;
    let mut frame = frame.clone();
    let Command::SessionCreate { config, .. } = &mut frame.command else {
        return Err(ProtocolError::new(ErrorCode::Internal, "only session.create opens a session"));
    };
    authorize(principal, Action::Create, &Object::Session(owner, session.as_str()))
        .map_err(|_| ProtocolError::session_not_found(&session))?;
    let settings = &state.settings;
    config.cwd = Some(match config.cwd.take().filter(|cwd| !cwd.is_empty()) {
        None => settings.sessions.default_workspace(owner).display().to_string(),
        Some(cwd) => absolute(&cwd, settings.home())?,
    });
    let harness = config.harness.get_or_insert_with(|| settings.sessions.default_harness.clone());
    if harness == "claude-code" {
        // As its package is called.
        "claude".clone_into(harness);
    }
    let switched_off = match harness.as_str() {
        "pi" => !settings.pi.enabled,
        "claude" => !settings.claude.enabled,
        _ => false,
    };
    if switched_off {
        let message = format!("{harness} is switched off on this server ({harness}.enabled = false)");
        return Err(ProtocolError::new(ErrorCode::Unsupported, message));
    }
    let defaults = ModelDefaults { provider: config.provider.clone(), model: config.model.clone() };
    let mut provision = state.eavs.provision(owner, &session, &defaults).await.map_err(unprovisioned)?;
    provision.env.extend(env);
    Ok(RequestBody::Open { json: encode(&frame)?, provision: encode(&provision)? })
}

/// What the runner of `owner` is asked for a `session.new`, `session.switch` or `fork`: a session that it makes gets this id and a key of its own, so that
/// the end of one session's key is no other's. [`made_beside`] follows when there is an answer.
///
/// # Errors
/// [`ProtocolError`].
pub async fn opening_beside(state: &AppState, owner: &UserId, frame: &CommandFrame) -> Result<(SessionId, RequestBody), ProtocolError> {
    let session = session_id(&format!("ses_{}", uuid::Uuid::now_v7().simple()))?;
    let provision = state.eavs.provision(owner, &session, &ModelDefaults { provider: None, model: None }).await.map_err(unprovisioned)?;
    let body = RequestBody::OpenBeside { json: encode(frame)?, session: session.clone(), provision: encode(&provision)? };
    Ok((session, body))
}

/// Takes the key of `session` back when the answer says that there is no such session.
pub async fn made_beside(state: &AppState, owner: &UserId, session: &SessionId, answer: &Result<Vec<u8>, ProtocolError>) {
    #[derive(serde::Deserialize)]
    struct Made {
        /// Absent where a fork was cancelled.
        session_id: Option<String>,
    }
    let needless = match answer {
        Ok(json) => serde_json::from_slice::<Made>(json).is_ok_and(|made| made.session_id.as_deref() != Some(session.as_str())),
        // Whether it was made is not known then.
        Err(error) => !matches!(error.code, ErrorCode::Timeout | ErrorCode::RunnerUnavailable | ErrorCode::Internal),
    };
    if needless && let Err(error) = state.eavs.revoke(owner, session).await {
        tracing::warn!(user = %owner, %session, %error, "a key that no session needs is revoked as soon as octo-eavs answers");
    }
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
        tracing::warn!(user = %owner, %session, %error, "the session is deleted; its key is revoked as soon as octo-eavs answers");
    }
    Ok(done)
}

/// Asks the history of `owner`. The caller has authorized it.
///
/// # Errors
/// [`ProtocolError`].
pub async fn history<T: DeserializeOwned>(
    state: &AppState,
    principal: &Principal,
    owner: &UserId,
    query: &HistoryQuery,
) -> Result<T, ProtocolError> {
    let body = RequestBody::History { json: encode(query)? };
    let data = state.users.request(principal, owner, body, HISTORY_DEADLINE).await?;
    serde_json::from_value(data).map_err(|e| ProtocolError::new(ErrorCode::Internal, format!("the runner's answer cannot be read: {e}")))
}

/// What the history of `owner` does not hold any more, of all conversations together. Nothing is known of it on a runner from before there were limits.
///
/// # Errors
/// [`ProtocolError`].
pub async fn removed(state: &AppState, principal: &Principal, owner: &UserId) -> Result<Option<Removed>, ProtocolError> {
    match history(state, principal, owner, &HistoryQuery::Removed { session_id: None }).await {
        Err(refused) if refused.code == ErrorCode::InvalidRequest => Ok(None),
        answer => answer,
    }
}

fn session_id(text: &str) -> Result<SessionId, ProtocolError> {
    SessionId::new(text).map_err(|e| ProtocolError::new(ErrorCode::InvalidRequest, e.to_string()))
}

/// Whether the folder is there is the runner's to say: it has the user's identity.
fn absolute(cwd: &str, home: Option<&std::path::Path>) -> Result<String, ProtocolError> {
    let expanded = match (cwd.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest).display().to_string(),
        (None, Some(home)) if cwd == "~" => home.display().to_string(),
        _ => cwd.to_owned(),
    };
    if expanded.starts_with('/') && !expanded.contains('\0') {
        Ok(expanded)
    } else {
        Err(ProtocolError::new(ErrorCode::InvalidRequest, "the folder of a session is an absolute path, or one from ~/ on"))
    }
}

fn encode(value: &impl serde::Serialize) -> Result<Vec<u8>, ProtocolError> {
    serde_json::to_vec(value).map_err(|e| ProtocolError::new(ErrorCode::Internal, e.to_string()))
}

fn unprovisioned(error: EavsError) -> ProtocolError {
    match error {
        EavsError::Unknown(sentence) => ProtocolError::new(ErrorCode::InvalidRequest, sentence),
        error @ EavsError::Store(StoreError::Full(_)) => ProtocolError::new(ErrorCode::LimitExceeded, error.to_string()),
        error => ProtocolError::new(ErrorCode::NotReady, format!("the session has no way to its models: {error}")),
    }
}
