//! What to start and what it may see: the description handed to [`Launcher::spawn`](crate::Launcher::spawn).

use std::{collections::BTreeMap, fmt, os::fd::OwnedFd, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

/// Replaced in arguments and environment values by the loopback port of the [`Relay`].
pub const RELAY_PORT_PLACEHOLDER: &str = "{{OCTO_RELAY_PORT}}";

/// A program, its environment and the world it sees. [`LaunchSpec::new`] fills in the defaults.
#[derive(Debug)]
pub struct LaunchSpec {
    /// Absolute path, or a bare name that is looked up in `env["PATH"]` inside the sandbox.
    pub program: PathBuf,
    /// Arguments after the program's name. Visible to others in `/proc`: no secrets.
    pub args: Vec<String>,
    /// The complete environment: nothing is inherited. The place for secrets.
    pub env: BTreeMap<String, String>,
    /// Working directory; must be visible in the sandbox.
    pub cwd: PathBuf,
    /// How much of the home directory may be written.
    pub profile: Profile,
    /// Whether the network of the machine is reachable.
    pub network: Network,
    /// The directory worked in: always writable, at its own path. Refused when it is a system directory, an
    /// ancestor of the home, or inside a masked path.
    pub workspace: PathBuf,
    /// The user's home.
    pub home: PathBuf,
    /// Existing paths shown read-only at their own place, also where the profile would hide them. Absent ones are skipped.
    pub read_only: Vec<PathBuf>,
    /// Existing paths shown writable at their own place. Absent ones are skipped.
    pub read_write: Vec<PathBuf>,
    /// Paths shown empty and unwritable whatever lies around them: octo's own configuration, data, state and sockets.
    /// An absent one is created as an empty private directory, so that it cannot be filled later under the sandbox's eyes.
    pub masked: Vec<PathBuf>,
    /// Mounts made last, on top of everything, masks included. Sources must exist.
    pub binds: Vec<Bind>,
    /// A loopback TCP port inside that leads to a Unix socket; see [`RELAY_PORT_PLACEHOLDER`].
    pub relay: Option<Relay>,
    /// Resource limits of the program and its descendants.
    pub limits: Limits,
    /// Held by the sandbox until everything in it is gone, and seen by nobody in it: a lock on it is a lease that the kernel gives back.
    pub lease: Option<OwnedFd>,
    /// What descriptors 0, 1 and 2 are.
    pub stdio: Stdio,
}

impl LaunchSpec {
    /// `program` in `workspace` with profile development, open network, piped stdio, no environment and default limits.
    pub fn new(program: impl Into<PathBuf>, workspace: impl Into<PathBuf>, home: impl Into<PathBuf>) -> Self {
        let workspace = workspace.into();
        Self {
            program: program.into(),
            args: Vec::new(),
            env: BTreeMap::new(),
            cwd: workspace.clone(),
            profile: Profile::Development,
            network: Network::Open,
            workspace,
            home: home.into(),
            read_only: Vec::new(),
            read_write: Vec::new(),
            masked: Vec::new(),
            binds: Vec::new(),
            relay: None,
            limits: Limits::default(),
            lease: None,
            stdio: Stdio::Piped,
        }
    }
}

/// How much of the home directory the program may write. The rest of the machine is read-only in each of them, other
/// users' homes, `/run` and `/tmp` are hidden, and secrets (`~/.ssh`, `~/.gnupg`, cloud credentials, …) are empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    /// Home readable and writable, but not the caches and binaries of tools.
    Minimal,
    /// Home readable and writable, tool caches included.
    #[default]
    Development,
    /// Home read-only apart from the workspace, and `~/.config` hidden.
    Strict,
}

impl Profile {
    /// The name used in configuration and on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Development => "development",
            Self::Strict => "strict",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Profile {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "minimal" => Ok(Self::Minimal),
            "development" => Ok(Self::Development),
            "strict" => Ok(Self::Strict),
            other => Err(format!("unknown sandbox profile {other:?}; one of minimal, development, strict")),
        }
    }
}

/// Whether the program reaches the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The machine's network.
    #[default]
    Open,
    /// A loopback device of its own and nothing else; the [`Relay`] still works.
    None,
}

/// A host path shown at a place of the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Existing path on the host.
    pub source: PathBuf,
    /// Absolute path in the sandbox; created when absent.
    pub target: PathBuf,
    /// Writable, or read-only.
    pub writable: bool,
}

impl Bind {
    /// `source` read-only at `target`.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), writable: false }
    }

    /// `source` writable at `target`.
    pub fn read_write(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Self {
        Self { source: source.into(), target: target.into(), writable: true }
    }
}

/// A loopback TCP listener inside the sandbox, each of whose connections is a new connection to a Unix socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Relay {
    /// Path of the socket as seen inside the sandbox, usually through a [`Bind`] of its directory (a bound directory
    /// survives a restart of the server behind it; a bound socket would not).
    pub socket: PathBuf,
}

/// Limits of a program and its descendants; `None` leaves what the caller has. Those of the kernel are set before the program is executed, and a
/// value above the caller's own hard limit becomes that limit. `memory` and `tasks` count the whole tree, and end it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Open descriptors per process.
    pub nofile: Option<u64>,
    /// Bytes of memory of the whole tree, its private `/tmp` included; one that uses more is ended ([`Exit::Exceeded`](crate::Exit)).
    pub memory: Option<u64>,
    /// Processes and threads of the whole tree; one that has more is ended.
    pub tasks: Option<u64>,
    /// Size of a core dump in bytes; 0 keeps secrets in memory off the disk.
    pub core: Option<u64>,
    /// Largest file that may be written, in bytes.
    pub fsize: Option<u64>,
    /// CPU seconds of one process.
    pub cpu_seconds: Option<u64>,
    /// Size of the private `/tmp` in bytes.
    pub tmp_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nofile: Some(65_536), memory: None, tasks: Some(4096), core: Some(0), fsize: None, cpu_seconds: None, tmp_bytes: None }
    }
}

/// What a tree used too much of. Reads on after "the agent", "it".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excess {
    /// Of what.
    pub of: Resource,
    /// How much it used when that was noticed: bytes, or processes and threads.
    pub used: u64,
    /// How much it may use.
    pub limit: u64,
    /// The program that used most of it.
    pub most: String,
}

/// What is counted over a whole tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// Bytes of memory.
    Memory,
    /// Processes and threads.
    Tasks,
}

impl Excess {
    /// What is told of a tree before it is too much. Reads on as the whole does.
    #[must_use]
    pub fn nearly(&self) -> String {
        let Self { of, used, limit, most } = self;
        match of {
            Resource::Memory => {
                format!("uses {} MiB of the {} MiB of memory that it may, most of it in {most:?}", used.div_ceil(MIB), limit.div_ceil(MIB))
            }
            Resource::Tasks => format!("has {used} of the {limit} processes and threads that it may, most of them {most:?}"),
        }
    }
}

impl fmt::Display for Excess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { of, used, limit, most } = self;
        match of {
            Resource::Memory => {
                let (limit, used) = (limit.div_ceil(MIB), used.div_ceil(MIB));
                write!(
                    f,
                    "used more than {limit} MiB of memory ({used} MiB, most of it in {most:?}) and was ended with everything it had started"
                )
            }
            Resource::Tasks => {
                write!(
                    f,
                    "had more than {limit} processes and threads ({used}, most of them {most:?}) and was ended with everything it had started"
                )
            }
        }
    }
}

const MIB: u64 = 1024 * 1024;

/// What descriptors 0, 1 and 2 of the program are.
#[derive(Debug)]
pub enum Stdio {
    /// Three pipes whose other ends are in the [`Sandboxed`](crate::Sandboxed).
    Piped,
    /// `/dev/null`.
    Null,
    /// The caller's own.
    Inherit,
    /// The subordinate end of a pseudo terminal for all three; it becomes the controlling terminal of a new session.
    Terminal(OwnedFd),
}

/// What may be sent to the program itself; its descendants are ended by
/// [`kill_tree`](crate::Sandboxed::kill_tree) or by the program's own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
    /// SIGHUP
    Hangup,
    /// SIGKILL
    Kill,
}
