//! Descriptors that outlive this program: open to the next one, and to nobody else.

use octo_sandbox::set_close_on_exec;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Standard input, output and error are nobody's to hand over.
const FIRST: RawFd = 3;

/// They are inherited by whatever is executed as long as this is held. Nothing may be started meanwhile.
#[derive(Debug)]
pub(super) struct Inheritable(Vec<RawFd>);

impl Inheritable {
    /// # Errors
    /// When one of them is not open.
    pub fn new(descriptors: impl IntoIterator<Item = RawFd>) -> io::Result<Self> {
        let mut inheritable = Self(Vec::new());
        for number in descriptors {
            set(number, false)?;
            inheritable.0.push(number);
        }
        Ok(inheritable)
    }
}

impl Drop for Inheritable {
    fn drop(&mut self) {
        for number in &self.0 {
            if let Err(error) = set(*number, true) {
                tracing::error!(descriptor = number, %error, "a descriptor stays open to children");
            }
        }
    }
}

fn set(number: RawFd, close_on_exec: bool) -> io::Result<()> {
    if number < FIRST {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: it is used for one call, which fails when the number is not open.
    set_close_on_exec(unsafe { BorrowedFd::borrow_raw(number) }, close_on_exec)
}

/// Takes descriptors up that this process has from the program before, each once.
#[derive(Debug, Default)]
pub(super) struct Inherited {
    taken: BTreeSet<RawFd>,
}

impl Inherited {
    /// # Errors
    /// When the number is not open, was taken before, or was opened by this program itself.
    pub fn take(&mut self, number: RawFd) -> io::Result<OwnedFd> {
        use nix::fcntl::{FcntlArg, FdFlag, fcntl};
        if number < FIRST || self.taken.contains(&number) {
            return Err(io::Error::other(format!("descriptor {number} is not one that was handed over")));
        }
        // SAFETY: it is used for one call, which fails when the number is not open.
        let flags = fcntl(unsafe { BorrowedFd::borrow_raw(number) }, FcntlArg::F_GETFD)?;
        // Whatever this program opens is closed on exec.
        if FdFlag::from_bits_retain(flags).contains(FdFlag::FD_CLOEXEC) {
            return Err(io::Error::other(format!("descriptor {number} was not inherited")));
        }
        set(number, true)?;
        self.taken.insert(number);
        // SAFETY: it is open, came over exec, and nobody in this program knows of it: each is given out once.
        Ok(unsafe { OwnedFd::from_raw_fd(number) })
    }
}
