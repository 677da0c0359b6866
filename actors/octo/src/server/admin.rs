//! The admin socket: the same router behind a Unix socket, where the kernel says who asks.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use nix::unistd::{Gid, Group, User};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Http, Who};
use super::listener::builder;
use crate::auth::SocketPeer;
use crate::paths::{MAX_SOCKET_PATH_BYTES, own_uid};

/// Connections at once; further ones wait until one of them ends.
const MAX_CONNECTIONS: usize = 64;
/// Wait after an accept that failed.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Owner and group; the group is octo's own unless one is configured.
const MODE: u32 = 0o660;
/// What the socket is called until it is ready.
const UNREADY: &str = ".new";

/// Why there is no admin socket. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum AdminSocketError {
    /// Another octo answers there.
    #[error("another process answers on the admin socket {}: stop it, or set server.admin_socket to another path", .0.display())]
    InUse(PathBuf),
    /// Something else lies there.
    #[error("{} is in the way of the admin socket and is no socket: move it away, or set server.admin_socket to another path", .0.display())]
    NotASocket(PathBuf),
    /// Longer than systems take.
    #[error("the path of the admin socket {} is longer than {MAX_SOCKET_PATH_BYTES} bytes: set server.admin_socket to a shorter one", .0.display())]
    TooLong(PathBuf),
    /// There is no such group.
    #[error("server.admin_group names {0:?}, and this machine has no such group: make it, or name another one")]
    NoGroup(String),
    /// The socket cannot be given to the group.
    #[error("the admin socket cannot be given to the group {group:?}: {reason}; octo's user has to be a member of it")]
    NotOurs {
        /// The group.
        group: String,
        /// What the system said.
        reason: String,
    },
    /// Anything else.
    #[error("could not listen on the admin socket {}: {source}; set server.admin_socket to a path where octo may write", .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A bound admin socket. Its file is removed when this is dropped, if it is still this one.
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    inode: u64,
    group: Option<Group>,
}

impl AdminSocket {
    /// Binds `path` for octo's own user, root, and the members of `group`. What is left of one that ended is replaced.
    ///
    /// # Errors
    /// [`AdminSocketError`].
    pub async fn bind(path: &Path, group: Option<&str>) -> Result<Self, AdminSocketError> {
        let failed = |source| AdminSocketError::Io { path: path.to_owned(), source };
        if path.as_os_str().len() + UNREADY.len() > MAX_SOCKET_PATH_BYTES {
            return Err(AdminSocketError::TooLong(path.to_owned()));
        }
        let group = match group {
            None => None,
            Some(name) => {
                let found = Group::from_name(name).map_err(|e| failed(e.into()))?;
                Some(found.ok_or_else(|| AdminSocketError::NoGroup(name.to_owned()))?)
            }
        };
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.file_type().is_socket() => return Err(AdminSocketError::NotASocket(path.to_owned())),
            Ok(_) if UnixStream::connect(path).await.is_ok() => return Err(AdminSocketError::InUse(path.to_owned())),
            _ => {}
        }
        // Bound beside its place and moved there when nobody can connect to it any more who should not.
        let unready = PathBuf::from(format!("{}{UNREADY}", path.display()));
        let _ = std::fs::remove_file(&unready);
        let listener = UnixListener::bind(&unready).map_err(failed)?;
        if let Some(group) = &group {
            nix::unistd::chown(&unready, None, Some(group.gid))
                .map_err(|e| AdminSocketError::NotOurs { group: group.name.clone(), reason: e.to_string() })?;
        }
        std::fs::set_permissions(&unready, std::fs::Permissions::from_mode(MODE)).map_err(failed)?;
        let inode = std::fs::symlink_metadata(&unready).map_err(failed)?.ino();
        std::fs::rename(&unready, path).map_err(failed)?;
        Ok(Self { listener, path: path.to_owned(), inode, group })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until `stop`; then open requests get `grace` to finish.
    pub async fn serve(self, router: Router, stop: CancellationToken, grace: Duration) {
        let http = Http { builder: Arc::new(builder()), router, stop: stop.clone() };
        let (open, places) = (TaskTracker::new(), Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        loop {
            let accepted = async {
                let place = Arc::clone(&places).acquire_owned().await;
                (place, self.listener.accept().await)
            };
            let (place, stream) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                (place, accepted) = accepted => match accepted {
                    Ok((stream, _)) => (place, stream),
                    Err(error) => {
                        tracing::error!(%error, "could not accept a connection to the admin socket");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                        continue;
                    }
                },
            };
            let (http, group) = (http.clone(), self.group.clone());
            open.spawn(async move {
                match peer(&stream, group).await {
                    Ok(peer) => {
                        let mut extensions = http::Extensions::new();
                        extensions.insert(peer);
                        let who = Who { name: format!("uid {}", peer.uid), extensions };
                        connection::serve(http, stream, who).await;
                    }
                    Err(error) => tracing::error!(%error, "it is not known who connected to the admin socket"),
                }
                drop(place);
            });
        }
        open.close();
        if tokio::time::timeout(grace, open.wait()).await.is_err() {
            tracing::warn!("requests to the admin socket were still under way at the end");
        }
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        if std::fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            // The next start replaces one that is left as well.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn peer(stream: &UnixStream, group: Option<Group>) -> io::Result<SocketPeer> {
    let credentials = stream.peer_cred()?;
    let (uid, gid) = (credentials.uid(), credentials.gid());
    let own = uid == own_uid() || uid == 0;
    let admitted = own
        || match group {
            Some(group) if Gid::from_raw(gid) == group.gid => true,
            // The members are in a file, or further away.
            Some(group) => tokio::task::spawn_blocking(move || is_member(uid, &group)).await.unwrap_or(false),
            None => false,
        };
    Ok(SocketPeer { uid, pid: credentials.pid(), admitted })
}

fn is_member(uid: u32, group: &Group) -> bool {
    let Ok(Some(user)) = User::from_uid(uid.into()) else { return false };
    // As of now, not as of octo's start.
    let now = Group::from_gid(group.gid).ok().flatten();
    now.is_some_and(|group| user.gid == group.gid || group.mem.contains(&user.name))
}
