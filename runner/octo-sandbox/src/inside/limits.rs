//! Resource limits of the program.

use std::io;

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::spec::Limits;

/// Sets both the soft and the hard limit; nobody may raise a hard one, so a higher wish becomes what there is.
pub(super) fn apply(limits: &Limits) -> io::Result<()> {
    let wishes = [
        (Resource::RLIMIT_NOFILE, limits.nofile),
        #[cfg(not(target_os = "macos"))]
        (Resource::RLIMIT_NPROC, limits.nproc),
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
