//! A running sandbox in other hands: its holder is replaced in place (the same process executes another program), and the new one goes on.
//!
//! What cannot be found out again is [`Standing`]; descriptors stay open under their numbers. Nothing of it is secret.

use std::{
    io,
    os::fd::{OwnedFd, RawFd},
    path::PathBuf,
};

use nix::{
    errno::Errno,
    sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid},
    unistd::Pid,
};
use serde::{Deserialize, Serialize};
use tokio::signal::unix::{Signal as Heard, SignalKind, signal};

use crate::{
    lifeline::Lifeline,
    sandboxed::{Outermost, Progress, Sandboxed, Started},
};

/// A sandbox whose program runs, between two holders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// The life line, by its number.
    pub line: RawFd,
    /// The outermost process: a child of the holder, which has not been waited for.
    pub child: i32,
    /// The program, as the holder sees it.
    pub agent: i32,
    /// The relay's port inside.
    #[serde(default)]
    pub relay_port: Option<u16>,
    /// What is executed in it.
    pub program: PathBuf,
}

/// A child that this process has from the program it was before. Its number is its own until it is waited for, which nobody else does.
#[derive(Debug)]
pub(crate) struct Inherited {
    child: Pid,
    heard: Heard,
    over: bool,
}

impl Inherited {
    fn new(child: i32) -> io::Result<Self> {
        let child = Pid::from_raw(child);
        // Before the first look, so that an end in between is heard.
        let heard = signal(SignalKind::child())?;
        // Fails when it is no child of this process: then the number may be anybody's.
        waitid(Id::Pid(child), WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT)?;
        Ok(Self { child, heard, over: false })
    }

    /// Waits for its end. Cancel-safe, may be called again.
    pub async fn wait(&mut self) -> io::Result<()> {
        while !self.over {
            match waitpid(self.child, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
                Ok(_) => {
                    self.over = true;
                    break;
                }
                Err(errno) => {
                    self.over = true;
                    return Err(errno.into());
                }
            }
            if self.heard.recv().await.is_none() {
                return Err(io::Error::other("signals are not heard any more"));
            }
        }
        Ok(())
    }

    /// Its number, unless it has ended.
    pub fn living(&self) -> Option<i32> {
        let look = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        let lives = !self.over && matches!(waitid(Id::Pid(self.child), look), Ok(WaitStatus::StillAlive));
        lives.then_some(self.child.as_raw())
    }
}

impl Sandboxed {
    /// How it stands, for the next holder; `None` while it starts, when it ends, and in the middle of a report. Its holder is not to wait for anything of
    /// it from then on until it goes on holding it.
    pub fn standing(&mut self) -> Option<Standing> {
        let Progress::Running(started) = &self.progress else { return None };
        if self.exit.is_some() || self.line.is_cut() || !self.reports.is_between() {
            return None;
        }
        let started = *started;
        Some(Standing {
            line: self.line.as_raw_fd(),
            child: self.child.living()?,
            agent: started.agent_pid.as_raw(),
            relay_port: started.relay_port,
            program: self.program.clone(),
        })
    }

    /// Goes on holding a sandbox; `line` is its life line. Its standard descriptors are their own matter. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When the outermost process is no child of this one, or the line cannot be watched. The line is closed then, which ends the sandbox.
    pub fn adopt(standing: &Standing, line: OwnedFd) -> io::Result<Self> {
        let child = Inherited::new(standing.child)?;
        let line = Lifeline::new(line)?;
        line.set_agent(Some(standing.agent));
        let mut sandboxed = Self::new(standing.program.clone(), line, Outermost::Inherited(child));
        sandboxed.progress = Progress::Running(Started { agent_pid: Pid::from_raw(standing.agent), relay_port: standing.relay_port });
        Ok(sandboxed)
    }
}
