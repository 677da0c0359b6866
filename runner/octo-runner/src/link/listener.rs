//! The socket: bound privately, held by a lock, open to one uid.

use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::net::{UnixListener, UnixStream};

/// How long what a killed runner held may linger: a child that it was just starting holds lock and socket until it executes its program.
const LINGER: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Why the runner cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody answers on the socket.
    #[error("a runner already serves {}; stop it first, or give this one another socket", path.display())]
    Served {
        /// The socket.
        path: PathBuf,
    },
    /// Somebody holds the lock.
    #[error("another runner uses {}; two would mix up one journal", path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
    },
    /// The directory belongs to somebody else.
    #[error("{} belongs to another user; sockets in it could be replaced", path.display())]
    Owner {
        /// The directory.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// To what.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A lock that ends with this process.
#[derive(Debug)]
pub struct Lock(Flock<File>);

impl Lock {
    /// The one that the program before held through this descriptor: it has never been given up.
    ///
    /// # Errors
    /// When somebody else holds it all the same.
    pub fn inherited(descriptor: OwnedFd, directory: &Path) -> Result<Self, ListenError> {
        match Flock::lock(File::from(descriptor), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self(lock)),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Err(ListenError::Locked { path: directory.to_owned() }),
            Err((_, errno)) => Err(io_error("locking", directory)(errno.into())),
        }
    }

    /// Its descriptor, for the program that replaces this one.
    #[must_use]
    pub fn descriptor(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Locks `directory` for one runner, creating it privately.
///
/// # Errors
/// [`ListenError`] when another runner has it.
pub fn lock(directory: &Path) -> Result<Lock, ListenError> {
    make_private(directory)?;
    lock_file(&directory.join("runner.lock"))
}

fn lock_file(path: &Path) -> Result<Lock, ListenError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path).map_err(io_error("opening", path))?;
    let began = Instant::now();
    let mut file = file;
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(Lock(lock)),
            Err((again, nix::errno::Errno::EWOULDBLOCK)) if began.elapsed() < LINGER => file = again,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Err(ListenError::Locked { path: path.to_owned() }),
            Err((_, errno)) => return Err(io_error("locking", path)(errno.into())),
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}

/// The bound socket. It is removed when this is dropped.
#[derive(Debug)]
pub struct Listener {
    socket: UnixListener,
    path: PathBuf,
    /// Which socket it is: another one may have taken its name.
    identity: Option<(u64, u64)>,
    allowed: u32,
    lock: Lock,
}

impl Listener {
    /// Binds `path` for connections of `server_uid` and of root. A socket that nobody serves is replaced.
    ///
    /// # Errors
    /// [`ListenError`] when it is served, or cannot be bound.
    pub fn bind(path: &Path, server_uid: u32) -> Result<Self, ListenError> {
        if let Some(directory) = path.parent() {
            make_private(directory)?;
        }
        // Held over the look and the bind, so that of two that start at once one wins.
        let lock = lock_file(&path.with_extension("lock"))?;
        let began = Instant::now();
        loop {
            match std::os::unix::net::UnixStream::connect(path) {
                Ok(_) if began.elapsed() < LINGER => std::thread::sleep(LOOK_AGAIN),
                Ok(_) => return Err(ListenError::Served { path: path.to_owned() }),
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(io_error("removing the stale socket", path))?;
                    break;
                }
                Err(error) => return Err(io_error("looking for a runner at", path)(error)),
            }
        }
        let socket = UnixListener::bind(path).map_err(io_error("binding", path))?;
        // The directory is what protects it; in multi-user mode the server has another uid and must be able to connect.
        let own = nix::unistd::geteuid().as_raw();
        let mode = if server_uid == own { 0o600 } else { 0o666 };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).map_err(io_error("protecting", path))?;
        Ok(Self { socket, path: path.to_owned(), identity: identity(path), allowed: server_uid, lock })
    }

    /// The one that the program before has bound; whoever connected meanwhile waits in it. Must be called inside a tokio runtime.
    ///
    /// # Errors
    /// When it is no socket.
    pub fn inherited(socket: OwnedFd, lock: OwnedFd, path: &Path, server_uid: u32) -> Result<Self, ListenError> {
        let socket = std::os::unix::net::UnixListener::from(socket);
        socket.set_nonblocking(true).map_err(io_error("taking over", path))?;
        let socket = UnixListener::from_std(socket).map_err(io_error("taking over", path))?;
        let lock = Lock::inherited(lock, &path.with_extension("lock"))?;
        Ok(Self { socket, path: path.to_owned(), identity: identity(path), allowed: server_uid, lock })
    }

    /// The descriptors of the socket and of its lock, for the program that replaces this one.
    #[must_use]
    pub fn descriptors(&self) -> (RawFd, RawFd) {
        (self.socket.as_raw_fd(), self.lock.descriptor())
    }

    /// The next connection, whoever it is from.
    pub async fn accept(&self) -> io::Result<UnixStream> {
        self.socket.accept().await.map(|(stream, _)| stream)
    }

    /// Whether the peer is the server or root; its uid when not.
    pub fn admit(&self, stream: &UnixStream) -> Result<(), u32> {
        match stream.peer_cred() {
            Ok(peer) if peer.uid() == self.allowed || peer.uid() == 0 => Ok(()),
            Ok(peer) => Err(peer.uid()),
            Err(_) => Err(u32::MAX),
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if self.identity.is_some() && identity(&self.path) == self.identity {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

fn make_private(directory: &Path) -> Result<(), ListenError> {
    if !directory.exists() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(io_error("creating", directory))?;
    }
    let found = std::fs::metadata(directory).map_err(io_error("looking at", directory))?;
    let own = nix::unistd::geteuid().as_raw();
    if found.uid() != own && found.uid() != 0 {
        return Err(ListenError::Owner { path: directory.to_owned() });
    }
    if found.uid() == own && found.mode() & 0o077 != 0 {
        std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(io_error("protecting", directory))?;
    }
    Ok(())
}

fn io_error(action: &'static str, path: &Path) -> impl Fn(io::Error) -> ListenError {
    let path = path.to_owned();
    move |source| ListenError::Io { action, path: path.clone(), source }
}
