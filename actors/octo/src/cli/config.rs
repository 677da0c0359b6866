//! `octo config`

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use octo::config::{self, Capability, Overrides};
use serde_json::json;

use super::arguments::ConfigCommand;
use super::exit::Failure;
use super::output::Output;

pub fn run(command: ConfigCommand, file: Option<PathBuf>, output: Output) -> Result<(), Failure> {
    match command {
        ConfigCommand::Show { all, set } => show(file, all, set, output),
        ConfigCommand::Path => {
            let path = path(file)?;
            output.say(&path.display().to_string(), &json!({ "path": path, "exists": path.exists() }));
            Ok(())
        }
        ConfigCommand::Reset { yes } => reset(&path(file)?, yes, output),
        ConfigCommand::Keys => {
            keys(output);
            Ok(())
        }
    }
}

/// Of the file, even when it has mistakes.
fn path(file: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match file {
        Some(file) => Ok(file),
        None => Ok(octo::paths::Paths::resolve(&config::Environment::process())?.config_file),
    }
}

fn show(file: Option<PathBuf>, all: bool, set: bool, output: Output) -> Result<(), Failure> {
    let config = super::load(file, Overrides::default())?;
    config.settings()?;
    let rows: Vec<_> =
        config::show(&config, !set).into_iter().filter(|row| all || row.not_built.is_none() || row.origin != "default").collect();
    let width = rows.iter().map(|r| r.key.chars().count() + shown(&r.value).chars().count() + 3).filter(|w| *w < 72).max().unwrap_or(0);
    let mut text = String::new();
    for row in &rows {
        let setting = format!("{} = {}", row.key, shown(&row.value));
        let effect = row.not_built.as_ref().map(|sentence| format!("; no effect: {sentence}")).unwrap_or_default();
        text.push_str(&format!("{setting:width$}  # {}{effect}\n", row.origin));
    }
    output.say(text.trim_end(), &json!({ "file": config.file(), "keys": rows }));
    Ok(())
}

fn shown(value: &serde_json::Value) -> String {
    match value {
        serde_json::Value::Null => "(not set)".to_owned(),
        serde_json::Value::String(text) if text.starts_with('(') => text.clone(),
        value => value.to_string(),
    }
}

fn keys(output: Output) {
    let mut text = String::new();
    let mut list = Vec::new();
    for section in config::sections() {
        for key in section.keys {
            let sentence = match key.capability {
                Capability::Built => None,
                Capability::NotBuilt(sentence) => Some(sentence),
            };
            text.push_str(&format!("{}\n    {}\n    takes {}; default {}\n", key.path, key.doc, key.takes(), key.default_text()));
            if let Some(sentence) = sentence {
                text.push_str(&format!("    not built yet: {sentence}\n"));
            }
            list.push(json!({
                "key": key.path, "takes": key.takes(), "default": key.default_text(), "doc": key.doc, "secret": key.secret,
                "variable": key.variable(), "not_built": sentence,
            }));
        }
    }
    output.say(text.trim_end(), &json!(list));
}

fn reset(path: &Path, yes: bool, output: Output) -> Result<(), Failure> {
    let failed = |e: std::io::Error| Failure::other(format!("{} cannot be written: {e}", path.display()));
    let mut kept = None;
    if path.exists() {
        if !yes {
            return Err(Failure::other(format!(
                "{} exists: `octo config reset --yes` keeps it as a backup and writes the defaults",
                path.display()
            )));
        }
        let backup = (1..).map(|n| PathBuf::from(format!("{}.{n}.bak", path.display()))).find(|p| !p.exists()).unwrap_or_default();
        std::fs::rename(path, &backup).map_err(failed)?;
        kept = Some(backup);
    }
    if let Some(dir) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(config::example_toml().as_bytes()).map_err(failed)?;
    let former = kept.as_ref().map(|k| format!("; the former one is {}", k.display())).unwrap_or_default();
    output.say(&format!("wrote {}{former}", path.display()), &json!({ "path": path, "backup": kept }));
    Ok(())
}
