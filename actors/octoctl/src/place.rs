//! Finding octo: an address, a socket, or the note that octo left in its state directory.

use std::path::{Path, PathBuf};

use octo_protocol::admin::{DOOR_FILE, Door, FAILED_START_FILE, FailedStart};

use crate::arguments;
use crate::exit::{Exit, Failure};
use crate::show;

/// Where the token for HTTP comes from; never an argument, which others can see.
pub const TOKEN: &str = "OCTO_AUTH_TOKEN";
/// Largest note, and configuration file, that is read.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// How octo is reached.
#[derive(Debug, Clone)]
pub enum Way {
    Socket(PathBuf),
    Http { url: String, token: Option<String> },
}

/// Where octo is, and what else is known of it.
#[derive(Debug, Clone)]
pub struct Place {
    pub way: Way,
    /// octo's own note, when there is one.
    pub door: Option<Door>,
    /// Why octo did not start when it was to start last.
    pub failed_start: Option<FailedStart>,
}

impl Place {
    /// What the arguments say, and where they say nothing, what octo left.
    ///
    /// # Errors
    /// When nothing says where octo is.
    pub fn find(arguments: &arguments::Place) -> Result<Self, Failure> {
        let state_dir = state_dir(arguments);
        let door = state_dir.as_deref().and_then(|dir| read_door(&dir.join(DOOR_FILE)));
        let failed_start: Option<FailedStart> =
            state_dir.as_deref().and_then(|dir| serde_json::from_str(&read(&dir.join(FAILED_START_FILE))?).ok());
        let way = if let Some(url) = arguments.server.clone() {
            let token = std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
            Way::Http { url: url.trim_end_matches('/').to_owned(), token }
        } else if let Some(socket) = arguments.socket.clone() {
            Way::Socket(socket)
        } else if let Some(door) = &door {
            Way::Socket(door.socket.clone().into())
        } else if let Some(failed) = &failed_start {
            let message = format!("octo has never started here. Its last start, {} ago, failed: {}", show::age(failed.at), failed.error);
            return Err(Failure::new(Exit::Down, message));
        } else {
            let looked =
                state_dir.map_or_else(|| "HOME is not set".to_owned(), |dir| format!("{} is not there", dir.join(DOOR_FILE).display()));
            let message = format!(
                "octo was never started here ({looked}): start it with `octo serve`, or say where it is with --socket, --state-dir or --server"
            );
            return Err(Failure::new(Exit::Down, message));
        };
        Ok(Self { way, door, failed_start })
    }
}

/// `--state-dir`, what the configuration says, or where the XDG specification puts it.
fn state_dir(arguments: &arguments::Place) -> Option<PathBuf> {
    if let Some(dir) = &arguments.state_dir {
        return Some(dir.clone());
    }
    configured().or_else(|| base("XDG_STATE_HOME", ".local/state").map(|dir| dir.join("octo")))
}

fn configured() -> Option<PathBuf> {
    let file = base("XDG_CONFIG_HOME", ".config")?.join("octo/config.toml");
    let text = read(&file)?;
    let config: toml::Table = toml::from_str(&text).ok()?;
    let dir = config.get("paths")?.get("state_dir")?.as_str()?;
    let home = || std::env::var_os("HOME").map(PathBuf::from);
    match dir.strip_prefix("~/").or_else(|| dir.strip_prefix("$HOME/")) {
        Some(rest) => Some(home()?.join(rest)),
        None => Some(PathBuf::from(dir)).filter(|dir| dir.is_absolute()),
    }
}

fn base(variable: &str, below_home: &str) -> Option<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    named.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(below_home)))
}

fn read_door(path: &Path) -> Option<Door> {
    serde_json::from_str(&read(path)?).ok()
}

fn read(path: &Path) -> Option<String> {
    std::fs::metadata(path).ok().filter(|meta| meta.is_file() && meta.len() <= MAX_FILE_BYTES)?;
    std::fs::read_to_string(path).ok()
}
