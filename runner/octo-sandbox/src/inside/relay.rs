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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::{
        os::unix::net::UnixListener,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread,
    };

    use nix::poll::{PollTimeout, poll};

    use super::*;

    /// A relay that is served by a thread, as `init` serves its own.
    struct Served {
        port: u16,
        stop: Arc<AtomicBool>,
        thread: Option<thread::JoinHandle<usize>>,
    }

    impl Served {
        fn new(socket: &Path) -> Self {
            let mut relay = Relay::new(socket).unwrap();
            let (port, stop) = (relay.port().unwrap(), Arc::new(AtomicBool::new(false)));
            let stopped = Arc::clone(&stop);
            let thread = thread::spawn(move || {
                while !stopped.load(Ordering::Acquire) {
                    let mut entries = Vec::new();
                    let interests = relay.interests(&mut entries);
                    poll(&mut entries, PollTimeout::from(20_u8)).unwrap();
                    let ready = entries.iter().zip(interests).filter(|(entry, _)| entry.any().unwrap_or(false));
                    let ready: Vec<Interest> = ready.map(|(_, interest)| interest).collect();
                    relay.serve(&ready);
                }
                relay.connections.len()
            });
            Self { port, stop, thread: Some(thread) }
        }

        fn connect(&self) -> TcpStream {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap()
        }

        /// How many connections are still held.
        fn stop(mut self) -> usize {
            self.stop.store(true, Ordering::Release);
            self.thread.take().unwrap().join().unwrap()
        }
    }

    fn bytes(count: u32) -> Vec<u8> {
        (0..count).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
    }

    #[test]
    fn a_side_that_has_said_everything_can_still_be_answered() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let relay = Served::new(&path);
        let (question, answer) = (bytes(700_001), bytes(900_003));
        let reply = answer.clone();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut heard = Vec::new();
            // Ends only if the client's half-close is passed on.
            stream.read_to_end(&mut heard).unwrap();
            stream.write_all(&reply).unwrap();
            heard
        });
        let mut client = relay.connect();
        client.write_all(&question).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).unwrap();
        assert!(heard == answer && server.join().unwrap() == question);
        assert_eq!(relay.stop(), 0, "a connection that is over is forgotten");
    }

    #[test]
    fn many_connections_do_not_mix() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let relay = Served::new(&path);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                thread::spawn(move || io::copy(&mut stream.try_clone().unwrap(), &mut stream));
            }
        });
        let clients: Vec<_> = (0..40_u32)
            .map(|number| {
                let mut client = relay.connect();
                thread::spawn(move || {
                    let sent = number.to_be_bytes().repeat(20_000);
                    let (mut reader, mut heard) = (client.try_clone().unwrap(), vec![0; sent.len()]);
                    let expected = sent.clone();
                    let writer = thread::spawn(move || client.write_all(&sent).unwrap());
                    reader.read_exact(&mut heard).unwrap();
                    writer.join().unwrap();
                    heard == expected
                })
            })
            .collect();
        assert!(clients.into_iter().all(|client| client.join().unwrap()));
        relay.stop();
    }

    #[test]
    fn an_answer_cut_off_by_a_broken_server_is_not_taken_for_a_whole_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let relay = Served::new(&path);
        let mut client = relay.connect();
        client.write_all(b"unread question").unwrap();
        let (stream, _) = listener.accept().unwrap();
        // Closing with unread bytes is how a killed server's socket ends.
        nix::poll::poll(&mut [PollFd::new(stream.as_fd(), PollFlags::POLLIN)], PollTimeout::NONE).unwrap();
        drop(stream);
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        assert_eq!(relay.stop(), 0);
    }

    #[test]
    fn a_server_that_is_not_there_yet_is_waited_for() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let relay = Served::new(&path);
        let mut client = relay.connect();
        client.write_all(b"?").unwrap();
        let listener = UnixListener::bind(&path).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = [0; 1];
        stream.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"?");
        relay.stop();
    }
}
