//! `octo config show`: every key with its value and its origin, secrets hidden.

use serde::Serialize;

use super::key::Capability;
use super::load::Config;
use super::table;
use super::value::{Origin, Value};

/// What stands for a secret.
pub const HIDDEN: &str = "…";

/// One line of `octo config show`.
#[derive(Debug, Clone, Serialize)]
pub struct Shown {
    /// `section.key`
    pub key: String,
    /// The value; `…` for a secret.
    pub value: serde_json::Value,
    /// `default`, `FILE:LINE`, `env NAME`, `flag NAME`.
    pub origin: String,
    /// Why it has no effect, if it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_built: Option<&'static str>,
}

/// Every key; only those that somebody set unless `all`.
#[must_use]
pub fn show(config: &Config, all: bool) -> Vec<Shown> {
    let mut rows = Vec::new();
    for key in table::keys() {
        let mut matching = config.entries().filter(|(path, ..)| key.matches(path)).peekable();
        if matching.peek().is_none() && !key.path.contains('*') {
            continue;
        }
        for (path, value, origin) in matching {
            if !all && *origin == Origin::Default {
                continue;
            }
            let value = match value {
                Value::None if key.default_text() != "not set" && *origin == Origin::Default => {
                    serde_json::Value::from(format!("({})", key.default_text()))
                }
                Value::None => serde_json::Value::Null,
                // The name of a variable is no secret, and the first thing one looks for.
                Value::Text(text) if key.secret && text.starts_with("env:") => serde_json::Value::from(text.clone()),
                _ if key.secret => serde_json::Value::from(HIDDEN),
                value => value.to_json(),
            };
            let not_built = match key.capability {
                Capability::NotBuilt(sentence) => Some(sentence),
                Capability::Built => None,
            };
            rows.push(Shown { key: path.to_owned(), value, origin: origin.to_string(), not_built });
        }
    }
    rows
}
