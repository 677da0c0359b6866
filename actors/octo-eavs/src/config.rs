//! Providers and settings out of octo's `config.toml` and the environment.
//!
//! ```toml
//! [providers.anthropic]
//! api = "anthropic-messages"
//! base_url = "https://api.anthropic.com"      # with or without a trailing /v1
//! api_key = "env:ANTHROPIC_API_KEY"           # or the key itself
//! models = [{ id = "claude-sonnet-4-5", reasoning = true, context_window = 200000, max_tokens = 64000,
//!             cost = { input = 3.0, output = 15.0, cache_read = 0.3, cache_write = 3.75 } }]
//!
//! [providers.ollama]                          # a local server needs no key
//! api = "openai-completions"
//! base_url = "http://127.0.0.1:11434"
//! models = [{ id = "qwen3:8b" }]
//!
//! [eavs]                                      # all optional
//! connect_timeout_seconds = 10
//! first_byte_timeout_seconds = 600
//! idle_timeout_seconds = 300
//! unpriced = "count"                          # or "block": refuse budgeted keys a model without a price
//! ```
//!
//! Only `[eavs]` and `[providers]` are read; octo checks the whole file. `ANTHROPIC_API_KEY` (`ANTHROPIC_BASE_URL`) and
//! `OPENAI_API_KEY` (`OPENAI_BASE_URL`) make the providers `anthropic` and `openai` unless the file has them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::dialect::Api;
use crate::limits::Deadlines;
use crate::models;

/// Name of the built-in demonstration provider.
pub const DEMO: &str = "demo";

/// Why the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file is there but cannot be read.
    #[error("could not read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Not TOML, or a section of another shape. The message never quotes the file, which may hold keys.
    #[error("{path}{at} is not a configuration that octo-eavs can read: {message}")]
    Parse {
        /// The file.
        path: PathBuf,
        /// ` line N`, if known.
        at: String,
        /// What is wrong, without the source line.
        message: String,
    },
    /// One provider is wrong.
    #[error("[providers.{name}] {message}")]
    Provider {
        /// The provider.
        name: String,
        /// What is wrong and what to write instead.
        message: String,
    },
}

/// A price list entry, US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cost {
    /// Input that was not cached.
    #[serde(default)]
    pub input: f64,
    /// Output, thinking included.
    #[serde(default)]
    pub output: f64,
    /// Input read from the provider's cache.
    #[serde(default)]
    pub cache_read: f64,
    /// Input written to the provider's cache.
    #[serde(default)]
    pub cache_write: f64,
}

/// One model of a provider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// As requests name it.
    pub id: String,
    /// As people read it.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it can think.
    #[serde(default)]
    pub reasoning: bool,
    /// `text`, `image`.
    #[serde(default = "text_only")]
    pub input: Vec<String>,
    /// Tokens.
    #[serde(default)]
    pub context_window: Option<u64>,
    /// Tokens of one answer.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// Prices; without them usage is counted and marked as unpriced.
    #[serde(default)]
    pub cost: Option<Cost>,
}

fn text_only() -> Vec<String> {
    vec!["text".to_owned()]
}

/// Where a provider's key comes from and whether it is there.
#[derive(Debug, Clone)]
pub enum Credential {
    /// The provider needs none.
    None,
    /// The key.
    Key(SecretString),
    /// The environment variable that should hold it is not set.
    Missing(String),
}

/// A provider, checked.
#[derive(Debug, Clone)]
pub struct Provider {
    /// The first part of its routes.
    pub name: String,
    /// Its dialect.
    pub api: Api,
    /// What `v1/…` paths are joined to, without a trailing slash; ends in a version segment.
    pub root: Url,
    /// Its key.
    pub credential: Credential,
    /// Additional headers; their values may be secret.
    pub headers: HeaderMap,
    /// Its models.
    pub models: Vec<Model>,
}

impl Provider {
    /// The URL for a path below the provider, `v1/messages` for example, with the query as it came.
    pub fn url(&self, path: &str, query: Option<&str>) -> Result<Url, url::ParseError> {
        let path = path.strip_prefix("v1").unwrap_or(path);
        let mut text = self.root.as_str().trim_end_matches('/').to_owned();
        text.push_str(path);
        if let Some(query) = query {
            text.push('?');
            text.push_str(query);
        }
        Url::parse(&text)
    }

    /// The model's entry, if the provider's list has it.
    pub fn model(&self, id: &str) -> Option<&Model> {
        self.models.iter().find(|m| m.id == id)
    }

    /// Every secret of this provider, to keep them out of answers.
    pub fn secrets(&self) -> Vec<&str> {
        let key = match &self.credential {
            Credential::Key(key) => Some(key.expose_secret()),
            _ => None,
        };
        let headers = self.headers.values().filter(|v| v.is_sensitive());
        key.into_iter().chain(headers.filter_map(|v| v.to_str().ok())).filter(|s| !s.is_empty()).collect()
    }
}

/// What to do with a budgeted key and a model without a price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unpriced {
    /// Forward, count the tokens, mark the request as unpriced.
    #[default]
    Count,
    /// Refuse.
    Block,
}

/// Everything that a reload replaces.
#[derive(Debug, Clone, Default)]
pub struct Catalog {
    /// By name, without the demo.
    pub providers: BTreeMap<String, Provider>,
    /// Deadlines towards providers.
    pub deadlines: Deadlines,
    /// Policy for unpriced models.
    pub unpriced: Unpriced,
}

#[derive(Deserialize, Default)]
struct File {
    #[serde(default)]
    eavs: EavsSection,
    #[serde(default)]
    providers: BTreeMap<String, ProviderSection>,
}

/// octo's own keys of `[eavs]` are octo's to check, so unknown ones are not refused here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct EavsSection {
    connect_timeout_seconds: Option<u64>,
    first_byte_timeout_seconds: Option<u64>,
    idle_timeout_seconds: Option<u64>,
    unpriced: Unpriced,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ProviderSection {
    api: Api,
    base_url: String,
    #[serde(default)]
    api_key: Option<String>,
    #[serde(default)]
    models: Vec<Model>,
    #[serde(default)]
    headers: BTreeMap<String, String>,
}

impl Catalog {
    /// Reads the file (an absent one is empty) and the environment that `env` looks up.
    pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(source) => {
                return Err(ConfigError::Read { path: path.to_owned(), source });
            }
        };
        Self::parse(path, &text, env)
    }

    fn parse(path: &Path, text: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let file: File = toml::from_str(text).map_err(|e: toml::de::Error| {
            let line = e.span().and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
            ConfigError::Parse {
                path: path.to_owned(),
                at: line.map(|n| format!(" line {n}")).unwrap_or_default(),
                message: unquoted(e.message()),
            }
        })?;
        let mut providers = BTreeMap::new();
        for (name, section) in file.providers {
            let provider = section.check(&name, env)?;
            providers.insert(name, provider);
        }
        for (name, api, default_url, list) in [
            ("anthropic", Api::AnthropicMessages, "https://api.anthropic.com", models::anthropic as fn() -> _),
            ("openai", Api::OpenaiResponses, "https://api.openai.com", models::openai),
        ] {
            let upper = name.to_ascii_uppercase();
            let key = env(&format!("{upper}_API_KEY")).filter(|k| !k.trim().is_empty());
            if let (false, Some(key)) = (providers.contains_key(name), key) {
                let section = ProviderSection {
                    api,
                    base_url: env(&format!("{upper}_BASE_URL")).filter(|u| !u.trim().is_empty()).unwrap_or_else(|| default_url.to_owned()),
                    api_key: Some(key),
                    models: list(),
                    headers: BTreeMap::new(),
                };
                providers.insert(name.to_owned(), section.check(name, env)?);
            }
        }
        let default = Deadlines::default();
        let seconds = |n: Option<u64>, d: Duration| n.map_or(d, |n| Duration::from_secs(n.clamp(1, 86_400)));
        Ok(Self {
            providers,
            deadlines: Deadlines {
                connect: seconds(file.eavs.connect_timeout_seconds, default.connect),
                first_byte: seconds(file.eavs.first_byte_timeout_seconds, default.first_byte),
                idle: seconds(file.eavs.idle_timeout_seconds, default.idle),
            },
            unpriced: file.eavs.unpriced,
        })
    }
}

impl ProviderSection {
    fn check(self, name: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<Provider, ConfigError> {
        let wrong = |message: String| ConfigError::Provider { name: name.to_owned(), message };
        let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(good) || !name.as_bytes()[0].is_ascii_alphanumeric() {
            return Err(wrong("a provider's name has 1 to 64 characters of a-z 0-9 . _ - and starts with a letter or digit".into()));
        }
        if [DEMO, "admin", "health", "v1"].contains(&name) {
            return Err(wrong("this name is octo-eavs' own: choose another".into()));
        }
        let root = root_of(&self.base_url).map_err(wrong)?;
        let lookup = |value: &str| match value.strip_prefix("env:") {
            Some(var) => env(var).filter(|v| !v.trim().is_empty()).ok_or_else(|| var.to_owned()),
            None => Ok(value.to_owned()),
        };
        let credential = match &self.api_key {
            None => Credential::None,
            Some(value) => match lookup(value) {
                Ok(key) => {
                    if HeaderValue::from_str(key.trim()).is_err() || key.trim().is_empty() {
                        return Err(wrong("api_key is empty or holds characters that no HTTP header can carry".into()));
                    }
                    Credential::Key(key.trim().to_owned().into())
                }
                Err(var) => Credential::Missing(var),
            },
        };
        let mut headers = HeaderMap::new();
        for (key, value) in &self.headers {
            let header = HeaderName::from_bytes(key.as_bytes()).map_err(|_| wrong(format!("headers: {key:?} is no header name")))?;
            let text = lookup(value).map_err(|var| wrong(format!("headers.{key}: the environment variable {var} is not set")))?;
            let mut value =
                HeaderValue::from_str(&text).map_err(|_| wrong(format!("headers.{key} holds characters that no HTTP header can carry")))?;
            value.set_sensitive(true);
            headers.insert(header, value);
        }
        Ok(Provider { name: name.to_owned(), api: self.api, root, credential, headers, models: self.models })
    }
}

/// A parser's message without the strings of the file that it quotes, which may be keys in the wrong place.
fn unquoted(message: &str) -> String {
    let mut out = String::new();
    let mut rest = message;
    while let Some((before, after)) = rest.split_once("string \"") {
        out.push_str(before);
        out.push_str("a string");
        rest = after.split_once("\", expected").map_or("", |(_, tail)| tail);
        out.push_str(if rest.is_empty() { "" } else { ", expected" });
    }
    out.push_str(rest);
    match out.strip_prefix("unknown variant `").and_then(|tail| tail.split_once("`, ")) {
        Some((_, tail)) => format!("unknown value, {tail}"),
        None => out,
    }
}

/// The base URL with its version segment: `/v1` is added unless the path names a version (`v1`, `v4`, `v1beta`) already.
fn root_of(base: &str) -> Result<Url, String> {
    let mut url =
        Url::parse(base.trim()).map_err(|e| format!("base_url is not a URL ({e}): write for example \"https://api.example.com/v1\""))?;
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
        return Err("base_url has to start with http:// or https:// and name a host".into());
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("base_url must hold no user, password, query or fragment: a key belongs in api_key".into());
    }
    let version = |s: &str| s.strip_prefix('v').is_some_and(|v| v.starts_with(|c: char| c.is_ascii_digit()));
    let path = url.path().trim_end_matches('/').to_owned();
    let path = if path.split('/').any(version) { path } else { format!("{path}/v1") };
    url.set_path(&path);
    Ok(url)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(text: &str, env: &[(&str, &str)]) -> Result<Catalog, ConfigError> {
        let env: BTreeMap<String, String> = env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        Catalog::parse(Path::new("config.toml"), text, &|name| env.get(name).cloned())
    }

    #[test]
    fn a_base_url_works_with_and_without_its_version() {
        for (base, want) in [
            ("https://api.anthropic.com", "https://api.anthropic.com/v1/messages?beta=true"),
            ("https://api.anthropic.com/", "https://api.anthropic.com/v1/messages?beta=true"),
            ("https://api.anthropic.com/v1", "https://api.anthropic.com/v1/messages?beta=true"),
            ("https://api.anthropic.com/v1/", "https://api.anthropic.com/v1/messages?beta=true"),
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434/v1/messages?beta=true"),
            ("https://x.example/api/paas/v4", "https://x.example/api/paas/v4/messages?beta=true"),
            ("https://x.example/v1beta/openai", "https://x.example/v1beta/openai/messages?beta=true"),
            ("https://x.example/vertex", "https://x.example/vertex/v1/messages?beta=true"),
        ] {
            let text = format!("[providers.p]\napi='anthropic-messages'\nbase_url='{base}'\n");
            let catalog = parse(&text, &[]).unwrap();
            let url = catalog.providers["p"].url("v1/messages", Some("beta=true")).unwrap();
            assert_eq!(url.as_str(), want, "{base}");
        }
    }

    #[test]
    fn a_key_comes_from_the_file_or_the_environment_and_other_sections_are_ignored() {
        let text = "[server]\nport=1\n[eavs]\nenabled=true\nidle_timeout_seconds=7\n\
            [providers.a]\napi='openai-completions'\nbase_url='http://h'\napi_key='env:A'\n\
            [providers.b]\napi='openai-responses'\nbase_url='http://h'\napi_key='lit'\nheaders={x-org='env:ORG'}\n\
            [providers.c]\napi='openai-completions'\nbase_url='http://h'\napi_key='env:GONE'\n";
        let catalog = parse(text, &[("A", "from-env"), ("ORG", "acme"), ("OPENAI_API_KEY", "sk")]).unwrap();
        assert_eq!(catalog.providers["a"].secrets(), ["from-env"]);
        assert_eq!(catalog.providers["b"].secrets(), ["lit", "acme"]);
        assert!(matches!(&catalog.providers["c"].credential, Credential::Missing(v) if v == "GONE"));
        assert_eq!(catalog.providers["openai"].api, Api::OpenaiResponses);
        assert!(!catalog.providers.contains_key("anthropic"));
        assert_eq!(catalog.deadlines.idle, Duration::from_secs(7));
        assert!(!format!("{catalog:?}").contains("from-env"), "Debug shows no key");
    }

    #[test]
    fn what_is_wrong_is_said_with_the_place_and_without_the_key() {
        let cases = [
            ("[providers.demo]\napi='openai-completions'\nbase_url='http://h'", "own"),
            ("[providers.Bad]\napi='openai-completions'\nbase_url='http://h'", "a-z"),
            ("[providers.p]\napi='openai-completions'\nbase_url='ftp://h'", "http://"),
            ("[providers.p]\napi='openai-completions'\nbase_url='http://u:CANARY@h'", "api_key"),
            ("[providers.p]\napi='openai-completions'\nbase_url='http://h'\napi_key='CANARY\\n'\nspeed=1", "line 5"),
            ("[providers.p]\napi='nope'\nbase_url='http://h'\napi_key='CANARY'", "anthropic-messages"),
            ("[providers.p]\napi_key='CANARY' x", "line 2"),
            ("[providers.p]\napi='openai-completions'\nbase_url='http://h'\nmodels='CANARY'", "expected a sequence"),
            ("[eavs]\nunpriced='CANARY'", "count"),
        ];
        for (text, want) in cases {
            let said = parse(text, &[]).unwrap_err().to_string();
            assert!(said.contains(want), "{text:?} said {said:?}");
            assert!(!said.contains("CANARY"), "{said}");
        }
    }
}
