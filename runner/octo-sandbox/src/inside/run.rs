//! `octo-sandbox run`: takes the launch out of its life line and becomes bubblewrap, which becomes `init`.

use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::Command,
};

use nix::{
    fcntl::{FcntlArg, fcntl},
    sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, signal, sigprocmask},
};

use super::{FAILED, read_plan, report};
use crate::{
    descriptor::{self, HANDED_OVER},
    message::{Plan, PlanIsolation, Report, TerminalMode},
};

/// Descriptors handed on are moved above this number, out of the way of the standard ones.
const FIRST_HANDED_ON: RawFd = 10;

/// Instead of a workspace's identity where nothing is mounted.
pub(super) const ANY_WORKSPACE: &str = "any";

/// The descriptors of a launch, as `run` hands them on to `init`.
struct Handed {
    plan: OwnedFd,
    line: OwnedFd,
    stdio: [OwnedFd; 3],
    lease: Option<OwnedFd>,
}

/// Does not return when all goes well: this process is bubblewrap then.
pub(crate) fn run() -> i32 {
    // A daemon holds signals back while it starts; a sandbox that it starts meanwhile does not.
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
    let handed = match Handed::take() {
        Ok(handed) => handed,
        Err(error) => {
            // Descriptor 0 is the life line, if this was started by a launcher at all.
            report(io::stdin(), &Report::Refused { reason: format!("the launch could not be taken over: {error}") });
            return FAILED;
        }
    };
    // A second copy, as `handed` is spent on the way.
    let Ok(line) = handed.line.try_clone() else {
        return FAILED;
    };
    if let Err(reason) = handed.become_sandbox() {
        report(&line, &Report::Refused { reason });
    }
    FAILED
}

impl Handed {
    fn take() -> io::Result<Self> {
        let stdin = io::stdin();
        let mut received = descriptor::receive(stdin.as_fd())?;
        let lease = if received.len() > HANDED_OVER { received.pop().map(lift).transpose()? } else { None };
        let [plan, a, b, c] = <[OwnedFd; HANDED_OVER]>::try_from(received)
            .map_err(|wrong| io::Error::other(format!("{} descriptors instead of {HANDED_OVER}", wrong.len())))?;
        let line = lift(stdin.as_fd())?;
        Ok(Self { plan: lift(plan)?, line, stdio: [lift(a)?, lift(b)?, lift(c)?], lease })
    }

    /// Returns only with the reason why not.
    fn become_sandbox(self) -> Result<(), String> {
        let file = std::fs::File::from(self.plan.try_clone().map_err(describe("copying the plan"))?);
        let plan = read_plan(&file).map_err(describe("reading the plan"))?;
        drop(file);
        leave_the_terminal(plan.terminal)?;
        end_before_others();
        run_before_the_program();
        let own = std::env::current_exe().map_err(describe("finding this program"))?;
        let (mut command, mounts, workspace) = surround(&plan, &own)?;
        command.args(self.init_arguments()).arg("--workspace").arg(workspace).env_clear();
        self.arrange(&plan, mounts.as_ref()).map_err(describe("arranging the descriptors"))?;
        let program = command.get_program().to_owned();
        let error = command.exec();
        Err(format!("{} could not be executed: {error}", Path::new(&program).display()))
    }

    fn init_arguments(&self) -> [String; 6] {
        let [stdin, stdout, stderr] = &self.stdio;
        let stdio = format!("{},{},{}", stdin.as_raw_fd(), stdout.as_raw_fd(), stderr.as_raw_fd());
        let (plan, line) = (self.plan.as_raw_fd().to_string(), self.line.as_raw_fd().to_string());
        ["--spec-fd".to_owned(), plan, "--life-fd".to_owned(), line, "--stdio-fds".to_owned(), stdio]
    }

    /// bubblewrap's own process stays beside the sandbox: it must not hold the program's pipes open, so its standard
    /// descriptors are `/dev/null` and, for its complaints, the life line. With a terminal it gets that as its output,
    /// so that it shows the terminal as `/dev/console` inside. Its input is the lease: it is the last process of a tree, which ends when it has
    /// seen everything else in the sandbox end. Init keeps a copy, in case somebody kills the outermost process.
    fn arrange(&self, plan: &Plan, extra: Option<&OwnedFd>) -> io::Result<()> {
        let null = descriptor::null()?;
        let output = if plan.terminal == TerminalMode::Detached { &null } else { &self.stdio[1] };
        nix::unistd::dup2_stdin(self.lease.as_ref().unwrap_or(&null))?;
        nix::unistd::dup2_stdout(output)?;
        nix::unistd::dup2_stderr(&self.line)?;
        let [a, b, c] = &self.stdio;
        let kept = [Some(&self.plan), Some(&self.line), Some(a), Some(b), Some(c), extra];
        let kept: Vec<RawFd> = kept.into_iter().flatten().map(AsRawFd::as_raw_fd).collect();
        for fd in [Some(&self.plan), Some(&self.line), Some(a), Some(b), Some(c), extra].into_iter().flatten() {
            descriptor::set_close_on_exec(fd, false)?;
        }
        close_on_exec_all_but(&kept);
        Ok(())
    }
}

/// The command that becomes `init` with the isolation around it, the file of its mounts, and the workspace's identity.
fn surround(plan: &Plan, own: &Path) -> Result<(Command, Option<OwnedFd>, String), String> {
    match &plan.isolation {
        #[cfg(target_os = "linux")]
        PlanIsolation::Bubblewrap { program, .. } => {
            crate::mounts::Layout::create_mask_points(plan);
            let (arguments, identity) = bubblewrap_arguments(plan, own)?;
            let mounts = arguments_file(&arguments).map_err(describe("writing the mounts down"))?;
            let mut command = Command::new(program);
            command.arg("--args").arg(mounts.as_raw_fd().to_string()).arg("--");
            command.arg(crate::mounts::INSIDE_PROGRAM).arg("init");
            Ok((command, Some(mounts), identity))
        }
        #[cfg(not(target_os = "linux"))]
        PlanIsolation::Bubblewrap { .. } => Err("bubblewrap exists on Linux only".to_owned()),
        PlanIsolation::Seatbelt => {
            let mut command = Command::new(crate::seatbelt::SANDBOX_EXEC);
            command.arg("-p").arg(crate::seatbelt::profile(plan, own)?).arg(own).arg("init");
            Ok((command, None, ANY_WORKSPACE.to_owned()))
        }
        PlanIsolation::None => {
            let mut command = Command::new(own);
            command.arg("init");
            Ok((command, None, ANY_WORKSPACE.to_owned()))
        }
    }
}

/// bubblewrap's complete argument list for a plan (also what `--dry-run` shows), and the workspace's identity.
#[cfg(target_os = "linux")]
pub(crate) fn bubblewrap_arguments(plan: &Plan, own: &Path) -> Result<(Vec<std::ffi::OsString>, String), String> {
    use crate::mounts::{Account, Layout, arguments};
    let layout = Layout::new(plan, &Account::current())?;
    let user_namespace = matches!(plan.isolation, PlanIsolation::Bubblewrap { user_namespace: true, .. });
    Ok((arguments(&layout, plan.network, user_namespace, own), layout.workspace_identity))
}

#[cfg(target_os = "linux")]
fn arguments_file(arguments: &[std::ffi::OsString]) -> io::Result<OwnedFd> {
    use std::os::unix::ffi::OsStrExt;
    let mut bytes = Vec::new();
    for argument in arguments {
        bytes.extend_from_slice(argument.as_bytes());
        bytes.push(0);
    }
    lift(descriptor::sealed(c"octo-mounts", &bytes)?)
}

/// A copy with a high number.
fn lift(fd: impl AsFd) -> io::Result<OwnedFd> {
    let raw = fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(FIRST_HANDED_ON))?;
    // SAFETY: fcntl has just made this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// When the machine has no memory left, the kernel takes it from sandboxes before it takes it from octo's daemons.
fn end_before_others() {
    #[cfg(target_os = "linux")]
    let _ = std::fs::write("/proc/self/oom_score_adj", "300");
}

/// Whoever watches a tree has to run when the tree wants all of the machine: a fork bomb of root, whom the kernel holds to no number of processes,
/// is ended by init alone. Only root may do this.
fn run_before_the_program() {
    // SAFETY: the calls take and return integers.
    unsafe {
        if libc::getpriority(libc::PRIO_PROCESS, 0) == 0 {
            libc::setpriority(libc::PRIO_PROCESS, 0, super::WATCHING);
        }
    }
}

/// What is typed at the caller's terminal is for the program, not for the processes around it.
fn leave_the_terminal(mode: TerminalMode) -> Result<(), String> {
    if mode != TerminalMode::Shared {
        nix::unistd::setsid().map(drop).map_err(describe("making a session"))?;
    }
    for ignored in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTSTP, Signal::SIGTTOU, Signal::SIGTTIN] {
        // SAFETY: ignoring a signal installs no handler.
        unsafe { signal(ignored, SigHandler::SigIgn) }.map_err(describe("ignoring a signal"))?;
    }
    Ok(())
}

/// Whatever else this process was started with does not reach the program.
fn close_on_exec_all_but(kept: &[RawFd]) {
    let Ok(directory) = std::fs::read_dir(if cfg!(target_os = "linux") { "/proc/self/fd" } else { "/dev/fd" }) else {
        return;
    };
    let open: Vec<RawFd> = directory.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).filter(|fd| *fd > 2).collect();
    for fd in open.into_iter().filter(|fd| !kept.contains(fd)) {
        // SAFETY: only a flag is set; a number that is no descriptor any more is refused by the kernel.
        unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

fn describe<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{action} failed: {error}")
}

/// Where a path of the sandbox is when there is no mount namespace to move it.
pub(super) fn on_host(plan: &Plan, inside: &Path) -> PathBuf {
    if matches!(plan.isolation, PlanIsolation::Bubblewrap { .. }) {
        return inside.to_owned();
    }
    let moved = plan.binds.iter().rev().find_map(|bind| Some(bind.source.join(inside.strip_prefix(&bind.target).ok()?)));
    moved.unwrap_or_else(|| inside.to_owned())
}
