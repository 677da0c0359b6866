//! Providers and models as octo-eavs shows them: never a key among them.

use octo_protocol::model::{Model, ModelCost};
use octo_protocol::provision::{ProvisionedModel, ProvisionedProvider};
use serde::Deserialize;

use super::client::{EavsError, ModelDefaults};
use crate::config::{HarnessSettings, PiSettings};

/// A provider.
#[derive(Debug, Clone, Deserialize)]
pub struct EavsProvider {
    /// The first half of `provider/model`.
    pub name: String,
    /// Its dialect.
    pub api: String,
    /// Whether its key is known.
    #[serde(default)]
    pub has_api_key: bool,
    /// Whether it takes one.
    #[serde(default)]
    pub needs_api_key: bool,
    /// The variable that should hold its key and is not set.
    #[serde(default)]
    pub missing_env: Option<String>,
    /// Whether it only demonstrates.
    #[serde(default)]
    pub demo: bool,
    /// Its models.
    #[serde(default)]
    pub models: Vec<EavsModel>,
}

/// A model.
#[derive(Debug, Clone, Deserialize)]
pub struct EavsModel {
    /// The second half of `provider/model`.
    pub id: String,
    /// As people read it.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether it can think.
    #[serde(default)]
    pub reasoning: bool,
    /// `text`, `image`.
    #[serde(default)]
    pub input: Vec<String>,
    /// Tokens.
    #[serde(default)]
    pub context_window: Option<u64>,
    /// Tokens of one answer.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// US dollars per million tokens.
    #[serde(default)]
    pub cost: Option<EavsCost>,
}

/// Prices.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(default)]
pub struct EavsCost {
    /// Input.
    pub input: f64,
    /// Output.
    pub output: f64,
    /// Input from the cache.
    pub cache_read: f64,
    /// Input into the cache.
    pub cache_write: f64,
}

impl EavsProvider {
    /// Whether sessions can use it.
    #[must_use]
    pub fn is_usable(&self) -> bool {
        self.has_api_key || !self.needs_api_key
    }
}

impl EavsModel {
    fn shown(&self) -> String {
        self.name.clone().unwrap_or_else(|| self.id.clone())
    }

    fn price(&self) -> Option<ModelCost> {
        self.cost.map(|c| ModelCost { input: c.input, output: c.output, cache_read: c.cache_read, cache_write: c.cache_write })
    }
}

/// Every provider that octo-eavs has.
#[derive(Debug, Clone, Default)]
pub struct Catalog(pub Vec<EavsProvider>);

impl Catalog {
    /// What a session is told: the providers it can use.
    #[must_use]
    pub fn provisioned(&self) -> Vec<ProvisionedProvider> {
        let model = |m: &EavsModel| ProvisionedModel {
            id: m.id.clone(),
            name: m.shown(),
            reasoning: m.reasoning,
            input: m.input.clone(),
            context_window: m.context_window.unwrap_or(128_000),
            max_tokens: m.max_tokens.unwrap_or(8192),
            cost: m.price(),
        };
        let usable = self.0.iter().filter(|p| p.is_usable());
        usable
            .map(|p| ProvisionedProvider { name: p.name.clone(), api: p.api.clone(), models: p.models.iter().map(model).collect() })
            .collect()
    }

    /// What `harness` is offered of it: its models, and the providers that have any left.
    #[must_use]
    pub fn offered(&self, harness: &HarnessSettings) -> Self {
        let of = |provider: &EavsProvider| {
            let models = provider.models.iter().filter(|model| harness.offers(&provider.name, &model.id)).cloned().collect();
            EavsProvider { models, ..provider.clone() }
        };
        Self(self.0.iter().map(of).filter(|provider| harness.models.is_empty() || !provider.models.is_empty()).collect())
    }

    /// Why a session of `harness` cannot have what it asks for although it is there: a sentence. This is what the harness is offered.
    pub(super) fn not_offered(&self, harness: &HarnessSettings, wanted: &ModelDefaults) -> String {
        let wanted = match (&wanted.provider, &wanted.model) {
            (Some(provider), Some(model)) => format!("{provider}/{model}"),
            (Some(name), None) | (None, Some(name)) => name.clone(),
            (None, None) => "the model of sessions that name none".to_owned(),
        };
        let shown: String = wanted.chars().take(200).collect();
        let usable = self.0.iter().filter(|p| p.is_usable());
        let names: Vec<String> = usable.flat_map(|p| p.models.iter().map(|m| format!("{}/{}", p.name, m.id))).take(20).collect();
        let has = if names.is_empty() { "none that can be used".to_owned() } else { names.join(", ") };
        format!("harness.{}.models does not offer {shown} to {}; it offers: {has}", harness.name, harness.label)
    }

    /// Every model that can be used.
    #[must_use]
    pub fn models(&self) -> Vec<Model> {
        let of = |p: &EavsProvider, m: &EavsModel| Model {
            id: m.id.clone(),
            name: m.shown(),
            api: p.api.clone(),
            provider: p.name.clone(),
            reasoning: m.reasoning,
            input: m.input.clone(),
            context_window: m.context_window.unwrap_or(128_000),
            max_tokens: m.max_tokens.unwrap_or(8192),
            cost: m.price(),
        };
        self.0.iter().filter(|p| p.is_usable()).flat_map(|p| p.models.iter().map(move |m| of(p, m))).collect()
    }

    /// Provider and model of a session that asks for `wanted`.
    ///
    /// Nothing asked for: what the configuration names, if that provider can be used; else, if nobody chose one, the first that can be;
    /// else the demonstration.
    ///
    /// # Errors
    /// [`EavsError::Unknown`] for a provider or model that is not there, with those that are.
    pub fn choose(&self, pi: &PiSettings, wanted: &ModelDefaults) -> Result<(String, String), EavsError> {
        let usable = || self.0.iter().filter(|p| p.is_usable() && !p.models.is_empty());
        let find = |name: &str| usable().find(|p| p.name == name);
        let names = || usable().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ");
        let provider = match (&wanted.provider, &wanted.model) {
            (Some(name), _) => find(name).ok_or_else(|| self.unusable(name, &names()))?,
            (None, Some(model)) => usable().find(|p| p.models.iter().any(|m| m.id == *model)).ok_or_else(|| {
                EavsError::Unknown(format!("no provider has the model {model:?}; models are listed in GET /api/features"))
            })?,
            (None, None) => find(&pi.default_provider)
                .or_else(|| if pi.default_chosen { None } else { usable().find(|p| !p.demo) })
                .or_else(|| usable().find(|p| p.demo))
                // Only what a harness is offered may be without the demonstration.
                .or_else(|| usable().next())
                .ok_or_else(|| EavsError::Unknown("octo-eavs has no provider that can be used".to_owned()))?,
        };
        let model = match &wanted.model {
            Some(id) => provider.models.iter().find(|m| m.id == *id).ok_or_else(|| {
                let ids: Vec<&str> = provider.models.iter().map(|m| m.id.as_str()).take(20).collect();
                EavsError::Unknown(format!("the provider {} has no model {id:?}; it has {}", provider.name, ids.join(", ")))
            })?,
            None => provider
                .models
                .iter()
                .find(|m| provider.name == pi.default_provider && m.id == pi.default_model)
                .unwrap_or(&provider.models[0]),
        };
        Ok((provider.name.clone(), model.id.clone()))
    }

    fn unusable(&self, name: &str, usable: &str) -> EavsError {
        let known = self.0.iter().find(|p| p.name == name);
        EavsError::Unknown(match known {
            Some(EavsProvider { missing_env: Some(variable), .. }) => {
                format!("the provider {name} has no key: set {variable} and start octo again")
            }
            Some(p) if p.models.is_empty() => format!("the provider {name} has no models: list them in [providers.{name}] models"),
            _ => format!("there is no provider {name:?}; there are {usable}"),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    fn catalog(providers: serde_json::Value) -> Catalog {
        let mut list: Vec<EavsProvider> = serde_json::from_value(providers).unwrap();
        list.push(
            serde_json::from_value(json!({"name": "demo", "api": "anthropic-messages", "demo": true, "models": [{"id": "scripted"}]}))
                .unwrap(),
        );
        Catalog(list)
    }

    fn pi(chosen: bool) -> PiSettings {
        PiSettings { default_provider: "anthropic".into(), default_model: "claude".into(), default_chosen: chosen }
    }

    fn chosen(catalog: &Catalog, pi: &PiSettings, provider: Option<&str>, model: Option<&str>) -> Result<String, String> {
        let wanted = ModelDefaults { provider: provider.map(Into::into), model: model.map(Into::into) };
        catalog.choose(pi, &wanted).map(|(p, m)| format!("{p}/{m}")).map_err(|e| e.to_string())
    }

    #[test]
    fn a_session_gets_the_configured_model_if_its_provider_has_a_key() {
        let with_key = catalog(
            json!([{"name": "anthropic", "api": "a", "has_api_key": true, "needs_api_key": true, "models": [{"id": "other"}, {"id": "claude"}]}]),
        );
        assert_eq!(chosen(&with_key, &pi(false), None, None).unwrap(), "anthropic/claude");
        let without =
            catalog(json!([{"name": "anthropic", "api": "a", "needs_api_key": true, "missing_env": "KEY", "models": [{"id": "claude"}]}]));
        assert_eq!(chosen(&without, &pi(false), None, None).unwrap(), "demo/scripted");
        assert!(chosen(&without, &pi(false), Some("anthropic"), None).unwrap_err().contains("set KEY"));
        assert_eq!(chosen(&catalog(json!([])), &pi(true), None, None).unwrap(), "demo/scripted");
    }

    #[test]
    fn a_local_provider_is_used_unless_another_was_chosen() {
        let local = catalog(json!([{"name": "ollama", "api": "o", "models": [{"id": "qwen"}]}]));
        assert_eq!(chosen(&local, &pi(false), None, None).unwrap(), "ollama/qwen");
        assert_eq!(chosen(&local, &pi(true), None, None).unwrap(), "demo/scripted");
        assert_eq!(chosen(&local, &pi(false), Some("demo"), None).unwrap(), "demo/scripted");
        assert_eq!(chosen(&local, &pi(false), None, Some("scripted")).unwrap(), "demo/scripted");
    }

    #[test]
    fn what_is_not_there_is_answered_with_what_is() {
        let local = catalog(json!([{"name": "ollama", "api": "o", "models": [{"id": "qwen"}]}]));
        assert!(chosen(&local, &pi(false), Some("nope"), None).unwrap_err().contains("ollama, demo"));
        assert!(chosen(&local, &pi(false), Some("ollama"), Some("nope")).unwrap_err().contains("qwen"));
        assert!(chosen(&local, &pi(false), None, Some("nope")).unwrap_err().contains("no provider has"));
    }
}
