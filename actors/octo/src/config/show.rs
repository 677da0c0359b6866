//! `octo config show`: every key with its value and its origin, secrets hidden.

use octo_protocol::admin::{HIDDEN, ShownKey};

use super::key::Capability;
use super::load::Config;
use super::table;
use super::value::{Origin, Value};

/// Every key; only those that somebody set unless `all`.
#[must_use]
pub fn show(config: &Config, all: bool) -> Vec<ShownKey> {
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
                Capability::NotBuilt(sentence) => Some(sentence.to_owned()),
                Capability::Built => None,
            };
            rows.push(ShownKey { key: path.to_owned(), value, origin: origin.to_string(), not_built });
        }
    }
    rows
}
