//! One loop that writes pre-framed bytes to everybody: what a fan-out costs when nothing but the fan-out is done.

use super::{SWITCHING, frame, listen, payload, read_head};
use anyhow::Result;
use std::io::{BufRead, Write};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};

/// What is broadcast for each line of stdin.
#[derive(Debug, Clone, clap::Args)]
pub struct Burst {
    #[arg(long)]
    pub watchers: usize,
    /// Bytes of a frame's payload.
    #[arg(long)]
    pub size: usize,
    /// Frames in one write.
    #[arg(long)]
    pub per_write: usize,
}

impl Burst {
    /// The writes for so many frames.
    fn writes(&self, frames: usize) -> Vec<Vec<u8>> {
        let numbers: Vec<usize> = (1..=frames).collect();
        numbers
            .chunks(self.per_write.max(1))
            .map(|chunk| chunk.iter().flat_map(|n| frame(payload(*n, self.size).as_bytes())).collect())
            .collect()
    }
}

pub fn epoll(burst: &Burst) -> Result<()> {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use std::os::fd::AsFd;
    let listener = listen()?;
    let mut sockets = Vec::with_capacity(burst.watchers);
    for _ in 0..burst.watchers {
        let (mut socket, _) = listener.accept()?;
        socket.set_nodelay(true)?;
        read_head(&mut socket)?;
        socket.write_all(SWITCHING)?;
        socket.set_nonblocking(true)?;
        sockets.push(socket);
    }
    for line in std::io::stdin().lock().lines() {
        for bytes in burst.writes(line?.trim().parse()?) {
            for socket in &mut sockets {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    match socket.write(rest) {
                        Ok(written) => rest = &rest[written..],
                        // Who cannot take it is waited for: every watcher has to get everything.
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                            poll(&mut [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE)?;
                        }
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
    Ok(())
}

pub async fn tokio(burst: Burst) -> Result<()> {
    let listener = listen()?;
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let mut sockets = Vec::with_capacity(burst.watchers);
    for _ in 0..burst.watchers {
        let (mut socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        upgrade(&mut socket).await?;
        sockets.push(socket);
    }
    let mut lines = tokio::io::BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        for bytes in burst.writes(line.trim().parse()?) {
            for socket in &sockets {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    match socket.try_write(rest) {
                        Ok(written) => rest = &rest[written..],
                        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => socket.writable().await?,
                        Err(error) => return Err(error.into()),
                    }
                }
            }
        }
    }
    Ok(())
}

/// Reads the head of the request and answers it.
pub async fn upgrade(socket: &mut tokio::net::TcpStream) -> Result<()> {
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = socket.read(&mut buffer).await?;
        anyhow::ensure!(read > 0, "the watcher left");
        head.extend_from_slice(&buffer[..read]);
    }
    Ok(socket.write_all(SWITCHING).await?)
}
