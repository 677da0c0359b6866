//! What the system says of this process.

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage};

/// What this process uses. What the system does not tell is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessUsage {
    /// Processor time, user and system, of this process without its children.
    pub cpu_seconds: f64,
    /// Memory in RAM.
    pub resident_bytes: Option<u64>,
    /// Open file descriptors.
    pub open_fds: Option<u64>,
    /// File descriptors that it may open.
    pub max_fds: Option<u64>,
}

impl ProcessUsage {
    /// Of now. Reads a directory entry for each open descriptor: not for a thread that others wait for when there may be thousands.
    #[must_use]
    pub fn now() -> Self {
        let cpu_seconds = getrusage(UsageWho::RUSAGE_SELF).map_or(0.0, |usage| {
            [usage.user_time(), usage.system_time()].iter().map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6).sum()
        });
        Self {
            cpu_seconds,
            resident_bytes: resident_bytes(),
            // One of them is that of the directory itself.
            open_fds: std::fs::read_dir("/proc/self/fd").ok().map(|fds| (fds.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft),
        }
    }
}

/// From the status file, which says it in KiB whatever the size of a page.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.split_ascii_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_sees_what_it_uses() {
        let before = ProcessUsage::now();
        let file = tempfile::tempfile().unwrap();
        let after = ProcessUsage::now();
        drop(file);
        assert!(before.resident_bytes.unwrap() > 1024 * 1024 && before.max_fds.unwrap() > 0);
        // Other tests of this process open and close descriptors as well.
        assert!(after.open_fds.unwrap() >= 4 && after.cpu_seconds >= before.cpu_seconds);
    }
}
