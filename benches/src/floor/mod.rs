//! The floors: the least that a machine has to do for the same thing. Each runs as `octo-bench floor KIND` in a process of its own, so that its cost
//! is measured as octo's is, and prints its port first.

mod broadcast;
mod copy;
mod hold;
mod peer;

use anyhow::Result;
use std::io::Write;
use std::net::TcpListener;

/// A floor, by its name.
#[derive(Debug, Clone, clap::Subcommand)]
pub enum Floor {
    /// Lines of stdin to every watcher, one write each, blocking.
    Copy {
        #[arg(long)]
        watchers: usize,
    },
    /// For each line `FRAMES` of stdin, that many frames to every watcher by one loop over epoll.
    Epoll(broadcast::Burst),
    /// The same on tokio with `try_write`.
    Tokio(broadcast::Burst),
    /// The same with axum's WebSocket, a task for each connection and one shared message.
    Axum(peer::Burst),
    /// Accepts, upgrades, and answers the first message with so many frames in one write.
    Storm {
        #[arg(long)]
        frames: usize,
        #[arg(long)]
        size: usize,
    },
    /// Accepts, upgrades and holds bare tokio sockets.
    Hold,
    /// Answers HTTP with axum and nothing else.
    Hello,
}

/// Runs a floor until it is killed or its input ends.
pub fn run(floor: Floor) -> Result<()> {
    match floor {
        Floor::Copy { watchers } => copy::run(watchers),
        Floor::Epoll(burst) => broadcast::epoll(&burst),
        Floor::Tokio(burst) => runtime()?.block_on(broadcast::tokio(burst)),
        Floor::Axum(burst) => runtime()?.block_on(peer::run(burst)),
        Floor::Storm { frames, size } => runtime()?.block_on(hold::storm(frames, size)),
        Floor::Hold => runtime()?.block_on(hold::hold()),
        Floor::Hello => runtime()?.block_on(peer::hello()),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// A listener with room for everybody at once; its port is printed.
fn listen() -> Result<TcpListener> {
    use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, listen, setsockopt, socket, sockopt};
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0))?;
    listen(&fd, Backlog::new(4096)?)?;
    let listener = TcpListener::from(fd);
    say_port(&listener)?;
    Ok(listener)
}

fn say_port(listener: &TcpListener) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", listener.local_addr()?.port())?;
    Ok(stdout.flush()?)
}

/// The answer to an upgrade; the watchers do not check the key.
const SWITCHING: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

/// A text frame as a server sends it.
fn frame(text: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x81];
    match text.len() {
        length @ 0..=125 => frame.push(u8::try_from(length).unwrap_or_default()),
        length @ 126..=65535 => {
            frame.push(126);
            frame.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
        }
        length => {
            frame.push(127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(text);
    frame
}

/// A payload of so many bytes that looks like an event of octo's, with its number.
fn payload(number: usize, size: usize) -> String {
    let mut text = format!(
        r#"{{"channel":"agent","session_id":"ses_1","runner_id":"local","ts":1,"epoch":"e","seq":{number},"event":"stream.text_delta","delta":""#
    );
    text.extend(std::iter::repeat_n('.', size.saturating_sub(text.len() + 2)));
    text + "\"}"
}

/// Reads the head of a request from a blocking socket.
fn read_head(stream: &mut std::net::TcpStream) -> Result<()> {
    use std::io::Read;
    let (mut head, mut buffer) = (Vec::new(), [0; 2048]);
    while !head.ends_with(b"\r\n\r\n") {
        let read = stream.read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the watcher left");
        head.extend_from_slice(&buffer[..read]);
    }
    Ok(())
}
