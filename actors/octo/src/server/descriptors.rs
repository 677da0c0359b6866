//! Descriptors: as many as the system allows, and one in reserve for when they run out.

use std::fs::File;
use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Descriptors that are not for clients: stores, logs, links, files of the web application.
const OWN: u64 = 256;
/// Of a limit that is smaller than that, so much is octo's own.
const OWN_PART: u64 = 4;

/// Raises the limit of open files to the hard one. Returns what holds from now on.
///
/// # Errors
/// What the system said; the limit is as it was.
pub fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Connections that the limit of open files leaves room for.
#[must_use]
pub fn room() -> usize {
    let soft = getrlimit(Resource::RLIMIT_NOFILE).map_or(u64::MAX, |(soft, _)| soft);
    usize::try_from(soft - OWN.min(soft / OWN_PART)).unwrap_or(usize::MAX)
}

/// Whether an error means that there are no descriptors left, here or in the whole system.
#[must_use]
pub fn exhausted(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// A descriptor kept for nothing, so that there is one to give up when somebody has to be told that there are none.
pub struct Reserve(Option<File>);

impl Reserve {
    /// With a descriptor, if there is one.
    #[must_use]
    pub fn new() -> Self {
        Self(open())
    }

    /// Runs `act` with one more descriptor than before; `None` when there is none in reserve. Then there is one again, if nobody was faster.
    pub fn lend<T>(&mut self, act: impl FnOnce() -> T) -> Option<T> {
        if self.0.is_none() {
            self.0 = open();
        }
        drop(self.0.take()?);
        let done = act();
        self.0 = open();
        Some(done)
    }
}

fn open() -> Option<File> {
    File::open("/dev/null").ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn what_is_in_reserve_is_free_while_it_is_lent_and_kept_afterwards() {
        let mut reserve = Reserve::new();
        let kept = reserve.0.as_ref().unwrap().as_raw_fd();
        let open = || std::fs::read_link(format!("/proc/self/fd/{kept}")).is_ok_and(|file| file == std::path::Path::new("/dev/null"));
        assert!(open());
        assert_eq!(reserve.lend(open), Some(false));
        assert!(open() && reserve.0.is_some());
    }

    #[test]
    fn the_soft_limit_becomes_the_hard_one_and_leaves_octo_its_own() {
        let hard = raise_limit().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_NOFILE).unwrap(), (hard, hard));
        assert!(room() < usize::try_from(hard).unwrap());
    }
}
