//! Asking an agent whether it starts: octo-runner starts it, in its sandbox as for a session, waits for its handshake and ends it.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use octo_protocol::admin::{AgentAnswer, AgentQuestion};
use octo_protocol::provision::{Provision, ProvisionedModel, ProvisionedProvider};

use crate::auth::UserId;
use crate::config::HarnessSettings;
use crate::eavs::Catalog;
use crate::launch::{HANDSHAKE, Launch, Once, RUNNER};

/// What octo-runner may take beside that: a sandbox before, the end of the agent after.
const AROUND: Duration = Duration::from_secs(60);

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// It answered its handshake, after so many milliseconds.
    Answered(u64),
    /// Why not, with the last that it said.
    Failed(String),
}

/// Has octo-runner ask `harness` in the folder `cwd`. It gets no key: nothing is asked of a model.
pub async fn ask(launch: &Launch, user: &UserId, harness: &HarnessSettings, catalog: Option<&Catalog>, cwd: &Path) -> Asked {
    let question = AgentQuestion {
        harness: harness.name.clone(),
        cwd: cwd.display().to_string(),
        handshake_ms: u64::try_from(HANDSHAKE.as_millis()).unwrap_or(u64::MAX),
        provision: provision(harness, catalog),
    };
    let Ok(input) = serde_json::to_vec(&question) else { return Asked::Failed("the question cannot be written".to_owned()) };
    let binary = launch.binary(RUNNER);
    if !binary.is_file() {
        return Asked::Failed(format!("{RUNNER} is not at {}: install octo's binaries side by side (./setup.sh does)", binary.display()));
    }
    let arguments = std::iter::once(OsString::from("ask")).chain(launch.runner_arguments(user));
    let once = Once::new(&binary, arguments).of_octo(launch.settings()).input(input).patience(HANDSHAKE + AROUND);
    match once.run(|_| true).await {
        Err(error) => Asked::Failed(error.to_string()),
        Ok(ended) => match serde_json::from_slice(&ended.output) {
            Ok(AgentAnswer { ready_after_ms: Some(ms), .. }) => Asked::Answered(ms),
            Ok(AgentAnswer { error, .. }) => Asked::Failed(error.unwrap_or_else(|| "it did not answer".to_owned())),
            Err(_) if ended.said.is_empty() => Asked::Failed(format!("{RUNNER} said nothing ({})", ended.how)),
            Err(_) => Asked::Failed(format!("{RUNNER} ({}): {}", ended.how, ended.said)),
        },
    }
}

/// The providers that a session would get; one that is none where nothing is known of them.
fn provision(harness: &HarnessSettings, catalog: Option<&Catalog>) -> Provision {
    let speaks =
        |provider: &ProvisionedProvider| harness.protocol.api().is_none_or(|api| provider.api == api) && !provider.models.is_empty();
    let mut providers = catalog.map(|catalog| catalog.offered(harness).provisioned()).unwrap_or_default();
    if !providers.iter().any(speaks) {
        let model = ProvisionedModel {
            id: "none".to_owned(),
            name: "none".to_owned(),
            reasoning: false,
            input: vec!["text".to_owned()],
            context_window: 100_000,
            max_tokens: 1000,
            cost: None,
        };
        let api = harness.protocol.api().unwrap_or("anthropic-messages").to_owned();
        providers = vec![ProvisionedProvider { name: "none".to_owned(), api, models: vec![model] }];
    }
    let first = providers.iter().find(|provider| speaks(provider));
    let default_provider = first.map(|provider| provider.name.clone()).unwrap_or_default();
    let default_model = first.and_then(|provider| provider.models.first()).map(|model| model.id.clone()).unwrap_or_default();
    Provision {
        eavs_key: "none".to_owned(),
        providers,
        default_provider,
        default_model,
        env: BTreeMap::new(),
        harness: Some(harness.provisioned()),
    }
}
