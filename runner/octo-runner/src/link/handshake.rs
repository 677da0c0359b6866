//! The first two frames of a connection.

use super::{PeerGuard, Serving};
use octo_protocol::ErrorCode;
use octo_protocol::link::{Hello, LINK_VERSION, LINK_VERSION_MIN, Refused, Welcome};

/// Longest name of a control plane that is kept.
const MAX_INSTANCE: usize = 256;

fn refused(code: ErrorCode, reason: String) -> Refused {
    Refused { code, reason }
}

/// Which version of the link is spoken with who says `hello` to the runner of `user`.
///
/// # Errors
/// [`Refused`] when it is not octo, speaks no version that this build does, or looks for another user's runner.
pub fn version(hello: &Hello, user: &str) -> Result<u16, Refused> {
    if hello.magic != Hello::MAGIC {
        return Err(refused(ErrorCode::InvalidRequest, "this is the link of an octo runner, and what connected is not octo".to_owned()));
    }
    let version = hello.max_version.min(LINK_VERSION);
    if version < hello.min_version || version < LINK_VERSION_MIN {
        let reason = format!(
            "this runner speaks versions {LINK_VERSION_MIN} to {LINK_VERSION} of the link, the server {} to {}; upgrade the older one",
            hello.min_version, hello.max_version
        );
        return Err(refused(ErrorCode::Unsupported, reason));
    }
    if hello.user != user {
        let reason = format!("this is the runner of {user:?}, not of {:?}", hello.user);
        return Err(refused(ErrorCode::PermissionDenied, reason));
    }
    if hello.instance.len() > MAX_INSTANCE {
        return Err(refused(ErrorCode::InvalidRequest, "the control plane's name is too long".to_owned()));
    }
    Ok(version)
}

/// Whether a connection is served, and in which version; an operator's is no control plane's, and has no guard.
pub(super) fn answer(hello: &Hello, number: u64, serving: &Serving) -> Result<(Welcome, Option<PeerGuard>), Refused> {
    let options = &serving.registry.shared().options;
    let version = version(hello, &options.user)?;
    let guard = if hello.instance == Hello::OPERATOR {
        None
    } else {
        Some(serving.peers.enter(number, &hello.instance).map_err(|other| {
            refused(ErrorCode::Conflict, format!("this runner is connected to another control plane ({other}); stop that one first"))
        })?)
    };
    let shared = serving.registry.shared();
    let welcome = Welcome {
        version,
        software: format!("octo-runner {}", env!("CARGO_PKG_VERSION")),
        runner_id: options.runner_id.clone(),
        user: options.user.clone(),
        pid: std::process::id(),
        boot_id: shared.boot_id.clone(),
        started_at: shared.started_at,
    };
    Ok((welcome, guard))
}
