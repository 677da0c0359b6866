//! `octo-sandbox init`: pid 1 of the namespace. Starts the program, serves the relay, reaps, reports, and ends everything
//! when the program ends or the life line does.

use std::{
    fs::File,
    io,
    os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd},
    time::Duration,
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
    sys::{
        signal::{Signal as UnixSignal, kill},
        socket::{MsgFlags, recv},
    },
    unistd::Pid,
};

use super::{
    ENDED, FAILED,
    agent::{Outcome, Prepared, Starting},
    read_plan, reaper,
    relay::{Interest, Relay},
    report,
    run::{ANY_WORKSPACE, on_host},
    usage::Usage,
    wakeup::{Wakeup, Woken},
};
use crate::{
    descriptor,
    message::{Plan, PlanIsolation, Report},
    spec::Signal,
};

/// Ended children that are taken in between two looks at everything else.
const REAPED_AT_ONCE: usize = 256;

/// What `run` handed on: numbers of descriptors, and which directory the workspace must be.
#[derive(Debug)]
pub(crate) struct Handover {
    pub plan: RawFd,
    pub line: RawFd,
    pub stdio: [RawFd; 3],
    pub workspace: String,
}

/// What the loop looks after.
struct Init {
    line: OwnedFd,
    wakeup: Wakeup,
    relay: Option<Relay>,
    starting: Option<Starting>,
    agent: Pid,
    usage: Option<Usage>,
    /// More children have ended than were taken in at once.
    unreaped: bool,
    /// Whether the end of this process is the end of everything.
    namespace: bool,
    /// The lease, if there is one.
    _held: OwnedFd,
}

/// Runs until the program has ended or the life line has; returns the exit code.
pub(crate) fn init(handover: &Handover) -> i32 {
    // SAFETY: `run` hands these on to this process and nothing here has touched them.
    let line = unsafe { OwnedFd::from_raw_fd(handover.line) };
    let prepared = prepare(handover, line.try_clone());
    match prepared {
        Ok(mut init) => {
            let code = init.live();
            if !init.namespace {
                reaper::end_descendants();
            }
            code
        }
        Err(reason) => {
            report(&line, &Report::ExecFailed { reason });
            FAILED
        }
    }
}

fn prepare(handover: &Handover, line: io::Result<OwnedFd>) -> Result<Init, String> {
    let line = line.map_err(describe("copying the life line"))?;
    // SAFETY: as for the life line in `init`.
    let (plan, stdio) = unsafe { (File::from_raw_fd(handover.plan), handover.stdio.map(|fd| OwnedFd::from_raw_fd(fd))) };
    let held = detach_standard_descriptors().map_err(describe("arranging the descriptors"))?;
    hide_memory();
    let content = read_plan(&plan).map_err(describe("reading the plan"))?;
    drop(plan);
    check_workspace(&content, &handover.workspace)?;
    let namespace = matches!(content.isolation, PlanIsolation::Bubblewrap { .. });
    if !namespace {
        reaper::adopt_orphans().map_err(describe("becoming the parent of orphans"))?;
    }
    let usage = Usage::watch(&content.limits, namespace);
    let wakeup = Wakeup::install().map_err(describe("watching for signals"))?;
    let relay = start_relay(&content)?;
    let port = relay.as_ref().map(Relay::port).transpose().map_err(describe("reading the relay's port"))?;
    let starting = Prepared::new(&content, port)?.start(line.as_fd(), stdio).map_err(describe("forking"))?;
    Ok(Init { line, wakeup, relay, agent: starting.pid, starting: Some(starting), usage, unreaped: false, namespace, _held: held })
}

/// What is mounted as the workspace must be what was found harmless before: an agent that may write above it could have
/// put a link in its place in between.
fn check_workspace(plan: &Plan, expected: &str) -> Result<(), String> {
    if expected == ANY_WORKSPACE {
        return Ok(());
    }
    #[cfg(target_os = "linux")]
    {
        let found = plan.workspace.metadata().map(|found| crate::mounts::identity(&found));
        if found.is_ok_and(|found| found == expected) {
            return Ok(());
        }
    }
    Err(format!("the workspace {} was exchanged while the sandbox was made; try again", plan.workspace.display()))
}

fn start_relay(plan: &Plan) -> Result<Option<Relay>, String> {
    let Some(relay) = &plan.relay else {
        return Ok(None);
    };
    Relay::new(&on_host(plan, &relay.socket)).map(Some).map_err(describe("starting the relay"))
}

impl Init {
    fn live(&mut self) -> i32 {
        loop {
            match self.turn() {
                Ok(None) => {}
                Ok(Some(code)) => return code,
                // Nothing can be watched any more, so nothing may go on.
                Err(_) => return ENDED,
            }
        }
    }

    /// Waits for the next thing to happen and deals with it. Some(code) ends the loop.
    fn turn(&mut self) -> nix::Result<Option<i32>> {
        let (woken, commanded, ready) = self.wait()?;
        if let Some(excess) = self.usage.as_mut().and_then(Usage::look) {
            report(&self.line, &Report::Exceeded { excess });
            return Ok(Some(ENDED));
        }
        if let Some(excess) = self.usage.as_mut().and_then(Usage::news) {
            report(&self.line, &Report::Near { excess });
        }
        if commanded && self.obey() {
            return Ok(Some(ENDED));
        }
        if let Some(code) = self.watch_start() {
            return Ok(Some(code));
        }
        let what = if woken { self.wakeup.drain() } else { Woken::default() };
        if what.end && !self.namespace {
            return Ok(Some(ENDED));
        }
        if (what.child || self.unreaped)
            && let Some(code) = self.reap()
        {
            return Ok(Some(code));
        }
        if let Some(relay) = &mut self.relay {
            relay.serve(&ready);
        }
        Ok(None)
    }

    fn wait(&self) -> nix::Result<(bool, bool, Vec<Interest>)> {
        let mut entries = vec![PollFd::new(self.wakeup.as_fd(), PollFlags::POLLIN), PollFd::new(self.line.as_fd(), PollFlags::POLLIN)];
        if let Some(starting) = &self.starting {
            entries.push(PollFd::new(starting.as_fd(), PollFlags::POLLIN));
        }
        let own = entries.len();
        let interests = self.relay.as_ref().map(|relay| relay.interests(&mut entries)).unwrap_or_default();
        let patience = self.relay.as_ref().and_then(Relay::patience);
        let patience = patience.into_iter().chain(self.usage.as_ref().map(Usage::patience)).min();
        let patience = if self.unreaped { Some(Duration::ZERO) } else { patience };
        let timeout = patience.map_or(PollTimeout::NONE, |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::ZERO));
        match poll(&mut entries, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error),
        }
        let is_ready = |entry: &PollFd<'_>| entry.any().unwrap_or(false);
        let relayed = entries.iter().skip(own).zip(&interests).filter(|(entry, _)| is_ready(entry));
        let ready = relayed.map(|(_, interest)| *interest).collect();
        let mut ours = entries.iter().take(2).map(is_ready);
        Ok((ours.next().unwrap_or(false), ours.next().unwrap_or(false), ready))
    }

    /// Takes commands off the life line; true at its end.
    fn obey(&self) -> bool {
        let mut bytes = [0u8; 64];
        loop {
            match recv(self.line.as_raw_fd(), &mut bytes, MsgFlags::MSG_DONTWAIT) {
                Ok(0) => return true,
                Ok(count) => {
                    for signal in bytes.iter().take(count).filter_map(|byte| Signal::from_byte(*byte)) {
                        // Not yet reaped, so the number is the program's; it may be a zombie, which does not mind.
                        let _ = kill(self.agent, to_unix(signal));
                    }
                }
                Err(Errno::EAGAIN) => return false,
                Err(Errno::EINTR) => {}
                Err(_) => return true,
            }
        }
    }

    fn watch_start(&mut self) -> Option<i32> {
        let outcome = self.starting.as_mut()?.outcome();
        match outcome {
            Outcome::Undecided => return None,
            Outcome::Executed => {
                let relay_port = self.relay.as_ref().and_then(|relay| relay.port().ok());
                report(&self.line, &Report::Started { pid: self.agent.as_raw(), relay_port });
            }
            Outcome::Failed(reason) => {
                report(&self.line, &Report::ExecFailed { reason });
                return Some(FAILED);
            }
        }
        self.starting = None;
        None
    }

    /// Takes in ended children; Some(code) when the program is among them. Not all at once: they may end faster than they are taken in, and there is
    /// more to look after.
    fn reap(&mut self) -> Option<i32> {
        let mut ended = None;
        self.unreaped = true;
        for _ in 0..REAPED_AT_ONCE {
            let Some((pid, status)) = next_ended() else {
                self.unreaped = false;
                break;
            };
            if pid == self.agent.as_raw() {
                ended = Some(status);
            }
        }
        let (said, code) = describe_status(ended?);
        if let Some(failed) = self.watch_start() {
            return Some(failed);
        }
        report(&self.line, &said);
        Some(code)
    }
}

/// Reaps one child, if one has ended: its id and raw status. (nix's wrapper knows no real-time signals.)
fn next_ended() -> Option<(i32, i32)> {
    loop {
        let mut status = 0;
        // SAFETY: the status is written to a live integer.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) };
        match pid {
            1.. => return Some((pid, status)),
            -1 if Errno::last() == Errno::EINTR => {}
            _ => return None,
        }
    }
}

fn describe_status(status: i32) -> (Report, i32) {
    if libc::WIFSIGNALED(status) {
        let signal = libc::WTERMSIG(status);
        return (Report::Signaled { signal }, 128 + signal);
    }
    let code = libc::WEXITSTATUS(status);
    (Report::Exited { code }, code)
}

fn to_unix(signal: Signal) -> UnixSignal {
    match signal {
        Signal::Terminate => UnixSignal::SIGTERM,
        Signal::Interrupt => UnixSignal::SIGINT,
        Signal::Hangup => UnixSignal::SIGHUP,
        Signal::Kill => UnixSignal::SIGKILL,
    }
}

/// The program's ends of its pipes are held by the program alone, so that their end is seen outside.
/// What was descriptor 0 is given back: the lease.
fn detach_standard_descriptors() -> io::Result<OwnedFd> {
    let held = io::stdin().as_fd().try_clone_to_owned()?;
    let null = descriptor::null()?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    nix::unistd::dup2_stderr(&null)?;
    Ok(held)
}

/// The program has the same user id; it shall not look into this process or steer it.
fn hide_memory() {
    #[cfg(target_os = "linux")]
    let _ = nix::sys::prctl::set_dumpable(false);
}

fn describe<E: std::fmt::Display>(action: &'static str) -> impl FnOnce(E) -> String {
    move |error| format!("{action} failed: {error}")
}
