//! What a process that holds a tree asks of the system. For `main` alone: it concerns the whole process, whose allocator is mimalloc.

use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// How long freed memory may wait until the system has it back.
const TIDY_EVERY: Duration = Duration::from_secs(2);

/// The start is over by then.
const STARTED_AFTER: Duration = Duration::from_secs(1);

/// Gives memory back that was freed, for as long as it is polled. mimalloc does that only while it is asked for more, so a process that
/// ten thousand clients have left would keep theirs until somebody comes.
pub async fn tidy_memory() {
    tokio::time::sleep(STARTED_AFTER).await;
    unmap_unused_code();
    loop {
        tokio::time::sleep(TIDY_EVERY).await;
        // SAFETY: the call has no precondition. Not forced, it purges only what has been free for a while.
        unsafe { libmimalloc_sys::mi_collect(false) };
    }
}

/// Lets go of the program's pages that only its start has used: most of its code. What runs again is mapped again from the page cache.
#[cfg(target_os = "linux")]
fn unmap_unused_code() {
    let Ok(maps) = std::fs::read_to_string("/proc/self/maps") else { return };
    for (start, end) in maps.lines().filter_map(code) {
        // SAFETY: private, executable, never written and backed by a file: its content is the file's, before and after. The lines come
        // from the kernel, and nothing unmaps code here; where it did, the call fails.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(start), end.saturating_sub(start), libc::MADV_DONTNEED) };
    }
}

#[cfg(not(target_os = "linux"))]
fn unmap_unused_code() {}

/// Where a line of `/proc/self/maps` maps a file's code: privately, to be read and executed and not written.
#[cfg(target_os = "linux")]
fn code(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let wanted = fields.next()? == "r-xp" && fields.nth(3)?.starts_with('/');
    let number = |text| usize::from_str_radix(text, 16).ok();
    wanted.then_some((number(start)?, number(end)?))
}

/// Makes the process ready for many actors with little in each: small pages of memory, and as many descriptors as it may have.
///
/// Where huge pages are handed out unasked, an idle process would hold 2 MiB for every few bytes it touched. Descriptors: every socket
/// takes one, and the usual soft limit is 1024. What the system refuses stays as it is. Children inherit both; the sandbox gives huge pages back to what runs in it.
pub fn prepare_process() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_thp_disable(true) {
        tracing::debug!(%error, "huge pages stay allowed");
    }
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard
        && let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
    {
        tracing::debug!(%error, soft, hard, "the limit of open descriptors stays");
    }
}

/// Unix nanoseconds: when something was, for whoever is not on this machine.
#[must_use]
pub fn unix_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
}

/// Nanoseconds of the clock that all processes of this machine share.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is to a timespec of ours; the call writes nothing else.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    now.tv_sec.cast_unsigned() * 1_000_000_000 + now.tv_nsec.cast_unsigned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn only_code_of_files_is_let_go_of() {
        assert_eq!(code("55e6-66f0 r-xp 00513000 fe:00 123 /usr/bin/octo (deleted)"), Some((0x55e6, 0x66f0)));
        for other in [
            "55e6-66f0 r--p 00513000 fe:00 123 /usr/bin/octo",
            "55e6-66f0 rwxp 00513000 fe:00 123 /usr/bin/octo",
            "55e6-66f0 r-xs 00513000 fe:00 123 /usr/bin/octo",
            "55e6-66f0 r-xp 00000000 00:00 0 [vdso]",
            "55e6-66f0 r-xp 00000000 00:00 0",
            "",
        ] {
            assert_eq!(code(other), None, "{other}");
        }
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        assert!(maps.lines().filter_map(code).count() > 0);
        unmap_unused_code();
        // Still there, and still the same.
        assert_eq!(code("1000-2000 r-xp 0 fe:00 1 /a"), Some((0x1000, 0x2000)));
    }

    #[test]
    fn a_prepared_process_has_small_pages_and_every_descriptor_it_may_have() {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        setrlimit(Resource::RLIMIT_NOFILE, hard.min(128), hard).unwrap();
        prepare_process();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        #[cfg(target_os = "linux")]
        assert!(nix::sys::prctl::get_thp_disable().unwrap());
    }
}
