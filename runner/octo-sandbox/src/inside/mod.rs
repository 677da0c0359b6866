//! The other side of a launch: what the processes `octo-sandbox run` and `octo-sandbox init` do.
//!
//! Owns: building the sandbox around itself (`run`), and then being its pid 1 (`init`): the program's process, its
//! limits and system-call filter, the relay, reaping, reports, the end.
//! Promises: one thread, no panics, nothing that can block but `poll`. Never: a runtime, a lock, a log.

mod agent;
mod init;
mod limits;
#[cfg(target_os = "linux")]
mod reaper;
#[cfg(not(target_os = "linux"))]
#[path = "reaper_portable.rs"]
mod reaper;
mod relay;
mod run;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(target_os = "linux")]
mod usage;
#[cfg(not(target_os = "linux"))]
#[path = "usage_portable.rs"]
mod usage;
mod wakeup;

pub(crate) use init::{Handover, init};
#[cfg(target_os = "linux")]
pub(crate) use run::bubblewrap_arguments;
pub(crate) use run::run;

use std::{
    io,
    os::fd::{AsFd, AsRawFd},
};

use nix::sys::socket::{MsgFlags, send};

use crate::message::Report;

/// The nice value of whoever watches a tree, where that is allowed; the program has the ordinary one.
pub(crate) const WATCHING: i32 = -10;
/// Exit code of `run` and `init` when they could not do their part.
pub(crate) const FAILED: i32 = 125;
/// Exit code of a tree that was ended through its life line.
pub(crate) const ENDED: i32 = 137;

/// Says something on the life line. A launcher that has gone or does not read is no reason to wait.
pub(crate) fn report(line: impl AsFd, report: &Report) {
    if let Some(text) = report_line(report) {
        let _ = send(line.as_fd().as_raw_fd(), &text, MsgFlags::MSG_DONTWAIT);
    }
}

pub(crate) fn report_line(report: &Report) -> Option<Vec<u8>> {
    let mut text = serde_json::to_vec(report).ok()?;
    text.push(b'\n');
    Some(text)
}

/// Reads the whole plan without moving the position that the next process of the chain shares.
pub(crate) fn read_plan(file: &std::fs::File) -> io::Result<crate::message::Plan> {
    use std::os::unix::fs::FileExt;
    let length = usize::try_from(file.metadata()?.len()).map_err(io::Error::other)?;
    if length > MAX_PLAN {
        return Err(io::Error::other(format!("the plan has {length} bytes, more than {MAX_PLAN}")));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, 0)?;
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

/// The kernel itself takes no more than 2 MiB of arguments and environment.
const MAX_PLAN: usize = 8 * 1024 * 1024;
