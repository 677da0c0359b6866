//! The two small languages of the life line: reports (JSON lines) from the sandbox, commands (single bytes) to it.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::{Bind, Excess, LaunchSpec, Limits, Network, Profile, Relay, Signal};

/// The description as it travels in the sealed memory file, with what the launcher decided about isolation.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub cwd: PathBuf,
    pub profile: Profile,
    pub network: Network,
    pub workspace: PathBuf,
    pub home: PathBuf,
    pub read_only: Vec<PathBuf>,
    pub read_write: Vec<PathBuf>,
    pub masked: Vec<PathBuf>,
    pub binds: Vec<Bind>,
    pub relay: Option<Relay>,
    pub limits: Limits,
    pub terminal: TerminalMode,
    pub isolation: PlanIsolation,
}

/// What the program's standard descriptors are to its session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TerminalMode {
    /// Pipes or null: a session of its own without a terminal.
    Detached,
    /// A pseudo terminal of its own, to become the controlling one.
    Own,
    /// The caller's terminal and session stay (interactive use).
    Shared,
}

/// How the tree is held together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlanIsolation {
    Bubblewrap {
        program: PathBuf,
        user_namespace: bool,
    },
    Seatbelt,
    /// Asked for by name only.
    None,
}

impl Plan {
    /// Paths are made real here, as links to them may lead through places that the sandbox hides.
    pub fn new(spec: LaunchSpec, terminal: TerminalMode, isolation: PlanIsolation) -> Self {
        Self {
            program: spec.program,
            args: spec.args,
            env: spec.env.into_iter().collect(),
            cwd: real_or_same(spec.cwd),
            profile: spec.profile,
            network: spec.network,
            workspace: real_or_same(spec.workspace),
            home: real_or_same(spec.home),
            read_only: spec.read_only,
            read_write: spec.read_write,
            masked: spec.masked,
            binds: spec.binds,
            relay: spec.relay,
            limits: spec.limits,
            terminal,
            isolation,
        }
    }
}

fn real_or_same(path: PathBuf) -> PathBuf {
    path.canonicalize().unwrap_or(path)
}

/// Said by `run` and `init` to the launcher, one JSON object a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The plan was not acceptable; nothing was started.
    Refused { reason: String },
    /// Sent by the program's own process just before it is executed, so that the credentials the kernel attaches to
    /// it carry its process id as the launcher sees it.
    Here,
    /// The program is executed. `pid` is its id inside the namespace.
    Started { pid: i32, relay_port: Option<u16> },
    /// The program could not be executed.
    ExecFailed { reason: String },
    /// The program ended by itself.
    Exited { code: i32 },
    /// The program was ended by a signal.
    Signaled { signal: i32 },
    /// The tree uses nearly as much as it may; nothing: not any more.
    Near { excess: Option<Excess> },
    /// The tree uses more than it may, and is ended.
    Exceeded { excess: Excess },
}

impl Signal {
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Terminate => b'T',
            Self::Interrupt => b'I',
            Self::Hangup => b'H',
            Self::Kill => b'K',
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'T' => Some(Self::Terminate),
            b'I' => Some(Self::Interrupt),
            b'H' => Some(Self::Hangup),
            b'K' => Some(Self::Kill),
            _ => None,
        }
    }
}
