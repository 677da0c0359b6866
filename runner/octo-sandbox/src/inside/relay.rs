//! The loopback relay: a TCP port inside the sandbox, each of whose connections is a new connection to one Unix socket.
//!
//! Promises: bytes exact and in order in both directions, half-close passed on, a broken side breaks the other (so that
//! a truncated answer is never taken for a whole one). A server that is just being restarted is waited for.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, TcpListener, TcpStream},
    os::{
        fd::{AsFd, AsRawFd},
        unix::net::UnixStream,
    },
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    poll::{PollFd, PollFlags},
    sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket, sockopt},
};

use crate::descriptor;

/// Connections at once; further ones wait in the listener's queue.
const MAX_CONNECTIONS: usize = 256;
/// Bytes under way in one direction of one connection; a full buffer stops reading.
const BUFFER: usize = 64 * 1024;
/// How long a connection waits for a server that is not there.
const DIAL_FOR: Duration = Duration::from_secs(5);
const DIAL_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// The listener and its connections.
pub(super) struct Relay {
    listener: TcpListener,
    socket: PathBuf,
    connections: Vec<Connection>,
    /// Set when the process has no descriptor left for another connection; cleared when one ends.
    exhausted: bool,
}

struct Connection {
    client: TcpStream,
    server: Server,
    up: Direction,
    down: Direction,
}

enum Server {
    Dialing { until: Instant },
    Connected(UnixStream),
}

/// Bytes on their way from one side to the other.
#[derive(Default)]
struct Direction {
    bytes: Vec<u8>,
    taken: usize,
    /// The source has said everything.
    finished: bool,
    /// The destination knows that.
    passed_on: bool,
}

/// Which descriptors a set of poll entries belongs to; the entries are made and read in the same order.
#[derive(Debug, Clone, Copy)]
pub(super) enum Interest {
    Listener,
    Client(usize),
    Server(usize),
}

impl Relay {
    pub fn new(socket: &Path) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self { listener, socket: socket.to_owned(), connections: Vec::new(), exhausted: false })
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// What to wait for. A descriptor without anything to wait for is left out, as a hung-up one would wake at once.
    pub fn interests<'a>(&'a self, entries: &mut Vec<PollFd<'a>>) -> Vec<Interest> {
        let mut interests = Vec::new();
        let mut add = |fd, flags: PollFlags, interest| {
            if !flags.is_empty() {
                entries.push(PollFd::new(fd, flags));
                interests.push(interest);
            }
        };
        if self.connections.len() < MAX_CONNECTIONS && !self.exhausted {
            add(self.listener.as_fd(), PollFlags::POLLIN, Interest::Listener);
        }
        for (index, connection) in self.connections.iter().enumerate() {
            if let Server::Connected(server) = &connection.server {
                let (up, down) = (&connection.up, &connection.down);
                add(connection.client.as_fd(), flags(up.wants_more(), down.has_bytes()), Interest::Client(index));
                add(server.as_fd(), flags(down.wants_more(), up.has_bytes()), Interest::Server(index));
            }
        }
        interests
    }

    /// How long `poll` may sleep, because somebody is being dialled.
    pub fn patience(&self) -> Option<Duration> {
        self.connections.iter().any(|one| matches!(one.server, Server::Dialing { .. })).then_some(DIAL_AGAIN_AFTER)
    }

    /// Moves what can be moved after `poll` has told what is ready.
    pub fn serve(&mut self, ready: &[Interest]) {
        let mut broken = Vec::new();
        for interest in ready {
            match *interest {
                Interest::Listener => self.accept(),
                Interest::Client(index) | Interest::Server(index) => {
                    if self.connections.get_mut(index).is_some_and(|one| one.move_bytes().is_err()) {
                        broken.push(index);
                    }
                }
            }
        }
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if !connection.dial(&self.socket) {
                broken.push(index);
            }
        }
        let mut index = 0;
        let before = self.connections.len();
        self.connections.retain(|connection| {
            let failed = broken.contains(&index);
            index += 1;
            if failed {
                connection.reset();
            }
            !failed && !connection.is_done()
        });
        self.exhausted &= self.connections.len() == before;
    }

    fn accept(&mut self) {
        while self.connections.len() < MAX_CONNECTIONS {
            match self.listener.accept() {
                Ok((client, _)) => {
                    let _ = client.set_nodelay(true);
                    if client.set_nonblocking(true).is_ok() {
                        let server = Server::Dialing { until: Instant::now() + DIAL_FOR };
                        let (up, down) = (Direction::default(), Direction::default());
                        self.connections.push(Connection { client, server, up, down });
                    }
                }
                Err(error) => {
                    self.exhausted = matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) && !self.connections.is_empty();
                    return;
                }
            }
        }
    }
}

impl Connection {
    /// False when nobody answered for too long.
    fn dial(&mut self, path: &Path) -> bool {
        let Server::Dialing { until } = self.server else {
            return true;
        };
        match dial(path) {
            Ok(server) => {
                self.server = Server::Connected(server);
                true
            }
            Err(_) => Instant::now() < until,
        }
    }

    fn move_bytes(&mut self) -> io::Result<()> {
        let Server::Connected(server) = &mut self.server else {
            return Ok(());
        };
        self.up.advance(&mut self.client, server)?;
        self.down.advance(server, &mut self.client)
    }

    fn is_done(&self) -> bool {
        self.up.passed_on && self.down.passed_on
    }

    /// Makes the client see a broken connection rather than an ended one.
    fn reset(&self) {
        let now = libc::linger { l_onoff: 1, l_linger: 0 };
        let _ = setsockopt(&self.client, sockopt::Linger, &now);
    }
}

/// The two kinds of stream, as far as half-close is concerned.
trait HalfClose {
    fn finish(&self) -> io::Result<()>;
}

impl HalfClose for TcpStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl HalfClose for UnixStream {
    fn finish(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }
}

impl Direction {
    fn has_bytes(&self) -> bool {
        self.taken < self.bytes.len()
    }

    fn wants_more(&self) -> bool {
        !self.finished && !self.has_bytes()
    }

    fn advance(&mut self, from: &mut impl Read, to: &mut (impl Write + HalfClose)) -> io::Result<()> {
        if self.wants_more() {
            self.bytes.resize(BUFFER, 0);
            let read = from.read(&mut self.bytes);
            self.bytes.truncate(*read.as_ref().unwrap_or(&0));
            self.taken = 0;
            match read {
                Ok(count) => self.finished = count == 0,
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(error),
            }
        }
        while let Some(rest) = self.bytes.get(self.taken..).filter(|rest| !rest.is_empty()) {
            match to.write(rest) {
                Ok(count) => self.taken += count,
                Err(error) if is_later(&error) => break,
                Err(error) => return Err(error),
            }
        }
        if self.finished && !self.has_bytes() && !self.passed_on {
            // The other side may have gone altogether by now; it has got everything, so that is no failure.
            let _ = to.finish();
            self.passed_on = true;
            self.bytes = Vec::new();
            self.taken = 0;
        }
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

fn flags(read: bool, write: bool) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::POLLIN, read);
    flags.set(PollFlags::POLLOUT, write);
    flags
}

/// Connects without ever waiting: a server whose queue is full is dialled again.
fn dial(path: &Path) -> io::Result<UnixStream> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::empty(), None)?;
    descriptor::set_close_on_exec(&socket, true)?;
    descriptor::set_nonblocking(&socket)?;
    connect(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    Ok(socket.into())
}
