//! The listener: a large backlog, a place for each connection, deadlines for those that ask for nothing, and a graceful end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use futures_util::FutureExt;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::connection::{self, Http, Who, serve};
use super::descriptors::{Reserve, exhausted};
use super::places::{Full, Limits, Places};
use super::refusal::{Refusals, refuse_at_once};
use super::socket::inherited;
use crate::figures::Figures;

/// Connections that the kernel keeps until they are accepted: everybody comes back at once after a restart.
const BACKLOG: u32 = 4096;
/// Wait after an accept that failed for want of anything but descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long a port may be in use before that is said: one that was killed while it started a daemon has left its socket to that daemon, until the
/// daemon's own program runs.
const LEFT_OVER: Duration = Duration::from_secs(1);
/// Between two looks at a port that is in use.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// Between two lines of the log about refusals.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Why octo cannot listen. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The host has no address.
    #[error("the host {host} has no address ({reason}): set server.host to an address of this machine, for example 127.0.0.1")]
    Unknown {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// Somebody listens there.
    #[error("port {} of {} is in use: stop what listens there (`ss -ltnp` shows it), or choose another port with --port or server.port", .0.port(), .0.ip())]
    InUse(SocketAddr),
    /// Anything else.
    #[error("could not listen on {address}: {source}")]
    Io {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A bound listener.
pub struct Listener {
    inner: TcpListener,
    address: SocketAddr,
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A restart finds the port still waiting for the last packets of the former one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

impl Listener {
    /// Listens on a host and port; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`BindError`].
    pub async fn bind(host: &str, port: u16) -> Result<Self, BindError> {
        let unknown = |reason: String| BindError::Unknown { host: host.to_owned(), reason };
        let mut addresses = tokio::net::lookup_host((host.trim_matches(['[', ']']), port)).await.map_err(|e| unknown(e.to_string()))?;
        let address = addresses.next().ok_or_else(|| unknown("none".to_owned()))?;
        let failed = |source: std::io::Error| match source.kind() {
            std::io::ErrorKind::AddrInUse => BindError::InUse(address),
            _ => BindError::Io { address, source },
        };
        let end = tokio::time::Instant::now() + LEFT_OVER;
        let inner = loop {
            match listen(address) {
                Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && tokio::time::Instant::now() < end => {
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                listening => break listening.map_err(failed)?,
            }
        };
        let address = inner.local_addr().map_err(failed)?;
        Ok(Self { inner, address })
    }

    /// The address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then closes the listener, and gives open requests `grace` to finish.
    pub async fn serve(self, router: Router, limits: Limits, figures: Arc<Figures>, stop: CancellationToken, grace: Duration) {
        if let Err(error) = inherited(&self.inner, limits.unread_for) {
            tracing::warn!(%error, "the sockets of clients are as the system makes them");
        }
        let http = Http { builder: Arc::new(builder()), router, stop: stop.clone() };
        let open = TaskTracker::new();
        let mut door = Door::new(limits, figures);
        loop {
            let (stream, peer) = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = door.accept(&self.inner) => accepted,
            };
            match door.places.take(peer.ip()) {
                Ok(place) => {
                    let mut extensions = http::Extensions::new();
                    extensions.insert(ConnectInfo(peer));
                    extensions.insert(Arc::new(place));
                    let who = Who { name: peer.to_string(), extensions };
                    drop(open.spawn(serve(http.clone(), stream, who)));
                }
                Err(full) => {
                    door.tell(&full, peer);
                    door.refusals.refuse(stream, full);
                }
            }
        }
        drop(self.inner);
        open.close();
        if tokio::time::timeout(grace, open.wait()).await.is_err() {
            tracing::warn!("requests were still under way at the end");
        }
    }
}

pub(super) fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(connection::HEAD_DEADLINE).max_buf_size(connection::HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(connection::STREAMS)
        .max_header_list_size(connection::HEAD_LIST_BYTES)
        .keep_alive_interval(connection::IDLE_FOR)
        .keep_alive_timeout(connection::HEAD_DEADLINE);
    builder
}

/// Where connections come in.
struct Door {
    places: Places,
    reserve: Reserve,
    refusals: Refusals,
    figures: Arc<Figures>,
    /// When the log was last told of refusals, and how many there were since.
    told: Option<tokio::time::Instant>,
    untold: u64,
}

impl Door {
    fn new(limits: Limits, figures: Arc<Figures>) -> Self {
        Self { places: Places::new(limits), reserve: Reserve::new(), refusals: Refusals::new(), figures, told: None, untold: 0 }
    }

    /// The next connection. Without descriptors, those who wait are told so one by one, and octo goes on when there are some again.
    async fn accept(&mut self, listener: &TcpListener) -> (TcpStream, SocketAddr) {
        loop {
            let error = match listener.accept().await {
                Ok(accepted) => return accepted,
                Err(error) => error,
            };
            if exhausted(&error) {
                let refused = self.reserve.lend(|| {
                    let (stream, peer) = listener.accept().now_or_never()?.ok()?;
                    refuse_at_once(&stream, Full::Descriptors);
                    Some(peer)
                });
                if let Some(Some(peer)) = refused {
                    self.tell(&Full::Descriptors, peer);
                    continue;
                }
            }
            self.untold += 1;
            if self.due() {
                tracing::error!(%error, refused = self.untold, "could not accept connections");
                self.untold = 0;
            }
            tokio::time::sleep(ACCEPT_PAUSE).await;
        }
    }

    fn tell(&mut self, why: &Full, peer: SocketAddr) {
        self.figures.connection_refused(why);
        self.untold += 1;
        if self.due() {
            tracing::warn!(%peer, refused = self.untold, "a connection is refused: {why}");
            self.untold = 0;
        }
    }

    /// Whether the log may be told again; from now on it is not for a while.
    fn due(&mut self) -> bool {
        let due = self.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if due {
            self.told = Some(tokio::time::Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_port_that_is_left_over_for_a_moment_is_waited_for_and_one_that_is_in_use_is_refused() {
        let holder = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        assert!(matches!(Listener::bind("127.0.0.1", port).await, Err(BindError::InUse(address)) if address.port() == port));
        let let_go = async {
            tokio::time::sleep(LEFT_OVER / 2).await;
            drop(holder);
        };
        let (bound, ()) = tokio::join!(Listener::bind("127.0.0.1", port), let_go);
        assert_eq!(bound.unwrap().address().port(), port);
    }
}
