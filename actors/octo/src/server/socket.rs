//! What the kernel is told of the sockets of clients, once for all of them: what is accepted inherits it from the listener.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use tokio::net::TcpListener;

/// Bytes of one socket that the kernel takes of what it cannot send yet; its own limit is 4 MiB for a client that does not read.
pub const UNSENT_BYTES: libc::c_int = 256 * 1024;

/// Sets it. `unread_for`: written bytes that nobody acknowledges, or a window that stays shut; after so long the kernel drops the connection,
/// whoever owns it, also when it was closed long ago.
///
/// # Errors
/// What the system said.
pub fn inherited(listener: &TcpListener, unread_for: Duration) -> io::Result<()> {
    // Small frames must not wait for each other.
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    let unread_for = u32::try_from(unread_for.as_millis()).unwrap_or(u32::MAX);
    setsockopt(listener, sockopt::TcpUserTimeout, &unread_for)?;
    let size = libc::socklen_t::try_from(size_of_val(&UNSENT_BYTES)).unwrap_or_default();
    let descriptor = listener.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open while `listener` is borrowed, and the kernel only reads the int, which outlives the call.
    let done =
        unsafe { libc::setsockopt(descriptor, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, std::ptr::from_ref(&UNSENT_BYTES).cast(), size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
