//! Loading: defaults, file, environment, flags, in this order, and what is wrong with them, all at once.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file::{self, Found};
use super::key::Capability;
use super::table;
use super::value::{Origin, Value};
use crate::paths::{Paths, PathsError};

/// Largest configuration file, in bytes.
pub const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File and line, or variable.
    pub place: String,
    /// A sentence that says what to write instead.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Why octo cannot start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Where to live.
    #[error(transparent)]
    Paths(#[from] PathsError),
    /// The file is there but cannot be read, or it was named and is not there.
    #[error("could not read the configuration {}: {source}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Too large to be one.
    #[error("the configuration {} is over {MAX_FILE_BYTES} bytes: this is not octo's", .0.display())]
    TooLarge(PathBuf),
    /// Keys and values.
    #[error("the configuration has mistakes:\n{}", .0.iter().map(|p| format!("  {p}")).collect::<Vec<_>>().join("\n"))]
    Invalid(Vec<Problem>),
    /// A combination that would be dangerous.
    #[error("{0}")]
    Dangerous(String),
}

/// What a command line or an embedding program sets over everything else.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// The file, instead of the one in the configuration directory; it has to exist.
    pub file: Option<PathBuf>,
    /// Keys with their value as text.
    pub values: Vec<(&'static str, String, Origin)>,
}

impl Overrides {
    /// Sets `path`, as the flag `flag` says.
    #[must_use]
    pub fn flag(mut self, path: &'static str, value: Option<String>, flag: &'static str) -> Self {
        self.values.extend(value.map(|v| (path, v, Origin::Flag(flag))));
        self
    }

    /// Sets `path`, as the embedding program says.
    #[must_use]
    pub fn set(mut self, path: &'static str, value: impl Into<String>) -> Self {
        self.values.push((path, value.into(), Origin::Program));
        self
    }

    /// Reads this file.
    #[must_use]
    pub fn file(mut self, file: Option<PathBuf>) -> Self {
        self.file = file.or(self.file);
        self
    }
}

/// Every key with its value and origin.
#[derive(Debug, Clone)]
pub struct Config {
    pub(super) env: Environment,
    pub(super) paths: Paths,
    pub(super) values: BTreeMap<String, (Value, Origin)>,
}

impl Config {
    /// Loads for the environment of this process.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn load() -> Result<Self, ConfigError> {
        Self::load_with(&Environment::process(), &Overrides::default())
    }

    /// Loads for `env`, with `overrides` on top. The default file may be absent.
    ///
    /// # Errors
    /// [`ConfigError`], with every mistake that was found.
    pub fn load_with(env: &Environment, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut paths = Paths::resolve(env)?;
        if let Some(file) = &overrides.file {
            paths.config_file.clone_from(file);
        }
        let text = read_file(&paths.config_file, overrides.file.is_some())?;
        Self::from_text(env, paths, &text, overrides)
    }

    /// As [`Config::load_with`], with the content of the file given.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`].
    pub fn from_text(env: &Environment, paths: Paths, text: &str, overrides: &Overrides) -> Result<Self, ConfigError> {
        let mut problems = Vec::new();
        let mut values: BTreeMap<String, (Value, Origin)> = table::keys()
            .filter(|key| !key.path.contains('*'))
            .map(|key| (key.path.to_owned(), (Value::default_of(key), Origin::Default)))
            .collect();
        let mut found: Vec<Found> = Vec::new();
        file::read(&paths.config_file, text, &mut found, &mut problems);
        for entry in found {
            values.insert(entry.path, (entry.value, Origin::File(paths.config_file.clone(), entry.line)));
        }
        for (name, text) in env.iter().filter(|(name, _)| name.starts_with("OCTO__")) {
            let path = name["OCTO__".len()..].to_ascii_lowercase().replace("__", ".");
            let outcome = match table::find(&path) {
                Some(key) if key.path.contains('*') => Err("cannot be set by a variable; write it in the file".to_owned()),
                Some(key) => Value::parse(key, text).map(|value| (key, value)),
                None => {
                    let meant = table::nearest(&path).and_then(|k| table::find(&k)).and_then(super::key::Key::variable);
                    Err(format!("is not a setting of octo{}", meant.map(|v| format!("; did you mean {v}?")).unwrap_or_default()))
                }
            };
            match outcome {
                Ok((key, value)) => drop(values.insert(key.path.to_owned(), (value, Origin::Env(name.to_owned())))),
                Err(what) => problems.push(Problem { place: "environment".to_owned(), what: format!("{name} {what}") }),
            }
        }
        for (path, text, origin) in &overrides.values {
            match table::find(path).ok_or_else(|| "is not a key of octo".to_owned()).and_then(|key| Value::parse(key, text)) {
                Ok(value) => drop(values.insert((*path).to_owned(), (value, origin.clone()))),
                Err(what) => problems.push(Problem { place: origin.to_string(), what: format!("{path} {what}") }),
            }
        }
        if problems.is_empty() { Ok(Self { env: env.clone(), paths, values }) } else { Err(ConfigError::Invalid(problems)) }
    }

    /// The file that was, or would be, read.
    #[must_use]
    pub fn file(&self) -> &Path {
        &self.paths.config_file
    }

    /// The environment it was loaded for.
    #[must_use]
    pub fn environment(&self) -> &Environment {
        &self.env
    }

    /// The value of a key.
    #[must_use]
    pub fn value(&self, path: &str) -> &Value {
        self.values.get(path).map_or(&Value::None, |(value, _)| value)
    }

    /// Where the value of a key comes from.
    #[must_use]
    pub fn origin(&self, path: &str) -> &Origin {
        self.values.get(path).map_or(&Origin::Default, |(_, origin)| origin)
    }

    /// Whether somebody set the key.
    #[must_use]
    pub fn is_set(&self, path: &str) -> bool {
        *self.origin(path) != Origin::Default
    }

    /// Every key that is set, or has a default, in order of the path.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Value, &Origin)> {
        self.values.iter().map(|(path, (value, origin))| (path.as_str(), value, origin))
    }

    /// A sentence for each key that is set to something else than its default and whose capability is not built.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (path, value, origin) in self.entries() {
            let Some(key) = table::find(path) else { continue };
            if let Capability::NotBuilt(sentence) = key.capability
                && *origin != Origin::Default
                && *value != Value::default_of(key)
            {
                warnings.push(format!("{path} ({origin}) has no effect: {sentence}"));
            }
        }
        warnings
    }

    pub(super) fn text(&self, path: &str) -> Option<&str> {
        if let Value::Text(text) = self.value(path) { Some(text) } else { None }
    }

    pub(super) fn flag(&self, path: &str) -> bool {
        matches!(self.value(path), Value::Bool(true))
    }

    pub(super) fn integer(&self, path: &str) -> Option<i64> {
        if let Value::Integer(n) = self.value(path) { Some(*n) } else { None }
    }

    pub(super) fn number(&self, path: &str) -> Option<f64> {
        if let Value::Number(n) = self.value(path) { Some(*n) } else { None }
    }

    pub(super) fn list(&self, path: &str) -> Vec<String> {
        if let Value::List(list) = self.value(path) { list.clone() } else { Vec::new() }
    }
}

fn read_file(path: &Path, named: bool) -> Result<String, ConfigError> {
    let failed = |source| ConfigError::Read { path: path.to_owned(), source };
    match std::fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && !named => return Ok(String::new()),
        Err(e) => return Err(failed(e)),
        Ok(meta) if meta.len() > MAX_FILE_BYTES => return Err(ConfigError::TooLarge(path.to_owned())),
        Ok(_) => {}
    }
    std::fs::read_to_string(path).map_err(failed)
}
