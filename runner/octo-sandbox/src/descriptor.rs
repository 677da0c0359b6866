//! Making descriptors that nobody inherits by accident: pipes, socket pairs, sealed memory files, and their hand-over.

use std::{
    io::{self, IoSlice, IoSliceMut, Write},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd},
};

use nix::{
    cmsg_space,
    sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, sendmsg},
};

/// How many descriptors travel with a launch: the plan and three standard ones; a lease may follow them.
pub(crate) const HANDED_OVER: usize = 4;

/// A connected pair of Unix stream sockets, both closed on exec.
pub(crate) fn socket_pair() -> io::Result<(OwnedFd, OwnedFd)> {
    use std::os::unix::net::UnixStream;
    // std sets close-on-exec on every system, atomically where it can.
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours.into(), theirs.into()))
}

/// A pipe (read end, write end), both closed on exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (read, write) = io::pipe()?;
    Ok((read.into(), write.into()))
}

/// `/dev/null` for reading and writing.
pub(crate) fn null() -> io::Result<OwnedFd> {
    let file = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    Ok(file.into())
}

/// A nameless file holding `bytes`, positioned at its start, that no one can change any more.
///
/// # Errors
/// When there is no memory for it.
#[cfg(target_os = "linux")]
pub fn sealed(name: &std::ffi::CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::io::Seek;

    use nix::{
        fcntl::{FcntlArg, SealFlag, fcntl},
        sys::memfd::{MFdFlags, memfd_create},
    };

    let fd = memfd_create(name, MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING)?;
    let mut file = std::fs::File::from(fd);
    file.write_all(bytes)?;
    file.rewind()?;
    let seals = SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals))?;
    Ok(file.into())
}

/// A nameless file holding `bytes`: here a private temporary file without a name (there are no memory files).
///
/// # Errors
/// When it cannot be made.
#[cfg(not(target_os = "linux"))]
pub fn sealed(name: &std::ffi::CStr, bytes: &[u8]) -> io::Result<OwnedFd> {
    use std::{
        io::Seek,
        os::unix::fs::OpenOptionsExt,
        sync::atomic::{AtomicU64, Ordering},
    };

    static NEXT: AtomicU64 = AtomicU64::new(0);
    let unique = format!("{}.{}.{}", name.to_string_lossy(), std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(unique);
    let mut file = std::fs::File::options().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
    std::fs::remove_file(&path)?;
    file.write_all(bytes)?;
    file.rewind()?;
    Ok(file.into())
}

/// Puts descriptors on their way through a socket; whoever receives them owns copies.
pub(crate) fn send(socket: BorrowedFd<'_>, descriptors: &[RawFd]) -> io::Result<()> {
    let byte = [IoSlice::new(b"F")];
    let rights = [ControlMessage::ScmRights(descriptors)];
    sendmsg::<UnixAddr>(socket.as_raw_fd(), &byte, &rights, MsgFlags::empty(), None)?;
    Ok(())
}

/// Takes the descriptors that [`send`] put on their way; they are not yet closed on exec.
pub(crate) fn receive(socket: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut byte = [0u8; 1];
    let mut parts = [IoSliceMut::new(&mut byte)];
    let mut space = cmsg_space!([RawFd; HANDED_OVER + 1]);
    let message = recvmsg::<UnixAddr>(socket.as_raw_fd(), &mut parts, Some(&mut space), MsgFlags::empty())?;
    let mut owned = Vec::new();
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(raw) = control {
            // SAFETY: the kernel has just made these descriptors for this process; nobody else owns them.
            owned.extend(raw.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
        }
    }
    Ok(owned)
}

/// Sets or clears "close on exec".
///
/// # Errors
/// When it is not open.
pub fn set_close_on_exec(fd: impl AsFd, on: bool) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let flags = if on { FdFlag::FD_CLOEXEC } else { FdFlag::empty() };
    fcntl(fd, FcntlArg::F_SETFD(flags))?;
    Ok(())
}

/// Makes reads and writes return instead of waiting.
pub(crate) fn set_nonblocking(fd: impl AsFd) -> io::Result<()> {
    use nix::fcntl::{FcntlArg, OFlag, fcntl};
    let flags = OFlag::from_bits_retain(fcntl(&fd, FcntlArg::F_GETFL)?);
    fcntl(&fd, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
    Ok(())
}
