//! Where this octo is, left in its state directory for `octoctl`: the only thing that the two share besides the protocol.
//!
//! It stays when octo has ended, so that runners can be found without it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use octo_protocol::admin::Door;

use crate::config::Settings;

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
    let (place, unready) = (paths.door(), paths.door().with_extension("json.new"));
    let mut file = std::fs::OpenOptions::new().create(true).write(true).truncate(true).mode(0o600).open(&unready)?;
    file.write_all(&serde_json::to_vec_pretty(&door)?)?;
    file.sync_all()?;
    std::fs::rename(unready, place)
}
