//! bubblewrap's argument list for a layout.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use super::{Layout, Mount};
use crate::spec::{Bind, Network};

/// Where this very program is inside the sandbox, whatever the layout hides around its place on the host.
pub(crate) const INSIDE_PROGRAM: &str = "/run/octo/bin/octo-sandbox";

/// Everything before the `--`. `program` is this executable on the host.
pub(crate) fn arguments(layout: &Layout, network: Network, user_namespace: bool, program: &Path) -> Vec<OsString> {
    let mut list = List::default();
    // pid 1 is our own init: it reaps, and its end is the end of the namespace.
    list.flags(&["--as-pid-1", "--unshare-pid", "--unshare-ipc", "--unshare-uts"]);
    if user_namespace {
        list.flags(&["--unshare-user"]);
    }
    if network == Network::None {
        list.flags(&["--unshare-net"]);
    }
    list.flags(&["--cap-drop", "ALL"]);
    list.flags(&["--ro-bind", "/", "/", "--proc", "/proc"]);
    // Whoever is root outside may write kernel settings through a fresh /proc, capabilities or not.
    list.flags(&["--ro-bind", "/proc/sys", "/proc/sys"]);
    list.flags(&["--dev", "/dev"]);
    for mount in &layout.mounts {
        list.mount(mount);
    }
    list.bind(&Bind { source: program.to_owned(), target: PathBuf::from(INSIDE_PROGRAM), writable: false });
    for (position, mount) in layout.mounts.iter().enumerate() {
        // Only now that everything mounted inside has its mount point; and not what was mounted over it by name.
        let covered = layout.mounts.iter().skip(position + 1).any(|later| later.target() == mount.target());
        if let (Mount::EmptyDirectory(target), false) = (mount, covered) {
            list.flags(&["--remount-ro"]).path(target);
        }
    }
    list.flags(&["--chdir", "/"]);
    list.0
}

#[derive(Default)]
struct List(Vec<OsString>);

impl List {
    fn flags(&mut self, flags: &[&str]) -> &mut Self {
        self.0.extend(flags.iter().map(OsString::from));
        self
    }

    fn path(&mut self, path: &Path) -> &mut Self {
        self.0.push(path.as_os_str().to_owned());
        self
    }

    fn bind(&mut self, bind: &Bind) {
        let flag = if bind.writable { "--bind" } else { "--ro-bind" };
        self.flags(&[flag]).path(&bind.source).path(&bind.target);
    }

    fn mount(&mut self, mount: &Mount) {
        match mount {
            Mount::Private { target, mode, bytes } => {
                if let Some(bytes) = bytes {
                    self.flags(&["--size", &bytes.to_string()]);
                }
                self.flags(&["--perms", &format!("{mode:o}"), "--tmpfs"]).path(target);
            }
            Mount::Bind(bind) => self.bind(bind),
            Mount::EmptyDirectory(target) => {
                self.flags(&["--perms", "0755", "--tmpfs"]).path(target);
            }
            Mount::NoFile(target) => {
                self.flags(&["--ro-bind", "/dev/null"]).path(target);
            }
        }
    }
}
