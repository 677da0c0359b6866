//! Ending a tree where no namespace does it: this process adopts whatever its descendants leave behind, and walks
//! `/proc` until nothing of it is left.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::fd::{FromRawFd, OwnedFd},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::wait::{WaitPidFlag, waitpid},
    unistd::Pid,
};

/// A tree that forks faster than this walk for so long is left to the system's own limits.
const PATIENCE: Duration = Duration::from_secs(10);
const BETWEEN_ROUNDS: Duration = Duration::from_millis(2);

/// Orphans among the descendants become children of this process instead of the system's.
pub(super) fn adopt_orphans() -> nix::Result<()> {
    nix::sys::prctl::set_child_subreaper(true)
}

/// Kills and reaps every descendant. A round may miss what was forked during it, so there are rounds until there is no child.
pub(super) fn end_descendants() {
    let started = Instant::now();
    while started.elapsed() < PATIENCE {
        for pid in descendants(std::process::id() as i32) {
            kill(pid);
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

/// Everything below `root`, by the parents named in `/proc`.
pub(super) fn descendants(root: i32) -> HashSet<i32> {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()) {
        if let Some(parent) = parent_of(pid) {
            children.entry(parent).or_default().push(pid);
        }
    }
    let mut found = HashSet::new();
    let mut open = vec![root];
    while let Some(pid) = open.pop() {
        for child in children.get(&pid).into_iter().flatten() {
            if found.insert(*child) {
                open.push(*child);
            }
        }
    }
    found
}

fn parent_of(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything, parentheses included.
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

/// The descriptor is taken before the look at the parents, so the number cannot mean another process in between.
fn kill(pid: i32) {
    // SAFETY: the call takes two integers and returns a new descriptor or an error.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let Ok(raw @ 0..) = i32::try_from(raw) else {
        return;
    };
    // SAFETY: the kernel has just made this descriptor.
    let process = unsafe { OwnedFd::from_raw_fd(raw) };
    if is_descendant(pid) {
        use std::os::fd::AsRawFd;
        let none = std::ptr::null::<libc::siginfo_t>();
        // SAFETY: a null siginfo asks for the ordinary one.
        unsafe { libc::syscall(libc::SYS_pidfd_send_signal, process.as_raw_fd(), libc::SIGKILL, none, 0) };
    }
}

fn is_descendant(pid: i32) -> bool {
    let own = Pid::this().as_raw();
    let mut current = pid;
    // Deeper than any tree of processes can be.
    for _ in 0..65_536 {
        match parent_of(current) {
            Some(parent) if parent == own => return true,
            Some(parent) if parent > 1 => current = parent,
            _ => return false,
        }
    }
    false
}
