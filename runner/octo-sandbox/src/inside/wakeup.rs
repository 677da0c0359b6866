//! Signals as something `poll` can wait for: a pipe that the handler writes to.

use std::{
    io,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    sync::atomic::{AtomicI32, Ordering},
};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};

use crate::descriptor;

/// Where the handler writes; a signal handler can reach nothing but a global. This process is `init` and nothing else.
static WRITE_END: AtomicI32 = AtomicI32::new(-1);

/// What happened since the last look.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Woken {
    pub child: bool,
    pub end: bool,
}

/// The readable end and its guard.
#[derive(Debug)]
pub(super) struct Wakeup {
    read: OwnedFd,
    _write: OwnedFd,
}

impl Wakeup {
    /// From now on, ended children and requests to end wake `poll`.
    pub fn install() -> io::Result<Self> {
        let (read, write) = descriptor::pipe()?;
        descriptor::set_nonblocking(&read)?;
        descriptor::set_nonblocking(&write)?;
        WRITE_END.store(write.as_raw_fd(), Ordering::Release);
        let action = SigAction::new(SigHandler::Handler(woken), SaFlags::SA_RESTART, SigSet::empty());
        for signal in [Signal::SIGCHLD, Signal::SIGTERM, Signal::SIGHUP] {
            // SAFETY: the handler only writes a byte to a pipe, which is async-signal-safe.
            unsafe { sigaction(signal, &action) }?;
        }
        Ok(Self { read, _write: write })
    }

    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// Takes everything out of the pipe. A full pipe loses bytes, never the fact that there is one.
    pub fn drain(&self) -> Woken {
        let mut found = Woken::default();
        let mut bytes = [0u8; 256];
        while let Ok(count @ 1..) = nix::unistd::read(&self.read, &mut bytes) {
            for byte in bytes.iter().take(count) {
                match byte {
                    b'c' => found.child = true,
                    _ => found.end = true,
                }
            }
        }
        found
    }
}

extern "C" fn woken(signal: libc::c_int) {
    let byte: u8 = if signal == libc::SIGCHLD { b'c' } else { b'e' };
    let fd = WRITE_END.load(Ordering::Acquire);
    // SAFETY: write is async-signal-safe, the byte outlives the call; errno is put back for the interrupted code.
    unsafe {
        let errno = errno_location();
        let saved = *errno;
        libc::write(fd, (&raw const byte).cast(), 1);
        *errno = saved;
    }
}

#[cfg(target_os = "linux")]
unsafe fn errno_location() -> *mut libc::c_int {
    // SAFETY: always a valid pointer to the calling thread's errno.
    unsafe { libc::__errno_location() }
}

#[cfg(not(target_os = "linux"))]
unsafe fn errno_location() -> *mut libc::c_int {
    // SAFETY: always a valid pointer to the calling thread's errno.
    unsafe { libc::__error() }
}
