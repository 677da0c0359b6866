//! Creating a session, and attaching to one.

use super::actor::Session;
use super::names::readable_id;
use super::registry::{Entry, Registry};
use super::{Answer, json};
use crate::agent::AgentKind;
use crate::agents::Finder;
use crate::clock::now_ms;
use crate::journal::{Change, NewSession, new_epoch};
use octo_actors::Failure;
use octo_protocol::event::Event;
use octo_protocol::provision::Provision;
use octo_protocol::session::SessionOpened;
use octo_protocol::{Command, CommandFrame, Epoch, ErrorCode, ProtocolError, SessionConfig};
use std::path::Path;
use std::sync::Arc;

/// What is written in a config where nothing is chosen.
struct Chosen {
    harness: String,
    kind: AgentKind,
    cwd: String,
    provider: String,
    model: String,
}

fn invalid(message: impl Into<String>) -> ProtocolError {
    ProtocolError::new(ErrorCode::InvalidRequest, message)
}

/// Says what is wrong with a config, in a sentence; fills in what it leaves open.
async fn choose(config: &SessionConfig, provision: &Provision) -> Result<Chosen, ProtocolError> {
    let name = config.harness.as_deref().unwrap_or(AgentKind::Pi.name());
    let harness = AgentKind::of(name, provision).map_err(|error| ProtocolError::new(ErrorCode::Unsupported, error.to_string()))?;
    if let Some(placement) = config.placement.as_deref().filter(|p| *p != "local") {
        return Err(ProtocolError::new(
            ErrorCode::Unsupported,
            format!("this runner runs agents on its own machine only; placement {placement:?} is not known"),
        ));
    }
    if let Some(profile) = &config.sandbox {
        profile.parse::<octo_sandbox::Profile>().map_err(invalid)?;
    }
    let cwd = config.cwd.clone().ok_or_else(|| invalid("a session needs config.cwd, the folder to work in"))?;
    let path = Path::new(&cwd);
    if !path.is_absolute() {
        return Err(invalid(format!("the folder {cwd:?} is not an absolute path: write it from / on")));
    }
    match tokio::fs::metadata(path).await {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(invalid(format!("{cwd} is not a folder"))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(invalid(format!("the folder {cwd} does not exist: make it first, or choose another")));
        }
        Err(error) => return Err(invalid(format!("the folder {cwd} cannot be used ({error}): choose another"))),
    }
    if harness.brings_its_models() {
        let (provider, model) = (config.provider.clone().unwrap_or_default(), config.model.clone().unwrap_or_default());
        return Ok(Chosen { harness: name.to_owned(), kind: harness, cwd, provider, model });
    }
    let default = provision.providers.iter().find(|p| p.name == provision.default_provider);
    let provider = match &config.provider {
        Some(provider) => provider.clone(),
        None => {
            let fit = default.filter(|p| harness.speaks(p)).or_else(|| provision.providers.iter().find(|p| harness.speaks(p)));
            fit.map_or_else(|| provision.default_provider.clone(), |p| p.name.clone())
        }
    };
    let known = provision.providers.iter().find(|p| p.name == provider).ok_or_else(|| {
        let names: Vec<&str> = provision.providers.iter().map(|p| p.name.as_str()).collect();
        invalid(format!("the provider {provider:?} is not configured; configured are: {}", names.join(", ")))
    })?;
    if !harness.speaks(known) {
        let fit: Vec<&str> = provision.providers.iter().filter(|p| harness.speaks(p)).map(|p| p.name.as_str()).collect();
        let fit = if fit.is_empty() { "none that is configured".to_owned() } else { fit.join(", ") };
        let message = format!("the agent {name} does not speak {}, the dialect of the provider {provider:?}; it can use: {fit}", known.api);
        return Err(invalid(message));
    }
    let model = match &config.model {
        Some(model) => model.clone(),
        None if provider == provision.default_provider => provision.default_model.clone(),
        None => known.models.first().map(|m| m.id.clone()).unwrap_or_default(),
    };
    if !known.models.iter().any(|m| m.id == model) {
        let names: Vec<&str> = known.models.iter().map(|m| m.id.as_str()).take(20).collect();
        return Err(invalid(format!("the provider {provider:?} has no model {model:?}; it has: {}", names.join(", "))));
    }
    Ok(Chosen { harness: name.to_owned(), kind: harness, cwd, provider, model })
}

impl Session {
    /// Writes a new session; its agent is not started yet.
    pub async fn create(
        registry: &Registry,
        entry: &Arc<Entry>,
        frame: &CommandFrame,
        provision: Provision,
        parent: Option<String>,
    ) -> Result<Self, ProtocolError> {
        let Command::SessionCreate { config, .. } = &frame.command else {
            return Err(invalid("a session is created by session.create"));
        };
        let chosen = choose(config, &provision).await?;
        let told = provision.harness_named(&chosen.harness);
        let program = chosen.kind.program(told, &registry.shared().options);
        let program = program.map_err(|error| ProtocolError::new(ErrorCode::AgentFailed, error.to_string()))?;
        check_installed(&registry.shared().finder, &program).await?;
        let internal = |e: String| ProtocolError::new(ErrorCode::Internal, e);
        let journal = &registry.shared().journal;
        let epoch = Epoch::new(new_epoch(now_ms())).map_err(|e| internal(e.to_string()))?;
        let session = NewSession {
            id: entry.id.to_string(),
            epoch,
            harness: chosen.harness,
            cwd: chosen.cwd,
            provider: chosen.provider,
            model: chosen.model,
            config: config.clone(),
            provision: serde_json::to_string(&provision).map_err(|e| internal(e.to_string()))?,
            readable_id: readable_id(),
            parent,
            created_at: now_ms(),
        };
        journal.create(session).await?;
        let row = journal.session(entry.id.as_str()).await?.ok_or_else(|| internal("the new session is not in the journal".to_owned()))?;
        let mut session = Self::new(registry, entry, row).map_err(|e| internal(e.to_string()))?;
        session.is_new = true;
        let resumed = session.row.config.continue_session.is_some();
        let event = Event::SessionCreated { resumed, harness: session.row.harness.clone() };
        session.ledger.push(event)?;
        Ok(session)
    }

    /// `session.create` of a session that exists.
    pub fn attach_or_wait(&mut self, mut provision: Provision, answer: Answer) -> Result<(), Failure> {
        self.keep_harness(&mut provision);
        if provision != *self.provision {
            self.ledger.change(Change::Provision(serde_json::to_string(&provision)?));
            self.provision = Arc::new(provision);
            self.agent.plan().provision = Arc::clone(&self.provision);
        }
        if self.agent.is_starting() {
            self.opening.push((answer, true));
        } else {
            let _ = answer.send(self.opened(true).and_then(|opened| json(&opened)));
        }
        Ok(())
    }

    /// A new provision that says nothing of this session's agent leaves it as it was; so does one under which another protocol would be spoken with it,
    /// in which its conversation means nothing.
    pub fn keep_harness(&self, provision: &mut Provision) {
        let name = &self.row.harness;
        let speaks = |told: &Provision| AgentKind::of(name, told).ok();
        if provision.harness_named(name).is_some() && speaks(provision) == speaks(&self.provision) {
            return;
        }
        if let Some(told) = provision.harness_named(name) {
            tracing::warn!(
                session = self.row.id,
                harness = name,
                protocol = told.protocol,
                "the session keeps the protocol that it was made with"
            );
        }
        provision.harness.clone_from(&self.provision.harness);
    }

    /// What whoever creates or attaches gets.
    pub fn opened(&self, resumed: bool) -> Result<SessionOpened, ProtocolError> {
        Ok(SessionOpened {
            session_id: self.row.id.clone(),
            epoch: self.ledger.log.epoch.clone(),
            seq: self.ledger.head(),
            harness: self.row.harness.clone(),
            capabilities: self.capabilities(),
            state: self.state(),
            resumed,
        })
    }
}

async fn check_installed(finder: &Finder, program: &str) -> Result<(), ProtocolError> {
    let (finder, name) = (finder.clone(), program.to_owned());
    let found = tokio::task::spawn_blocking(move || finder.find(&name).map(|_| ())).await;
    match found {
        Ok(Err(error)) => Err(ProtocolError::new(ErrorCode::AgentFailed, error.to_string())),
        _ => Ok(()),
    }
}
