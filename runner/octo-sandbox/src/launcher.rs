//! Starting a [`LaunchSpec`]: is isolation possible here, and then one `octo-sandbox run` with its life line.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, OwnedFd},
    path::{Path, PathBuf},
    process::{Command, Stdio as Redirect},
    sync::{Arc, OnceLock},
};

use tokio::net::unix::pipe;

use crate::{
    descriptor,
    error::LaunchError,
    lifeline::{self, Lifeline},
    message::{Plan, PlanIsolation, TerminalMode},
    sandboxed::{Outermost, Sandboxed},
    spec::{LaunchSpec, Stdio},
};

/// Starts programs in sandboxes. Cheap to clone; clones share what was found out about the machine.
#[derive(Debug, Clone)]
pub struct Launcher {
    octo_sandbox: PathBuf,
    bwrap: PathBuf,
    allow_without_bwrap: bool,
    found: Arc<OnceLock<SandboxInfo>>,
}

/// What holds the programs on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SandboxInfo {
    /// The mechanism.
    pub isolation: Isolation,
    /// One sentence for a person.
    pub summary: String,
}

/// The mechanism that holds a program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Isolation {
    /// bubblewrap: mount, pid, ipc and uts namespaces, and usually a user namespace.
    Bubblewrap {
        /// Where it is.
        program: PathBuf,
        /// Whether it may use a user namespace (not so: root in a container that forbids them).
        user_namespace: bool,
    },
    /// macOS `sandbox-exec`.
    Seatbelt,
    /// Nothing but the end of the tree; only with [`Launcher::allow_without_bwrap`].
    None {
        /// Why there is nothing better.
        reason: String,
    },
}

impl Launcher {
    /// With the path of the binary `octo-sandbox`, bubblewrap from `PATH`, and no exception.
    pub fn new(octo_sandbox: impl Into<PathBuf>) -> Self {
        Self { octo_sandbox: octo_sandbox.into(), bwrap: PathBuf::from("bwrap"), allow_without_bwrap: false, found: Arc::default() }
    }

    /// With the `octo-sandbox` in the same directory as the running executable.
    pub fn beside_current_exe() -> Result<Self, LaunchError> {
        let this = std::env::current_exe().map_err(|error| LaunchError::io("finding the running executable", error))?;
        Ok(Self::new(this.with_file_name("octo-sandbox")))
    }

    /// Another bubblewrap: a path, or a name looked up in `PATH`.
    #[must_use]
    pub fn bwrap(mut self, program: impl Into<PathBuf>) -> Self {
        self.bwrap = program.into();
        self.found = Arc::default();
        self
    }

    /// Whether programs may run without isolation where there is none (`sandbox.allow_unsandboxed`). The whole tree
    /// is still ended as promised; nothing is hidden or read-only then.
    #[must_use]
    pub fn allow_without_bwrap(mut self, allow: bool) -> Self {
        self.allow_without_bwrap = allow;
        self.found = Arc::default();
        self
    }

    /// Tries the isolation out once and remembers success. Blocks for some 10 ms the first time.
    pub fn check(&self) -> Result<SandboxInfo, LaunchError> {
        if let Some(info) = self.found.get() {
            return Ok(info.clone());
        }
        let info = self.find_out()?;
        if let Isolation::None { reason } = &info.isolation {
            tracing::warn!(%reason, "programs run without isolation, as asked for");
        }
        Ok(self.found.get_or_init(|| info).clone())
    }

    /// Starts a program. Returns when the launcher's process exists; [`Sandboxed::started`] tells when the program does.
    pub async fn spawn(&self, spec: LaunchSpec) -> Result<Sandboxed, LaunchError> {
        let info = match self.found.get() {
            Some(info) => info.clone(),
            None => {
                let launcher = self.clone();
                tokio::task::spawn_blocking(move || launcher.check())
                    .await
                    .map_err(|error| LaunchError::io("trying the sandbox out", io::Error::other(error)))??
            }
        };
        self.start(spec, &info)
    }

    fn start(&self, mut spec: LaunchSpec, info: &SandboxInfo) -> Result<Sandboxed, LaunchError> {
        let stdio = std::mem::replace(&mut spec.stdio, Stdio::Null);
        let (program, lease) = (spec.program.clone(), spec.lease.take());
        let (ends, mode) = Ends::new(stdio).map_err(|error| LaunchError::io("making the standard descriptors", error))?;
        let plan = Plan::new(spec, mode, info.isolation.to_plan());
        let (line, child) = self.run(&plan, &ends, lease.as_ref())?;
        let line = Lifeline::new(line).map_err(|error| LaunchError::io("watching the life line", error))?;
        let mut sandboxed = Sandboxed::new(program, line, Outermost::Spawned(child));
        ends.give_to(&mut sandboxed).map_err(|error| LaunchError::io("watching the standard descriptors", error))?;
        Ok(sandboxed)
    }

    /// The descriptors wait inside the socket until `octo-sandbox run` takes them out, so that there is no moment at
    /// which another child of this process could inherit one.
    fn run(&self, plan: &Plan, ends: &Ends, lease: Option<&OwnedFd>) -> Result<(OwnedFd, tokio::process::Child), LaunchError> {
        let (ours, theirs) = hand_over(plan, ends, lease).map_err(|error| LaunchError::io("handing the launch over", error))?;
        let mut command = Command::new(&self.octo_sandbox);
        command.arg("run").env_clear().stdin(theirs).stdout(Redirect::null()).stderr(Redirect::null());
        let child = tokio::process::Command::from(command)
            .spawn()
            .map_err(|source| LaunchError::LauncherMissing { path: self.octo_sandbox.clone(), source })?;
        Ok((ours, child))
    }

    #[cfg(target_os = "linux")]
    fn find_out(&self) -> Result<SandboxInfo, LaunchError> {
        match self.try_bubblewrap() {
            Ok(info) => Ok(info),
            Err(error @ (LaunchError::BubblewrapMissing { .. } | LaunchError::NamespacesRefused { .. })) if self.allow_without_bwrap => {
                Ok(SandboxInfo::none(&error))
            }
            Err(error) => Err(error),
        }
    }

    #[cfg(target_os = "linux")]
    fn try_bubblewrap(&self) -> Result<SandboxInfo, LaunchError> {
        let program = find_program(&self.bwrap).ok_or_else(|| LaunchError::BubblewrapMissing { path: self.bwrap.clone() })?;
        let octo_sandbox =
            self.octo_sandbox.canonicalize().map_err(|source| LaunchError::LauncherMissing { path: self.octo_sandbox.clone(), source })?;
        let mut complaint = String::new();
        for user_namespace in [true, false] {
            match probe(&program, &octo_sandbox, user_namespace) {
                Ok(()) => {
                    let summary =
                        format!("bubblewrap ({}){}", program.display(), if user_namespace { "" } else { " without a user namespace" });
                    return Ok(SandboxInfo { isolation: Isolation::Bubblewrap { program, user_namespace }, summary });
                }
                Err(detail) if complaint.is_empty() => complaint = detail,
                Err(_) => {}
            }
        }
        Err(LaunchError::NamespacesRefused { detail: complaint })
    }

    #[cfg(target_os = "macos")]
    fn find_out(&self) -> Result<SandboxInfo, LaunchError> {
        if Path::new(crate::seatbelt::SANDBOX_EXEC).exists() {
            return Ok(SandboxInfo { isolation: Isolation::Seatbelt, summary: "sandbox-exec (Seatbelt)".to_owned() });
        }
        let error = LaunchError::NamespacesRefused { detail: format!("{} is missing", crate::seatbelt::SANDBOX_EXEC) };
        if self.allow_without_bwrap { Ok(SandboxInfo::none(&error)) } else { Err(error) }
    }

    #[cfg(not(any(target_os = "linux", target_os = "macos")))]
    fn find_out(&self) -> Result<SandboxInfo, LaunchError> {
        let error = LaunchError::BubblewrapMissing { path: self.bwrap.clone() };
        if self.allow_without_bwrap { Ok(SandboxInfo::none(&error)) } else { Err(error) }
    }
}

impl SandboxInfo {
    fn none(reason: &LaunchError) -> Self {
        let reason = reason.to_string();
        Self { summary: format!("no isolation, as asked for: {reason}"), isolation: Isolation::None { reason } }
    }
}

impl Isolation {
    pub(crate) fn to_plan(&self) -> PlanIsolation {
        match self {
            Self::Bubblewrap { program, user_namespace } => {
                PlanIsolation::Bubblewrap { program: program.clone(), user_namespace: *user_namespace }
            }
            Self::Seatbelt => PlanIsolation::Seatbelt,
            Self::None { .. } => PlanIsolation::None,
        }
    }
}

/// Runs this very launcher's `--version` in every namespace that will be needed.
#[cfg(target_os = "linux")]
fn probe(bwrap: &Path, octo_sandbox: &Path, user_namespace: bool) -> Result<(), String> {
    let mut command = Command::new(bwrap);
    if user_namespace {
        command.arg("--unshare-user");
    }
    command
        .args(["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--unshare-net", "--as-pid-1", "--cap-drop", "ALL"])
        .args(["--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--"])
        .arg(octo_sandbox)
        .arg("--version")
        .env_clear()
        .stdin(Redirect::null());
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(if said.is_empty() { output.status.to_string() } else { said })
}

/// An absolute path to an existing program, looked up in `PATH` when `name` is bare: first outside the home, where no
/// program of ours can have put it.
#[cfg(target_os = "linux")]
fn find_program(name: &Path) -> Option<PathBuf> {
    if name.components().count() > 1 {
        return name.canonicalize().ok().filter(|path| path.is_file());
    }
    let path = std::env::var_os("PATH")?;
    let home = std::env::var_os("HOME").map(PathBuf::from).and_then(|home| home.canonicalize().ok());
    let in_home = |directory: &PathBuf| home.as_ref().is_some_and(|home| directory.canonicalize().is_ok_and(|real| real.starts_with(home)));
    let (ours, machine): (Vec<_>, Vec<_>) = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).partition(in_home);
    machine.into_iter().chain(ours).map(|directory| directory.join(name)).find(|candidate| is_executable(candidate))
}

#[cfg(target_os = "linux")]
fn is_executable(file: &Path) -> bool {
    file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok()
}

/// A life line with the plan and the program's ends of its standard descriptors waiting inside.
fn hand_over(plan: &Plan, ends: &Ends, lease: Option<&OwnedFd>) -> io::Result<(OwnedFd, OwnedFd)> {
    let sealed = descriptor::sealed(c"octo-plan", &serde_json::to_vec(plan)?)?;
    let (ours, theirs) = descriptor::socket_pair()?;
    lifeline::ask_for_senders(&ours)?;
    let [stdin, stdout, stderr] = &ends.theirs;
    let mut handed = vec![sealed.as_raw_fd(), stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd()];
    handed.extend(lease.map(AsRawFd::as_raw_fd));
    descriptor::send(ours.as_fd(), &handed)?;
    descriptor::set_nonblocking(&ours)?;
    Ok((ours, theirs))
}

/// Both ends of the program's standard descriptors.
struct Ends {
    theirs: [OwnedFd; 3],
    ours: Option<(OwnedFd, OwnedFd, OwnedFd)>,
}

impl Ends {
    fn new(stdio: Stdio) -> io::Result<(Self, TerminalMode)> {
        Ok(match stdio {
            Stdio::Piped => {
                let (in_read, in_write) = descriptor::pipe()?;
                let (out_read, out_write) = descriptor::pipe()?;
                let (err_read, err_write) = descriptor::pipe()?;
                let ours = Some((in_write, out_read, err_read));
                (Self { theirs: [in_read, out_write, err_write], ours }, TerminalMode::Detached)
            }
            Stdio::Null => {
                let theirs = [descriptor::null()?, descriptor::null()?, descriptor::null()?];
                (Self { theirs, ours: None }, TerminalMode::Detached)
            }
            Stdio::Inherit => {
                let theirs = [
                    io::stdin().as_fd().try_clone_to_owned()?,
                    io::stdout().as_fd().try_clone_to_owned()?,
                    io::stderr().as_fd().try_clone_to_owned()?,
                ];
                (Self { theirs, ours: None }, TerminalMode::Shared)
            }
            Stdio::Terminal(terminal) => {
                let theirs = [terminal.try_clone()?, terminal.try_clone()?, terminal];
                (Self { theirs, ours: None }, TerminalMode::Own)
            }
        })
    }

    fn give_to(self, sandboxed: &mut Sandboxed) -> io::Result<()> {
        if let Some((stdin, stdout, stderr)) = self.ours {
            sandboxed.stdin = Some(pipe::Sender::from_owned_fd(stdin)?);
            sandboxed.stdout = Some(pipe::Receiver::from_owned_fd(stdout)?);
            sandboxed.stderr = Some(pipe::Receiver::from_owned_fd(stderr)?);
        }
        Ok(())
    }
}
