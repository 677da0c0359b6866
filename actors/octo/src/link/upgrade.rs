//! Replacing a runner's program in place: asked for on a connection of its own, beside that of the control plane.

use super::connect::{ConnectError, HANDSHAKE_WITHIN, Shaken, Target, dial, shake};
use octo_protocol::link::{Frame, Hello, LinkError, Ping, Upgrade, Welcome, encode};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// How long a runner may take to be replaced, or to say why not: it has to come to rest first.
pub const UPGRADE_WITHIN: Duration = Duration::from_secs(60);

/// A runner's program before and after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgraded {
    pub before: Welcome,
    pub after: Welcome,
}

/// Why a runner is not replaced, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It goes on as before, in its own words.
    #[error("{reason}")]
    Refused { reason: String },
    #[error(
        "the runner of {user} (pid {before}) ended while it was replaced, and its agents with it; look at its log. Its sessions resume with the next prompt"
    )]
    Ended { user: String, before: u32 },
    #[error("the runner of {user} closed the connection and is the same as before; look at its log")]
    Same { user: String },
    #[error("the runner of {user} was neither replaced nor said why within {UPGRADE_WITHIN:?}; look at its log")]
    Silent { user: String },
}

/// Asks the runner at `target` to go on as the program `binary`, or as the one at its own path, and waits until it does.
///
/// # Errors
/// [`UpgradeError`].
pub async fn upgrade(target: &Target, binary: Option<&Path>) -> Result<Upgraded, UpgradeError> {
    let target = Target { instance: Hello::OPERATOR.to_owned(), ..target.clone() };
    let user = || target.user.clone();
    let shaken = welcome(&target).await?;
    let before = shaken.welcome.clone();
    let asked = tokio::time::timeout(UPGRADE_WITHIN, ask(shaken, binary, &target)).await;
    match asked {
        Err(_) => return Err(UpgradeError::Silent { user: user() }),
        Ok(Err(error)) => return Err(error),
        Ok(Ok(())) => {}
    }
    // The socket never closed: whoever connects is heard by the next program, or by nobody when there is none.
    let ended = || UpgradeError::Ended { user: user(), before: before.pid };
    let after = match welcome(&target).await {
        Ok(shaken) => shaken.welcome,
        Err(ConnectError::Unreachable { .. } | ConnectError::Closed { .. }) => return Err(ended()),
        Err(error) => return Err(error.into()),
    };
    if after.pid != before.pid {
        return Err(ended());
    }
    if after.started_at == before.started_at {
        return Err(UpgradeError::Same { user: user() });
    }
    Ok(Upgraded { before, after })
}

async fn welcome(target: &Target) -> Result<Shaken, ConnectError> {
    let (from, to) = dial(target).await?;
    let shaking = tokio::time::timeout(HANDSHAKE_WITHIN, shake(from, to, target)).await;
    shaking.map_err(|_| ConnectError::Timeout { user: target.user.clone() })?
}

/// Returns when the connection is closed; says so when the answer is another.
async fn ask(mut shaken: Shaken, binary: Option<&Path>, target: &Target) -> Result<(), UpgradeError> {
    let bad = |error| ConnectError::Protocol { user: target.user.clone(), error };
    let io = |error| ConnectError::Unreachable { user: target.user.clone(), socket: target.socket.clone(), error };
    let path = match binary.map(|path| path.to_str().ok_or_else(|| path.display().to_string())) {
        None => String::new(),
        Some(Ok(path)) => path.to_owned(),
        Some(Err(path)) => return Err(UpgradeError::Refused { reason: format!("the path {path} is not UTF-8; rename it") }),
    };
    let (mut out, mut number) = (bytes::BytesMut::new(), 0);
    encode(&Frame::Upgrade(Upgrade { binary: path }), &mut number, &mut out).map_err(bad)?;
    shaken.to.write_all(&out).await.map_err(io)?;
    loop {
        while let Some(frame) = shaken.decoder.decode(&mut shaken.buffer).map_err(bad)? {
            match frame {
                Frame::Refused(refused) => return Err(UpgradeError::Refused { reason: refused.reason }),
                Frame::Ping(Ping { nonce }) => {
                    out.clear();
                    encode(&Frame::Pong(Ping { nonce }), &mut number, &mut out).map_err(bad)?;
                    // One that is being replaced reads no more.
                    let _ = shaken.to.write_all(&out).await;
                }
                Frame::Sessions(_) | Frame::Pong(_) => {}
                _ => return Err(bad(LinkError::Malformed("it is no answer to an upgrade".to_owned())).into()),
            }
        }
        // However it closes: the kernel resets it when something was not read.
        match shaken.from.read_buf(&mut shaken.buffer).await {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
    }
}
