//! Where this octo is, or why it is not, left in its state directory for `octoctl`: the only thing that the two share besides the protocol.
//!
//! It stays when octo has ended, so that runners can be found without it.

use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use octo_protocol::admin::{Door, FAILED_START_FILE, FailedStart};

use crate::config::{Environment, Settings};
use crate::paths::Paths;
use crate::users::now_ms;

/// Writes it: whole, or not at all.
///
/// # Errors
/// The disk's.
pub fn leave(settings: &Settings, url: &str) -> std::io::Result<()> {
    let paths = &settings.paths;
    let text = |path: &Path| path.display().to_string();
    let door = Door {
        socket: text(&settings.server.admin_socket),
        url: url.to_owned(),
        run_dir: text(&paths.run_dir),
        logs_dir: text(&paths.logs_dir()),
        data_dir: text(&paths.data_dir),
        config_file: text(&paths.config_file),
        version: crate::VERSION.to_owned(),
        pid: std::process::id(),
    };
    put(&paths.door(), &door)?;
    match std::fs::remove_file(paths.state_dir.join(FAILED_START_FILE)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Writes why octo did not start, for `octoctl doctor`: whoever looks for it has no octo to ask. Stays until one starts.
///
/// # Errors
/// The disk's.
pub fn leave_failure(paths: &Paths, error: &str) -> std::io::Result<()> {
    let failed = FailedStart {
        at: now_ms(),
        error: error.to_owned(),
        version: crate::VERSION.to_owned(),
        config_file: paths.config_file.display().to_string(),
    };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&paths.state_dir)?;
    put(&paths.state_dir.join(FAILED_START_FILE), &failed)
}

/// Where this octo would live, as far as that can be told of a configuration that cannot be used: as `octoctl` guesses it.
#[must_use]
pub fn guess(env: &Environment, config_file: Option<&Path>) -> Option<Paths> {
    let mut paths = Paths::resolve(env).ok()?;
    if let Some(file) = config_file {
        file.clone_into(&mut paths.config_file);
    }
    let dir = || {
        let config: toml::Table = toml::from_str(&std::fs::read_to_string(&paths.config_file).ok()?).ok()?;
        let dir = config.get("paths")?.get("state_dir")?.as_str()?;
        match dir.strip_prefix("~/").or_else(|| dir.strip_prefix("$HOME/")) {
            Some(rest) => Some(env.path("HOME")?.join(rest)),
            None => Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute()),
        }
    };
    let dir = dir().unwrap_or_else(|| paths.state_dir.clone());
    let data_dir = paths.data_dir.clone();
    Some(paths.with_dirs(env, data_dir, dir))
}

fn put(place: &Path, value: &impl serde::Serialize) -> std::io::Result<()> {
    let unready = place.with_extension("json.new");
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unready)?;
    file.write_all(&serde_json::to_vec_pretty(value)?)?;
    file.sync_all()?;
    std::fs::rename(unready, place)
}
