//! The signals that end or replace a daemon, so that none is lost while one program takes the place of another.
//!
//! On Linux they are blocked in every thread and read from a descriptor: one that nobody has read yet waits in the kernel, also across an exec, and the next
//! program reads it. A handler would have taken it, and what a handler noted ends with its program. Elsewhere there is no such descriptor: a signal in the very moment of an
//! exec may be lost there.

use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use std::io;

/// Asks a daemon to be replaced by the program at its own path.
const REPLACE: Signal = Signal::SIGUSR2;

/// Those that end it.
const END: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// Where a daemon hears them.
#[derive(Debug)]
pub struct Signals {
    /// It shall end, in good order.
    pub end: Heard,
    /// It shall be replaced in place.
    pub replace: Heard,
}

impl Signals {
    /// Listens for what [`hold_signals`] holds, and for what the program before has left. To be called in the thread that held them.
    ///
    /// # Errors
    /// When the system refuses, or outside a runtime.
    pub fn listen() -> io::Result<Self> {
        let signals = Self { end: Heard::listen(&END)?, replace: Heard::listen(&[REPLACE])? };
        if !HELD_WHILE_HEARD {
            give_back();
        }
        Ok(signals)
    }
}

/// The signal by which a daemon is replaced waits from now on, in this thread and those that it starts, until somebody listens: without that it would
/// end the process. To be called by `main` before anything else. Sandboxes that are started meanwhile hold nothing back.
pub fn hold_replacement() {
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&REPLACE.into()), None);
}

/// All signals of a daemon wait from now on, in this thread and those that it starts. To be called before there is another thread.
pub fn hold_signals() {
    let _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&of_a_daemon()), None);
}

fn of_a_daemon() -> SigSet {
    END.into_iter().chain([REPLACE]).collect()
}

/// Nothing of a daemon's signals is lost from here to the program that is executed next.
pub(crate) fn hold_for_exec() {
    hold_signals();
}

/// That program was not executed.
pub(crate) fn exec_failed() {
    if !HELD_WHILE_HEARD {
        give_back();
    }
}

/// Those who hear them need this thread to take them.
fn give_back() {
    let _ = sigprocmask(SigmaskHow::SIG_UNBLOCK, Some(&of_a_daemon()), None);
}

use heard::HELD_WHILE_HEARD;
pub use heard::Heard;

#[cfg(target_os = "linux")]
mod heard {
    use nix::sys::signal::Signal;
    use nix::sys::signalfd::{SfdFlags, SignalFd};
    use std::io;
    use tokio::io::{Interest, unix::AsyncFd};

    pub(super) const HELD_WHILE_HEARD: bool = true;

    /// Some signals, as they come.
    #[derive(Debug)]
    pub struct Heard(AsyncFd<SignalFd>);

    impl Heard {
        pub(super) fn listen(signals: &[Signal]) -> io::Result<Self> {
            let signals = signals.iter().copied().collect();
            let descriptor = SignalFd::with_flags(&signals, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)?;
            // SAFETY: it owns its descriptor, names no other one as long as it lives, and is not taken out again.
            Ok(Self(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?))
        }

        /// Waits for the next one. Dropping the future loses none.
        ///
        /// # Errors
        /// When the descriptor cannot be read.
        pub async fn next(&mut self) -> io::Result<()> {
            let read = |descriptor: &SignalFd| descriptor.read_signal()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            self.0.async_io(Interest::READABLE, read).await.map(drop)
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod heard {
    use nix::sys::signal::Signal;
    use std::io;
    use tokio::signal::unix::{Signal as Stream, SignalKind, signal};

    pub(super) const HELD_WHILE_HEARD: bool = false;

    /// Some signals, as they come.
    #[derive(Debug)]
    pub struct Heard(Vec<Stream>);

    impl Heard {
        pub(super) fn listen(signals: &[Signal]) -> io::Result<Self> {
            signals.iter().map(|one| signal(SignalKind::from_raw(*one as i32))).collect::<io::Result<_>>().map(Self)
        }

        /// Waits for the next one. Dropping the future loses none.
        ///
        /// # Errors
        /// None here.
        pub async fn next(&mut self) -> io::Result<()> {
            std::future::poll_fn(|context| {
                if self.0.iter_mut().any(|stream| stream.poll_recv(context).is_ready()) {
                    return std::task::Poll::Ready(Ok(()));
                }
                std::task::Poll::Pending
            })
            .await
        }
    }
}
