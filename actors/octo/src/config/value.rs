//! A value and where it comes from.

use std::fmt;
use std::path::PathBuf;

use serde_json::json;

use super::key::{Default, Key, Kind};

/// A checked value.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Nobody set it and it has no default.
    None,
    /// A flag.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// A text, path or word.
    Text(String),
    /// A list of texts.
    List(Vec<String>),
    /// Tables and lists of them.
    Json(serde_json::Value),
}

impl Value {
    /// The key's default.
    #[must_use]
    pub fn default_of(key: &Key) -> Self {
        match key.default {
            Default::None | Default::Derived(_) => Self::None,
            Default::Bool(b) => Self::Bool(b),
            Default::Integer(n) => Self::Integer(n),
            Default::Number(n) => Self::Number(n),
            Default::Text(t) => Self::Text(t.to_owned()),
            Default::List(list) => Self::List(list.iter().map(|&t| t.to_owned()).collect()),
        }
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::None => serde_json::Value::Null,
            Self::Bool(b) => json!(b),
            Self::Integer(n) => json!(n),
            Self::Number(n) => json!(n),
            Self::Text(t) => json!(t),
            Self::List(list) => json!(list),
            Self::Json(value) => value.clone(),
        }
    }

    /// Reads the text of an environment variable or flag as `key` takes it.
    ///
    /// # Errors
    /// What the key takes instead.
    pub fn parse(key: &Key, text: &str) -> Result<Self, String> {
        let wrong = || format!("takes {}", key.takes());
        let value = match key.kind {
            Kind::Bool => match text {
                "true" | "1" | "yes" | "on" => Self::Bool(true),
                "false" | "0" | "no" | "off" => Self::Bool(false),
                _ => return Err(wrong()),
            },
            Kind::Integer(..) => Self::Integer(text.trim().parse().map_err(|_| wrong())?),
            Kind::Number(_) => Self::Number(text.trim().parse().map_err(|_| wrong())?),
            Kind::Text | Kind::Path | Kind::Choice(_) => Self::Text(text.to_owned()),
            Kind::List => Self::List(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect()),
            Kind::Tables(_) | Kind::Map => return Err("cannot be set by a variable; write it in the file".to_owned()),
        };
        value.checked(key)
    }

    /// Checks range and choice.
    ///
    /// # Errors
    /// What the key takes instead.
    pub fn checked(self, key: &Key) -> Result<Self, String> {
        let good = match (&self, key.kind) {
            (Self::Bool(_), Kind::Bool) | (Self::List(_), Kind::List) | (Self::Json(_), Kind::Tables(_) | Kind::Map) => true,
            (Self::Integer(n), Kind::Integer(low, high)) => (low..=high).contains(n),
            (Self::Number(n), Kind::Number(low)) => n.is_finite() && *n >= low,
            (Self::Text(t), Kind::Choice(words)) => words.contains(&t.as_str()),
            // An empty text means "not set" everywhere; written down it is a mistake.
            (Self::Text(t), Kind::Text | Kind::Path) => !t.is_empty() && !t.contains('\0'),
            _ => false,
        };
        if good { Ok(self) } else { Err(format!("takes {}", key.takes())) }
    }
}

impl fmt::Debug for Value {
    /// Never shows a value: it may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::None { "None" } else { "…" })
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The table.
    Default,
    /// The file, with the line from 1.
    File(PathBuf, usize),
    /// An environment variable.
    Env(String),
    /// A command-line flag.
    Flag(&'static str),
    /// The embedding program.
    Program,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
            Self::Program => f.write_str("program"),
        }
    }
}
