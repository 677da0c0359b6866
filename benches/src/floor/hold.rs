//! Accepting very many connections, with nothing behind them.

use super::broadcast::upgrade;
use super::{frame, listen, payload};
use anyhow::Result;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn listener() -> Result<TcpListener> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    Ok(TcpListener::from_std(listener)?)
}

/// Sockets in a list, upgraded.
pub async fn hold() -> Result<()> {
    let listener = listener()?;
    let mut held = Vec::new();
    loop {
        let (mut socket, _) = listener.accept().await?;
        if upgrade(&mut socket).await.is_ok() {
            held.push(socket);
        }
    }
}

/// A task for each connection: upgrade, one message in, all that was missed out in one write.
pub async fn storm(frames: usize, size: usize) -> Result<()> {
    let listener = listener()?;
    let missed: Arc<[u8]> = (1..=frames).flat_map(|number| frame(payload(number, size).as_bytes())).collect();
    loop {
        let (mut socket, _) = listener.accept().await?;
        let missed = Arc::clone(&missed);
        tokio::spawn(async move {
            socket.set_nodelay(true)?;
            upgrade(&mut socket).await?;
            let mut buffer = [0; 1024];
            anyhow::ensure!(socket.read(&mut buffer).await? > 0, "the watcher left");
            socket.write_all(&missed).await?;
            // Until it goes.
            while socket.read(&mut buffer).await? > 0 {}
            anyhow::Ok(())
        });
    }
}
