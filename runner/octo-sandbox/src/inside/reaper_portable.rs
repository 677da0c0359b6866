//! Ending a tree where there are neither namespaces nor a sub-reaper (macOS): the processes are followed by their
//! parents as long as those live. Untested on a real machine.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::Pid,
};

const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_ROUNDS: Duration = Duration::from_millis(2);
const MAX_CHILDREN: usize = 4096;

/// There is no such thing here; an orphan is followed only while it is in the list of the walk that kills it.
pub(super) fn adopt_orphans() -> nix::Result<()> {
    Ok(())
}

/// Kills and reaps every descendant that can be found.
pub(super) fn end_descendants() {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        let mut found = HashSet::new();
        let mut open = vec![Pid::this().as_raw()];
        while let Some(pid) = open.pop() {
            open.extend(children(pid).into_iter().filter(|child| found.insert(*child)));
        }
        for pid in found {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        loop {
            match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(nix::sys::wait::WaitStatus::StillAlive) => break,
                Ok(_) | Err(Errno::EINTR) => {}
                Err(_) => return,
            }
        }
        std::thread::sleep(BETWEEN_ROUNDS);
    }
}

#[cfg(target_os = "macos")]
fn children(pid: i32) -> Vec<i32> {
    let mut pids = vec![0i32; MAX_CHILDREN];
    let bytes = i32::try_from(std::mem::size_of_val(pids.as_slice())).unwrap_or(0);
    // SAFETY: the buffer is as long as it is said to be.
    let count = unsafe { libc::proc_listchildpids(pid, pids.as_mut_ptr().cast(), bytes) };
    pids.truncate(usize::try_from(count).unwrap_or(0));
    pids.retain(|pid| *pid > 0);
    pids
}

#[cfg(not(target_os = "macos"))]
fn children(_pid: i32) -> Vec<i32> {
    Vec::with_capacity(MAX_CHILDREN.min(0))
}
