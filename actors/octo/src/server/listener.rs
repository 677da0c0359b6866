//! The listener: a large backlog, a limit of connections, a deadline for the head of a request, and a graceful end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Connections that the kernel keeps until they are accepted: everybody comes back at once after a restart.
const BACKLOG: u32 = 4096;
/// Connections at once; more wait in the backlog.
pub const MAX_CONNECTIONS: usize = 32_768;
/// Patience for the head of a request.
const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// Wait after a failed accept: out of descriptors, mostly.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

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
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
        // A restart finds the port still waiting for the last packets of the former one.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let inner = socket.listen(BACKLOG).map_err(failed)?;
        let address = inner.local_addr().map_err(failed)?;
        Ok(Self { inner, address })
    }

    /// The address, with the port that the system chose.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`; then closes the listener, and gives open requests `grace` to finish.
    pub async fn serve(self, router: Router, stop: CancellationToken, grace: Duration) {
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_DEADLINE);
        builder.http2().timer(TokioTimer::new());
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => break,
                accepted = accept(&self.inner, &places) => accepted,
            };
            let (stream, peer, permit) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::error!(%error, "could not accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let router = router.clone();
            let asked = Arc::new(AtomicBool::new(false));
            let asks = Arc::clone(&asked);
            let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
                asks.store(true, Relaxed);
                request.extensions_mut().insert(ConnectInfo(peer));
                router.clone().oneshot(request.map(axum::body::Body::new))
            });
            let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                tokio::select! {
                    ended = connection => if let Err(error) = ended {
                        tracing::debug!(%error, %peer, "a connection ended early");
                    },
                    () = silence(&asked) => tracing::debug!(%peer, "a connection that asked for nothing is closed"),
                }
                drop(permit);
            });
        }
        drop(self.inner);
        if tokio::time::timeout(grace, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests were still under way at the end");
        }
    }
}

/// Returns when nothing was asked for until the deadline. hyper's own for the head runs only from where it knows the version.
async fn silence(asked: &AtomicBool) {
    tokio::time::sleep(HEAD_DEADLINE).await;
    if asked.load(Relaxed) {
        std::future::pending::<()>().await;
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit)> {
    let permit = Arc::clone(places).acquire_owned().await.map_err(std::io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Small frames must not wait for each other.
    stream.set_nodelay(true)?;
    Ok((stream, peer, permit))
}
