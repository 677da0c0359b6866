//! Where the agent's models come from: an octo-eavs with a virtual key, or what the agent is configured with itself.

use crate::options::Serve;
use octo_protocol::SessionConfig;
use octo_protocol::provision::{Provision, ProvisionedHarness, ProvisionedModel, ProvisionedProvider};
use octo_runner::agent::{AgentKind, PlanError};
use std::collections::BTreeMap;
use std::path::Path;

/// The variable with this bridge's key to octo-eavs.
pub const ENV_KEY: &str = "EAVS_VIRTUAL_KEY";
/// The key that Claude Code sends where there is no octo-eavs.
const ENV_ANTHROPIC_KEY: &str = "ANTHROPIC_API_KEY";
/// Where pi's extension finds octo-eavs.
const ENV_PI_URL: &str = "OCTO_EAVS_URL";
/// Where Claude Code finds its provider.
const ENV_CLAUDE_URL: &str = "ANTHROPIC_BASE_URL";
/// Dialects of providers.
const APIS: [&str; 3] = ["anthropic-messages", "openai-completions", "openai-responses"];

/// Why the agent cannot be provisioned.
#[derive(Debug, thiserror::Error)]
pub enum ProvisionError {
    #[error("{0:?} is no dialect of a provider: --api takes {apis}", apis = APIS.join(", "))]
    Api(String),
    #[error("{url:?} is no URL of octo-eavs: EAVS_URL is http://HOST:PORT")]
    Url { url: String },
    #[error("EAVS_URL is set and {ENV_KEY} is not: without a key octo-eavs answers nobody")]
    NoKey,
    #[error("the variable {0} that --pass-env names is not set")]
    NotSet(String),
    #[error("{harness} speaks with providers of the dialect anthropic-messages, not {api}: leave --api out")]
    Dialect { harness: String, api: String },
    #[error("an agent of the name {0} needs --protocol and --command; pi and claude are known by themselves")]
    Unknown(String),
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// An environment, as far as it is looked at.
pub trait Environment {
    /// The value of a variable that is set and not empty.
    fn get(&self, name: &str) -> Option<String>;
}

/// That of this process.
pub struct OfThisProcess;

impl Environment for OfThisProcess {
    fn get(&self, name: &str) -> Option<String> {
        std::env::var(name).ok().filter(|value| !value.is_empty())
    }
}

impl Environment for BTreeMap<&str, &str> {
    fn get(&self, name: &str) -> Option<String> {
        BTreeMap::get(self, name).map(|value| (*value).to_owned())
    }
}

/// What every session of this bridge gets.
///
/// # Errors
/// [`ProvisionError`], a sentence for whoever starts the bridge.
pub fn provision(serve: &Serve, environment: &impl Environment) -> Result<Provision, ProvisionError> {
    let harness = harness(serve)?;
    if !APIS.contains(&serve.api.as_str()) {
        return Err(ProvisionError::Api(serve.api.clone()));
    }
    let mut env = BTreeMap::new();
    for name in &serve.pass_env {
        env.insert(name.clone(), environment.get(name).ok_or_else(|| ProvisionError::NotSet(name.clone()))?);
    }
    let key = match serve.eavs_url.as_deref().filter(|url| !url.is_empty()) {
        Some(url) => {
            let parsed = url::Url::parse(url).ok().filter(|parsed| matches!(parsed.scheme(), "http" | "https") && parsed.has_host());
            let base = parsed.ok_or_else(|| ProvisionError::Url { url: url.to_owned() })?.to_string();
            let base = base.trim_end_matches('/');
            env.insert(ENV_PI_URL.to_owned(), base.to_owned());
            env.insert(ENV_CLAUDE_URL.to_owned(), format!("{base}/{}", serve.provider));
            environment.get(ENV_KEY).ok_or(ProvisionError::NoKey)?
        }
        None => {
            // Said to pi's extension: there is none.
            env.insert(ENV_PI_URL.to_owned(), String::new());
            environment.get(ENV_ANTHROPIC_KEY).unwrap_or_default()
        }
    };
    let model = ProvisionedModel {
        id: serve.model.clone(),
        name: serve.model.clone(),
        reasoning: true,
        input: vec!["text".to_owned(), "image".to_owned()],
        context_window: serve.context_window,
        max_tokens: serve.max_tokens,
        cost: None,
    };
    let provider = ProvisionedProvider { name: serve.provider.clone(), api: serve.api.clone(), models: vec![model] };
    let provision = Provision {
        eavs_key: key,
        providers: vec![provider],
        default_provider: serve.provider.clone(),
        default_model: serve.model.clone(),
        env,
        harness,
    };
    let kind = AgentKind::of(&serve.harness, &provision)?;
    match provision.providers.first() {
        Some(provider) if !kind.speaks(provider) => Err(ProvisionError::Dialect { harness: serve.harness.clone(), api: serve.api.clone() }),
        _ => Ok(provision),
    }
}

/// How the agent is started, where that is not what octo-runner knows by its name.
fn harness(serve: &Serve) -> Result<Option<ProvisionedHarness>, ProvisionError> {
    let known = AgentKind::named(&serve.harness);
    let protocol = match (known, &serve.protocol) {
        (_, Some(protocol)) => protocol.clone(),
        (Some(kind), None) => kind.protocol().to_owned(),
        (None, None) => return Err(ProvisionError::Unknown(serve.harness.clone())),
    };
    // A bridge is no agent to be put behind another one.
    if AgentKind::speaking(&protocol).is_none_or(AgentKind::brings_its_models) {
        return Err(PlanError::UnknownProtocol { harness: serve.harness.clone(), protocol }.into());
    }
    let Some(command) = serve.command.clone().or_else(|| known.map(|kind| kind.name().to_owned())) else {
        return Err(ProvisionError::Unknown(serve.harness.clone()));
    };
    Ok(Some(ProvisionedHarness {
        name: serve.harness.clone(),
        protocol,
        command,
        args: serve.args.clone(),
        env: BTreeMap::new(),
        permissions: None,
        sandbox: serve.sandbox.clone(),
        url: None,
    }))
}

/// What every session of this bridge is made with.
#[must_use]
pub fn config(serve: &Serve, folder: &Path) -> SessionConfig {
    SessionConfig {
        harness: Some(serve.harness.clone()),
        cwd: Some(folder.display().to_string()),
        provider: Some(serve.provider.clone()),
        model: Some(serve.model.clone()),
        ..SessionConfig::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Of {
        #[command(flatten)]
        serve: Serve,
    }

    fn of(arguments: &[&str], environment: &[(&'static str, &'static str)]) -> Result<Provision, String> {
        let serve = Of::parse_from(["pi-bridge"].iter().chain(arguments)).serve;
        let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
        provision(&serve, &environment).map_err(|error| error.to_string())
    }

    #[test]
    fn with_octo_eavs_both_agents_are_sent_there_with_its_key() {
        let given = of(&["--eavs-url", "http://host:41800/", "--provider", "demo", "--model", "scripted"], &[(ENV_KEY, "k")]).unwrap();
        assert_eq!(given.eavs_key, "k");
        assert_eq!(given.env[ENV_PI_URL], "http://host:41800");
        assert_eq!(given.env[ENV_CLAUDE_URL], "http://host:41800/demo");
        assert_eq!((given.default_provider.as_str(), given.default_model.as_str()), ("demo", "scripted"));
    }

    #[test]
    fn without_it_the_agent_has_its_own_key_and_what_is_passed_by_name() {
        let given = of(&["--pass-env", "OPENAI_API_KEY"], &[(ENV_ANTHROPIC_KEY, "a"), ("OPENAI_API_KEY", "o"), ("OTHER", "x")]).unwrap();
        assert_eq!((given.eavs_key.as_str(), given.env.len()), ("a", 2));
        assert_eq!((given.env["OPENAI_API_KEY"].as_str(), given.env[ENV_PI_URL].as_str()), ("o", ""));
    }

    #[test]
    fn what_cannot_work_is_said_before_anything_starts() {
        for (arguments, want) in [
            (vec!["--eavs-url", "http://host:1"], "EAVS_VIRTUAL_KEY is not"),
            (vec!["--eavs-url", "host"], "no URL of octo-eavs"),
            (vec!["--api", "telnet"], "no dialect of a provider"),
            (vec!["--harness", "claude", "--api", "openai-completions"], "leave --api out"),
            (vec!["--harness", "x"], "needs --protocol and --command"),
            (vec!["--harness", "x", "--protocol", "morse", "--command", "x"], "morse"),
            (vec!["--harness", "x", "--protocol", "bridge", "--command", "x"], "bridge"),
            (vec!["--pass-env", "GONE"], "GONE that --pass-env names is not set"),
        ] {
            let said = of(&arguments, &[]).unwrap_err();
            assert!(said.contains(want), "{arguments:?}: {said}");
        }
    }
}
