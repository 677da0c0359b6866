//! Whether a client still takes what is written to it. At a stop nobody is waited for who does not.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// When octo stops, a connection that takes nothing for so long is closed. Longer than a slow network needs for one round, and short enough that
/// everybody is back within about a second.
pub const STILL_FOR: Duration = Duration::from_millis(500);
/// The same for one that took something until a moment ago: whoever reads slowly, on a machine that is busy, is still to hear that the server goes.
pub const SLOW_FOR: Duration = Duration::from_secs(2);

/// When a connection last took something. Clones share it.
#[derive(Clone)]
pub struct Movement(Arc<Inner>);

struct Inner {
    since: Instant,
    /// Milliseconds from then on.
    last: AtomicU64,
}

impl Default for Movement {
    fn default() -> Self {
        Self(Arc::new(Inner { since: Instant::now(), last: AtomicU64::new(0) }))
    }
}

impl Movement {
    /// Returns when nothing is taken any more, as seen from now on: for [`STILL_FOR`], or [`SLOW_FOR`] when something was taken until now.
    pub async fn still(&self) {
        let asked = Instant::now();
        let patience = if self.last() + SLOW_FOR > asked { SLOW_FOR } else { STILL_FOR };
        loop {
            let until = self.last().max(asked) + patience;
            if until <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(until).await;
        }
    }

    fn last(&self) -> Instant {
        self.0.since + Duration::from_millis(self.0.last.load(Relaxed))
    }

    fn taken(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            let now = u64::try_from(self.0.since.elapsed().as_millis()).unwrap_or(u64::MAX);
            self.0.last.store(now, Relaxed);
        }
    }
}

/// A connection whose movement is known.
pub struct Moving<S> {
    inner: S,
    movement: Movement,
}

impl<S> Moving<S> {
    pub fn new(inner: S, movement: Movement) -> Self {
        Self { inner, movement }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Moving<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Moving<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write(cx, buf);
        this.movement.taken(&written);
        written
    }

    fn poll_write_vectored(self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.inner).poll_write_vectored(cx, bufs);
        this.movement.taken(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[tokio::test(start_paused = true)]
    async fn who_took_nothing_for_long_is_still_soon_and_who_takes_something_now_and_then_is_not() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let movement = Movement::default();
        let mut ours = Moving::new(ours, movement.clone());
        let writing = tokio::spawn(async move { ours.write_all(&[7; 1000]).await });
        let still = |movement: &Movement| {
            let (movement, began) = (movement.clone(), Instant::now());
            tokio::spawn(async move {
                movement.still().await;
                began.elapsed()
            })
        };
        tokio::time::sleep(Duration::from_secs(60)).await;
        assert_eq!(still(&movement).await.unwrap(), STILL_FOR);
        theirs.read_exact(&mut [0; 16]).await.unwrap();
        tokio::task::yield_now().await;
        let slow = still(&movement);
        for _ in 0..10 {
            tokio::time::sleep(SLOW_FOR * 4 / 5).await;
            theirs.read_exact(&mut [0; 16]).await.unwrap();
        }
        // From here on it takes nothing.
        let lasted = slow.await.unwrap();
        assert!(lasted >= SLOW_FOR * 8 && lasted <= SLOW_FOR * 10, "{lasted:?}");
        assert!(!writing.is_finished());
    }
}
