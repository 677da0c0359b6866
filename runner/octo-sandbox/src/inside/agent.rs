//! The program's own process: prepared before the fork, made after it, its start reported through a pipe that closes
//! on exec.

use std::{
    ffi::{CString, OsStr},
    io::{self, Read},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd},
        unix::ffi::OsStrExt,
    },
    path::{Path, PathBuf},
};

use nix::{
    sys::signal::{SigSet, SigmaskHow, sigprocmask},
    unistd::{ForkResult, Pid, fork},
};

use super::{limits, report_line, run::on_host};
use crate::{
    descriptor,
    message::{Plan, PlanIsolation, Report, TerminalMode},
    spec::{Limits, RELAY_PORT_PLACEHOLDER},
};

/// Everything the new process needs, in the form it needs it: nothing is allocated after the fork.
pub(super) struct Prepared {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: CString,
    limits: Limits,
    own_user_namespace: bool,
    terminal: TerminalMode,
    here: Vec<u8>,
    #[cfg(target_os = "linux")]
    filter: Vec<libc::sock_filter>,
}

/// A process that is about to execute the program, or says why it cannot.
pub(super) struct Starting {
    pub pid: Pid,
    outcome: std::fs::File,
}

/// How far it has come.
pub(super) enum Outcome {
    Executed,
    Failed(String),
    Undecided,
}

/// What failed in the new process; its number is the first byte of what it says.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
enum Step {
    Session = 1,
    Terminal,
    Descriptors,
    Limits,
    Directory,
    Privileges,
    Filter,
    Execute,
}

impl Step {
    fn describe(byte: u8) -> &'static str {
        match byte {
            1 => "making a session",
            2 => "taking the terminal",
            3 => "arranging the descriptors",
            4 => "setting the resource limits",
            5 => "entering the working directory",
            6 => "giving up privileges",
            7 => "installing the system call filter",
            _ => "executing it",
        }
    }
}

impl Prepared {
    /// With the relay's port filled in. Fails with a sentence when the program is not there or a text holds a NUL.
    pub fn new(plan: &Plan, relay_port: Option<u16>) -> Result<Self, String> {
        let fill = |text: &str| match relay_port {
            Some(port) => text.replace(RELAY_PORT_PLACEHOLDER, &port.to_string()),
            None => text.to_owned(),
        };
        let path = plan.env.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.as_str());
        let program = find(&on_host(plan, &plan.program), path)?;
        let mut args = vec![c_string(plan.program.as_os_str())?];
        for argument in &plan.args {
            args.push(c_string(OsStr::new(&fill(argument)))?);
        }
        let mut env = Vec::new();
        for (name, value) in &plan.env {
            if name.is_empty() || name.contains('=') {
                return Err(format!("{name:?} is no name for an environment variable"));
            }
            env.push(c_string(OsStr::new(&format!("{name}={}", fill(value))))?);
        }
        Ok(Self {
            program: c_string(program.as_os_str())?,
            args,
            env,
            cwd: c_string(on_host(plan, &plan.cwd).as_os_str())?,
            limits: plan.limits.clone(),
            own_user_namespace: matches!(plan.isolation, PlanIsolation::Bubblewrap { user_namespace: true, .. }),
            terminal: plan.terminal,
            here: report_line(&Report::Here).unwrap_or_default(),
            #[cfg(target_os = "linux")]
            filter: super::seccomp::filter(),
        })
    }

    /// Forks. This process has one thread and little memory, so a fork is safe and cheap here.
    pub fn start(&self, line: BorrowedFd<'_>, stdio: [OwnedFd; 3]) -> io::Result<Starting> {
        let (read, write) = descriptor::pipe()?;
        descriptor::set_nonblocking(&read)?;
        // SAFETY: single-threaded; the child only makes system calls and then executes or exits.
        match unsafe { fork() }? {
            ForkResult::Parent { child } => Ok(Starting { pid: child, outcome: read.into() }),
            ForkResult::Child => {
                let (step, errno) = match self.become_program(line, &stdio, &write) {
                    Ok(never) => match never {},
                    Err(failure) => failure,
                };
                let mut said = vec![step as u8];
                said.extend_from_slice(&(errno as i32).to_ne_bytes());
                let _ = nix::unistd::write(&write, &said);
                // SAFETY: leaves without running anything of the parent's.
                unsafe { libc::_exit(127) }
            }
        }
    }

    fn become_program(
        &self,
        line: BorrowedFd<'_>,
        stdio: &[OwnedFd; 3],
        outcome: &OwnedFd,
    ) -> Result<std::convert::Infallible, (Step, nix::Error)> {
        let at = |step: Step| move |error: nix::Error| (step, error);
        if self.terminal != TerminalMode::Shared {
            nix::unistd::setsid().map_err(at(Step::Session))?;
        }
        let [stdin, stdout, stderr] = stdio;
        nix::unistd::dup2_stdin(stdin).map_err(at(Step::Descriptors))?;
        nix::unistd::dup2_stdout(stdout).map_err(at(Step::Descriptors))?;
        nix::unistd::dup2_stderr(stderr).map_err(at(Step::Descriptors))?;
        self.take_terminal().map_err(at(Step::Terminal))?;
        nix::unistd::chdir(self.cwd.as_c_str()).map_err(at(Step::Directory))?;
        limits::apply(&self.limits, self.own_user_namespace).map_err(|error| (Step::Limits, errno_of(&error)))?;
        // SAFETY: the calls take and return integers.
        unsafe {
            if libc::getpriority(libc::PRIO_PROCESS, 0) == super::WATCHING {
                libc::setpriority(libc::PRIO_PROCESS, 0, 0);
            }
        }
        // octo's daemons do without huge pages; their programs have what the machine gives.
        #[cfg(target_os = "linux")]
        let _ = nix::sys::prctl::set_thp_disable(false);
        // The kernel attaches this process's id, as the launcher's namespace knows it.
        let _ = nix::unistd::write(line, &self.here);
        close_all_but_standard(outcome.as_raw_fd()).map_err(at(Step::Descriptors))?;
        reset_signals();
        self.lock_down()?;
        match nix::unistd::execve(&self.program, &self.args, &self.env) {
            Ok(never) => Ok(never),
            Err(error) => Err((Step::Execute, error)),
        }
    }

    fn take_terminal(&self) -> nix::Result<()> {
        match self.terminal {
            TerminalMode::Detached => Ok(()),
            TerminalMode::Own => {
                // SAFETY: descriptor 0 is the terminal; the call takes an integer.
                nix::Error::result(unsafe { libc::ioctl(0, libc::TIOCSCTTY as _, 0) }).map(drop)
            }
            TerminalMode::Shared => {
                let stdin = io::stdin();
                if nix::unistd::isatty(&stdin).unwrap_or(false) {
                    nix::unistd::setpgid(Pid::from_raw(0), Pid::from_raw(0))?;
                    // SIGTTOU is ignored since `run`, so this does not stop us.
                    nix::unistd::tcsetpgrp(&stdin, nix::unistd::getpgrp())?;
                }
                Ok(())
            }
        }
    }

    #[cfg(target_os = "linux")]
    fn lock_down(&self) -> Result<(), (Step, nix::Error)> {
        nix::sys::prctl::set_no_new_privs().map_err(|error| (Step::Privileges, error))?;
        super::seccomp::install(&self.filter).map_err(|error| (Step::Filter, error))
    }

    #[cfg(not(target_os = "linux"))]
    fn lock_down(&self) -> Result<(), (Step, nix::Error)> {
        Ok(())
    }
}

impl Starting {
    /// For `poll`: readable as soon as there is something to know.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.outcome.as_fd()
    }

    pub fn outcome(&mut self) -> Outcome {
        let mut said = [0u8; 5];
        match self.outcome.read(&mut said) {
            Ok(0) => Outcome::Executed,
            Ok(_) => {
                let [step, number @ ..] = said;
                let error = io::Error::from_raw_os_error(i32::from_ne_bytes(number));
                Outcome::Failed(format!("{} failed: {error}", Step::describe(step)))
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Outcome::Undecided,
            Err(error) => Outcome::Failed(format!("its start could not be watched: {error}")),
        }
    }
}

fn c_string(text: &OsStr) -> Result<CString, String> {
    CString::new(text.as_bytes()).map_err(|_| "an argument or environment variable contains a NUL byte".to_owned())
}

/// The file to execute: the path itself, or the first executable of that name in `path`.
fn find(program: &Path, path: Option<&str>) -> Result<PathBuf, String> {
    let shown = program.display();
    if program.as_os_str().as_bytes().contains(&b'/') {
        return match program.metadata() {
            Ok(found) if found.is_file() => Ok(program.to_owned()),
            Ok(_) => Err(format!("{shown} is not a file")),
            Err(error) => Err(format!("{shown} is not visible in the sandbox: {error}")),
        };
    }
    let Some(path) = path else {
        return Err(format!("{shown} is a bare name and the environment has no PATH to look it up in"));
    };
    let executable = |file: &PathBuf| file.is_file() && nix::unistd::access(file, nix::unistd::AccessFlags::X_OK).is_ok();
    let found = std::env::split_paths(path).map(|directory| directory.join(program)).find(executable);
    found.ok_or_else(|| format!("{shown} is not in the sandbox's PATH ({path})"))
}

fn errno_of(error: &io::Error) -> nix::Error {
    nix::Error::from_raw(error.raw_os_error().unwrap_or(libc::EINVAL))
}

/// Handlers do not survive an exec, but ignored and blocked signals would.
fn reset_signals() {
    for number in 1..=64 {
        // SAFETY: sets the default action; numbers that cannot be set are refused.
        unsafe { default_action(number) };
    }
    let _ = sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None);
}

/// Around the C library, which keeps two signals for itself and would leave them as they are.
#[cfg(target_os = "linux")]
unsafe fn default_action(number: libc::c_int) {
    // The kernel's own structure is at most this long and means "default, no flags, no mask" when it is zero.
    let default = [0u64; 4];
    let none = std::ptr::null_mut::<u64>();
    let mask_bytes = size_of::<u64>();
    // SAFETY: the kernel reads the structure and writes nothing.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, number, default.as_ptr(), none, mask_bytes) };
}

#[cfg(not(target_os = "linux"))]
unsafe fn default_action(number: libc::c_int) {
    // SAFETY: as promised by the caller.
    unsafe { libc::signal(number, libc::SIG_DFL) };
}

/// Closes everything above 2 but `outcome`, which closes itself on exec.
fn close_all_but_standard(outcome: RawFd) -> nix::Result<()> {
    // SAFETY: the process executes or exits next; nothing in it uses a closed descriptor. `outcome` stays.
    unsafe {
        close_range(3, outcome - 1);
        close_range(outcome + 1, RawFd::MAX);
    }
    Ok(())
}

unsafe fn close_range(first: RawFd, last: RawFd) {
    if first > last {
        return;
    }
    #[cfg(target_os = "linux")]
    {
        // SAFETY: as promised by the caller.
        if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
            return;
        }
    }
    // SAFETY: asks for a number.
    let open_max = unsafe { libc::sysconf(libc::_SC_OPEN_MAX) };
    let top = RawFd::try_from(open_max).unwrap_or(65_536).min(last);
    for fd in first..=top {
        // SAFETY: as promised by the caller.
        unsafe { libc::close(fd) };
    }
}
