//! Opening and deleting a session, and asking history, the same way from REST and from the mux.

use std::collections::BTreeMap;
use std::time::Duration;

use octo_protocol::history::{HistoryQuery, Removed};
use octo_protocol::link::RequestBody;
use octo_protocol::{Command, CommandFrame, ErrorCode, ProtocolError, SessionId, SessionSummary};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::auth::{Action, Object, Principal, UserId, authorize};
use crate::config::{HarnessSettings, Settings};
use crate::eavs::{EavsError, ModelDefaults};
use crate::launch::HANDSHAKE;
use crate::mux::policy::policy;
use crate::state::AppState;
use crate::store::StoreError;

/// Patience for opening a session: longer than the runner's own patience for the agent's sandbox (30 s) and its handshake, so that what is heard of an agent
/// that hangs is the runner's sentence, and not that nobody answered.
pub const OPEN_DEADLINE: Duration = Duration::from_secs(HANDSHAKE.as_secs() + 40);
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
    let existing = harness_of(state, principal, owner, session.as_str()).await?;
    let harness = match &existing {
        // It has the agent that it was made with, and is told anew how that is started, if it still is.
        Some(name) => {
            config.harness = Some(name.clone());
            settings.harnesses.find(name)
        }
        None => {
            let name = config.harness.as_deref().unwrap_or(&settings.sessions.default_harness);
            let harness = offered(settings, name)?;
            config.harness = Some(harness.name.clone());
            Some(harness)
        }
    };
    let defaults = match existing {
        // What it is asked for now changes nothing of it.
        Some(_) => ModelDefaults::default(),
        None => ModelDefaults { provider: config.provider.clone(), model: config.model.clone() },
    };
    let mut provision = match state.eavs.provision_of(owner, &session, &defaults, harness).await {
        // Whether its agent is offered a model decides whether that can work, and not whether what was said can be read.
        Err(EavsError::Unknown(_)) if existing.is_some() => state.eavs.provision(owner, &session, &defaults, None).await,
        provisioned => provisioned,
    }
    .map_err(unprovisioned)?;
    provision.env.extend(env);
    Ok(RequestBody::Open { json: encode(&frame)?, provision: encode(&provision)? })
}

/// What the runner of `owner` is asked for a `session.new`, `session.switch` or `fork`: a session that it makes gets this id and a key of its own, so that
/// the end of one session's key is no other's. [`made_beside`] follows when there is an answer.
///
/// # Errors
/// [`ProtocolError`].
pub async fn opening_beside(
    state: &AppState,
    principal: &Principal,
    owner: &UserId,
    frame: &CommandFrame,
) -> Result<(SessionId, RequestBody), ProtocolError> {
    let session = session_id(&format!("ses_{}", uuid::Uuid::now_v7().simple()))?;
    let harness = match harness_of(state, principal, owner, &frame.session_id).await? {
        // A new session of an agent that is not offered any more is none.
        Some(name) => Some(offered(&state.settings, &name)?),
        None => None,
    };
    let provision = state.eavs.provision_of(owner, &session, &ModelDefaults::default(), harness).await.map_err(unprovisioned)?;
    let body = RequestBody::OpenBeside { json: encode(frame)?, session: session.clone(), provision: encode(&provision)? };
    Ok((session, body))
}

/// The harness that new sessions get as `name`.
fn offered<'a>(settings: &'a Settings, name: &str) -> Result<&'a HarnessSettings, ProtocolError> {
    let refuse = |message: String| Err(ProtocolError::new(ErrorCode::Unsupported, message));
    match settings.harnesses.find(name) {
        Some(harness) if harness.enabled => Ok(harness),
        Some(harness) => refuse(format!("{0} is switched off on this server ({0}.enabled = false)", harness.name)),
        None => {
            let shown: String = name.chars().take(80).collect();
            refuse(format!("octo does not know the agent {shown:?}; it knows: {}", settings.harnesses.names()))
        }
    }
}

/// The harness of a session that there is; `None` also when its runner is out of reach, which whatever is asked of it next will say.
async fn harness_of(state: &AppState, principal: &Principal, owner: &UserId, session: &str) -> Result<Option<String>, ProtocolError> {
    let of = |listed: &[SessionSummary]| listed.iter().find(|s| s.session_id == session).map(|s| s.harness.clone());
    match state.users.user(owner).await?.listed() {
        Some(listed) => Ok(of(&listed)),
        // octo has just started.
        None => Ok(state.users.sessions(principal, owner).await.ok().and_then(|listed| of(&listed))),
    }
}

/// Refuses what needs the agent of a session whose harness is not in the registry any more.
///
/// # Errors
/// [`ErrorCode::Unsupported`], with a sentence.
pub async fn check_agent(state: &AppState, principal: &Principal, owner: &UserId, frame: &CommandFrame) -> Result<(), ProtocolError> {
    if !policy(&frame.command).needs_agent {
        return Ok(());
    }
    match harness_of(state, principal, owner, &frame.session_id).await? {
        Some(name) if state.settings.harnesses.find(&name).is_none() => Err(ProtocolError::new(
            ErrorCode::Unsupported,
            format!(
                "the agent {name} of this session is not in octo's configuration any more: what was said stays readable; to go on, write [harness.{name}] \
                 again, or begin a new session"
            ),
        )),
        _ => Ok(()),
    }
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
