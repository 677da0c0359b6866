//! Whether a client still takes what is written to it. At a stop nobody is waited for who does not.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// When octo stops, a connection that takes nothing for so long is closed. Longer than a slow network needs for one round, and short enough that
/// everybody is back within about a second.
pub const STILL_FOR: Duration = Duration::from_millis(500);

/// How often a connection has taken something. Clones share it.
#[derive(Clone, Default)]
pub struct Movement(Arc<AtomicU64>);

impl Movement {
    /// Returns when nothing was taken for [`STILL_FOR`], as seen from now on.
    pub async fn still(&self) {
        let mut before = self.0.load(Relaxed);
        loop {
            tokio::time::sleep(STILL_FOR).await;
            let now = self.0.load(Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    }

    fn taken(&self, written: &Poll<io::Result<usize>>) {
        if matches!(written, Poll::Ready(Ok(1..))) {
            self.0.fetch_add(1, Relaxed);
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
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_still_when_nothing_of_it_was_taken_for_a_while_and_not_before() {
        let (ours, mut theirs) = tokio::io::duplex(16);
        let movement = Movement::default();
        let mut ours = Moving::new(ours, movement.clone());
        let writing = tokio::spawn(async move { ours.write_all(&[7; 1000]).await });
        let began = Instant::now();
        let still = tokio::spawn(async move {
            movement.still().await;
            began.elapsed()
        });
        for _ in 0..10 {
            tokio::time::sleep(STILL_FOR * 4 / 5).await;
            theirs.read_exact(&mut [0; 16]).await.unwrap();
        }
        // From here on it takes nothing.
        let lasted = still.await.unwrap();
        assert!(lasted >= STILL_FOR * 8 && lasted <= STILL_FOR * 11, "{lasted:?}");
        assert!(!writing.is_finished());
    }
}
