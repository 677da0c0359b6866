//! Resource limits of the program.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::spec::Limits;

/// Sets both the soft and the hard limit; nobody may raise a hard one, so a higher wish becomes what there is.
///
/// The kernel counts processes by user, and in a user namespace of its own that is by sandbox: there it holds the tree to a little more than what
/// init lets it come to, in case init comes late. It does not hold root to that.
pub(super) fn apply(limits: &Limits, own_user_namespace: bool) -> io::Result<()> {
    let tasks = limits.tasks.filter(|_| own_user_namespace).map(|tasks| tasks.saturating_add(tasks / 4).saturating_add(16));
    let wishes = [
        (Resource::RLIMIT_NOFILE, limits.nofile),
        #[cfg(not(target_os = "macos"))]
        (Resource::RLIMIT_NPROC, tasks),
        (Resource::RLIMIT_CORE, limits.core),
        (Resource::RLIMIT_FSIZE, limits.fsize),
        (Resource::RLIMIT_CPU, limits.cpu_seconds),
    ];
    for (resource, wish) in wishes {
        if let Some(wish) = wish {
            let (_, hard) = getrlimit(resource)?;
            let value = wish.min(hard);
            setrlimit(resource, value, value)?;
        }
    }
    Ok(())
}
