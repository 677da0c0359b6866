//! The registry of harnesses: which agents there are, and how each is started. `pi` and `claude` are built in; `[harness.NAME]` changes them or adds others.

use std::collections::BTreeMap;

use octo_protocol::PermissionMode;
use octo_protocol::provision::ProvisionedHarness;
use secrecy::{ExposeSecret, SecretString};

use super::load::{Config, Problem};
use super::value::Value;

/// What is spoken with an agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// pi's RPC, lines of JSON on stdio.
    PiRpc,
    /// Claude Code's stream-json with control requests on stdio.
    ClaudeStreamJson,
    /// Canonical events and commands, with a bridge. No word of `harness.NAME.protocol`: `transport` says it.
    Bridge,
}

/// The words of `harness.NAME.protocol`. Those that no [`Protocol`] has are refused with a sentence.
pub(super) const PROTOCOLS: &[&str] = &["pi-rpc", "claude-stream-json", "acp"];
/// The words of `harness.NAME.transport`.
pub(super) const TRANSPORTS: &[&str] = &["stdio", "bridge"];
/// The words of `harness.NAME.sandbox`: the profiles of octo-sandbox.
pub(super) const PROFILES: &[&str] = &["minimal", "development", "strict"];
/// Variables that octo sets in every agent's environment, so that they would have no effect here.
const OCTOS_OWN: &[&str] = &["HOME", "PATH", "TERM", "USER"];
/// The variable in which the connector to a bridge finds its token.
const BRIDGE_TOKEN: &str = "PI_BRIDGE_TOKEN";
/// The program that connects to bridges; it lies beside octo's own.
pub const CONNECTOR: &str = "pi-bridge";
/// What means nothing for an agent behind a bridge: there it is said to the bridge.
const NOT_OF_A_BRIDGE: [&str; 5] = ["protocol", "command", "args", "env", "models"];
/// What means nothing for any other agent.
const OF_A_BRIDGE: [&str; 2] = ["url", "token"];

impl Protocol {
    /// Its name in the configuration and on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PiRpc => "pi-rpc",
            Self::ClaudeStreamJson => "claude-stream-json",
            Self::Bridge => "bridge",
        }
    }

    fn named(word: &str) -> Option<Self> {
        [Self::PiRpc, Self::ClaudeStreamJson].into_iter().find(|protocol| protocol.as_str() == word)
    }

    /// The dialect that providers have to speak; any when absent.
    #[must_use]
    pub fn api(self) -> Option<&'static str> {
        match self {
            Self::PiRpc | Self::Bridge => None,
            Self::ClaudeStreamJson => Some("anthropic-messages"),
        }
    }
}

/// An agent that comes with octo.
struct BuiltIn {
    name: &'static str,
    label: &'static str,
    protocol: Protocol,
    command: &'static str,
    /// Other names for it.
    aliases: &'static [&'static str],
}

const BUILT_IN: &[BuiltIn] = &[
    BuiltIn { name: "pi", label: "pi", protocol: Protocol::PiRpc, command: "pi", aliases: &[] },
    BuiltIn { name: "claude", label: "Claude Code", protocol: Protocol::ClaudeStreamJson, command: "claude", aliases: &["claude-code"] },
];

impl BuiltIn {
    /// Keys that say the same as `harness.NAME.member`.
    fn older_key(&self, member: &str) -> Option<String> {
        match member {
            "enabled" => Some(format!("{}.enabled", self.name)),
            "command" => Some(format!("{}.executable", self.name)),
            _ => None,
        }
    }
}

/// Which models of the providers an agent is offered: `provider/model`, where `*` stands for anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPattern(String);

impl ModelPattern {
    fn new(text: &str) -> Option<Self> {
        let (provider, model) = text.split_once('/')?;
        (!provider.is_empty() && !model.is_empty()).then(|| Self(text.to_owned()))
    }

    /// Whether it means this model.
    #[must_use]
    pub fn matches(&self, provider: &str, model: &str) -> bool {
        let name = format!("{provider}/{model}");
        let mut pieces = self.0.split('*');
        let Some(mut rest) = name.strip_prefix(pieces.next().unwrap_or_default()) else { return false };
        let Some(last) = pieces.next_back() else { return rest.is_empty() };
        for piece in pieces {
            let Some(at) = rest.find(piece) else { return false };
            rest = &rest[at + piece.len()..];
        }
        rest.ends_with(last)
    }
}

/// An agent of the registry.
#[derive(Debug, Clone)]
pub struct HarnessSettings {
    /// As sessions name it.
    pub name: String,
    /// As people read it.
    pub label: String,
    /// Whether new sessions may have it.
    pub enabled: bool,
    /// What is spoken with it.
    pub protocol: Protocol,
    /// Its program: a name or an absolute path.
    pub command: String,
    /// Arguments after octo's own.
    pub args: Vec<String>,
    /// Its environment.
    pub env: BTreeMap<String, SecretString>,
    /// The models that it is offered; all when there is none.
    pub models: Vec<ModelPattern>,
    /// What becomes of its tool calls where nothing else is said.
    pub permissions: Option<PermissionMode>,
    /// The sandbox profile of sessions that name none.
    pub sandbox: Option<String>,
    /// Where its bridge answers, when it is behind one; the token is in `env`.
    pub url: Option<String>,
}

impl HarnessSettings {
    /// Whether it is behind a bridge, with providers and models of its own.
    #[must_use]
    pub fn is_bridged(&self) -> bool {
        self.protocol == Protocol::Bridge
    }

    /// Whether it is offered this model, where the model's provider speaks its dialect.
    #[must_use]
    pub fn offers(&self, provider: &str, model: &str) -> bool {
        self.models.is_empty() || self.models.iter().any(|pattern| pattern.matches(provider, model))
    }

    /// Whether it comes with octo, which then knows how to install it.
    #[must_use]
    pub fn is_built_in(&self) -> bool {
        BUILT_IN.iter().any(|built_in| built_in.name == self.name)
    }

    /// What a runner is told of it.
    #[must_use]
    pub fn provisioned(&self) -> ProvisionedHarness {
        ProvisionedHarness {
            name: self.name.clone(),
            protocol: self.protocol.as_str().to_owned(),
            command: self.command.clone(),
            args: self.args.clone(),
            env: self.env.iter().map(|(name, value)| (name.clone(), value.expose_secret().to_owned())).collect(),
            permissions: self.permissions,
            sandbox: self.sandbox.clone(),
            url: self.url.clone(),
        }
    }
}

/// All of them: those that come with octo first, then by name.
#[derive(Debug, Clone)]
pub struct Harnesses(Vec<HarnessSettings>);

impl Harnesses {
    /// Every one, also those that are switched off.
    pub fn iter(&self) -> impl Iterator<Item = &HarnessSettings> {
        self.0.iter()
    }

    /// The one with this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&HarnessSettings> {
        let name = canonical(name);
        self.0.iter().find(|harness| harness.name == name)
    }

    /// The names of those that new sessions may have, for a sentence.
    #[must_use]
    pub fn names(&self) -> String {
        self.0.iter().filter(|harness| harness.enabled).map(|harness| harness.name.as_str()).collect::<Vec<_>>().join(", ")
    }
}

/// A harness's one name: aliases are taken for what they mean.
#[must_use]
pub fn canonical(name: &str) -> &str {
    BUILT_IN.iter().find(|built_in| built_in.aliases.contains(&name)).map_or(name, |built_in| built_in.name)
}

impl Config {
    pub(super) fn harnesses(&self, problems: &mut Vec<Problem>) -> Harnesses {
        let mut names: Vec<&str> = BUILT_IN.iter().map(|built_in| built_in.name).collect();
        for (path, ..) in self.entries() {
            if let Some(name) = path.strip_prefix("harness.").and_then(|rest| rest.split('.').next())
                && !names.contains(&canonical(name))
            {
                names.push(name);
            }
        }
        Harnesses(names.into_iter().filter_map(|name| Table { config: self, name }.read(problems)).collect())
    }
}

/// `[harness.NAME]` of one name, with everything that means the same.
struct Table<'a> {
    config: &'a Config,
    name: &'a str,
}

impl Table<'_> {
    fn built_in(&self) -> Option<&'static BuiltIn> {
        BUILT_IN.iter().find(|built_in| built_in.name == self.name)
    }

    /// The key that says `member`; saying it twice is a problem.
    fn key(&self, member: &str, problems: &mut Vec<Problem>) -> String {
        let key = format!("harness.{}.{member}", self.name);
        let aliases = self.built_in().into_iter().flat_map(|b| b.aliases.iter().map(|alias| format!("harness.{alias}.{member}")));
        let older = self.built_in().and_then(|built_in| built_in.older_key(member));
        let mut said = std::iter::once(key.clone()).chain(aliases).chain(older).filter(|key| self.config.is_set(key));
        let first = said.next();
        if let (Some(first), Some(second)) = (&first, said.next()) {
            let what = format!("means the same as {first} ({}): keep one of the two", self.config.origin(first));
            problems.push(self.config.problem(&second, &what));
        }
        first.or_else(|| self.built_in().and_then(|built_in| built_in.older_key(member))).unwrap_or(key)
    }

    fn text(&self, member: &str, problems: &mut Vec<Problem>) -> Option<(String, String)> {
        let key = self.key(member, problems);
        let text = self.config.text(&key)?.to_owned();
        Some((key, text))
    }

    /// Where the table stands.
    fn lacks(&self, what: &str) -> Problem {
        let prefix = format!("harness.{}.", self.name);
        let first = self.config.entries().find(|(path, ..)| path.starts_with(&prefix));
        Problem {
            place: first.map_or_else(String::new, |(.., origin)| origin.to_string()),
            what: format!("[harness.{}] {what}", self.name),
        }
    }

    fn read(&self, problems: &mut Vec<Problem>) -> Option<HarnessSettings> {
        if self.is_bridged(problems) {
            return self.read_bridged(problems);
        }
        for key in OF_A_BRIDGE.map(|member| self.key(member, problems)).into_iter().filter(|key| self.config.is_set(key)) {
            problems.push(self.config.problem(&key, "is of agents behind a bridge: say transport = \"bridge\" too"));
        }
        let enabled = self.key("enabled", problems);
        let args = self.args(problems);
        let env = self.env(problems);
        let models = self.models(problems);
        let permissions = self.text("permissions", problems).and_then(|(_, word)| word.parse().ok());
        let (protocol, command) = (self.protocol(problems), self.command(problems));
        Some(HarnessSettings {
            name: self.name.to_owned(),
            label: self.label(problems),
            enabled: !matches!(self.config.value(&enabled), Value::Bool(false)),
            protocol: protocol?,
            command: command?,
            args,
            env,
            models,
            permissions,
            sandbox: self.text("sandbox", problems).map(|(_, profile)| profile),
            url: None,
        })
    }

    fn label(&self, problems: &mut Vec<Problem>) -> String {
        let own = || self.built_in().map_or(self.name, |built_in| built_in.label).to_owned();
        self.text("label", problems).map_or_else(own, |(_, label)| label)
    }

    fn is_bridged(&self, problems: &mut Vec<Problem>) -> bool {
        self.text("transport", problems).is_some_and(|(_, word)| word == "bridge")
    }

    /// The agent runs elsewhere: octo knows where, and what opens it.
    fn read_bridged(&self, problems: &mut Vec<Problem>) -> Option<HarnessSettings> {
        if let Some(built_in) = self.built_in() {
            let key = self.key("transport", problems);
            let what = format!(
                "cannot be bridge: {} runs on this machine; give the one behind a bridge a name of its own, [harness.NAME]",
                built_in.label
            );
            problems.push(self.config.problem(&key, &what));
            return None;
        }
        for key in NOT_OF_A_BRIDGE.map(|member| self.key(member, problems)).into_iter().filter(|key| self.config.is_set(key)) {
            problems
                .push(self.config.problem(&key, "means nothing with transport = \"bridge\": say it to pi-bridge, where the agent runs"));
        }
        let enabled = self.key("enabled", problems);
        let (url, token) = (self.url(problems), self.token(problems));
        let permissions = self.text("permissions", problems).and_then(|(_, word)| word.parse().ok());
        Some(HarnessSettings {
            name: self.name.to_owned(),
            label: self.label(problems),
            enabled: !matches!(self.config.value(&enabled), Value::Bool(false)),
            protocol: Protocol::Bridge,
            command: CONNECTOR.to_owned(),
            args: Vec::new(),
            env: BTreeMap::from([(BRIDGE_TOKEN.to_owned(), token?)]),
            models: Vec::new(),
            permissions,
            sandbox: self.text("sandbox", problems).map(|(_, profile)| profile),
            url: Some(url?),
        })
    }

    fn url(&self, problems: &mut Vec<Problem>) -> Option<String> {
        let Some((key, text)) = self.text("url", problems) else {
            problems.push(self.lacks("has no url: write where its bridge answers, url = \"http://HOST:41824\""));
            return None;
        };
        let parsed = url::Url::parse(&text).ok().filter(|url| url.scheme() == "http" && url.has_host());
        let Some(parsed) = parsed.filter(|url| url.username().is_empty() && url.password().is_none() && url.query().is_none()) else {
            problems.push(self.config.problem(&key, "is no address of a bridge: write http://HOST:PORT, with nothing secret in it"));
            return None;
        };
        Some(parsed.as_str().trim_end_matches('/').to_owned())
    }

    fn token(&self, problems: &mut Vec<Problem>) -> Option<SecretString> {
        let Some((key, text)) = self.text("token", problems) else {
            problems.push(self.lacks("has no token: write the one that its bridge was started with, token = \"env:NAME\""));
            return None;
        };
        let token = self.config.resolved(&key, &text, problems)?;
        if token.expose_secret().trim().is_empty() || !token.expose_secret().trim().bytes().all(|byte| byte.is_ascii_graphic()) {
            problems.push(self.config.problem(&key, "is no token: it is empty, or has what no header can carry"));
            return None;
        }
        Some(token)
    }

    fn protocol(&self, problems: &mut Vec<Problem>) -> Option<Protocol> {
        let said = self.text("protocol", problems);
        let Some((key, word)) = said else {
            let built_in = self.built_in().map(|built_in| built_in.protocol);
            if built_in.is_none() {
                problems.push(self.lacks("has no protocol: write protocol = \"pi-rpc\" or protocol = \"claude-stream-json\""));
            }
            return built_in;
        };
        let Some(protocol) = Protocol::named(&word) else {
            let what = format!(
                "= {word:?} asks for what this build does not speak yet: it speaks {} and {}",
                Protocol::PiRpc.as_str(),
                Protocol::ClaudeStreamJson.as_str()
            );
            problems.push(self.config.problem(&key, &what));
            return None;
        };
        if let Some(built_in) = self.built_in().filter(|built_in| built_in.protocol != protocol) {
            let what = format!(
                "cannot be {word}: {} speaks {}; give an agent that speaks {word} a name of its own, [harness.NAME]",
                built_in.label,
                built_in.protocol.as_str()
            );
            problems.push(self.config.problem(&key, &what));
        }
        Some(protocol)
    }

    fn command(&self, problems: &mut Vec<Problem>) -> Option<String> {
        let Some((key, command)) = self.text("command", problems) else {
            let built_in = self.built_in().map(|built_in| built_in.command.to_owned());
            if built_in.is_none() {
                problems.push(self.lacks("has no command: write the name or the absolute path of its program"));
            }
            return built_in;
        };
        let home = self.config.env.path("HOME");
        let command = match (command.strip_prefix("~/").or_else(|| command.strip_prefix("$HOME/")), home) {
            (Some(rest), Some(home)) => home.join(rest).display().to_string(),
            _ => command,
        };
        if command.contains('/') && !command.starts_with('/') {
            problems.push(self.config.problem(&key, "is a relative path: write the program's name, or its path from / or ~/ on"));
        }
        Some(command)
    }

    fn args(&self, problems: &mut Vec<Problem>) -> Vec<String> {
        let key = self.key("args", problems);
        let args = self.config.list(&key);
        if args.iter().any(|argument| argument.contains('\0')) {
            problems.push(self.config.problem(&key, "has an argument with a NUL, which no program can get"));
        }
        args
    }

    fn env(&self, problems: &mut Vec<Problem>) -> BTreeMap<String, SecretString> {
        let key = self.key("env", problems);
        let Value::Json(serde_json::Value::Object(members)) = self.config.value(&key) else { return BTreeMap::new() };
        let mut env = BTreeMap::new();
        for (name, value) in members {
            let good = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
            let shown: String = name.chars().take(80).collect();
            if !good || name.starts_with("OCTO_") || name.starts_with("LD_") || OCTOS_OWN.contains(&name.as_str()) {
                let what = format!(
                    "has {shown:?}: a variable has letters, digits and _, does not start with OCTO_ or LD_, and is none of {}, which octo sets",
                    OCTOS_OWN.join(", ")
                );
                problems.push(self.config.problem(&key, &what));
                continue;
            }
            let Some(text) = value.as_str().filter(|text| !text.contains('\0')) else {
                problems.push(self.config.problem(&key, &format!("takes texts or env:NAME, and {shown} is something else")));
                continue;
            };
            env.extend(self.config.resolved(&key, text, problems).map(|value| (name.clone(), value)));
        }
        env
    }

    fn models(&self, problems: &mut Vec<Problem>) -> Vec<ModelPattern> {
        let key = self.key("models", problems);
        let mut patterns = Vec::new();
        for text in self.config.list(&key) {
            match ModelPattern::new(&text) {
                Some(pattern) => patterns.push(pattern),
                None => {
                    let shown: String = text.chars().take(80).collect();
                    problems.push(self.config.problem(&key, &format!("has {shown:?}: write provider/model, where * stands for anything")));
                }
            }
        }
        patterns
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn matches(pattern: &str, provider: &str, model: &str) -> bool {
        ModelPattern::new(pattern).unwrap().matches(provider, model)
    }

    #[test]
    fn a_pattern_means_the_models_that_it_spells_out_around_its_stars() {
        assert!(matches("demo/scripted", "demo", "scripted"));
        assert!(!matches("demo/scripted", "demo", "scripted-2"));
        assert!(matches("anthropic/claude-*", "anthropic", "claude-sonnet-4-5"));
        assert!(!matches("anthropic/claude-*", "openai", "claude-sonnet-4-5"));
        assert!(matches("*/*", "router", "anthropic/claude"));
        assert!(matches("router/*/claude*4*", "router", "anthropic/claude-sonnet-4-5"));
        assert!(!matches("router/*-mini", "router", "mini-max"));
        // The two ends do not share characters.
        assert!(!matches("a/bb*bb", "a", "bbb"));
        assert!(["demo", "/x", "x/", ""].iter().all(|text| ModelPattern::new(text).is_none()));
    }
}
