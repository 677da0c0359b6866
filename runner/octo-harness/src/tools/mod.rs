//! octo's own tools: what an agent can do in octo itself, whatever agent it is.
//!
//! Owns: their names, what the model reads of them, the JSON Schema of their arguments, and the arguments as types. [`mcp`] offers them by the Model
//! Context Protocol, without a process or a port.
//!
//! Promises: what the schema allows parses, and what it does not is refused with a sentence for the model; what is shown to a person is bounded.
//!
//! Never: carries one out. That is the translator's, which knows what its agent waits for.

pub mod ask;
pub mod mcp;
pub mod title;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// A tool as it is offered.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    /// For the model.
    pub description: &'static str,
    /// JSON Schema of the arguments: an object.
    pub schema: Value,
}

/// A call of a tool, with its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    Title(title::Title),
    Ask(ask::Ask),
}

/// Why a call cannot be carried out: a sentence for the model, which may call again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("octo has no tool {0:?}")]
    Unknown(String),
    #[error("{tool} was not called as its schema says: {why}")]
    Arguments { tool: &'static str, why: String },
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Definition> {
    vec![title::definition(), ask::definition()]
}

/// Whether there is one with this name.
#[must_use]
pub fn exists(name: &str) -> bool {
    matches!(name, title::NAME | ask::NAME)
}

impl Call {
    /// Reads a call.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn parse(name: &str, arguments: Value) -> Result<Self, Refusal> {
        match name {
            title::NAME => title::Title::checked(arguments_of(title::NAME, arguments)?).map(Self::Title),
            ask::NAME => ask::Ask::checked(arguments_of(ask::NAME, arguments)?).map(Self::Ask),
            other => Err(Refusal::Unknown(other.chars().take(100).collect())),
        }
    }
}

fn arguments_of<T: DeserializeOwned>(tool: &'static str, arguments: Value) -> Result<T, Refusal> {
    serde_json::from_value(arguments).map_err(|error| Refusal::Arguments { tool, why: error.to_string() })
}

fn refused(tool: &'static str, why: impl Into<String>) -> Refusal {
    Refusal::Arguments { tool, why: why.into() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::json;

    /// As far as the schemas of octo's tools go: properties with a type, which are required, and no others.
    fn required_only(schema: &Value) -> Value {
        let required = schema["required"].as_array().unwrap();
        required.iter().map(|name| (name.as_str().unwrap().to_owned(), json!("x"))).collect::<serde_json::Map<_, _>>().into()
    }

    #[test]
    fn every_tool_takes_what_its_schema_requires_and_nothing_that_it_does_not_know() {
        for tool in all() {
            assert!(exists(tool.name));
            assert_eq!(tool.schema["type"], "object");
            assert_eq!(tool.schema["additionalProperties"], false);
            let arguments = required_only(&tool.schema);
            assert!(Call::parse(tool.name, arguments.clone()).is_ok(), "{}", tool.name);
            let mut more = arguments.clone();
            more["nonsense"] = json!(1);
            assert!(matches!(Call::parse(tool.name, more), Err(Refusal::Arguments { .. })), "{}", tool.name);
            for missing in [json!({}), json!(null), json!([1]), json!("x")] {
                assert!(matches!(Call::parse(tool.name, missing), Err(Refusal::Arguments { .. })), "{}", tool.name);
            }
        }
        assert!(!exists("rm") && Call::parse("rm", json!({})) == Err(Refusal::Unknown("rm".into())));
    }
}
