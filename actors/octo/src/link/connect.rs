//! Reaching a runner: connect, check who answers, shake hands.

use super::driver::Driver;
use super::handle::{Inner, Link};
use bytes::BytesMut;
use octo_protocol::SessionSummary;
use octo_protocol::link::{Decoder, Frame, Hello, LINK_VERSION, LINK_VERSION_MIN, LinkError, Welcome, encode};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::watch;

/// Patience for connecting and the handshake together.
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
    let user = || target.user.clone();
    match tokio::time::timeout(HANDSHAKE_WITHIN, shake(target)).await {
        Err(_) => Err(ConnectError::Timeout { user: user() }),
        Ok(Err(error)) => Err(error),
        Ok(Ok(shaken)) => {
            let (inner, queues) = Inner::new(shaken.welcome);
            let inner = Arc::new(inner);
            let link = Link(Arc::clone(&inner));
            Ok((link, Driver::new(inner, queues, shaken.stream, shaken.buffer, shaken.decoder, sessions)))
        }
    }
}

struct Shaken {
    stream: UnixStream,
    welcome: Welcome,
    /// Whatever came behind the welcome.
    buffer: BytesMut,
    decoder: Decoder,
}

async fn shake(target: &Target) -> Result<Shaken, ConnectError> {
    let user = || target.user.clone();
    let io = |error| ConnectError::Unreachable { user: target.user.clone(), socket: target.socket.clone(), error };
    let bad = |error| ConnectError::Protocol { user: target.user.clone(), error };
    let mut stream = UnixStream::connect(&target.socket).await.map_err(io)?;
    let found = stream.peer_cred().map_err(io)?.uid();
    if found != target.uid {
        return Err(ConnectError::WrongOwner { user: user(), socket: target.socket.clone(), expected: target.uid, found });
    }
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
    stream.write_all(&out).await.map_err(io)?;
    let (mut buffer, mut decoder) = (BytesMut::with_capacity(4096), Decoder::default());
    let first = loop {
        if let Some(frame) = decoder.decode(&mut buffer).map_err(bad)? {
            break frame;
        }
        if stream.read_buf(&mut buffer).await.map_err(io)? == 0 {
            return Err(ConnectError::Closed { user: user() });
        }
    };
    let welcome = welcomed(first, target)?;
    Ok(Shaken { stream, welcome, buffer, decoder })
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
