//! `GET /api/harnesses`: the agents that there are, those that are not installed with the sentence how to get them.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use octo_protocol::Model;
use serde::Serialize;

use super::error::ApiError;
use crate::agents::{self, Known};
use crate::auth::{Action, Object, Principal, authorize};
use crate::eavs::Catalog;
use crate::state::AppState;

/// Patience for octo-eavs, without which the list has no models.
const PATIENCE: Duration = Duration::from_secs(3);

/// An agent of the registry.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HarnessEntry {
    /// What a session names in `config.harness`.
    name: String,
    /// As people read it.
    label: String,
    /// `pi-rpc` or `claude-stream-json`.
    protocol: &'static str,
    /// That of sessions that name none.
    is_default: bool,
    /// Whether a new session can have it.
    installed: bool,
    /// How to get it, when it is not installed: a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    how_to_get: Option<String>,
    /// Of the program that is installed, where its package says.
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// The version that octo installs and is tested with.
    #[serde(skip_serializing_if = "Option::is_none")]
    tested_version: Option<String>,
    /// The dialect that its provider has to speak; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'static str>,
    /// The models that a session of it can have. Absent when octo-eavs does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    models: Option<Vec<Model>>,
}

impl HarnessEntry {
    fn of(agent: Known, default: &str, catalog: Option<&Catalog>) -> Self {
        let harness = &agent.harness;
        let api = harness.protocol.api();
        // An agent behind a bridge has its own, and says so when it runs.
        let models = catalog.filter(|_| !harness.is_bridged()).map(|catalog| {
            let mut models = catalog.offered(harness).models();
            models.retain(|model| api.is_none_or(|api| model.api == api));
            models
        });
        Self {
            name: harness.name.clone(),
            label: harness.label.clone(),
            protocol: harness.protocol.as_str(),
            is_default: harness.name == default,
            installed: agent.program.is_some(),
            how_to_get: agent.program.is_none().then(|| agent.how_to_get()),
            version: agent.version.clone(),
            tested_version: agent.pinned.clone(),
            api,
            models,
        }
    }
}

/// The agents that there are. Those that are switched off are not among them.
#[utoipa::path(get, path = "/harnesses", tag = "sessions",
    responses((status = 200, body = Vec<HarnessEntry>), (status = 401, body = ApiError)))]
pub async fn list(State(state): State<AppState>, Extension(principal): Extension<Principal>) -> Result<Json<Vec<HarnessEntry>>, ApiError> {
    authorize(&principal, Action::Read, &Object::Sessions(&principal.user_id))?;
    let settings = state.settings.clone();
    let looking = tokio::task::spawn_blocking(move || agents::known(&settings));
    let (known, catalog) = tokio::join!(looking, tokio::time::timeout(PATIENCE, state.eavs.catalog()));
    let known = known.map_err(|error| ApiError::internal(&error))?;
    let catalog = catalog.ok().and_then(Result::ok);
    let default = state.settings.sessions.default_harness.as_str();
    let offered = known.into_iter().filter(|agent| agent.harness.enabled);
    Ok(Json(offered.map(|agent| HarnessEntry::of(agent, default, catalog.as_ref())).collect()))
}
