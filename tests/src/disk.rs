//! A small disk of its own for a test: a tmpfs that can be filled to the last page and emptied again.
//!
//! Root mounts it where it stands. Anybody else runs the test once more in a user and mount namespace of its own ([`elsewhere`]). Where neither is
//! allowed the test fails and says so: a quota or a limit on file sizes is no full disk.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Set in the namespaces of [`elsewhere`].
const INSIDE: &str = "OCTO_TEST_INSIDE_NAMESPACE";

/// Runs the calling test in namespaces where it may mount, unless it may here. True: it ran there and passed, and the caller returns.
///
/// # Panics
/// When it failed there, or when there is no way to mount at all.
#[must_use]
pub fn elsewhere() -> bool {
    if nix::unistd::geteuid().is_root() || std::env::var_os(INSIDE).is_some() {
        return false;
    }
    let thread = std::thread::current();
    let test = thread.name().expect("the test runner names its threads after the tests");
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "--"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .status()
        .unwrap_or_else(|error| panic!("this test has to mount a tmpfs: run it as root, or install unshare (util-linux): {error}"));
    assert!(
        status.success(),
        "in namespaces of its own {test} failed, or user namespaces are not allowed here (then run it as root): {status}"
    );
    true
}

/// A mounted tmpfs; unmounted when dropped.
#[derive(Debug)]
pub struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// Mounts `mib` MiB at `at`, which is made.
    ///
    /// # Panics
    /// When it cannot be mounted.
    #[must_use]
    pub fn mount(at: &Path, mib: u64) -> Self {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={mib}m,mode=0700");
        let mounted = mount(Some("tmpfs"), at, Some("tmpfs"), MsFlags::empty(), Some(size.as_str()));
        mounted.unwrap_or_else(|error| panic!("a small tmpfs cannot be mounted at {} ({error}): run this test as root", at.display()));
        Self { at: at.to_owned() }
    }

    fn ballast(&self) -> PathBuf {
        self.at.join("ballast")
    }

    /// Takes all room that is left, to the last page. Again when something was given back meanwhile.
    pub fn fill(&self) {
        let mut file = std::fs::File::options().create(true).append(true).open(self.ballast()).expect("a name needs no room");
        let block = vec![1u8; 1 << 20];
        for size in [1 << 20, 4096, 1] {
            while file.write_all(&block[..size]).is_ok() {}
        }
        assert!(self.free() < 4096, "the disk is full");
    }

    /// Gives the room back.
    pub fn make_room(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    /// Free bytes.
    #[must_use]
    pub fn free(&self) -> u64 {
        let disk = nix::sys::statvfs::statvfs(&self.at).unwrap();
        disk.blocks_available() * disk.fragment_size()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = umount2(&self.at, MntFlags::MNT_DETACH);
    }
}
