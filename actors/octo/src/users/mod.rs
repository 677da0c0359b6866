//! Users as actors: each with the link to its runner and its sessions.

use std::time::Duration;

use octo_protocol::link::RequestBody;
use octo_protocol::{ErrorCode, ProtocolError, SessionSummary};
use serde_json::Value;

use crate::auth::{Principal, UserId};
use crate::launch::Launch;

/// What [`Users`] needs of its instance.
#[derive(Clone)]
pub struct UsersConfig {
    /// Finds and starts runners.
    pub launch: Launch,
    /// The tree to live in.
    pub system: octo_actors::System,
    /// Names this control plane in `Hello`.
    pub instance: String,
    /// Cancelled at the end.
    pub shutdown: tokio_util::sync::CancellationToken,
}

/// All users of the instance. Clones share one state.
#[derive(Clone)]
pub struct Users {
    launch: Launch,
}

impl Users {
    /// Starts the branch `/users` of the tree.
    ///
    /// # Errors
    /// When the branch cannot be started.
    pub async fn start(config: UsersConfig) -> Result<Self, octo_actors::StartError> {
        Ok(Self { launch: config.launch })
    }

    /// Asks the runner of `owner` on behalf of `principal`, which was authorized already.
    ///
    /// # Errors
    /// The runner's refusal, `runner_unavailable` or `timeout`.
    pub async fn request(
        &self,
        principal: &Principal,
        owner: &UserId,
        _body: RequestBody,
        _deadline: Duration,
    ) -> Result<Value, ProtocolError> {
        tracing::debug!(user = %principal.user_id, "no link");
        match self.launch.ensure_runner(owner).await {
            Ok(_) => Err(ProtocolError::new(
                ErrorCode::RunnerUnavailable,
                format!("the runner of {owner} is not connected yet; try again in a moment"),
            )),
            Err(error) => Err(ProtocolError::new(ErrorCode::RunnerUnavailable, error.to_string())),
        }
    }

    /// The sessions of `owner` as its runner lists them, with the subscriber counts of this instance.
    ///
    /// # Errors
    /// `runner_unavailable`.
    pub async fn sessions(&self, principal: &Principal, owner: &UserId) -> Result<Vec<SessionSummary>, ProtocolError> {
        let frame = RequestBody::Command { json: br#"{"cmd":"list_sessions"}"#.to_vec() };
        let data = self.request(principal, owner, frame, Duration::from_secs(10)).await?;
        serde_json::from_value::<octo_protocol::session::SessionList>(data)
            .map(|list| list.sessions)
            .map_err(|e| ProtocolError::new(ErrorCode::Internal, format!("the runner's list of sessions cannot be read: {e}")))
    }
}
