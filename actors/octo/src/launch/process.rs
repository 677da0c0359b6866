//! A daemon as a process: who answers on its socket, and ending it.

use std::path::Path;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::net::UnixStream;

/// How long a daemon may take to end after SIGTERM.
pub const STOP_DEADLINE: Duration = Duration::from_secs(20);
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(20);

/// Who answers on a socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its process.
    pub pid: i32,
    /// Its user.
    pub uid: u32,
}

/// Why a daemon was not stopped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    /// Its process is not what it should be.
    #[error("pid {pid} answers on the socket and is not {binary} of this user; it was left alone")]
    Other {
        /// The process.
        pid: i32,
        /// What was expected.
        binary: &'static str,
    },
    /// It does not end.
    #[error("{binary} (pid {pid}) does not end; see its log, or kill it")]
    Lingers {
        /// The process.
        pid: i32,
        /// What it is.
        binary: &'static str,
    },
    /// No permission.
    #[error("{binary} (pid {pid}) cannot be signalled: {reason}")]
    Signal {
        /// The process.
        pid: i32,
        /// What it is.
        binary: &'static str,
        /// What the system said.
        reason: String,
    },
}

/// Whether somebody answers on the socket, by connecting to it.
pub async fn answers(socket: &Path) -> bool {
    peer(socket).await.is_some()
}

/// Who answers on the socket, by the kernel's word.
pub async fn peer(socket: &Path) -> Option<Peer> {
    let stream = tokio::time::timeout(CONNECT_DEADLINE, UnixStream::connect(socket)).await.ok()?.ok()?;
    let credentials = stream.peer_cred().ok()?;
    Some(Peer { pid: credentials.pid().unwrap_or(0), uid: credentials.uid() })
}

/// Ends the daemon that answers on `socket` and waits until it does not any more. `None` when none did.
///
/// # Errors
/// [`StopError`].
pub async fn stop(socket: &Path, binary: &'static str) -> Result<Option<Peer>, StopError> {
    let Some(found) = peer(socket).await else { return Ok(None) };
    let pid = found.pid;
    let own = std::fs::read_link(format!("/proc/{pid}/exe"));
    // An upgraded binary shows as deleted.
    let named = own.as_ref().is_ok_and(|exe| exe.file_name().is_some_and(|n| n.to_string_lossy().trim_end_matches(" (deleted)") == binary));
    if pid <= 1 || !named || found.uid != crate::paths::own_uid() {
        return Err(StopError::Other { pid, binary });
    }
    kill(Pid::from_raw(pid), Signal::SIGTERM).map_err(|e| StopError::Signal { pid, binary, reason: e.to_string() })?;
    let gone = async {
        while Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok() {
            tokio::time::sleep(POLL).await;
        }
    };
    tokio::time::timeout(STOP_DEADLINE, gone).await.map_err(|_| StopError::Lingers { pid, binary })?;
    Ok(Some(found))
}
