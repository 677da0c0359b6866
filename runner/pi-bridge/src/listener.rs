//! Connections: how many, and for how long one may take to say what it wants.

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// Connections at once; a further one waits for one of them to end.
pub const MAX_CONNECTIONS: usize = 512;
/// Patience for the head of a request, also of the next one on a connection.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);
/// Largest head of a request.
const HEAD_BYTES: usize = 64 * 1024;
/// Those that wait to be accepted.
const BACKLOG: u32 = 1024;
/// The wait after a connection could not be accepted.
const AFTER_FAILURE: Duration = Duration::from_millis(200);
/// How long connections may take to end once they are told.
const END_WITHIN: Duration = Duration::from_secs(3);

/// Binds `address`.
///
/// # Errors
/// What the system says.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Serves until `stop`, then ends every connection. `sockets` are those that have become something else than HTTP.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken, sockets: TaskTracker) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &places) => accepted,
            () = stop.cancelled() => break,
        };
        match accepted {
            Ok((stream, place)) => {
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(async move {
                    one(stream, router, stop).await;
                    drop(place);
                });
            }
            // Out of descriptors: what is connected goes on, and closing makes room.
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(AFTER_FAILURE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    sockets.close();
    let ended = async { tokio::join!(connections.wait(), sockets.wait()) };
    let _ = tokio::time::timeout(END_WITHIN, ended).await;
}

async fn accept(listener: &TcpListener, places: &Arc<Semaphore>) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    // Deltas are small and shall not wait for each other.
    stream.set_nodelay(true)?;
    Ok((stream, place))
}

async fn one(stream: TcpStream, router: Router, stop: CancellationToken) {
    let service = hyper::service::service_fn(move |request: http::Request<Incoming>| router.clone().oneshot(request.map(Body::new)));
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_buf_size(HEAD_BYTES);
    let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
