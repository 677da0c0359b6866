//! Very many watchers on one thread: raw sockets, one epoll, a WebSocket reader that looks at frames where they lie.
//!
//! The watchers are not what is measured, so they have to cost as little as they can: nothing is copied or parsed but what a bench asks for.

use anyhow::{Context, Result, bail, ensure};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// Connections from one loopback address: the system has about 28 000 ports for each.
const PER_ADDRESS: usize = 8000;
/// Upgrades under way at once: a listener's backlog has room for so many.
const OPENING: usize = 1000;
/// When something that was refused because too many asked at once is asked again.
const AGAIN: Duration = Duration::from_millis(20);
/// Bytes that are read at once.
const READ: usize = 256 * 1024;

/// What came to one watcher.
pub enum Came<'a> {
    /// The upgrade was answered.
    Open,
    Text(&'a [u8]),
    Closed,
}

/// Whether to read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Go {
    On,
    Stop,
}

struct Watcher {
    fd: Option<OwnedFd>,
    /// Bytes of a frame, or of the answer to the upgrade, that is not whole yet.
    partial: Vec<u8>,
    open: bool,
}

/// The watchers.
pub struct Audience {
    epoll: Epoll,
    watchers: Vec<Watcher>,
    /// Not connected yet.
    waiting: VecDeque<usize>,
    opening: usize,
    port: u16,
    request: String,
    scratch: Vec<u8>,
    /// What is sent again, and when; all of it is due after the same time.
    again: RefCell<VecDeque<(Instant, usize, String)>>,
}

impl Audience {
    /// So many watchers of `path` on a local port. They connect in [`Self::run`].
    pub fn new(port: u16, path: &str, token: Option<&str>, watchers: usize) -> Result<Self> {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{bearer}\r\n"
        );
        Ok(Self {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            watchers: (0..watchers).map(|_| Watcher { fd: None, partial: Vec::new(), open: false }).collect(),
            waiting: (0..watchers).collect(),
            opening: 0,
            port,
            request,
            scratch: vec![0; READ],
            again: RefCell::default(),
        })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Connects all of them and waits until each has been answered.
    pub fn open(&mut self, patience: Duration) -> Result<()> {
        let mut left = self.len();
        self.run(patience, |_, _, came| {
            left -= usize::from(matches!(came, Came::Open));
            if left == 0 { Go::Stop } else { Go::On }
        })
    }

    fn connect(&mut self, index: usize) -> Result<()> {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC, None)
            .context("no more sockets: raise `ulimit -n`")?;
        // The ports of one address do not suffice for very many; and none shall linger after its connection.
        let octet = u8::try_from(2 + index / PER_ADDRESS)?;
        setsockopt(&fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
        setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
        if index >= PER_ADDRESS {
            bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, octet, 0))?;
        }
        match connect(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, self.port)) {
            Ok(()) | Err(nix::errno::Errno::EINPROGRESS) => {}
            Err(error) => bail!("watcher {index} cannot connect: {error}"),
        }
        self.epoll.add(&fd, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT, index as u64))?;
        self.watchers[index].fd = Some(fd);
        self.opening += 1;
        Ok(())
    }

    /// Sends one text frame.
    pub fn send(&self, index: usize, text: &str) -> Result<()> {
        let mut frame = vec![0x81];
        match text.len() {
            length @ 0..=125 => frame.push(0x80 | u8::try_from(length)?),
            length @ 126..=65535 => {
                frame.push(0x80 | 126);
                frame.extend(u16::try_from(length)?.to_be_bytes());
            }
            length => bail!("{length} bytes are no command"),
        }
        // A mask of zeros changes nothing.
        frame.extend([0; 4]);
        frame.extend(text.as_bytes());
        self.write(index, &frame)
    }

    /// Sends one text frame a moment later.
    pub fn send_again(&self, index: usize, text: String) {
        self.again.borrow_mut().push_back((Instant::now() + AGAIN, index, text));
    }

    fn send_due(&self) -> Result<()> {
        loop {
            let mut again = self.again.borrow_mut();
            if again.front().is_none_or(|(due, ..)| *due > Instant::now()) {
                return Ok(());
            }
            let due = again.pop_front();
            drop(again);
            if let Some((_, index, text)) = due {
                self.send(index, &text)?;
            }
        }
    }

    fn write(&self, index: usize, bytes: &[u8]) -> Result<()> {
        let fd = self.watchers[index].fd.as_ref().context("the watcher is connected")?;
        let written = nix::unistd::write(fd, bytes).with_context(|| format!("watcher {index} cannot write"))?;
        ensure!(written == bytes.len(), "watcher {index} wrote {written} of {} bytes", bytes.len());
        Ok(())
    }

    /// Reads whatever comes and tells `see` of it, until that says stop.
    pub fn run(&mut self, patience: Duration, mut see: impl FnMut(&Self, usize, Came<'_>) -> Go) -> Result<()> {
        let end = Instant::now() + patience;
        let mut events = vec![EpollEvent::empty(); 1024];
        let mut scratch = std::mem::take(&mut self.scratch);
        let outcome = loop {
            while self.opening < OPENING
                && let Some(index) = self.waiting.pop_front()
            {
                self.connect(index)?;
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let open = self.watchers.iter().filter(|watcher| watcher.open).count();
                break Err(anyhow::anyhow!("{} watchers, {open} of them open, waited {patience:?} in vain", self.len()));
            }
            self.send_due()?;
            let look = if self.again.borrow().is_empty() { Duration::from_secs(1) } else { Duration::from_millis(5) };
            let ready = match self.epoll.wait(&mut events, EpollTimeout::try_from(left.min(look))?) {
                Err(nix::errno::Errno::EINTR) => continue,
                ready => ready?,
            };
            let mut stop = false;
            for event in &events[..ready] {
                let index = usize::try_from(event.data())?;
                stop |= self.ready(index, event.events(), &mut scratch, &mut see)? == Go::Stop;
            }
            if stop {
                break Ok(());
            }
        };
        self.scratch = scratch;
        outcome
    }

    fn ready(
        &mut self,
        index: usize,
        ready: EpollFlags,
        scratch: &mut [u8],
        see: &mut impl FnMut(&Self, usize, Came<'_>) -> Go,
    ) -> Result<Go> {
        if ready.contains(EpollFlags::EPOLLOUT) && !self.watchers[index].open {
            let request = std::mem::take(&mut self.request);
            let sent = self.write(index, request.as_bytes());
            self.request = request;
            sent?;
            if let Some(fd) = &self.watchers[index].fd {
                self.epoll.modify(fd, &mut EpollEvent::new(EpollFlags::EPOLLIN, index as u64))?;
            }
        }
        if !ready.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            return Ok(Go::On);
        }
        let Some(fd) = &self.watchers[index].fd else { return Ok(Go::On) };
        let read = match nix::unistd::read(fd, scratch) {
            Ok(read @ 1..) => read,
            Err(nix::errno::Errno::EAGAIN) => return Ok(Go::On),
            Ok(_) | Err(_) => {
                self.watchers[index].fd = None;
                return Ok(see(self, index, Came::Closed));
            }
        };
        let mut partial = std::mem::take(&mut self.watchers[index].partial);
        let mut go = Go::On;
        let mut each = |own: &Self, came: Came<'_>| {
            if see(own, index, came) == Go::Stop {
                go = Go::Stop;
            }
        };
        if partial.is_empty() {
            let used = self.bytes(index, &scratch[..read], &mut each)?;
            partial.extend_from_slice(&scratch[used..read]);
        } else {
            partial.extend_from_slice(&scratch[..read]);
            let used = self.bytes(index, &partial, &mut each)?;
            partial.drain(..used);
        }
        if partial.is_empty() {
            // Ten thousand buffers that were used once are a lot of memory.
            partial = Vec::new();
        }
        self.watchers[index].partial = partial;
        Ok(go)
    }

    /// Takes whole frames; how many bytes they were.
    fn bytes(&mut self, index: usize, bytes: &[u8], see: &mut impl FnMut(&Self, Came<'_>)) -> Result<usize> {
        let mut at = 0;
        if !self.watchers[index].open {
            let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else { return Ok(0) };
            ensure!(bytes.starts_with(b"HTTP/1.1 101"), "watcher {index} was refused: {}", String::from_utf8_lossy(&bytes[..end.min(200)]));
            self.watchers[index].open = true;
            self.opening -= 1;
            at = end + 4;
            see(self, Came::Open);
        }
        while let Some((opcode, head, length)) = head(&bytes[at..]) {
            let Some(payload) = bytes.get(at + head..at + head + length) else { break };
            at += head + length;
            match opcode {
                1 => see(self, Came::Text(payload)),
                // Pings carry nothing; an answer keeps the connection.
                9 => self.write(index, &[0x8a, 0x80, 0, 0, 0, 0])?,
                8 => see(self, Came::Closed),
                _ => {}
            }
        }
        Ok(at)
    }
}

/// Opcode, bytes of the head, bytes of the payload; `None` until the head is whole.
fn head(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let opcode = bytes.first()? & 0x0f;
    Some(match bytes.get(1)? & 0x7f {
        126 => (opcode, 4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        127 => (opcode, 10, usize::try_from(u64::from_be_bytes(bytes.get(2..10)?.try_into().ok()?)).ok()?),
        length => (opcode, 2, usize::from(length)),
    })
}

/// The number after `"name":` in the first bytes of a frame.
pub fn number_of(frame: &[u8], name: &str) -> Option<u64> {
    let rest = after(&frame[..frame.len().min(320)], name)?;
    let digits = rest.iter().take_while(|b| b.is_ascii_digit());
    digits.fold(None, |number: Option<u64>, digit| Some(number.unwrap_or(0).wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))))
}

/// The text after `"name":"` in the first bytes of a frame, up to its quote.
pub fn text_of<'a>(frame: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let rest = after(&frame[..frame.len().min(4096)], name)?.strip_prefix(b"\"")?;
    rest.split(|b| *b == b'"').next()
}

fn after<'a>(frame: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let name = name.as_bytes();
    let mut at = 0;
    while let Some(quote) = frame[at..].iter().position(|b| *b == b'"') {
        at += quote + 1;
        if frame[at..].starts_with(name) && frame[at + name.len()..].starts_with(b"\":") {
            return Some(&frame[at + name.len() + 2..]);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_frame_says_is_found_where_it_lies() {
        let frame = br#"{"channel":"agent","ts":17,"seq":42,"event":"stream.text_delta","delta":"7@123 .."}"#;
        assert_eq!((number_of(frame, "seq"), number_of(frame, "nothing")), (Some(42), None));
        assert_eq!(text_of(frame, "event"), Some(&b"stream.text_delta"[..]));
        assert_eq!(text_of(frame, "delta"), Some(&b"7@123 .."[..]));
        assert_eq!(head(&[0x81, 5]), Some((1, 2, 5)));
        assert_eq!(head(&[0x81, 126, 1, 0]), Some((1, 4, 256)));
        assert_eq!(head(&[0x81, 126, 1]), None);
    }
}
