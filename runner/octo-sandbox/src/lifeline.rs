//! The launcher's end of the life line: reports in, commands out, and the end of the tree when it closes.

use std::{
    io::{self, IoSliceMut},
    os::fd::{AsRawFd, OwnedFd},
    sync::atomic::{AtomicBool, AtomicI32, Ordering},
    sync::{Mutex, PoisonError},
};

use nix::sys::socket::{MsgFlags, Shutdown, UnixAddr, recvmsg, send, shutdown};
use tokio::{io::Interest, net::UnixStream};

use crate::{
    message::Report,
    spec::{Excess, Signal},
};

/// Longest report line; a report is far shorter, so a longer line is foreign text and is cut.
const MAX_LINE: usize = 16 * 1024;
const CHUNK: usize = 4096;

/// What came over the line.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// A report, with the process id of its sender as this process sees it.
    Report(Report, Option<i32>),
    /// Something a tool on the way printed (bubblewrap's complaint).
    Text(String),
    /// Nobody is left at the other end.
    End,
}

/// The half shared by everybody who may signal or end the tree.
#[derive(Debug)]
pub(crate) struct Lifeline {
    socket: UnixStream,
    agent: AtomicI32,
    cut: AtomicBool,
    near: Mutex<Option<Excess>>,
}

/// The half of the one who reads reports.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    line: Vec<u8>,
    sender: Option<i32>,
    ended: bool,
}

impl Lifeline {
    /// Takes a connected, non-blocking socket. Must be called inside a tokio runtime.
    pub fn new(socket: OwnedFd) -> io::Result<Self> {
        let socket = UnixStream::from_std(socket.into())?;
        Ok(Self { socket, agent: AtomicI32::new(0), cut: AtomicBool::new(false), near: Mutex::default() })
    }

    /// What the tree uses nearly too much of, as was reported last.
    pub fn near(&self) -> Option<Excess> {
        self.near.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_near(&self, excess: Option<Excess>) {
        *self.near.lock().unwrap_or_else(PoisonError::into_inner) = excess;
    }

    /// Whether the command could be handed over.
    pub fn signal(&self, signal: Signal) -> bool {
        let flags = MsgFlags::MSG_DONTWAIT | no_sigpipe();
        !self.is_cut() && send(self.socket.as_raw_fd(), &[signal.to_byte()], flags).is_ok()
    }

    /// Ends the tree: the other side sees the end of the line. Reports under way can still be read.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Release);
        // Failing means that the other side has gone already, which is what is wanted.
        let _ = shutdown(self.socket.as_raw_fd(), Shutdown::Write);
    }

    pub fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.socket.as_raw_fd()
    }

    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Acquire)
    }

    pub fn agent(&self) -> Option<i32> {
        match self.agent.load(Ordering::Acquire) {
            0 => None,
            pid => Some(pid),
        }
    }

    pub fn set_agent(&self, pid: Option<i32>) {
        self.agent.store(pid.unwrap_or(0), Ordering::Release);
    }

    /// The next thing said. Cancel-safe: what was read stays in `reports`.
    pub async fn next(&self, reports: &mut Reports) -> Incoming {
        loop {
            if let Some(incoming) = reports.take_line() {
                return incoming;
            }
            if reports.ended {
                return Incoming::End;
            }
            let socket = self.socket.as_raw_fd();
            let read = match self.socket.readable().await {
                Ok(()) => self.socket.try_io(Interest::READABLE, || reports.fill(socket)),
                Err(error) => Err(error),
            };
            match read {
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => reports.ended = true, // reset is ended
                Ok(()) | Err(_) => {}
            }
        }
    }
}

impl Reports {
    /// Nothing was read of a report that is not whole.
    pub fn is_between(&self) -> bool {
        self.line.is_empty() && !self.ended
    }

    fn take_line(&mut self) -> Option<Incoming> {
        let end = match self.line.iter().position(|byte| *byte == b'\n') {
            Some(newline) => newline + 1,
            None if self.line.len() >= MAX_LINE || (self.ended && !self.line.is_empty()) => self.line.len(),
            None => return None,
        };
        let line: Vec<u8> = self.line.drain(..end).collect();
        Some(match serde_json::from_slice::<Report>(&line) {
            Ok(report) => Incoming::Report(report, self.sender),
            Err(_) => Incoming::Text(String::from_utf8_lossy(&line).trim_end().to_owned()),
        })
    }

    /// One read. The kernel never mixes bytes of different senders in one read, so the sender of the bytes that
    /// complete a line is the sender of the line.
    fn fill(&mut self, socket: i32) -> io::Result<()> {
        let mut bytes = [0u8; CHUNK];
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let (count, sender) = receive(socket, &mut parts)?;
        self.sender = sender;
        self.ended = count == 0;
        self.line.extend_from_slice(bytes.get(..count).unwrap_or_default());
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn receive(socket: i32, parts: &mut [IoSliceMut<'_>; 1]) -> io::Result<(usize, Option<i32>)> {
    use nix::sys::socket::ControlMessageOwned;
    let mut space = nix::cmsg_space!(libc::ucred);
    let message = recvmsg::<UnixAddr>(socket, parts, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)?;
    let sender = message.cmsgs()?.find_map(|control| match control {
        // 0 stands for a process outside this process's own namespace.
        ControlMessageOwned::ScmCredentials(sender) if sender.pid() > 0 => Some(sender.pid()),
        _ => None,
    });
    Ok((message.bytes, sender))
}

#[cfg(not(target_os = "linux"))]
fn receive(socket: i32, parts: &mut [IoSliceMut<'_>; 1]) -> io::Result<(usize, Option<i32>)> {
    let message = recvmsg::<UnixAddr>(socket, parts, None, MsgFlags::empty())?;
    Ok((message.bytes, None))
}

#[cfg(target_os = "linux")]
fn no_sigpipe() -> MsgFlags {
    MsgFlags::MSG_NOSIGNAL
}

#[cfg(not(target_os = "linux"))]
fn no_sigpipe() -> MsgFlags {
    // Rust programs ignore SIGPIPE from the start.
    MsgFlags::empty()
}

/// Has the kernel attach the sender's identity to everything received.
#[cfg(target_os = "linux")]
pub(crate) fn ask_for_senders(socket: &OwnedFd) -> io::Result<()> {
    nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::PassCred, &true)?;
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn ask_for_senders(_socket: &OwnedFd) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::Write;

    use super::*;
    use crate::descriptor;

    async fn said(bytes: &[u8]) -> Vec<String> {
        let (ours, theirs) = descriptor::socket_pair().unwrap();
        descriptor::set_nonblocking(&ours).unwrap();
        let (line, mut reports, mut heard) = (Lifeline::new(ours).unwrap(), Reports::default(), Vec::new());
        let bytes = bytes.to_vec();
        let writer = std::thread::spawn(move || std::fs::File::from(theirs).write_all(&bytes).unwrap());
        loop {
            match line.next(&mut reports).await {
                Incoming::Report(report, _) => heard.push(format!("{report:?}")),
                Incoming::Text(text) => heard.push(format!("text of {}: {text:.20}", text.len())),
                Incoming::End => break,
            }
        }
        writer.join().unwrap();
        heard
    }

    #[tokio::test]
    async fn reports_and_complaints_are_told_apart() {
        let heard = said(b"bwrap: no\n{\"report\":\"exited\",\"code\":3}\n{\"report\":\"unknown\"}\n\ncut off").await;
        let expected =
            ["text of 9: bwrap: no", "Exited { code: 3 }", "text of 20: {\"report\":\"unknown\"}", "text of 0: ", "text of 7: cut off"];
        assert_eq!(heard, expected);
    }

    #[tokio::test]
    async fn a_line_without_an_end_is_cut_and_not_collected() {
        let heard = said(&[b'x'; 3 * MAX_LINE]).await;
        assert!(heard.len() >= 2 && heard.iter().all(|text| text.starts_with("text of 1")), "{heard:?}");
    }

    #[tokio::test]
    async fn a_cut_line_takes_no_commands() {
        let (ours, theirs) = descriptor::socket_pair().unwrap();
        descriptor::set_nonblocking(&ours).unwrap();
        let line = Lifeline::new(ours).unwrap();
        assert!(line.signal(Signal::Hangup));
        line.cut();
        assert!(!line.signal(Signal::Hangup));
        let mut heard = Vec::new();
        io::Read::read_to_end(&mut std::fs::File::from(theirs), &mut heard).unwrap();
        assert_eq!(heard, b"H");
    }
}
