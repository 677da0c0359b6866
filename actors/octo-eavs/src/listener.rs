//! Listeners: where octo-eavs can be reached, who may, and how connections end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::limits::{HEAD_TIMEOUT, MAX_CONNECTIONS};

/// Longest socket path that every system takes, with room to spare below 108.
pub const MAX_SOCKET_PATH_BYTES: usize = 100;

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process answers there.
    #[error("another octo-eavs already answers on {0}: stop it first, or choose another socket")]
    InUse(PathBuf),
    /// Something that is no socket is in the way.
    #[error("{0} is not a socket: move it away or choose another path")]
    NotASocket(PathBuf),
    /// The path is too long for a socket.
    #[error("the socket path {0} is longer than {MAX_SOCKET_PATH_BYTES} bytes: choose a shorter one")]
    TooLong(PathBuf),
    /// Others could reach the socket's directory.
    #[error("the directory {path} is open to others (owner {owner}, mode {mode:03o}): make it yours and chmod 700")]
    Open {
        /// The directory.
        path: PathBuf,
        /// Its owner's uid.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Anything else.
    #[error("could not listen on {at}: {source}")]
    Io {
        /// Socket path or address.
        at: String,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound listener. A Unix socket's file is removed when it is dropped, if it is still this one.
pub enum Listener {
    /// A Unix socket. Its file goes first: while somebody listens there, nobody takes the place.
    Unix(SocketFile, UnixListener),
    /// TCP, with the port that the system chose.
    Tcp(TcpListener, SocketAddr),
}

/// Where a listener is, to bind it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A Unix socket.
    Unix(PathBuf),
    /// A TCP address.
    Tcp(SocketAddr),
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unix(path) => path.display().fmt(f),
            Self::Tcp(address) => address.fmt(f),
        }
    }
}

/// The file of a bound Unix socket.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|m| m.ino() == self.inode) {
            // The next start removes a stale socket as well.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Listener {
    /// Binds a place.
    pub async fn bind(place: &Place) -> Result<Self, ListenError> {
        match place {
            Place::Unix(path) => Self::unix(path).await,
            Place::Tcp(address) => Self::tcp(*address).await,
        }
    }

    /// Where it is.
    pub fn place(&self) -> Place {
        match self {
            Self::Unix(file, _) => Place::Unix(file.path.clone()),
            Self::Tcp(_, address) => Place::Tcp(*address),
        }
    }

    /// Binds a Unix socket (0600) in a directory of the process's own (0700, made when absent). A socket file is removed only after
    /// a connect to it was refused.
    pub async fn unix(path: &Path) -> Result<Self, ListenError> {
        if path.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            return Err(ListenError::TooLong(path.to_owned()));
        }
        let failed = |source| ListenError::Io { at: path.display().to_string(), source };
        if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
            private(dir)?;
        }
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => {
                return Err(ListenError::NotASocket(path.to_owned()));
            }
            Ok(_) => match UnixStream::connect(path).await {
                Ok(_) => return Err(ListenError::InUse(path.to_owned())),
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path).map_err(failed)?,
                Err(e) => return Err(failed(e)),
            },
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e)),
        }
        let listener = UnixListener::bind(path).map_err(|e| match e.kind() {
            io::ErrorKind::AddrInUse => ListenError::InUse(path.to_owned()),
            _ => failed(e),
        })?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).map_err(failed)?;
        let inode = std::fs::symlink_metadata(path).map_err(failed)?.ino();
        let file = SocketFile { path: path.to_owned(), inode };
        Ok(Self::Unix(file, listener))
    }

    /// Binds a TCP address.
    pub async fn tcp(address: SocketAddr) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Io { at: address.to_string(), source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let bound = listener.local_addr().map_err(failed)?;
        Ok(Self::Tcp(listener, bound))
    }

    /// Serves until `stop`, then closes the listener and lets open requests finish; the tracker is empty when all are.
    pub async fn serve(self, router: Router, peers: Peers, stop: CancellationToken, tracker: TaskTracker) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let permit = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                permit = Arc::clone(&places).acquire_owned() => permit,
            };
            let Ok(permit) = permit else { return };
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.accept(peers) => accepted,
            };
            let io = match accepted {
                Ok(Some(io)) => io,
                Ok(None) => continue,
                Err(error) => {
                    // Out of descriptors, mostly: waiting lets connections end instead of spinning.
                    tracing::error!(%error, "could not accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                }
            };
            let connection = connection(io, router.clone(), stop.clone());
            tracker.spawn(async move {
                connection.await;
                drop(permit);
            });
        }
    }

    async fn accept(&self, peers: Peers) -> io::Result<Option<Box<dyn Io>>> {
        match self {
            Self::Unix(_, listener) => {
                let (stream, _) = listener.accept().await?;
                if peers == Peers::Own {
                    let uid = stream.peer_cred()?.uid();
                    if uid != nix::unistd::geteuid().as_raw() && uid != 0 {
                        tracing::warn!(uid, "refused a connection of another user to the admin socket");
                        return Ok(None);
                    }
                }
                Ok(Some(Box::new(stream)))
            }
            Self::Tcp(listener, _) => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Some(Box::new(stream)))
            }
        }
    }
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Peers {
    /// Whoever can reach it; the virtual key decides.
    Any,
    /// Only this process's own user and root, by the kernel's word.
    Own,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

fn connection(io: Box<dyn Io>, router: Router, stop: CancellationToken) -> impl Future<Output = ()> + Send {
    let serving = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(io), TowerToHyperService::new(router));
    async move {
        let mut serving = Box::pin(serving);
        let ended = tokio::select! {
            ended = &mut serving => ended,
            () = stop.cancelled() => {
                serving.as_mut().graceful_shutdown();
                serving.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        }
    }
}

/// A directory that only its owner (this user or root) can enter.
fn private(dir: &Path) -> Result<(), ListenError> {
    let meta = std::fs::metadata(dir).map_err(|source| ListenError::Io { at: dir.display().to_string(), source })?;
    let (owner, mode) = (meta.uid(), meta.mode() & 0o777);
    if (owner != nix::unistd::geteuid().as_raw() && owner != 0) || mode & 0o077 != 0 {
        return Err(ListenError::Open { path: dir.to_owned(), owner, mode });
    }
    Ok(())
}
