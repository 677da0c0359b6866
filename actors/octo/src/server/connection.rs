//! One connection as long as it speaks HTTP. One that asks for nothing does not keep its place.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::movement::{Movement, Moving};

/// Patience for the head of a request.
pub const HEAD_DEADLINE: Duration = Duration::from_secs(15);
/// A connection on which no request is under way for so long is closed.
pub const IDLE_FOR: Duration = Duration::from_secs(60);
/// Largest head of a request.
pub const HEAD_BYTES: usize = 64 * 1024;
/// The same where the version of HTTP counts it in another way.
pub const HEAD_LIST_BYTES: u32 = 64 * 1024;
/// Requests under way on one connection.
pub const STREAMS: u32 = 100;

/// How connections are served.
#[derive(Clone)]
pub struct Http {
    pub builder: Arc<auto::Builder<TokioExecutor>>,
    pub router: Router,
    /// Ends connections once their requests are done.
    pub stop: CancellationToken,
}

/// Who is at the other end.
pub struct Who {
    /// For the log.
    pub name: String,
    /// What every request of the connection carries: who asks, and what is held as long as it lives.
    pub extensions: http::Extensions,
}

/// Serves until the connection is closed or has become a WebSocket, which keeps what its requests carry.
pub async fn serve(http: Http, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, who: Who) {
    let asking = Arc::new(Asking::default());
    let movement = Movement::default();
    let Who { name: peer, extensions } = who;
    let (router, asks, moves) = (http.router, Arc::clone(&asking), movement.clone());
    let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().extend(extensions.clone());
        request.extensions_mut().insert(moves.clone());
        let (router, under_way) = (router.clone(), asks.begin());
        async move {
            let answer = router.oneshot(request.map(axum::body::Body::new)).await;
            drop(under_way);
            answer
        }
    });
    let mut connection = pin!(http.builder.serve_connection_with_upgrades(TokioIo::new(Moving::new(stream, movement.clone())), service));
    let mut ending = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, %peer, "a connection ended early");
                }
                break;
            }
            () = asking.silence() => {
                tracing::debug!(%peer, "a connection that asked for nothing is closed");
                break;
            }
            () = over(&http.stop, &asking), if !ending => {
                connection.as_mut().graceful_shutdown();
                ending = true;
            }
            () = stuck(&http.stop, &movement, &asking) => {
                tracing::debug!(%peer, "a connection that takes nothing is closed");
                break;
            }
        }
    }
}

async fn over(stop: &CancellationToken, asking: &Asking) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = asking.idle() => {}
    }
}

/// After the stop, returns when whatever was asked for is answered and the client takes nothing.
async fn stuck(stop: &CancellationToken, movement: &Movement, asking: &Asking) {
    stop.cancelled().await;
    loop {
        movement.still().await;
        if asking.under_way.load(Relaxed) == 0 {
            return;
        }
    }
}

/// What a connection asks for.
#[derive(Default)]
struct Asking {
    ever: AtomicBool,
    under_way: AtomicUsize,
    /// When the last request was done.
    done: Mutex<Option<Instant>>,
}

struct UnderWay(Arc<Asking>);

impl Asking {
    fn begin(self: &Arc<Self>) -> UnderWay {
        self.ever.store(true, Relaxed);
        self.under_way.fetch_add(1, Relaxed);
        UnderWay(Arc::clone(self))
    }

    /// Returns when nothing was ever asked for until the deadline. hyper's own for the head runs only from where it knows the version.
    async fn silence(&self) {
        tokio::time::sleep(HEAD_DEADLINE).await;
        if self.ever.load(Relaxed) {
            std::future::pending::<()>().await;
        }
    }

    /// Returns when nothing has been under way for long enough.
    async fn idle(&self) {
        let mut since = Instant::now();
        loop {
            tokio::time::sleep_until(since + IDLE_FOR).await;
            let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).unwrap_or(since);
            if self.under_way.load(Relaxed) > 0 {
                since = Instant::now();
            } else if done > since {
                since = done;
            } else {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        *self.0.done.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}
