//! Where an instance lives: its directories and sockets, derived from `XDG_*` and `HOME` alone.
//!
//! Two instances with different homes share nothing. Nothing here touches the disk but [`Paths::prepare`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::auth::UserId;
use crate::config::Environment;

/// Longest path that every system takes for a Unix socket, with room to spare below 108.
pub const MAX_SOCKET_PATH_BYTES: usize = 100;
/// Longest name of a socket below the run directory: `runners/<user of 32>.sock`.
const LONGEST_SOCKET_NAME: usize = "/runners/".len() + crate::auth::MAX_USER_ID_BYTES + ".sock".len();

/// Why the directories of an instance cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PathsError {
    /// Neither HOME nor the XDG variables say where to live.
    #[error("neither HOME nor {0} is set, so octo does not know where to live: set HOME")]
    NoHome(&'static str),
    /// A path that has to be absolute is not.
    #[error("{what} is {}, which is not an absolute path: write it from / on", .path.display())]
    Relative {
        /// The variable or key.
        what: String,
        /// Its value.
        path: PathBuf,
    },
    /// A private directory belongs to somebody else.
    #[error("the directory {} belongs to uid {owner}, not to this user: move it away", .path.display())]
    Foreign {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
    },
    /// The disk.
    #[error("could not make the directory {}: {source}", .path.display())]
    Io {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The directories of one instance, all absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paths {
    /// `$XDG_CONFIG_HOME/octo`
    pub config_dir: PathBuf,
    /// `config.toml` in it, unless `--config` named another.
    pub config_file: PathBuf,
    /// `$XDG_DATA_HOME/octo`, or `paths.data_dir`
    pub data_dir: PathBuf,
    /// `$XDG_STATE_HOME/octo`, or `paths.state_dir`
    pub state_dir: PathBuf,
    /// Sockets.
    pub run_dir: PathBuf,
    /// Prefix of installed agents: `<data>/agents`, or `OCTO_AGENTS_DIR`
    pub agents_dir: PathBuf,
}

impl Paths {
    /// Derives the directories from the environment.
    ///
    /// # Errors
    /// [`PathsError::NoHome`] and [`PathsError::Relative`].
    pub fn resolve(env: &Environment) -> Result<Self, PathsError> {
        let config_dir = base(env, "XDG_CONFIG_HOME", ".config")?.join("octo");
        let data_dir = base(env, "XDG_DATA_HOME", ".local/share")?.join("octo");
        let state_dir = base(env, "XDG_STATE_HOME", ".local/state")?.join("octo");
        Ok(Self {
            config_file: config_dir.join("config.toml"),
            config_dir,
            run_dir: PathBuf::new(),
            agents_dir: PathBuf::new(),
            data_dir: PathBuf::new(),
            state_dir: PathBuf::new(),
        }
        .with_dirs(env, data_dir, state_dir))
    }

    /// The same instance with other data and state directories (`paths.data_dir`, `paths.state_dir`).
    #[must_use]
    pub fn with_dirs(mut self, env: &Environment, data_dir: PathBuf, state_dir: PathBuf) -> Self {
        self.run_dir = run_dir(env, &state_dir);
        self.agents_dir = env.path("OCTO_AGENTS_DIR").unwrap_or_else(|| data_dir.join("agents"));
        self.data_dir = data_dir;
        self.state_dir = state_dir;
        self
    }

    /// sled of octo.
    #[must_use]
    pub fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }

    /// sled of octo-eavs.
    #[must_use]
    pub fn eavs_data_dir(&self) -> PathBuf {
        self.data_dir.join("eavs")
    }

    /// Data of a user's runner: `journal.db` is in it.
    #[must_use]
    pub fn runner_data_dir(&self, user: &UserId) -> PathBuf {
        self.data_dir.join("runners").join(user.as_str())
    }

    /// The first credentials, until they are changed.
    #[must_use]
    pub fn initial_admin(&self) -> PathBuf {
        self.state_dir.join("initial-admin")
    }

    /// Logs of octo and the daemons it starts.
    #[must_use]
    pub fn logs_dir(&self) -> PathBuf {
        self.state_dir.join("logs")
    }

    /// Log file of one process: `octo`, `octo-eavs`, `octo-runner-<user>`.
    #[must_use]
    pub fn log_file(&self, process: &str) -> PathBuf {
        self.logs_dir().join(format!("{process}.log"))
    }

    /// The link socket of a user's runner.
    #[must_use]
    pub fn runner_socket(&self, user: &UserId) -> PathBuf {
        self.run_dir.join("runners").join(format!("{user}.sock"))
    }

    /// The directory that is mounted into sandboxes.
    #[must_use]
    pub fn llm_dir(&self) -> PathBuf {
        self.run_dir.join("llm")
    }

    /// LLM traffic.
    #[must_use]
    pub fn llm_socket(&self) -> PathBuf {
        self.llm_dir().join("eavs.sock")
    }

    /// Admin interface of octo-eavs.
    #[must_use]
    pub fn eavs_admin_socket(&self) -> PathBuf {
        self.run_dir.join("eavs-admin.sock")
    }

    /// Where operators look inside, unless `server.admin_socket` says otherwise.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.run_dir.join("admin.sock")
    }

    /// Says where this octo is, for `octoctl`; stays when octo has ended.
    #[must_use]
    pub fn door(&self) -> PathBuf {
        self.state_dir.join(octo_protocol::admin::DOOR_FILE)
    }

    /// Makes the directories that octo owns, each private to this user (0700).
    ///
    /// # Errors
    /// [`PathsError::Io`], and [`PathsError::Foreign`] when one of them belongs to another user.
    pub fn prepare(&self) -> Result<(), PathsError> {
        for dir in [&self.data_dir, &self.state_dir, &self.run_dir, &self.logs_dir(), &self.run_dir.join("runners"), &self.llm_dir()] {
            private_dir(dir)?;
        }
        Ok(())
    }
}

/// Makes `dir` with its parents, owned by this user and closed to others.
///
/// # Errors
/// As [`Paths::prepare`].
pub fn private_dir(dir: &Path) -> Result<(), PathsError> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
    let failed = |source| PathsError::Io { path: dir.to_owned(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
    // In /tmp another user could have put a link there.
    let meta = std::fs::symlink_metadata(dir).map_err(failed)?;
    let meta = if meta.is_symlink() && meta.uid() == own_uid() { std::fs::metadata(dir).map_err(failed)? } else { meta };
    if meta.uid() != own_uid() || !meta.is_dir() {
        return Err(PathsError::Foreign { path: dir.to_owned(), owner: meta.uid() });
    }
    if meta.mode() & 0o777 != 0o700 {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Free room on the disk of `path`, or of its nearest ancestor that exists, in bytes; `None` when the system does not tell.
#[must_use]
pub fn free_bytes(path: &Path) -> Option<u64> {
    octo_actors::room::free_bytes(path.ancestors().find(|p| p.exists())?)
}

/// The uid that octo runs as.
#[must_use]
pub fn own_uid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn base(env: &Environment, variable: &'static str, below_home: &str) -> Result<PathBuf, PathsError> {
    // The XDG specification: a relative path is to be ignored.
    if let Some(dir) = env.path(variable).filter(|p| p.is_absolute()) {
        return Ok(dir);
    }
    let home = env.path("HOME").ok_or(PathsError::NoHome(variable))?;
    if !home.is_absolute() {
        return Err(PathsError::Relative { what: "HOME".to_owned(), path: home });
    }
    Ok(home.join(below_home))
}

fn run_dir(env: &Environment, state_dir: &Path) -> PathBuf {
    let digest = Sha256::digest(state_dir.as_os_str().as_bytes());
    let instance = format!("octo-{}", hex::encode(&digest[..4]));
    let dir = match env.path("XDG_RUNTIME_DIR").filter(|p| p.is_absolute()) {
        Some(runtime) => runtime.join(&instance),
        None => state_dir.join("run"),
    };
    if length(dir.as_os_str()) + LONGEST_SOCKET_NAME <= MAX_SOCKET_PATH_BYTES {
        dir
    } else {
        PathBuf::from(format!("/tmp/octo-{}-{}", own_uid(), &instance["octo-".len()..]))
    }
}

fn length(text: &OsStr) -> usize {
    text.as_bytes().len()
}
