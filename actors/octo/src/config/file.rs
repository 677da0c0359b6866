//! The TOML file: every value with its line, checked against the table. Messages never quote the file, which may hold secrets.

use std::path::Path;

use serde_json::{Map, Value as Json};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::key::{Key, Kind};
use super::load::Problem;
use super::table;
use super::value::Value;

/// A value of the file.
pub struct Found {
    /// `section.key`, free names filled in.
    pub path: String,
    /// The value.
    pub value: Value,
    /// From 1.
    pub line: usize,
}

/// Reads `text`, the content of `path`, into `found`; what is wrong goes into `problems`.
pub fn read(path: &Path, text: &str, found: &mut Vec<Found>, problems: &mut Vec<Problem>) {
    let line_of = |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|b| **b == b'\n').count() + 1;
    let place = |line: usize| format!("{}:{line}", path.display());
    match DeTable::parse(text) {
        Err(error) => {
            let line = error.span().map_or(1, |span| line_of(span.start));
            problems.push(Problem { place: place(line), what: format!("this is not TOML: {}", error.message()) });
        }
        Ok(document) => {
            let mut walk = Walk { line_of: &line_of, place: &place, found, problems };
            walk.table(document.get_ref(), "");
        }
    }
}

struct Walk<'a> {
    line_of: &'a dyn Fn(usize) -> usize,
    place: &'a dyn Fn(usize) -> String,
    found: &'a mut Vec<Found>,
    problems: &'a mut Vec<Problem>,
}

impl Walk<'_> {
    fn table(&mut self, members: &DeTable<'_>, above: &str) {
        for (name, value) in members {
            let line = (self.line_of)(name.span().start);
            let name = name.get_ref();
            if !good_name(name) {
                self.problem(
                    line,
                    format!("{:?} is no key: keys have letters, digits, _ and -", name.chars().take(80).collect::<String>()),
                );
                continue;
            }
            let path = if above.is_empty() { name.to_string() } else { format!("{above}.{name}") };
            if let Some(key) = table::find(&path) {
                match convert(key, value) {
                    Ok(value) => self.found.push(Found { path, value, line }),
                    Err(what) => self.problem(line, format!("{path} {what}")),
                }
            } else if table::is_section(&path) {
                match value.get_ref() {
                    DeValue::Table(members) if members.is_empty() && table::is_free_section(&path) => {
                        self.problem(line, format!("[{path}] is empty: write its keys below, or remove it"));
                    }
                    DeValue::Table(members) => self.table(members, &path),
                    _ => self.problem(line, format!("{path} is a section: write [{path}] and its keys below")),
                }
            } else {
                let meant = table::nearest(&path).map(|k| format!("; did you mean {k}?")).unwrap_or_default();
                self.problem(line, format!("{path} is not a key of octo{meant}"));
            }
        }
    }

    fn problem(&mut self, line: usize, what: String) {
        self.problems.push(Problem { place: (self.place)(line), what });
    }
}

fn good_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

fn convert(key: &Key, value: &Spanned<DeValue<'_>>) -> Result<Value, String> {
    let wrong = || format!("takes {}", key.takes());
    let value = match (value.get_ref(), key.kind) {
        (DeValue::Boolean(b), Kind::Bool) => Value::Bool(*b),
        (DeValue::Integer(n), Kind::Integer(..)) => Value::Integer(integer(n).ok_or_else(wrong)?),
        (DeValue::Integer(n), Kind::Number(_)) => Value::Number(integer(n).ok_or_else(wrong)? as f64),
        (DeValue::Float(n), Kind::Number(_)) => Value::Number(n.as_str().replace('_', "").parse().map_err(|_| wrong())?),
        (DeValue::String(t), Kind::Text | Kind::Path | Kind::Choice(_)) => Value::Text(t.to_string()),
        (DeValue::Array(list), Kind::List) => {
            Value::List(list.iter().map(|v| v.get_ref().as_str().map(str::to_owned)).collect::<Option<_>>().ok_or_else(wrong)?)
        }
        (DeValue::Table(_), Kind::Map) => Value::Json(json(value.get_ref())),
        (DeValue::Array(list), Kind::Tables(allowed)) => {
            for entry in list.iter() {
                let members = entry.get_ref().as_table().ok_or_else(wrong)?;
                if let Some((unknown, _)) = members.iter().find(|(name, _)| !allowed.contains(&name.get_ref().as_ref())) {
                    let unknown: String = unknown.get_ref().chars().take(80).collect();
                    return Err(format!("has an entry with {unknown:?}; an entry has {}", allowed.join(", ")));
                }
            }
            Value::Json(json(value.get_ref()))
        }
        _ => return Err(wrong()),
    };
    value.checked(key)
}

fn integer(n: &toml::de::DeInteger<'_>) -> Option<i64> {
    i64::from_str_radix(&n.as_str().replace('_', ""), n.radix()).ok()
}

fn json(value: &DeValue<'_>) -> Json {
    match value {
        DeValue::String(t) => Json::from(t.as_ref()),
        DeValue::Integer(n) => integer(n).map_or(Json::Null, Json::from),
        DeValue::Float(n) => n.as_str().replace('_', "").parse::<f64>().map_or(Json::Null, Json::from),
        DeValue::Boolean(b) => Json::from(*b),
        DeValue::Datetime(d) => Json::from(d.to_string()),
        DeValue::Array(list) => list.iter().map(|v| json(v.get_ref())).collect(),
        DeValue::Table(members) => {
            Json::Object(members.iter().map(|(k, v)| (k.get_ref().to_string(), json(v.get_ref()))).collect::<Map<_, _>>())
        }
    }
}
