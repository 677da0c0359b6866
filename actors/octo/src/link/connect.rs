//! Reaching a runner: connect, check who answers, shake hands.

use super::driver::Driver;
use super::handle::{Inner, Link};
use crate::auth::UserId;
use bytes::BytesMut;
use futures_util::future::BoxFuture;
use octo_protocol::SessionSummary;
use octo_protocol::link::{Decoder, Frame, Hello, LINK_VERSION, LINK_VERSION_MIN, LinkError, Welcome, encode};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// What comes from a runner, whatever carries it.
pub type FromRunner = Box<dyn AsyncRead + Send + Unpin>;
/// What goes to a runner.
pub type ToRunner = Box<dyn AsyncWrite + Send + Unpin>;

/// A way to runners that octo does not launch: those of a program that brings its own, or of a simulation. Whoever gives it vouches that the other end
/// is the user's runner.
pub trait Dial: Send + Sync {
    /// A new connection to the runner of `user`.
    fn dial(&self, user: &UserId) -> BoxFuture<'static, std::io::Result<(FromRunner, ToRunner)>>;
}

/// Patience for connecting, and for the handshake.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Whose runner is expected where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The runner's socket.
    pub socket: PathBuf,
    /// The uid that the runner must run as.
    pub uid: u32,
    /// The octo user.
    pub user: String,
    /// Names this control plane.
    pub instance: String,
}

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("cannot reach the runner of {user} at {socket}: {error}")]
    Unreachable { user: String, socket: PathBuf, error: std::io::Error },
    #[error(
        "the process at {socket} runs as uid {found}, not as uid {expected} of {user}; it is not this user's runner. Stop it and remove the socket"
    )]
    WrongOwner { user: String, socket: PathBuf, expected: u32, found: u32 },
    #[error("the runner of {user} refuses: {reason}")]
    Refused { user: String, reason: String },
    #[error("the runner at {socket} serves {found}, not {user}")]
    WrongUser { user: String, socket: PathBuf, found: String },
    #[error(
        "the runner of {user} speaks version {found} of the link, this server {LINK_VERSION_MIN} to {LINK_VERSION}; restart the runner after the upgrade"
    )]
    Version { user: String, found: u16 },
    #[error("the runner of {user} closed the link before it said welcome")]
    Closed { user: String },
    #[error("the runner of {user} did not answer within {HANDSHAKE_WITHIN:?}; it hangs or is stopped")]
    Timeout { user: String },
    #[error("the handshake with the runner of {user} failed: {error}")]
    Protocol { user: String, error: LinkError },
}

/// Connects to `target` and shakes hands. The [`Driver`] must be run for the link to live; `sessions` is kept at the runner's list.
///
/// # Errors
/// [`ConnectError`] when there is no runner of that user that speaks this link.
pub async fn connect(target: &Target, sessions: watch::Sender<Option<Arc<Vec<SessionSummary>>>>) -> Result<(Link, Driver), ConnectError> {
    let (from, to) = dial(target).await?;
    over(from, to, target, sessions).await
}

/// Connects, and makes sure whose process answers.
pub(super) async fn dial(target: &Target) -> Result<(FromRunner, ToRunner), ConnectError> {
    let io = |error| ConnectError::Unreachable { user: target.user.clone(), socket: target.socket.clone(), error };
    let connecting = tokio::time::timeout(HANDSHAKE_WITHIN, UnixStream::connect(&target.socket));
    let stream = connecting.await.map_err(|_| ConnectError::Timeout { user: target.user.clone() })?.map_err(io)?;
    let found = stream.peer_cred().map_err(io)?.uid();
    if found != target.uid {
        let (user, socket) = (target.user.clone(), target.socket.clone());
        return Err(ConnectError::WrongOwner { user, socket, expected: target.uid, found });
    }
    let (from, to) = stream.into_split();
    Ok((Box::new(from), Box::new(to)))
}

/// Shakes hands over a connection of which it is known that the other end is the user's runner, else as [`connect`].
///
/// # Errors
/// As [`connect`].
pub async fn over(
    from: FromRunner,
    to: ToRunner,
    target: &Target,
    sessions: watch::Sender<Option<Arc<Vec<SessionSummary>>>>,
) -> Result<(Link, Driver), ConnectError> {
    match tokio::time::timeout(HANDSHAKE_WITHIN, shake(from, to, target)).await {
        Err(_) => Err(ConnectError::Timeout { user: target.user.clone() }),
        Ok(Err(error)) => Err(error),
        Ok(Ok(shaken)) => {
            let (inner, queues) = Inner::new(shaken.welcome);
            let inner = Arc::new(inner);
            let link = Link(Arc::clone(&inner));
            Ok((link, Driver::new(inner, queues, (shaken.from, shaken.to), shaken.buffer, shaken.decoder, sessions)))
        }
    }
}

pub(super) struct Shaken {
    pub from: FromRunner,
    pub to: ToRunner,
    pub welcome: Welcome,
    /// Whatever came behind the welcome.
    pub buffer: BytesMut,
    pub decoder: Decoder,
}

pub(super) async fn shake(mut from: FromRunner, mut to: ToRunner, target: &Target) -> Result<Shaken, ConnectError> {
    let user = || target.user.clone();
    let io = |error| ConnectError::Unreachable { user: target.user.clone(), socket: target.socket.clone(), error };
    let bad = |error| ConnectError::Protocol { user: target.user.clone(), error };
    let hello = Frame::Hello(Hello {
        magic: Hello::MAGIC,
        min_version: LINK_VERSION_MIN,
        max_version: LINK_VERSION,
        software: concat!("octo ", env!("CARGO_PKG_VERSION")).to_owned(),
        instance: target.instance.clone(),
        user: user(),
    });
    let mut out = BytesMut::new();
    encode(&hello, &mut 0, &mut out).map_err(bad)?;
    to.write_all(&out).await.map_err(io)?;
    let (mut buffer, mut decoder) = (BytesMut::with_capacity(4096), Decoder::default());
    let first = loop {
        if let Some(frame) = decoder.decode(&mut buffer).map_err(bad)? {
            break frame;
        }
        if from.read_buf(&mut buffer).await.map_err(io)? == 0 {
            return Err(ConnectError::Closed { user: user() });
        }
    };
    let welcome = welcomed(first, target)?;
    Ok(Shaken { from, to, welcome, buffer, decoder })
}

/// Reads the first frame of what answers at `target`.
///
/// # Errors
/// [`ConnectError`] when it refuses, speaks no version that this build does, is another user's runner, or is no runner at all.
pub fn welcomed(first: Frame, target: &Target) -> Result<Welcome, ConnectError> {
    let user = || target.user.clone();
    let welcome = match first {
        Frame::Welcome(welcome) => welcome,
        Frame::Refused(refused) => return Err(ConnectError::Refused { user: user(), reason: refused.reason }),
        _ => {
            let error = LinkError::Malformed("the first frame is neither welcome nor refused".to_owned());
            return Err(ConnectError::Protocol { user: user(), error });
        }
    };
    if !(LINK_VERSION_MIN..=LINK_VERSION).contains(&welcome.version) {
        return Err(ConnectError::Version { user: user(), found: welcome.version });
    }
    if welcome.user != target.user {
        return Err(ConnectError::WrongUser { user: user(), socket: target.socket.clone(), found: welcome.user });
    }
    Ok(welcome)
}
