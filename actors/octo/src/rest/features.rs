//! `GET /api/features`: what this server can do, and for whoever is logged in, what a new session can be made of.

use std::time::Duration;

use axum::extract::State;
use axum::{Extension, Json};
use octo_protocol::Model;
use serde::Serialize;

use crate::auth::Principal;
use crate::config::HarnessSettings;
use crate::state::AppState;

/// Patience for what makes the answer richer and is not needed for it.
const PATIENCE: Duration = Duration::from_secs(3);
const MAX_RECENT: usize = 10;

/// What this server can do.
#[derive(Default, Serialize, utoipa::ToSchema)]
pub struct Features {
    mmry_enabled: bool,
    /// `off`, `attach` or `resume`.
    session_auto_attach: String,
    session_auto_attach_scan: bool,
    websocket_events: bool,
    agent_browser_enabled: bool,
    version: &'static str,
    /// Only for whoever is logged in, as all that follows.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_workspace: Option<String>,
    /// Folders of one's sessions, the last used first.
    #[serde(skip_serializing_if = "Option::is_none")]
    recent_folders: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    harnesses: Option<Vec<HarnessInfo>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    providers: Option<Vec<ProviderInfo>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<Object>>)]
    models: Option<Vec<Model>>,
    /// Provider and model of a session that names none.
    #[serde(skip_serializing_if = "Option::is_none")]
    default_model: Option<ModelName>,
    /// Why there are no models, if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    models_error: Option<String>,
}

/// An agent that a new session can have; `GET /api/harnesses` has more of it, and those that are not installed.
#[derive(Serialize, utoipa::ToSchema)]
pub struct HarnessInfo {
    id: String,
    name: String,
    is_default: bool,
    /// The dialect that its provider has to speak; any when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    api: Option<&'static str>,
}

/// The agents that a new session can have.
fn harnesses(settings: &crate::config::Settings) -> Vec<HarnessInfo> {
    let default = settings.sessions.default_harness.as_str();
    // The default one is listed in any case: what is missing of it is said when a session asks for it.
    let offered =
        |harness: &&HarnessSettings| harness.enabled && (harness.name == default || crate::agents::place(settings, harness).is_some());
    let info = |harness: &HarnessSettings| HarnessInfo {
        id: harness.name.clone(),
        name: harness.label.clone(),
        is_default: harness.name == default,
        api: harness.protocol.api(),
    };
    settings.harnesses.iter().filter(offered).map(info).collect()
}

/// Where models come from.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProviderInfo {
    id: String,
    api: String,
    /// Whether sessions can use it.
    usable: bool,
    /// Whether it only demonstrates.
    demo: bool,
    /// The variable that should hold its key.
    #[serde(skip_serializing_if = "Option::is_none")]
    missing_env: Option<String>,
}

/// A model by name.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ModelName {
    provider: String,
    model: String,
}

/// What this server can do.
#[utoipa::path(get, path = "/features", tag = "server", responses((status = 200, body = Features)))]
pub async fn features(State(state): State<AppState>, principal: Option<Extension<Principal>>) -> Json<Features> {
    let settings = &state.settings;
    let mut features = Features {
        session_auto_attach: settings.sessions.auto_attach.clone(),
        session_auto_attach_scan: settings.sessions.auto_attach_scan,
        websocket_events: true,
        version: crate::VERSION,
        ..Features::default()
    };
    if let Some(Extension(principal)) = principal {
        let owner = &principal.user_id;
        let (catalog, sessions) = tokio::join!(
            tokio::time::timeout(PATIENCE, state.eavs.catalog()),
            tokio::time::timeout(PATIENCE, state.users.sessions(&principal, owner))
        );
        features.default_workspace = Some(settings.sessions.default_workspace(owner).display().to_string());
        let mut sessions = sessions.ok().and_then(Result::ok).unwrap_or_default();
        sessions.sort_by_key(|s| std::cmp::Reverse(s.last_activity));
        let mut folders: Vec<String> = Vec::new();
        for session in sessions {
            if folders.len() < MAX_RECENT && !session.cwd.is_empty() && !folders.contains(&session.cwd) {
                folders.push(session.cwd);
            }
        }
        features.recent_folders = Some(folders);
        features.harnesses = Some(harnesses(settings));
        match catalog {
            Ok(Ok(catalog)) => {
                let chosen = catalog.choose(&settings.pi, &crate::eavs::ModelDefaults::default()).ok();
                features.default_model = chosen.map(|(provider, model)| ModelName { provider, model });
                features.models = Some(catalog.models());
                let info = |p: &crate::eavs::EavsProvider| ProviderInfo {
                    id: p.name.clone(),
                    api: p.api.clone(),
                    usable: p.is_usable(),
                    demo: p.demo,
                    missing_env: p.missing_env.clone(),
                };
                features.providers = Some(catalog.0.iter().map(info).collect());
            }
            Ok(Err(error)) => features.models_error = Some(error.to_string()),
            Err(_) => features.models_error = Some("octo-eavs does not answer; see `octo doctor`".to_owned()),
        }
    }
    Json(features)
}
