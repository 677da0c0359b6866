//! The kinds of agents, and what is particular to the launch of each: program, arguments, environment, directories.
//!
//! What all have in common is the plan's ([`super::Plan`]).

use super::{PlanError, claude_home, pi_home};
use crate::agents::NotFound;
use crate::options::Options;
use octo_harness::{Harness, StartOptions, bridge, claude, pi};
use octo_protocol::provision::{Provision, ProvisionedHarness, ProvisionedModel, ProvisionedProvider};
use octo_sandbox::{Bind, RELAY_PORT_PLACEHOLDER};
use std::borrow::Cow;
use std::path::{Path, PathBuf};

/// A kind of agent that octo knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgentKind {
    Pi,
    Claude,
    /// One behind pi-bridge: what is launched is the connector to it.
    Bridge,
}

/// What the launch of one agent has that others have not.
#[derive(Debug, Default)]
pub(super) struct Own {
    pub arguments: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub binds: Vec<Bind>,
    pub writable: Vec<PathBuf>,
}

/// What the launch depends on.
pub(super) struct Surroundings<'a> {
    pub provision: &'a Provision,
    pub home: &'a Path,
    /// There is no sandbox: paths inside are paths outside.
    pub bare: bool,
    /// octo-eavs is there.
    pub eavs: bool,
}

impl AgentKind {
    /// Those that there are.
    pub const ALL: [Self; 3] = [Self::Pi, Self::Claude, Self::Bridge];

    /// The kind with this name in `SessionConfig.harness`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.is_known_by_name() && kind.name() == name)
    }

    /// A session can name it although the server does not say how it is started.
    fn is_known_by_name(self) -> bool {
        self != Self::Bridge
    }

    /// Its name in `SessionConfig.harness`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pi => pi::NAME,
            Self::Claude => claude::NAME,
            Self::Bridge => bridge::NAME,
        }
    }

    /// The kind that `protocol` is spoken with.
    #[must_use]
    pub fn speaking(protocol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.protocol() == protocol)
    }

    /// The kind of the agent `harness` of a session with this provision: what the server says it is, else what the runner knows by that name.
    ///
    /// # Errors
    /// [`PlanError::UnknownHarness`], [`PlanError::UnknownProtocol`].
    pub fn of(harness: &str, provision: &Provision) -> Result<Self, PlanError> {
        match provision.harness_named(harness) {
            Some(told) => Self::speaking(&told.protocol)
                .ok_or_else(|| PlanError::UnknownProtocol { harness: harness.to_owned(), protocol: told.protocol.clone() }),
            None => Self::named(harness).ok_or_else(|| PlanError::UnknownHarness(harness.to_owned())),
        }
    }

    /// What is spoken with it, as `harness.NAME.protocol` names it.
    #[must_use]
    pub fn protocol(self) -> &'static str {
        match self {
            Self::Pi => "pi-rpc",
            Self::Claude => "claude-stream-json",
            Self::Bridge => "bridge",
        }
    }

    /// All names, for a sentence.
    #[must_use]
    pub fn names() -> String {
        Self::ALL.into_iter().filter(|kind| kind.is_known_by_name()).map(Self::name).collect::<Vec<_>>().join(", ")
    }

    /// Its program: as the server says, else as the options name it.
    ///
    /// # Errors
    /// When it is octo's own and not there.
    pub fn program<'a>(self, told: Option<&'a ProvisionedHarness>, options: &'a Options) -> Result<Cow<'a, str>, NotFound> {
        match (self, told) {
            (Self::Bridge, _) => connector().map(Cow::Owned),
            (_, Some(told)) => Ok(Cow::Borrowed(&told.command)),
            (Self::Pi, None) => Ok(Cow::Borrowed(&options.pi_executable)),
            (Self::Claude, None) => Ok(Cow::Borrowed(&options.claude_executable)),
        }
    }

    /// It has providers and models of its own, of which octo knows nothing until it says.
    #[must_use]
    pub fn brings_its_models(self) -> bool {
        self == Self::Bridge
    }

    /// Whether it can speak with this provider.
    #[must_use]
    pub fn speaks(self, provider: &ProvisionedProvider) -> bool {
        match self {
            Self::Pi | Self::Bridge => true,
            Self::Claude => provider.api == claude::launch::API,
        }
    }

    /// Its translator.
    #[must_use]
    pub fn translator(self, options: StartOptions) -> Box<dyn Harness> {
        match self {
            Self::Pi => Box::new(pi::Pi::new(options)),
            Self::Claude => Box::new(claude::Claude::new(options)),
            Self::Bridge => Box::new(bridge::Bridge::new(options)),
        }
    }

    /// Where it keeps its own session files.
    pub(super) fn sessions_dir(self, options: &Options, data: &Path) -> PathBuf {
        match self {
            Self::Pi => options.pi_sessions_dir.clone().unwrap_or_else(|| data.join("pi/sessions")),
            Self::Claude => options.claude_sessions_dir.clone().unwrap_or_else(|| data.join("claude/projects")),
            // They are at the bridge; the connector writes nothing.
            Self::Bridge => options.data_dir.join("ext"),
        }
    }

    /// Its part of a launch. `sessions` is [`Self::sessions_dir`].
    pub(super) fn launch(self, start: &StartOptions, sessions: PathBuf, around: &Surroundings<'_>) -> Result<Own, PlanError> {
        match self {
            Self::Pi => of_pi(start, sessions, around),
            Self::Claude => Ok(of_claude(start, sessions, around)),
            Self::Bridge => of_bridge(start, around),
        }
    }
}

fn owned<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Where the connector lies: beside this program, as everything of octo's does.
fn connector() -> Result<String, NotFound> {
    let own = std::env::current_exe().unwrap_or_default();
    let path = own.with_file_name(bridge::launch::PROGRAM);
    match path.to_str() {
        Some(text) if path.is_file() => Ok(text.to_owned()),
        _ => Err(NotFound::Connector { path }),
    }
}

fn of_bridge(start: &StartOptions, around: &Surroundings<'_>) -> Result<Own, PlanError> {
    let url = around.provision.harness.as_ref().and_then(|told| told.url.as_deref()).ok_or(PlanError::NoUrl)?;
    Ok(Own { arguments: bridge::launch::arguments(url, start.resume.as_deref()), ..Own::default() })
}

fn of_pi(start: &StartOptions, sessions: PathBuf, around: &Surroundings<'_>) -> Result<Own, PlanError> {
    let mut environment = owned(pi::launch::environment());
    let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
    set(pi::launch::ENV_PROVIDERS, serde_json::to_string(&around.provision.providers)?);
    set(pi::launch::ENV_EAVS_KEY, around.provision.eavs_key.clone());
    if around.eavs {
        set(pi::launch::ENV_EAVS_URL, format!("http://127.0.0.1:{RELAY_PORT_PLACEHOLDER}"));
    }
    let mut binds = Vec::new();
    if !around.bare {
        set(pi_home::ENV, pi_home::INSIDE.to_owned());
        binds = pi_home::settings(around.home);
    }
    Ok(Own { arguments: pi::launch::arguments(start), environment, binds, writable: vec![sessions] })
}

fn of_claude(start: &StartOptions, sessions: PathBuf, around: &Surroundings<'_>) -> Own {
    let mut environment = owned(claude::launch::environment());
    let mut set = |name: &str, value: String| environment.push((name.to_owned(), value));
    set(claude::launch::ENV_KEY, around.provision.eavs_key.clone());
    if around.eavs {
        set(claude::launch::ENV_BASE_URL, format!("http://127.0.0.1:{RELAY_PORT_PLACEHOLDER}/{}", start.provider));
    }
    let provider = around.provision.providers.iter().find(|provider| provider.name == start.provider);
    let models: &[ProvisionedModel] = provider.map(|provider| provider.models.as_slice()).unwrap_or_default();
    if let Some(limit) = models.iter().find(|model| model.id == start.model).map(|model| model.max_tokens).filter(|limit| *limit > 0) {
        set(claude::launch::ENV_MAX_OUTPUT, limit.to_string());
    }
    for (kind, variable) in claude::launch::ENV_MODELS {
        let of_kind = models.iter().find(|model| model.id.contains(kind)).map(|model| model.id.clone());
        set(variable, of_kind.unwrap_or_else(|| start.model.clone()));
    }
    if around.bare {
        // Its conversations are in the user's own directory then.
        return Own { arguments: claude::launch::arguments(start), environment, ..Own::default() };
    }
    set(claude::launch::ENV_CONFIG_DIR, claude_home::INSIDE.to_owned());
    let binds = claude_home::contents(around.home, &sessions);
    Own { arguments: claude::launch::arguments(start), environment, binds, writable: Vec::new() }
}
