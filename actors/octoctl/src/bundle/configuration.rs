//! The configuration without what it keeps secret: as octo shows it, or, when octo is down, from its file.

use octo_protocol::admin::{HIDDEN, ShownKey};
use serde_json::Value;

/// The keys whose values octo hides, and those with addresses that hold credentials.
pub fn hidden(keys: &[ShownKey]) -> Vec<String> {
    keys.iter().filter(|key| key.value == HIDDEN).map(|key| key.key.clone()).collect()
}

/// The keys of a file of which nobody says which are secret: numbers and flags are shown, texts are not, but for those that name a variable.
///
/// # Errors
/// What is wrong with the file; without a word of it.
pub fn of_file(text: &str, file: &str) -> Result<Vec<ShownKey>, String> {
    let table: toml::Table = toml::from_str(text).map_err(|_| "it is no TOML".to_owned())?;
    let value = serde_json::to_value(table).map_err(|error| error.to_string())?;
    let mut keys = Vec::new();
    flatten(String::new(), &value, file, &mut keys);
    Ok(keys)
}

fn flatten(path: String, value: &Value, file: &str, keys: &mut Vec<ShownKey>) {
    let value = match value {
        Value::Object(members) => {
            for (name, value) in members {
                let below = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                flatten(below, value, file, keys);
            }
            return;
        }
        Value::Bool(_) | Value::Number(_) => value.clone(),
        Value::String(text) if text.starts_with("env:") => value.clone(),
        Value::Null | Value::String(_) | Value::Array(_) => Value::from(HIDDEN),
    };
    keys.push(ShownKey { key: path, value, origin: file.to_owned(), not_built: None });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn of_a_file_that_only_octo_understands_no_text_is_shown() {
        let text = "profile = \"mine\"\n[server]\nport = 1\n[providers.x]\napi_key = \"k\"\nheaders = { a = \"b\" }\nmodels = [{ id = \"m\" }]\n[providers.y]\napi_key = \"env:KEY\"\n";
        let keys = of_file(text, "f").unwrap();
        let shown: Vec<(&str, &Value)> = keys.iter().filter(|key| key.value != HIDDEN).map(|key| (key.key.as_str(), &key.value)).collect();
        assert_eq!(shown, [("providers.y.api_key", &Value::from("env:KEY")), ("server.port", &Value::from(1))]);
        assert_eq!(hidden(&keys), ["profile", "providers.x.api_key", "providers.x.headers.a", "providers.x.models"]);
        assert!(!of_file("password = \"x", "f").unwrap_err().contains('x'));
    }
}
